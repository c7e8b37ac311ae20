//! An engine that starts has its tables before it serves.

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use forebay_e2e::Options;
use forebay_e2e::lively::{echoes, websocket_from};
use forebay_e2e::wait::{eventually, secs};

use crate::group::{Group, entries, ready, synced};

//= test SYNC-JOIN-02
#[test]
fn an_engine_that_starts_anew_has_its_tables_back_before_it_takes_the_first_connection() {
    let group = Group::new(2);
    let mut engines = group.start();
    let homes: Vec<String> = (0..30).map(|n| group.by_address(0, n)).collect();
    eventually("every entry is on both engines", secs(10), || entries(&engines[1]) == 30);
    engines[0].process.kill();
    // The kernel takes back a ring's sockets some time after the process is gone.
    eventually("the old one's sockets are gone", secs(10), || TcpStream::connect(group.vips[0][0]).is_err());
    let anew = group.spawn(0);
    // The first connection that is taken at all is led by what the other engine knows.
    eventually("it takes connections", secs(45), || TcpStream::connect(group.vips[0][0]).is_ok());
    let served: Vec<String> = (0..30).map(|n| group.by_address(0, n)).collect();
    assert_eq!(served, homes);
    ready(&anew);
    synced(&anew, 1);
    synced(&engines[1], 1);
    let said = anew.process.printed();
    assert!(said.contains("OBJSYNC_JOINED") && said.contains("the tables are complete"), "{said}");
}

//= test SYNC-JOIN-01
//= test SYNC-JOIN-02
#[test]
fn an_engine_whose_peer_is_away_waits_for_it_and_serves_at_last() {
    let group = Group::new(2);
    let began = Instant::now();
    let engine = group.spawn(0);
    eventually("it can be asked", secs(15), || TcpStream::connect(engine.metrics).is_ok());
    assert_eq!(engine.get("/readyz"), Some(503), "the tables are not complete");
    assert!(TcpStream::connect(group.vips[0][0]).is_err(), "and nobody is let in");
    ready(&engine);
    assert!(began.elapsed() >= Duration::from_secs(9), "it has waited");
    eventually("it serves", secs(5), || TcpStream::connect(group.vips[0][0]).is_ok());
    let said = engine.process.printed();
    assert!(said.contains("not every member was heard of"), "{said}");
    group.by_address(0, 1);
}

//= test SYNC-UPGRADE-01
#[test]
fn a_process_that_takes_over_has_its_place_among_the_members_and_nothing_is_forgotten() {
    let group = Group::new(2);
    let mut engines = group.start();
    let homes: Vec<String> = (0..20).map(|n| group.by_address(1, n)).collect();
    eventually("every entry is on both engines", secs(10), || entries(&engines[0]) == 20);
    let (mut chat, server) = websocket_from(group.lab.client_ip(500), group.vips[1][0]);
    eventually("it is known at both", secs(10), || entries(&engines[0]) == 21);
    let mut old = engines[1].upgrade(&Options::default());
    ready(&engines[1]);
    engines.iter().for_each(|engine| synced(engine, 1));
    assert!((0..20).all(|n| group.by_address(1, n) == homes[n as usize]), "what it has taken over");
    assert!((0..20).all(|n| group.by_address(0, n) == homes[n as usize]), "what the other one has");
    assert!(echoes(&mut chat), "the process before serves who is there");
    let told: Vec<String> = (100..120).map(|n| group.by_address(1, n)).collect();
    eventually("what the new one binds is told", secs(10), || entries(&engines[0]) >= 41);
    assert!((0..20).all(|n| group.by_address(0, 100 + n) == told[n as usize]));
    drop(chat);
    assert_eq!(old.process.wait(secs(20)).code(), Some(0));
    assert_eq!(group.by_address(0, 500), server, "and so is who was there all the while");
}

//= test SYNC-DISK-01
//= test SYNC-DISK-02
#[test]
fn when_all_engines_die_at_once_they_begin_with_what_is_on_disk() {
    let group = Group::new(2);
    let mut engines = group.start();
    let homes: Vec<String> = (0..30).map(|n| group.by_address(0, n)).collect();
    let on_disk = |slot: usize| {
        let file = group.lab.folder().join(format!("{slot}.snapshot"));
        file.metadata().ok().map(|file| (file.len(), file.ino()))
    };
    let before = [0, 1].map(on_disk);
    eventually("both have written them since", secs(30), || {
        [0, 1]
            .into_iter()
            .all(|slot| on_disk(slot).is_some_and(|now| Some(now) != before[slot] && now.0 > 600))
    });
    engines.iter_mut().for_each(|engine| engine.process.kill());
    for slot in [0, 1] {
        eventually("its sockets are gone", secs(10), || TcpStream::connect(group.vips[slot][0]).is_err());
    }
    let engines = group.start();
    assert!((0..30).all(|n| group.by_address((n % 2) as usize, n) == homes[n as usize]));
    for engine in &engines {
        assert!(engine.process.printed().contains("OBJSYNC_SNAPSHOT_READ"));
    }
    // One that is not whole is left, and told; the other engine has everything.
    let mut engines = engines;
    engines[0].process.kill();
    std::fs::write(group.lab.folder().join("0.snapshot"), "torn").expect("the folder");
    let anew = group.spawn(0);
    ready(&anew);
    synced(&anew, 1);
    assert!(anew.process.printed().contains("OBJSYNC_SNAPSHOT_REFUSED"));
    assert!((0..30).all(|n| group.by_address(0, n) == homes[n as usize]));
}
