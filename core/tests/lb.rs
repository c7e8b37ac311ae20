//! What each algorithm promises, and what no algorithm may do.

mod common;

use common::*;
use forebay_core::id::ServerIndex;
use forebay_core::lb::{
    ALGORITHMS, Algorithm, DisablePolicy, DisableType, FailAction, Grace, Health, NotOffered, Pool,
    PoolConfig, QueueConfig, ServerState, parse,
};
use forebay_core::units::{Micros, Minutes, Now, Seconds};
use forebay_core::{Input, Refusal, SkipWhy, Verdict, decide};

fn at(pool: &mut Pool, now: u64) -> ServerIndex {
    served(&decide(pool, &Input { now: Now(now), ..Input::new(client(1)) }))
}

fn counts(pool: &mut Pool, requests: u64, keep: bool) -> Vec<u32> {
    let mut seen = vec![0; pool.len()];
    for i in 0..requests {
        let input = Input { now: Now(i), seed: i, ticket: i, ..Input::new(client(i as u32)) };
        let server = served(&decide(pool, &input));
        seen[server.at()] += 1;
        if keep {
            pool.connection_opened(server);
        }
    }
    seen
}

//= test LB-NAME-01
#[test]
fn every_algorithm_is_found_by_both_names_and_global_ones_are_refused() {
    for entry in ALGORITHMS {
        assert_eq!(entry.name.entry().name, entry.name, "the table stands in the order of the names");
        assert_eq!(parse(entry.api_name).map(|a| a.name()), Ok(entry.name));
        assert_eq!(parse(entry.name.as_str()).map(|a| a.name()), Ok(entry.name));
    }
    assert_eq!(parse("LB_ALGORITHM_NEAREST_SERVER"), Err(NotOffered::GlobalOnly));
    assert_eq!(parse("topology"), Err(NotOffered::GlobalOnly));
    assert_eq!(parse("fastest"), Err(NotOffered::Unknown));
    assert!(NotOffered::GlobalOnly.to_string().contains("sites"));
}

//= test LB-LC-01
#[test]
fn least_connections_keeps_open_connections_in_proportion_to_ratio() {
    let mut pool = Pool::new(weighted(&[1, 2, 5], Algorithm::LeastConnections)).expect("good");
    assert_eq!(counts(&mut pool, 800, true), [100, 200, 500]);
    pool.connection_closed(ServerIndex(1));
    assert_eq!(at(&mut pool, 1), ServerIndex(1));
}

//= test LB-LC-02
#[test]
fn an_idle_pool_is_used_in_turn_by_ratio() {
    let mut pool = Pool::new(weighted(&[1, 2, 5], Algorithm::LeastConnections)).expect("good");
    assert_eq!(counts(&mut pool, 800, false), [100, 200, 500]);
}

//= test LB-LC-03
#[test]
fn connections_of_other_workers_count() {
    let mut pool = pool(2, Algorithm::LeastConnections);
    pool.set_open_elsewhere(ServerIndex(0), 10);
    assert_eq!(counts(&mut pool, 10, true), [0, 10]);
    pool.set_open_elsewhere(ServerIndex(0), 0);
    assert_eq!(at(&mut pool, 1), ServerIndex(0));
}

//= test LB-RR-01
#[test]
fn round_robin_is_smooth_and_exact() {
    let mut pool = Pool::new(weighted(&[3, 1, 1], Algorithm::RoundRobin { per_se: false })).expect("good");
    let round: Vec<u16> = (0..5).map(|i| at(&mut pool, i).0).collect();
    assert_eq!(round, [0, 1, 0, 2, 0]);
    assert_eq!(counts(&mut pool, 500, false), [300, 100, 100]);
}

//= test LB-RR-03
#[test]
fn workers_begin_at_different_places_of_the_round() {
    for algorithm in [Algorithm::RoundRobin { per_se: false }, Algorithm::LeastConnections] {
        let first = pool(8, algorithm);
        let mut starts: Vec<u16> = (0..4).map(|w| at(&mut first.for_worker(w, 4), 1).0).collect();
        assert_eq!(starts, [0, 2, 4, 6]);
        starts.dedup();
        let mut third = first.for_worker(2, 4);
        assert_eq!(counts(&mut third, 80, false), [10; 8], "the round itself stays exact");
    }
}

//= test LB-RR-02
#[test]
fn round_robin_per_service_engine_follows_the_shared_ticket() {
    let config = weighted(&[2, 1, 1], Algorithm::RoundRobin { per_se: true });
    let first = Pool::new(config).expect("good");
    let mut workers: Vec<Pool> = (0..4).map(|w| first.for_worker(w, 4)).collect();
    let mut seen = vec![0; 3];
    for ticket in 0..400u64 {
        // Which worker asks does not matter.
        let pool = &mut workers[(ticket * 7 % 4) as usize];
        let server = served(&decide(pool, &Input { ticket, ..Input::new(client(1)) }));
        seen[server.at()] += 1;
    }
    assert_eq!(seen, [200, 100, 100]);
}

//= test LB-FR-01
#[test]
fn fastest_response_prefers_the_fast_server_and_does_not_flood_it() {
    let mut pool = pool(3, Algorithm::FastestResponse);
    for (server, time) in [(0, 10_000), (1, 40_000), (2, 40_000)] {
        pool.response_time(ServerIndex(server), Micros(time));
    }
    let seen = counts(&mut pool, 60, true);
    assert_eq!(seen, [40, 10, 10], "four times as fast, four times the open requests");
}

//= test LB-FR-02
#[test]
fn a_server_that_was_slow_once_is_tried_again() {
    let mut pool = pool(2, Algorithm::FastestResponse);
    pool.response_time(ServerIndex(0), Micros(900_000));
    pool.response_time(ServerIndex(1), Micros(10_000));
    let fed = |pool: &mut Pool, now| {
        let server = at(pool, now);
        pool.response_time(ServerIndex(1), Micros(10_000));
        server
    };
    assert_eq!(fed(&mut pool, 1_000), ServerIndex(1));
    let minute = 60_000_000;
    assert!((0..10).any(|i| fed(&mut pool, minute + i) == ServerIndex(0)), "its average has faded");
}

//= test LB-LL-01
#[test]
fn least_load_weighs_bytes_and_forgets_them() {
    let mut pool = pool(2, Algorithm::LeastLoad);
    pool.transferred(ServerIndex(0), 200_000, Now(0));
    pool.transferred(ServerIndex(1), 1_000, Now(0));
    assert_eq!(at(&mut pool, 1), ServerIndex(1));
    pool.transferred(ServerIndex(1), 50_000, Now(60_000_000));
    assert_eq!(at(&mut pool, 60_000_001), ServerIndex(0), "a minute later the large answer is history");
}

//= test LB-FT-01
#[test]
fn fewest_tasks_follows_the_report_and_counts_what_was_sent_since() {
    let mut pool = pool(2, Algorithm::FewestTasks);
    pool.set_tasks(ServerIndex(0), 10);
    pool.set_tasks(ServerIndex(1), 4);
    assert_eq!(counts(&mut pool, 6, true), [0, 6]);
    let rest = counts(&mut pool, 4, true);
    assert_eq!(rest, [2, 2]);
    pool.set_tasks(ServerIndex(1), 0);
    assert_eq!(at(&mut pool, 1), ServerIndex(1));
}

//= test LB-FT-02
#[test]
fn a_server_that_comes_back_is_not_flooded_for_want_of_reports() {
    let mut pool = pool(2, Algorithm::FewestTasks);
    pool.set_state(ServerIndex(0), ServerState::DOWN, Now(1));
    assert_eq!(counts(&mut pool, 150, true), [0, 150]);
    pool.set_state(ServerIndex(0), ServerState::UP, Now(2));
    assert_eq!(counts(&mut pool, 100, true), [50, 50]);
}

//= test LB-FS-01
#[test]
fn fewest_servers_fills_the_first_before_it_uses_the_next() {
    let mut config = config(3, Algorithm::FewestServers { time_to_first_byte_max: Micros(50_000) });
    config.servers[0].connections_max = 4;
    let mut pool = Pool::new(config).expect("good");
    assert_eq!(counts(&mut pool, 4, true), [4, 0, 0]);
    assert_eq!(counts(&mut pool, 3, true), [0, 3, 0]);
    pool.response_time(ServerIndex(1), Micros(80_000));
    assert_eq!(at(&mut pool, 9), ServerIndex(2), "a server that has become slow has no room");
}

//= test LB-FS-02
#[test]
fn without_a_bound_twice_its_own_best_is_slow() {
    let mut pool = pool(2, Algorithm::FewestServers { time_to_first_byte_max: Micros(0) });
    pool.response_time(ServerIndex(0), Micros(1_000));
    pool.connection_opened(ServerIndex(0));
    assert_eq!(at(&mut pool, 1), ServerIndex(0));
    for _ in 0..40 {
        pool.response_time(ServerIndex(0), Micros(5_000));
    }
    assert_eq!(at(&mut pool, 2), ServerIndex(1));
    pool.connection_closed(ServerIndex(0));
    assert_eq!(at(&mut pool, 3), ServerIndex(0), "an idle server is as fast as it can be");
}

//= test LB-RND-01
#[test]
fn random_is_even_without_load_and_evens_load_out() {
    let mut pool = pool(8, Algorithm::Random);
    for n in counts(&mut pool, 80_000, false) {
        assert!((9_500..=10_500).contains(&n), "{n}");
    }
    let open = counts(&mut pool, 8_000, true);
    let (least, most) = (open.iter().min().copied(), open.iter().max().copied());
    assert!(most.zip(least).is_some_and(|(m, l)| m - l <= 12), "two choices keep the spread small: {open:?}");
    let mut pool = Pool::new(weighted(&[1, 4], Algorithm::Random)).expect("good");
    let seen = counts(&mut pool, 5_000, true);
    assert!((900..=1_100).contains(&seen[0]), "{seen:?}");
}

//= test LB-CA-01
#[test]
fn each_worker_uses_its_share_and_every_server_has_a_worker() {
    for (servers, workers, nonaffinity) in [(8u16, 4u16, 2u16), (8, 4, 1), (2, 8, 1), (5, 3, 2), (3, 3, 9)] {
        let first = pool(servers, Algorithm::CoreAffinity { nonaffinity });
        let mut used = vec![0; usize::from(servers)];
        for w in 0..workers {
            let mut pool = first.for_worker(w, workers);
            let seen = counts(&mut pool, 400, true);
            let own = seen.iter().filter(|n| **n > 0).count();
            assert!(own >= 1);
            let most = (usize::from(servers) * usize::from(nonaffinity)).div_ceil(usize::from(workers)) + 1;
            assert!(
                own <= most.max(usize::from(nonaffinity)),
                "{own} of {servers} servers for one of {workers} workers"
            );
            for (u, n) in used.iter_mut().zip(seen) {
                *u += u32::from(n > 0);
            }
        }
        assert!(used.iter().all(|u| *u >= 1), "{used:?}");
    }
}

//= test LB-CA-02
#[test]
fn a_worker_whose_share_is_down_uses_the_others() {
    let first = pool(4, Algorithm::CoreAffinity { nonaffinity: 1 });
    let mut pool = first.for_worker(2, 4);
    assert_eq!(at(&mut pool, 1), ServerIndex(2));
    pool.set_state(ServerIndex(2), ServerState::DOWN, Now(1));
    assert_ne!(at(&mut pool, 2), ServerIndex(2));
}

//= test LB-LIMIT-01
//= test LB-QUEUE-01
#[test]
fn a_limit_of_one_never_shows_two_and_the_rest_is_refused_or_queued() {
    for queue in [None, Some(QueueConfig { depth: 2 })] {
        let mut pool =
            Pool::new(PoolConfig { connections_max: 1, queue, ..config(2, Algorithm::LeastConnections) })
                .expect("good");
        assert_eq!(counts(&mut pool, 2, true), [1, 1]);
        let ask = |pool: &mut Pool, queued| decide(pool, &Input { queued, ..Input::new(client(1)) }).verdict;
        match queue {
            None => assert_eq!(ask(&mut pool, 0), Verdict::Reject { status: 503, why: Refusal::AllAtLimit }),
            Some(_) => {
                assert_eq!(ask(&mut pool, 1), Verdict::Queue);
                assert_eq!(ask(&mut pool, 2), Verdict::Reject { status: 503, why: Refusal::QueueFull });
            }
        }
        pool.connection_closed(ServerIndex(1));
        assert_eq!(ask(&mut pool, 0), Verdict::Server(ServerIndex(1)));
    }
}

//= test LB-LIMIT-02
#[test]
fn a_place_that_another_worker_took_first_is_not_given_again() {
    let mut pool = pool(2, Algorithm::LeastConnections);
    for _ in 0..10 {
        let full = [ServerIndex(0)];
        let decision = decide(&mut pool, &Input { full: &full, ..Input::new(client(1)) });
        assert_eq!(served(&decision), ServerIndex(1));
        assert_eq!(decision.reason.skipped[0].map(|s| s.why), Some(SkipWhy::AtLimit));
    }
}

//= test LB-DRAIN-01
#[test]
fn a_disabled_server_takes_no_new_client() {
    let mut pool = pool(2, Algorithm::RoundRobin { per_se: false });
    pool.set_state(ServerIndex(0), ServerState::DISABLED, Now(0));
    for i in 0..10 {
        let decision = decide(&mut pool, &Input { now: Now(i), ..Input::new(client(1)) });
        assert_eq!(served(&decision), ServerIndex(1));
        assert_eq!(decision.reason.skipped[0].map(|s| s.why), Some(SkipWhy::Disabled));
    }
}

//= test LB-DRAIN-06
#[test]
fn the_grace_of_a_server_disabled_by_the_configuration_counts_from_the_start() {
    let boot = 90_000_000_000;
    let grace = Grace::For(Minutes(1).seconds());
    let disable = DisablePolicy { kind: DisableType::AllowNewConnectionIfPersistencePresent, grace };
    let mut config = PoolConfig { disable, ..config(2, Algorithm::LeastConnections) };
    config.servers[0].enabled = false;
    let mut pool = Pool::new(config).expect("good");
    pool.started(Now(boot));
    for (passed, why) in [(1, SkipWhy::Draining), (60_000_000, SkipWhy::Disabled)] {
        let decision = decide(&mut pool, &Input { now: Now(boot + passed), ..Input::new(client(1)) });
        assert_eq!(decision.reason.skipped[0].map(|s| s.why), Some(why), "{passed}");
    }
    assert_eq!(pool.cut_at(ServerIndex(0)), Some(Now(boot + 60_000_000)));
}

//= test LB-DRAIN-03
#[test]
fn open_connections_are_cut_when_the_grace_is_over_and_not_before() {
    let seconds = |s| (Grace::For(Seconds(s)), Some(Now(5).after(Micros::from_secs(u64::from(s)))));
    let cuts = [(Grace::Immediate, Some(Now(5))), seconds(60), seconds(7), (Grace::Unlimited, None)];
    for (i, (grace, cut)) in cuts.into_iter().enumerate() {
        // Two different times: that of a disabled server is not that of one that failed.
        let (down_grace, down_cut) = cuts[(i + 1) % cuts.len()];
        let disable = DisablePolicy { kind: DisableType::DisallowNewConnection, grace };
        let mut pool =
            Pool::new(PoolConfig { disable, down_grace, ..config(1, Algorithm::LeastConnections) })
                .expect("good");
        assert_eq!(pool.cut_at(ServerIndex(0)), None);
        for (state, cut) in [(ServerState::DISABLED, cut), (ServerState::DOWN, down_cut)] {
            pool.set_state(ServerIndex(0), ServerState::UP, Now(1));
            pool.set_state(ServerIndex(0), state, Now(5));
            assert_eq!(pool.cut_at(ServerIndex(0)), cut, "{grace:?} {state:?}");
        }
    }
    assert_eq!(Grace::from_minutes(0), Some(Grace::Immediate));
    assert_eq!(Grace::from_minutes(-1), Some(Grace::Unlimited));
    assert_eq!(Grace::from_minutes(7_200), Some(Grace::For(Seconds(432_000))));
    assert_eq!(Grace::from_minutes(7_201), None);
    assert_eq!(Grace::from_minutes(-2), None);
    assert_eq!(Grace::from_seconds(0), Some(Grace::Immediate));
    assert_eq!(Grace::from_seconds(-1), Some(Grace::Unlimited));
    assert_eq!(Grace::from_seconds(432_000), Some(Grace::For(Seconds(432_000))));
    assert_eq!(Grace::from_seconds(432_001), None);
    assert_eq!(Grace::from_seconds(-2), None);
}

//= test LB-SLOW-01
#[test]
fn a_server_that_comes_up_grows_to_its_full_share() {
    let ramp = Minutes(10);
    let mut pool =
        Pool::new(PoolConfig { ramp, ..config(2, Algorithm::RoundRobin { per_se: false }) }).expect("good");
    pool.set_state(ServerIndex(0), ServerState::DOWN, Now(0));
    pool.set_state(ServerIndex(0), ServerState::UP, Now(1));
    let mut shares = Vec::new();
    for minute in [0, 2, 5, 8, 10, 11] {
        let mut seen = 0;
        for _ in 0..1_000 {
            seen += u32::from(at(&mut pool, 1 + minute * 60_000_000) == ServerIndex(0));
        }
        shares.push(seen);
    }
    assert!(shares.is_sorted(), "{shares:?}");
    assert!((40..=60).contains(&shares[0]), "it begins with a twentieth of its weight: {shares:?}");
    assert_eq!(shares[5], 500, "and ends with its share: {shares:?}");
}

//= test LB-SLOW-02
#[test]
fn without_a_duration_a_server_starts_at_full_weight() {
    let mut pool = pool(2, Algorithm::RoundRobin { per_se: false });
    pool.set_state(ServerIndex(0), ServerState::DOWN, Now(0));
    pool.set_state(ServerIndex(0), ServerState::UP, Now(1));
    assert_eq!(counts(&mut pool, 100, false), [50, 50]);
}

//= test LB-FAIL-01
#[test]
fn when_nobody_may_serve_the_pools_action_decides() {
    let actions = [
        (FailAction::CloseConnection, Verdict::Close),
        (
            FailAction::LocalResponse { status: 500, body: "sorry".into() },
            Verdict::Reject { status: 500, why: Refusal::NoServerUp },
        ),
        (
            FailAction::Redirect { status: 302, location: "https://sorry.example/".into() },
            Verdict::Reject { status: 302, why: Refusal::NoServerUp },
        ),
    ];
    for (fail_action, verdict) in actions {
        let mut pool =
            Pool::new(PoolConfig { fail_action, ..config(2, Algorithm::LeastConnections) }).expect("good");
        for i in 0..2 {
            pool.set_state(
                ServerIndex(i),
                ServerState { health: Health::Maintenance, enabled: true },
                Now(1),
            );
        }
        let decision = decide(&mut pool, &Input::new(client(1)));
        assert_eq!(decision.verdict, verdict);
        assert_eq!(decision.reason.refusal, Some(Refusal::NoServerUp));
        assert_eq!(decision.reason.skipped_count(), 2);
    }
}

//= test LB-RESELECT-01
#[test]
fn a_server_that_failed_the_request_is_not_asked_again() {
    for entry in ALGORITHMS {
        let mut pool = pool(4, Algorithm::of(entry.name));
        let mut tried = Vec::new();
        for attempt in 1..=4 {
            let decision = decide(&mut pool, &Input { tried: &tried, ..Input::new(client(1)) });
            assert!(!tried.contains(&served(&decision)), "{}", entry.name);
            assert_eq!(decision.reason.attempt, attempt);
            tried.push(served(&decision));
        }
        let decision = decide(&mut pool, &Input { tried: &tried, ..Input::new(client(1)) });
        assert_eq!(decision.verdict, Verdict::Reject { status: 503, why: Refusal::AllTried });
    }
}

//= test LB-REASON-01
#[test]
fn the_reason_names_the_skipped_servers_and_counts_the_rest() {
    let mut pool = pool(10, Algorithm::LeastConnections);
    for i in 0..7 {
        pool.set_state(ServerIndex(i), ServerState::DOWN, Now(1));
    }
    let reason = decide(&mut pool, &Input::new(client(1))).reason;
    assert_eq!(reason.skipped.iter().flatten().count(), 4);
    assert_eq!((reason.skipped_more, reason.skipped_count()), (3, 7));
    let text = reason.to_string();
    assert!(
        text.contains("least_connections") && text.contains("0:down") && text.contains("and 3 more"),
        "{text}"
    );
}

//= test LB-RELOAD-01
#[test]
fn a_reload_keeps_what_is_known_of_servers_that_stay() {
    let mut old = pool(3, Algorithm::LeastConnections);
    old.connection_opened(ServerIndex(2));
    old.set_state(ServerIndex(1), ServerState::DOWN, Now(5));
    let mut config = config(4, Algorithm::LeastConnections);
    config.ramp = Minutes(10);
    config.servers.remove(0);
    let mut new = Pool::new(config).expect("good");
    new.carry_over(&old, Now(9));
    assert_eq!(new.open(ServerIndex(1)), 1, "what was third is second");
    assert_eq!(new.state(ServerIndex(0)), ServerState::DOWN);
    assert_eq!(new.weight_milli(ServerIndex(1)), 1_000);
    assert_eq!(new.weight_milli(ServerIndex(2)), 50, "the new server starts slowly");
    assert_eq!(at(&mut new, 10), ServerIndex(2));
}

//= test LB-CONFIG-01
#[test]
fn all_problems_of_a_pool_are_said_at_once_with_path_and_remedy() {
    let mut bad = config(3, Algorithm::CoreAffinity { nonaffinity: 0 });
    bad.servers[1].ratio = 21;
    bad.servers[2].endpoint = bad.servers[0].endpoint;
    bad.queue = Some(QueueConfig { depth: 0 });
    bad.fail_action = FailAction::Redirect { status: 200, location: String::new() };
    bad.ramp = Minutes(301);
    let problems = Pool::new(bad).expect_err("it is bad");
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    for path in [
        "server[1].ratio",
        "server[2].address",
        "core_nonaffinity",
        "request_queue.depth",
        "fail_action.status",
        "connection_ramp_duration_min",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert!(problems.iter().all(|p| !p.reason.is_empty() && !p.fix.is_empty()));
}

//= test LB-REASON-01
#[test]
fn an_empty_pool_refuses() {
    for entry in ALGORITHMS {
        let mut pool = pool(0, Algorithm::of(entry.name));
        assert_eq!(decide(&mut pool, &Input::new(client(1))).verdict, Verdict::Close);
    }
}

//= test LB-CH-04
#[test]
fn a_hash_key_is_the_wanted_part_of_the_request_or_else_its_address() {
    use forebay_core::lb::{HashBy, hash_key};
    let request = Request::get("/a?b=c").with("x-tenant", "t1").with("call-id", "call-77@host");
    let key = |by: HashBy, custom: Option<&'static [u8]>| hash_key(&by, &request, custom).bytes().to_vec();
    let address = key(HashBy::SourceIp, None);
    assert_eq!(address, forebay_core::id::ip_bytes(client(1).ip));
    assert_eq!(key(HashBy::SourceIpAndPort, None), [&address[..], &40_000u16.to_le_bytes()].concat());
    assert_eq!(key(HashBy::Uri, None), b"/a?b=c");
    assert_eq!(key(HashBy::CustomHeader("x-tenant".into()), None), b"t1");
    assert_eq!(key(HashBy::CustomHeader("x-none".into()), None), address);
    assert_eq!(key(HashBy::CustomString, Some(b"s")), b"s");
    assert_eq!(key(HashBy::CustomString, None), address);
    assert_eq!(key(HashBy::CallId, None), b"call-77@host");
    let request = Request::get("/").with("x-tenant", "").with("i", "call-78@host");
    let key = |by: HashBy, custom: Option<&'static [u8]>| hash_key(&by, &request, custom).bytes().to_vec();
    assert_eq!(key(HashBy::CallId, None), b"call-78@host", "the header's short name");
    assert_eq!(key(HashBy::CustomHeader("x-tenant".into()), None), address, "an empty value is none");
    assert_eq!(key(HashBy::CustomString, Some(b"")), address);
    for (short, api) in HashBy::NAMES {
        let by = HashBy::parse(short, "x-tenant").expect("a name");
        assert_eq!((by.as_str(), HashBy::parse(api, "x-tenant")), (short, Some(by.clone())));
    }
}

//= test LB-CH-04
#[test]
fn requests_with_one_key_meet_one_server_and_without_a_key_the_address_counts() {
    let mut pool = pool(16, Algorithm::of(forebay_core::lb::Name::ConsistentHash));
    let mut seen = std::collections::BTreeSet::new();
    for c in 0..200 {
        let with = Input { hash_key: Some(b"/one"), ..Input::new(client(c)) };
        let at = served(&decide(&mut pool, &with));
        assert_eq!(
            at,
            served(&decide(&mut pool, &Input { hash_key: Some(b"/one"), ..Input::new(client(0)) }))
        );
        seen.insert(served(&decide(&mut pool, &Input::new(client(c)))));
    }
    assert!(seen.len() >= 14, "two hundred addresses reach nearly all servers");
}
