//! An engine that starts has its tables before it serves.

use std::net::TcpStream;
use std::time::{Duration, Instant};

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
