//! Who is bound on one engine is bound on the others.

use std::collections::BTreeSet;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Request};

use crate::group::{Group, entries, ready, synced};

/// Clients of each kind.
const CLIENTS: u32 = 40;

//= test SYNC-FEED-01
//= test SYNC-TLS-01
#[test]
fn a_client_that_is_bound_on_one_engine_goes_to_the_same_server_on_the_other() {
    let group = Group::new(2);
    let engines = group.start();
    // Half of the clients are new on each engine.
    let first = |n: u32| (n % 2) as usize;
    let homes: Vec<String> = (0..CLIENTS).map(|n| group.by_address(first(n), n)).collect();
    let login = |n: u32| {
        let answer = Client::new(group.vips[first(n)][1]).get_once("/login").expect("an answer");
        (answer.server().to_owned(), answer.cookie("JSESSIONID").expect("the server sets it").to_owned())
    };
    let logins: Vec<(String, String)> = (0..CLIENTS).map(login).collect();
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "they are spread over the servers");
    assert!(
        logins.iter().map(|(server, _)| server).collect::<BTreeSet<_>>().len() > 1,
        "they are spread over the servers"
    );
    for engine in &engines {
        eventually("every entry is on both engines", secs(10), || entries(engine) == 2 * CLIENTS as usize);
    }
    for n in 0..CLIENTS {
        let other = 1 - first(n);
        assert_eq!(group.by_address(other, n), homes[n as usize], "client {n} by its address");
        let (home, cookie) = &logins[n as usize];
        let mut client = Client::new(group.vips[other][1]).without_jar();
        let asked = Request::get("/").field(format!("Cookie: JSESSIONID={cookie}")).last();
        let answer = client.send(&asked).expect("an answer");
        assert_eq!(answer.server(), home, "client {n} by its cookie");
    }
}

//= test SYNC-RELOAD-01
//= test SYNC-DOOR-03
#[test]
fn members_and_port_change_while_the_engines_serve() {
    let mut group = Group::new(2);
    let engines = group.start();
    let homes: Vec<String> = (0..10).map(|n| group.by_address(0, n)).collect();
    // One of them listens elsewhere: it is reached where it was until the other one knows.
    let (old, new) = (group.port, crate::group::port());
    let both = |first: u16, second: u16| [(0, first), (1, second)];
    engines[1].load(&group.config_with(1, &group.section(1, &both(old, new), new)));
    synced(&engines[1], 1);
    assert!(engines[1].process.printed().contains("OBJSYNC_PORT"), "it says which ports must be open");
    engines[0].load(&group.config_with(0, &group.section(0, &both(old, new), old)));
    eventually("the old address is closed", secs(10), || {
        engines[1].process.printed().contains("OBJSYNC_MOVED")
    });
    engines.iter().for_each(|engine| synced(engine, 1));
    assert!((0..10).all(|n| group.by_address(1, n) == homes[n as usize]));
    // And one of them leaves the group.
    engines[0].load(&group.config_with(0, &group.section(0, &[(0, old)], old)));
    eventually("it is no member any more", secs(10), || {
        engines[1].metric("forebay_objsync_peer_connected", &[]) == 0.0
    });
    let before = entries(&engines[1]);
    for n in 100..120 {
        group.by_address(0, n);
    }
    eventually("they are bound where they came", secs(10), || entries(&engines[0]) >= 30);
    assert_eq!(entries(&engines[1]), before, "and nobody is told");
    group.port = old;
    engines[0].load(&group.config_with(0, &group.section(0, &both(old, new), old)));
    engines.iter().for_each(|engine| synced(engine, 1));
    eventually("what was missed is made up for", secs(10), || entries(&engines[1]) >= 30);
    ready(&engines[0]);
}
