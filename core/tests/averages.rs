//! The numbers that averages, loads and bounds promise, each looked at just below and just above.

mod common;

use common::*;
use forebay_core::id::ServerIndex;
use forebay_core::lb::{Algorithm, Pool, PoolConfig, ServerState};
use forebay_core::units::{Micros, Minutes, Now};
use forebay_core::{Input, decide};

fn chosen(pool: &mut Pool, now: u64) -> u16 {
    served(&decide(pool, &Input { now: Now(now), ..Input::new(client(1)) })).0
}

/// How many of `requests`, all left open, each server gets.
fn shares(pool: &mut Pool, requests: u32) -> Vec<u32> {
    for _ in 0..requests {
        let at = served(&decide(pool, &Input::new(client(1))));
        pool.connection_opened(at);
    }
    pool.indices().map(|at| pool.open(at)).collect()
}

fn fed(pool: &mut Pool, server: u16, times: &[u64]) {
    for time in times {
        pool.response_time(ServerIndex(server), Micros(*time));
    }
}

//= test LB-FR-01
#[test]
fn each_answer_counts_an_eighth_of_the_average() {
    for (other, choice) in [(8_999, 1), (9_001, 0)] {
        let mut pool = pool(2, Algorithm::FastestResponse);
        fed(&mut pool, 0, &[8_000, 16_000]);
        fed(&mut pool, 1, &[other]);
        assert_eq!(chosen(&mut pool, 0), choice, "9000 beside {other}");
    }
}

//= test LB-FR-02
#[test]
fn a_server_without_an_average_counts_as_the_fastest_known() {
    let mut pool = pool(3, Algorithm::FastestResponse);
    fed(&mut pool, 0, &[40_000]);
    fed(&mut pool, 1, &[10_000]);
    assert_eq!(shares(&mut pool, 90), [10, 40, 40]);
}

//= test LB-FR-02
#[test]
fn a_server_that_comes_back_is_not_judged_by_how_slow_it_was() {
    let mut pool = pool(2, Algorithm::FastestResponse);
    fed(&mut pool, 0, &[900_000]);
    fed(&mut pool, 1, &[10_000]);
    assert_eq!(chosen(&mut pool, 0), 1);
    pool.set_state(ServerIndex(0), ServerState::DOWN, Now(1));
    pool.set_state(ServerIndex(0), ServerState::UP, Now(2));
    assert_eq!(shares(&mut pool, 40), [20, 20]);
}

//= test LB-LL-01
#[test]
fn bytes_count_half_after_4_2_seconds() {
    const HALF_LIFE: u64 = 1 << 22;
    for (now, choice) in [(HALF_LIFE - 1_000, 1), (HALF_LIFE + 1_000, 0)] {
        let mut pool = pool(2, Algorithm::LeastLoad);
        pool.transferred(ServerIndex(0), 200_000, Now(0));
        pool.transferred(ServerIndex(1), 100_000, Now(now));
        assert_eq!(chosen(&mut pool, now), choice, "{now} us later");
    }
}

//= test LB-FS-02
#[test]
fn a_server_is_slow_at_more_than_twice_its_best_and_not_at_less() {
    for (time, choice) in [(1_900, 0), (2_100, 1)] {
        let mut pool = pool(2, Algorithm::FewestServers { time_to_first_byte_max: Micros(0) });
        fed(&mut pool, 0, &[1_000]);
        fed(&mut pool, 0, &[time; 80]);
        pool.connection_opened(ServerIndex(0));
        assert_eq!(chosen(&mut pool, 0), choice, "best 1000, now {time}");
    }
}

//= test LB-SLOW-01
//= test LB-RR-02
#[test]
fn a_server_that_comes_up_grows_to_its_share_of_the_shared_tickets() {
    let algorithm = Algorithm::RoundRobin { per_se: true };
    let mut pool = Pool::new(PoolConfig { ramp: Minutes(10), ..config(2, algorithm) }).expect("good");
    pool.set_state(ServerIndex(0), ServerState::DOWN, Now(0));
    pool.set_state(ServerIndex(0), ServerState::UP, Now(1));
    let mut seen = Vec::new();
    for minute in [0, 5, 10] {
        let now = Now(1 + minute * 60_000_000);
        let to_it = |ticket| {
            let input = Input { now, ticket, ..Input::new(client(1)) };
            served(&decide(&mut pool, &input)) == ServerIndex(0)
        };
        seen.push((0..2_000).map(to_it).filter(|it| *it).count());
    }
    assert!((25..=80).contains(&seen[0]), "a twentieth of its thousand turns: {seen:?}");
    assert!((450..=600).contains(&seen[1]), "half of them: {seen:?}");
    assert_eq!(seen[2], 1_000);
}
