//! A Redis or the distributor is gone, stands still, or has no room: engines serve on, and make up for it.

use std::time::Instant;

use forebay_e2e::Engine;
use forebay_e2e::wait::{eventually, secs};
use serde_json::json;

use crate::group::entries;
use crate::redis::{Legacy, connected};

/// New clients of an engine, one after another, each answered soon.
fn bind(legacy: &Legacy, slot: usize, clients: std::ops::Range<u32>) -> Vec<String> {
    let one = |n| {
        let began = Instant::now();
        let home = legacy.group.by_address(slot, n);
        assert!(began.elapsed() < secs(2), "client {n} of engine {slot} has waited {:?}", began.elapsed());
        home
    };
    clients.map(one).collect()
}

#[track_caller]
fn all_have(engines: &[Engine], count: usize) {
    for engine in engines {
        eventually("every engine has every entry", secs(30), || entries(engine) == count);
    }
}

#[track_caller]
fn same_everywhere(legacy: &Legacy, homes: &[String]) {
    for slot in 0..legacy.redises.len() {
        for (n, home) in homes.iter().enumerate() {
            assert_eq!(&legacy.group.by_address(slot, n as u32), home, "client {n} at engine {slot}");
        }
    }
}

//= test LEGACY-WAIT-01
//= test LEGACY-REFILL-01
#[test]
fn a_redis_that_is_killed_costs_nobody_anything_and_is_filled_again() {
    let mut legacy = Legacy::new(2);
    let engines = legacy.start();
    let mut homes = bind(&legacy, 0, 0..20);
    all_have(&engines, 20);
    legacy.redises[0].kill();
    connected(&engines[0], false);
    homes.extend(bind(&legacy, 0, 20..40));
    homes.extend(bind(&legacy, 1, 40..60));
    assert!(engines[0].process.printed().contains("OBJSYNC_REDIS_DOWN"));
    legacy.restart_redis(0);
    connected(&engines[0], true);
    all_have(&engines, 60);
    eventually("the Redis has all entries", secs(20), || legacy.entries(0) == 60);
    same_everywhere(&legacy, &homes);
}

//= test LEGACY-WAIT-01
#[test]
fn a_redis_that_stands_still_or_is_full_is_waited_for_by_nobody() {
    let legacy = Legacy::new(2);
    let engines = legacy.start();
    let mut homes = bind(&legacy, 0, 0..10);
    all_have(&engines, 10);
    legacy.redises[0].signal(libc::SIGSTOP);
    homes.extend(bind(&legacy, 0, 10..20));
    connected(&engines[0], false);
    homes.extend(bind(&legacy, 0, 20..30));
    legacy.redises[0].signal(libc::SIGCONT);
    connected(&engines[0], true);
    all_have(&engines, 30);
    legacy.ask(0, &["CONFIG", "SET", "maxmemory", "1"]);
    homes.extend(bind(&legacy, 0, 30..40));
    connected(&engines[0], false);
    assert!(engines[0].process.printed().contains("OOM"), "it says why");
    homes.extend(bind(&legacy, 0, 40..50));
    legacy.ask(0, &["CONFIG", "SET", "maxmemory", "0"]);
    connected(&engines[0], true);
    all_have(&engines, 50);
    same_everywhere(&legacy, &homes);
}

//= test LEGACY-DISTRIBUTE-01
//= test LEGACY-GAP-01
#[test]
fn a_distributor_that_is_killed_loses_nothing_that_an_engine_has() {
    let mut legacy = Legacy::new(3);
    let engines = legacy.start();
    let mut homes = bind(&legacy, 0, 0..10);
    all_have(&engines, 10);
    legacy.distributor.kill();
    homes.extend(bind(&legacy, 0, 10..20));
    homes.extend(bind(&legacy, 1, 20..30));
    homes.extend(bind(&legacy, 2, 30..40));
    assert_eq!(entries(&engines[0]), 20, "nobody tells it of the others'");
    // What waits to be read there is lost as well.
    for slot in 0..3 {
        legacy.ask(slot, &["DEL", "forebay:shop:outbox"]);
    }
    legacy.restart_distributor();
    all_have(&engines, 40);
    same_everywhere(&legacy, &homes);
    // A note that is lost between two that are read is missed.
    legacy.distributor.signal(libc::SIGSTOP);
    homes.extend(bind(&legacy, 1, 40..45));
    eventually("they are in its Redis", secs(10), || legacy.entries(1) == 45);
    legacy.ask(1, &["DEL", "forebay:shop:outbox"]);
    homes.extend(bind(&legacy, 1, 45..46));
    legacy.distributor.signal(libc::SIGCONT);
    all_have(&engines, 46);
    same_everywhere(&legacy, &homes);
}

//= test LEGACY-BOUND-01
//= test LEGACY-REFILL-01
#[test]
fn what_is_too_much_for_a_redis_that_is_away_is_written_when_it_is_back() {
    const MANY: usize = 70_000;
    let legacy = Legacy::new(2);
    let engines = legacy.start_with(&["--allow-faults"]);
    // It stands for one that ends meanwhile, and whose end is among what there is no room for.
    legacy.ask(0, &["SET", "forebay:shop:entry:ended", "anything"]);
    legacy.redises[0].signal(libc::SIGSTOP);
    connected(&engines[0], false);
    for first in (0..MANY).step_by(500) {
        let clients: Vec<String> =
            (first..first + 500).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
        let said = engines[0].admin(&json!({
            "command": "objsync_debug", "pool": "ip", "deed": { "write": clients },
        }));
        assert!(said["data"].is_object(), "{said}");
    }
    assert_eq!(entries(&engines[0]), MANY);
    assert!(engines[0].metric("forebay_objsync_redis_waiting_entries", &[]) <= 65_536.0);
    legacy.redises[0].signal(libc::SIGCONT);
    connected(&engines[0], true);
    all_have(&engines, MANY);
    eventually("the Redis has all entries, and no other", secs(30), || legacy.entries(0) == MANY);
    assert_eq!(legacy.ask(0, &["EXISTS", "forebay:shop:entry:ended"]), "0");
}

//= test LEGACY-ALIVE-01
#[test]
fn an_engine_that_reads_long_what_stood_in_its_redis_says_meanwhile_that_it_lives() {
    // Entries of another release, which take their time and are of no use.
    const MANY: usize = 600_000;
    let legacy = Legacy::new(1);
    let fill = "for n = 1, tonumber(ARGV[1]) do \
                redis.call('SET', 'forebay:shop:entry:' .. n, 'something') end return 1";
    legacy.ask(0, &["EVAL", fill, "0", &MANY.to_string()]);
    legacy.ask(0, &["CONFIG", "RESETSTAT"]);
    let engine = legacy.spawn(0);
    let signs = || {
        let stats = legacy.ask(0, &["INFO", "commandstats"]);
        let sets = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls="));
        sets.and_then(|rest| rest.split(',').next()?.parse::<usize>().ok()).unwrap_or(0)
    };
    eventually("it can be asked", secs(20), || std::net::TcpStream::connect(engine.metrics).is_ok());
    // Who has read all writes two more with each sign.
    let (mut most, from) = (0, Instant::now());
    eventually("it has read all", secs(60), || {
        let signs = signs();
        let reads = engine.metric("forebay_objsync_redis_connected", &[]) == 0.0;
        if reads {
            most = most.max(signs);
        }
        !reads
    });
    // One is said before it reads; how long it reads is the machine's affair, and half of what is promised is
    // enough beside other tests.
    let took = from.elapsed();
    assert!(most >= 2 && most as u64 > took.as_secs(), "{most} signs of life in {took:?} of reading");
}
