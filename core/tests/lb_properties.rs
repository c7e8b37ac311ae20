//! Promises of load balancing, searched over random pools and histories.

mod common;

use common::*;
use forebay_core::hash::mix64;
use forebay_core::id::{PoolId, ServerIndex};
use forebay_core::lb::{
    ALGORITHMS, Algorithm, Bound, GroupConfig, GroupMember, HashBy, Health, Maglev, Pool, PoolConfig,
    PoolGroup, ServerConfig, ServerState,
};
use forebay_core::units::{Micros, Minutes, Now};
use forebay_core::{Input, Verdict, decide};
use proptest::prelude::*;

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    (0..ALGORITHMS.len(), any::<bool>()).prop_map(|(i, flag)| match Algorithm::of(ALGORITHMS[i].name) {
        Algorithm::RoundRobin { .. } => Algorithm::RoundRobin { per_se: flag },
        Algorithm::ConsistentHash { .. } => Algorithm::ConsistentHash {
            by: HashBy::SourceIp,
            ignore_server_port: flag,
            load_max_percent: if flag { 125 } else { 0 },
        },
        other => other,
    })
}

/// Something that happens to a pool: kind, server, amount.
type Event = (u8, u16, u32);

fn play(pool: &mut Pool, events: &[Event], mut check: impl FnMut(&Pool, Verdict, Now)) {
    let n = pool.len() as u16;
    let mut now = 0u64;
    for (kind, server, amount) in events {
        let at = ServerIndex(server % n);
        now += u64::from(*amount) * 1_000;
        match kind % 12 {
            0 => pool.set_state(at, ServerState::DOWN, Now(now)),
            1 => pool.set_state(at, ServerState::DISABLED, Now(now)),
            2 => pool.set_state(at, ServerState { health: Health::Maintenance, enabled: true }, Now(now)),
            3 | 4 => pool.set_state(at, ServerState::UP, Now(now)),
            5 => {
                if pool.open(at) > 0 {
                    pool.connection_closed(at);
                }
            }
            6 => pool.response_time(at, Micros(u64::from(*amount))),
            7 => pool.transferred(at, u64::from(*amount) * 4_096, Now(now)),
            8 => pool.set_tasks(at, *amount),
            9 => pool.set_open_elsewhere(at, amount % 4),
            _ => {
                let input =
                    Input { now: Now(now), seed: mix64(now), ticket: now / 7, ..Input::new(client(*amount)) };
                let verdict = decide(pool, &input).verdict;
                check(pool, verdict, Now(now));
                if let Verdict::Server(at) = verdict {
                    pool.connection_opened(at);
                }
            }
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((any::<u8>(), any::<u16>(), 0u32..100_000), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    //= test LB-WEIGHT-01
    //= test LB-DRAIN-01
    //= test LB-LIMIT-01
    #[test]
    fn only_a_server_that_is_up_enabled_with_a_ratio_and_room_is_chosen(
        algorithm in any_algorithm(),
        ratios in prop::collection::vec(0u8..=20, 1..12),
        limit in 0u32..5,
        ramp in 0u32..3,
        events in events(),
    ) {
        let mut pool = Pool::new(PoolConfig {
            connections_max: limit,
            ramp: Minutes(ramp),
            ..weighted(&ratios, algorithm)
        }).expect("good");
        let mut elsewhere = vec![0u32; ratios.len()];
        for (kind, server, amount) in &events {
            if kind % 12 == 9 {
                let n = elsewhere.len();
                elsewhere[usize::from(*server) % n] = amount % 4;
            }
        }
        play(&mut pool, &events, |pool, verdict, _| {
            let usable = |at: ServerIndex| {
                ratios[at.at()] > 0 && pool.state(at) == ServerState::UP && !pool.at_limit(at)
            };
            match verdict {
                Verdict::Server(at) => {
                    assert!(usable(at), "server {} of ratio {}", at.0, ratios[at.at()]);
                    assert!(limit == 0 || pool.open(at) < limit);
                }
                _ => assert!(!pool.indices().any(usable), "someone could have served"),
            }
        });
    }

    //= test LB-SLOW-01
    #[test]
    fn the_weight_of_a_starting_server_only_grows(ratio in 1u8..=20, minutes in 1u32..60, steps in prop::collection::vec(0u64..120_000_000, 1..40)) {
        let mut pool = Pool::new(PoolConfig { ramp: Minutes(minutes), ..weighted(&[ratio, 1], Algorithm::LeastConnections) }).expect("good");
        pool.set_state(ServerIndex(0), ServerState::DOWN, Now(0));
        pool.set_state(ServerIndex(0), ServerState::UP, Now(1));
        let mut now = 1;
        let mut last = pool.weight_milli(ServerIndex(0));
        prop_assert_eq!(last, u32::from(ratio) * 50);
        for step in steps {
            now += step;
            decide(&mut pool, &Input { now: Now(now), ..Input::new(client(1)) });
            let weight = pool.weight_milli(ServerIndex(0));
            prop_assert!(weight >= last && weight <= u32::from(ratio) * 1_000);
            last = weight;
        }
        decide(&mut pool, &Input { now: Now(now + 3_600_000_000 * 60), ..Input::new(client(1)) });
        prop_assert_eq!(pool.weight_milli(ServerIndex(0)), u32::from(ratio) * 1_000);
    }

    //= test LB-RR-01
    #[test]
    fn a_full_round_serves_each_server_as_often_as_its_ratio(ratios in prop::collection::vec(0u8..=20, 1..10), per_se: bool) {
        prop_assume!(ratios.iter().any(|r| *r > 0));
        let mut pool = Pool::new(weighted(&ratios, Algorithm::RoundRobin { per_se })).expect("good");
        let round: u32 = ratios.iter().map(|r| u32::from(*r)).sum();
        let mut seen = vec![0u32; ratios.len()];
        for ticket in 0..u64::from(round) {
            seen[served(&decide(&mut pool, &Input { ticket, ..Input::new(client(1)) })).at()] += 1;
        }
        prop_assert_eq!(seen, ratios.iter().map(|r| u32::from(*r)).collect::<Vec<_>>());
    }

    //= test LB-LC-01
    #[test]
    fn least_connections_is_never_more_than_one_connection_off(ratios in prop::collection::vec(1u8..=20, 2..8), requests in 1u32..300) {
        let mut pool = Pool::new(weighted(&ratios, Algorithm::LeastConnections)).expect("good");
        for i in 0..requests {
            let at = served(&decide(&mut pool, &Input::new(client(i))));
            pool.connection_opened(at);
        }
        let sum: u32 = ratios.iter().map(|r| u32::from(*r)).sum();
        for (at, ratio) in pool.indices().zip(&ratios) {
            // Within one connection above, and for its share of what the others are short, below.
            let fair = requests * u32::from(*ratio) / sum;
            prop_assert!(pool.open(at) <= fair + 1 + u32::from(*ratio), "{} of {fair}", pool.open(at));
        }
    }

    //= test LB-GROUP-01
    #[test]
    fn a_group_uses_the_highest_level_that_serves(
        members in prop::collection::vec((0u16..5, 0u32..3, 0u32..3), 1..8),
        servers_min in 0u32..4,
    ) {
        let config = GroupConfig {
            members: (0..).zip(&members).map(|(i, (ratio, priority, _))| GroupMember { pool: PoolId(i), ratio: *ratio, priority: *priority }).collect(),
            servers_min,
        };
        let usable = |p: PoolId| members[p.0 as usize].2;
        let mut group = PoolGroup::new(&config).expect("good");
        let able = |m: &(u16, u32, u32)| m.0 > 0 && m.2 > 0;
        for _ in 0..20 {
            match group.choose(None, usable) {
                None => prop_assert!(!members.iter().any(able)),
                Some(choice) => {
                    prop_assert!(able(&members[choice.pool.0 as usize]));
                    let above: u32 = members.iter().filter(|m| m.1 > choice.priority && m.0 > 0).map(|m| m.2).sum();
                    prop_assert!(above < servers_min.max(1), "enough servers stand above");
                }
            }
        }
    }
}

fn servers(n: usize, ratio: u8) -> Vec<ServerConfig> {
    (0..n as u16).map(|i| ServerConfig { ratio, ..ServerConfig::new(endpoint(i)) }).collect()
}

//= test LB-CH-01
#[test]
fn a_server_removed_from_the_configuration_moves_its_share_and_one_percent_at_most() {
    for n in [2, 3, 5, 10, 16, 50, 100, 300, 1_000] {
        let all = servers(n, 1);
        let full = Maglev::of_servers(&all, false);
        for gone in [0, n / 3, n - 1] {
            let mut less = all.clone();
            less.remove(gone);
            let after = Maglev::of_servers(&less, false);
            let old_index = |i: u16| if usize::from(i) < gone { i } else { i + 1 };
            let moved = full.slots().iter().zip(after.slots()).filter(|(a, b)| **a != old_index(**b)).count();
            let bound = full.slots().len() / n + full.slots().len() / 100;
            assert!(moved <= bound, "{moved} of {} moved, {n} servers", full.slots().len());
        }
    }
}

//= test LB-CH-02
#[test]
fn a_server_that_is_down_moves_its_own_keys_only_and_gets_exactly_them_back() {
    let mut pool = pool(10, Algorithm::of(forebay_core::lb::Name::ConsistentHash));
    let ask = |pool: &mut Pool| -> Vec<ServerIndex> {
        (0..20_000).map(|c| served(&decide(pool, &Input::new(client(c))))).collect()
    };
    let before = ask(&mut pool);
    pool.set_state(ServerIndex(4), ServerState::DOWN, Now(1));
    let during = ask(&mut pool);
    let mut heirs = vec![0u32; 10];
    for (a, b) in before.iter().zip(&during) {
        if *a == ServerIndex(4) {
            heirs[b.at()] += 1;
        } else {
            assert_eq!(a, b, "a key of another server moved");
        }
    }
    let all: u32 = heirs.iter().sum();
    assert!(
        heirs.iter().enumerate().all(|(i, n)| i == 4 || *n * 9 > all / 2 && *n * 9 < all * 2),
        "{heirs:?}"
    );
    pool.set_state(ServerIndex(4), ServerState::UP, Now(2));
    assert_eq!(ask(&mut pool), before);
}

//= test LB-CH-01
#[test]
fn shares_follow_the_ratio_within_two_percent() {
    let mut list = servers(8, 1);
    list[3].ratio = 4;
    list[5].ratio = 0;
    let table = Maglev::of_servers(&list, false);
    let mut seen = [0u32; 8];
    for key in 0..400_000u64 {
        if let Some(at) = table.get(mix64(key)) {
            seen[at.at()] += 1;
        }
    }
    for (i, n) in seen.iter().enumerate() {
        let fair = 40_000 * u32::from(list[i].ratio);
        assert!(n.abs_diff(fair) <= fair / 50, "server {i}: {n} of {fair}");
    }
}

//= test LB-CH-01
#[test]
fn the_order_of_the_list_does_not_matter() {
    let list = servers(20, 1);
    let mut turned = list.clone();
    turned.reverse();
    let (a, b) = (Maglev::of_servers(&list, false), Maglev::of_servers(&turned, false));
    assert!(a.slots().iter().zip(b.slots()).all(|(x, y)| *x == 19 - *y));
}

//= test LB-CH-05
#[test]
fn with_ports_ignored_a_server_keeps_its_keys_when_its_port_changes() {
    let list = servers(10, 1);
    let mut moved = list.clone();
    moved[2].endpoint.port = 9_999;
    let same =
        |ignore| Maglev::of_servers(&list, ignore).slots() == Maglev::of_servers(&moved, ignore).slots();
    assert!(same(true) && !same(false));
}

//= test LB-CH-03
#[test]
fn bounded_load_keeps_a_hot_key_from_one_server() {
    let algorithm = |percent| Algorithm::ConsistentHash {
        by: HashBy::SourceIp,
        ignore_server_port: false,
        load_max_percent: percent,
    };
    for (percent, most) in [(0, 1_000), (125, 126), (200, 201)] {
        let mut pool = pool(10, algorithm(percent));
        for _ in 0..1_000 {
            let at = served(&decide(&mut pool, &Input::new(client(77))));
            pool.connection_opened(at);
        }
        let max = pool.indices().map(|at| pool.open(at)).max();
        assert_eq!(max.map(|m| m.min(most)), max, "at {percent} %");
        assert!(percent != 0 || max == Some(1_000));
    }
}

//= test LB-CH-06
#[test]
fn a_starting_server_gets_a_growing_part_of_its_keys_and_no_others() {
    let mut pool = Pool::new(PoolConfig {
        ramp: Minutes(10),
        ..config(4, Algorithm::of(forebay_core::lb::Name::ConsistentHash))
    })
    .expect("good");
    let ask = |pool: &mut Pool, now| -> Vec<bool> {
        let own =
            |c| served(&decide(pool, &Input { now: Now(now), ..Input::new(client(c)) })) == ServerIndex(1);
        (0..5_000).map(own).collect()
    };
    let full = ask(&mut pool, 1);
    pool.set_state(ServerIndex(1), ServerState::DOWN, Now(2));
    pool.set_state(ServerIndex(1), ServerState::UP, Now(3));
    let mut last = vec![false; 5_000];
    for minute in [0, 1, 3, 6, 9, 10] {
        let now = ask(&mut pool, 3 + minute * 60_000_000);
        assert!(last.iter().zip(&now).all(|(before, now)| !before || *now), "a key it had was taken away");
        assert!(now.iter().zip(&full).all(|(now, full)| !now || *full), "a key of another server");
        last = now;
    }
    assert_eq!(last, full);
}

//= test LB-GROUP-02
#[test]
fn a_group_shares_by_ratio_and_falls_through_when_a_level_is_down() {
    let member = |pool, ratio, priority| GroupMember { pool: PoolId(pool), ratio, priority };
    let config =
        GroupConfig { members: vec![member(1, 1, 5), member(2, 3, 10), member(3, 1, 10)], servers_min: 0 };
    let mut group = PoolGroup::new(&config).expect("good");
    let mut seen = [0; 4];
    for _ in 0..400 {
        let choice = group.choose(None, |_| 2).expect("all serve");
        assert_eq!((choice.priority, choice.fell_through), (10, 0));
        seen[choice.pool.0 as usize] += 1;
    }
    assert_eq!(seen, [0, 0, 300, 100]);
    let only_low = |p: PoolId| u32::from(p == PoolId(1));
    let choice = group.choose(None, only_low).expect("the lower level serves");
    assert_eq!((choice.pool, choice.fell_through), (PoolId(1), 1));
    assert_eq!(group.choose(None, |_| 0), None);
}

//= test LB-GROUP-02
#[test]
fn a_pool_of_ratio_zero_serves_its_own_clients_only() {
    let member = |pool, ratio| GroupMember { pool: PoolId(pool), ratio, priority: 1 };
    let config = GroupConfig { members: vec![member(1, 0), member(2, 1)], servers_min: 1 };
    let mut group = PoolGroup::new(&config).expect("good");
    for _ in 0..10 {
        assert_eq!(group.choose(None, |_| 1).map(|choice| choice.pool), Some(PoolId(2)));
        assert_eq!(group.choose(bound(1), |_| 1).map(|choice| choice.pool), Some(PoolId(1)));
    }
    assert_eq!(group.choose(None, |p| u32::from(p == PoolId(1))), None, "not even when nobody else serves");
}

//= test LB-GROUP-03
#[test]
fn a_bound_client_stays_in_its_pool_while_that_serves() {
    let member = |pool, priority| GroupMember { pool: PoolId(pool), ratio: 1, priority };
    let config = GroupConfig { members: vec![member(1, 5), member(2, 10)], servers_min: 1 };
    let mut group = PoolGroup::new(&config).expect("good");
    let choice = group.choose(bound(1), |_| 1).expect("it serves");
    assert!(choice.bound && choice.pool == PoolId(1));
    let choice = group.choose(bound(1), |p| u32::from(p == PoolId(2))).expect("the other serves");
    assert!(!choice.bound && choice.pool == PoolId(2));
    let choice = group.choose(bound(9), |_| 1).expect("a foreign pool binds nobody");
    assert!(!choice.bound);
    // Its pool takes nobody new, and its own server serves it on.
    let kept = Some(Bound { pool: PoolId(1), keeps: true });
    let choice = group.choose(kept, |p| u32::from(p == PoolId(2))).expect("its own pool");
    assert!(choice.bound && choice.pool == PoolId(1));
}

fn bound(pool: u32) -> Option<Bound> {
    Some(Bound { pool: PoolId(pool), keeps: false })
}
