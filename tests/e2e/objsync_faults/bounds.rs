//! What object sync takes at most: its port, and comparing tables.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use std::sync::atomic::{AtomicBool, Ordering};

use forebay_e2e::lively::Over;
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Engine, skip, system};
use serde_json::json;

use crate::common::{bind, options};
use crate::group::{Group, entries};
use crate::machines::verified;

fn refused(engine: &Engine, reason: &str) -> u32 {
    engine.metric("forebay_objsync_refused_total", &[("reason", reason)]) as u32
}

//= test SYNC-DOOR-01
#[test]
fn sixty_four_handshakes_are_under_way_at_most_and_each_takes_three_seconds_at_most() {
    // Five members call the sixth, ten times a second each: fifty a second, and nobody says a word.
    let group = Group::new(6);
    let engine = group.spawn(5);
    let to = SocketAddr::new(Group::address(5), group.port);
    let connect = |slot: usize| system::connect_from(SocketAddr::new(Group::address(slot), 0), to);
    let (begin, mut first) =
        eventually_some("it listens", secs(30), || Some((Instant::now(), connect(0).ok()?)));
    // The counts can be read a moment after that.
    eventually("it tells", secs(20), || TcpStream::connect(engine.metrics).is_ok());
    let mut silent: Vec<TcpStream> = Vec::new();
    eventually("too many are under way", secs(60), || {
        for slot in (0..5).flat_map(|slot| [slot; 12]) {
            silent.push(connect(slot).expect("the system accepts"));
        }
        refused(&engine, "busy") > 0
    });
    first.set_read_timeout(Some(secs(30))).expect("a time-out");
    let mut byte = [0];
    assert!(!matches!(first.read(&mut byte), Ok(1..)), "nothing is said to it");
    assert!(begin.elapsed() >= Duration::from_millis(2_900), "it had three seconds: {:?}", begin.elapsed());
    // Whoever was let in was let go, and nobody was forgotten.
    let all = silent.len() as u32 + 1;
    let sum = || ["busy", "rate", "handshake"].map(|reason| refused(&engine, reason)).iter().sum::<u32>();
    eventually("all are refused", secs(20), || sum() == all);
    assert!(refused(&engine, "handshake") >= 64, "as many as there may be were let in");
}

/// The share of a core that object sync takes, over two seconds.
fn share(engine: &Engine) -> f64 {
    let cpu = || engine.metric("forebay_objsync_cpu_seconds_total", &[]);
    let (before, began) = (cpu(), Instant::now());
    // Sleep: how much that is in a time is the subject.
    std::thread::sleep(Duration::from_secs(2));
    (cpu() - before) / began.elapsed().as_secs_f64()
}

//= test SYNC-CPU-01
#[test]
fn comparing_takes_no_more_of_a_core_than_it_may_and_changes_are_told_all_the_same() {
    const MANY: u32 = 120_000;
    // Comparing at 15 of a hundred parts, and whatever else object sync does.
    const LITTLE: f64 = 0.25;
    let group = Group::new(2);
    let engines = group.start_each(|_| options("persistence_mem_max_bytes = 16777216"));
    bind(&engines[0], 0, MANY);
    eventually("both have all", secs(60), || entries(&engines[1]) == MANY as usize);
    let may = |percent: u8| {
        for (slot, engine) in engines.iter().enumerate() {
            let key = format!("cpu_limit_percentage = {percent}\nsnapshot_interval_s");
            engine.load(&group.config(slot).replace("snapshot_interval_s", &key));
        }
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = Over(&over);
        // One comparison after another, as fast as they are through.
        let compares = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                // On a machine full of others it may take longer than anybody waits.
                verified(&engines[0]);
            }
        });
        may(80);
        let compared = || engines[0].metric("forebay_objsync_peer_comparisons_total", &[]);
        let (before, began) = (compared(), Instant::now());
        let much = (0..2).map(|_| share(&engines[0])).fold(0.0, f64::max);
        let a_second = (compared() - before) / began.elapsed().as_secs_f64();
        may(15);
        // What was not used before may be used at once.
        let mut seen = Vec::new();
        let little = loop {
            seen.push(share(&engines[0]));
            let last = seen[seen.len() - 1];
            if last <= LITTLE || seen.len() == 10 || compares.is_finished() {
                break last;
            }
        };
        let home = group.by_address(0, 7);
        let began = Instant::now();
        eventually("a change is told meanwhile", secs(5), || {
            let ask = json!({ "look": group.lab.client_ip(7) });
            let answer = engines[1].admin(&json!({ "command": "objsync_debug", "pool": "ip", "deed": ask }));
            answer["data"]["found"] == true
        });
        println!(
            "{a_second:.1} comparisons a second, {much:.2} of a core where 0.8 may be taken, {seen:.2?} where 0.15 may; told within {:?}",
            began.elapsed()
        );
        drop(end);
        compares.join().expect("it compares until it is told that it is over");
        assert_eq!(group.by_address(1, 7), home);
        assert!(little <= LITTLE, "{seen:?}");
        if much < 1.5 * LITTLE {
            skip("the machine was too busy for comparisons to take more than they may");
        }
    });
}
