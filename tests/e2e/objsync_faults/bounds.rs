//! What the port of object sync takes at most.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Engine, system};

use crate::group::Group;

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
