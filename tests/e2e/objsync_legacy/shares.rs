//! Who is bound on one engine is bound on the others, by way of two Redises.

use std::collections::BTreeSet;
use std::process::Command;

use forebay_e2e::lively::{echoes, websocket_from};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Request, bin};

use crate::group::entries;
use crate::redis::{Legacy, others};

/// Clients of each kind.
const CLIENTS: u32 = 30;

//= test LEGACY-MERGE-01
#[test]
fn a_client_that_is_bound_on_one_engine_goes_to_the_same_server_on_the_other() {
    let legacy = Legacy::new(2);
    let engines = legacy.start();
    let group = &legacy.group;
    // Half of the clients are new on each engine.
    let first = |n: u32| (n % 2) as usize;
    let homes: Vec<String> = (0..CLIENTS).map(|n| group.by_address(first(n), n)).collect();
    let login = |n: u32| {
        let answer = Client::new(group.vips[first(n)][1]).get_once("/login").expect("an answer");
        (answer.server().to_owned(), answer.cookie("JSESSIONID").expect("the server sets it").to_owned())
    };
    let logins: Vec<(String, String)> = (0..CLIENTS).map(login).collect();
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "they are spread over the servers");
    for (slot, engine) in engines.iter().enumerate() {
        eventually("every entry is on both engines", secs(10), || entries(engine) == 2 * CLIENTS as usize);
        eventually("and in both Redises", secs(10), || legacy.entries(slot) == 2 * CLIENTS as usize);
    }
    for n in 0..CLIENTS {
        let other = 1 - first(n);
        assert_eq!(group.by_address(other, n), homes[n as usize], "client {n} by its address");
        let (home, cookie) = &logins[n as usize];
        let mut client = Client::new(group.vips[other][1]).without_jar();
        let asked = Request::get("/").field(format!("Cookie: JSESSIONID={cookie}")).last();
        assert_eq!(client.send(&asked).expect("an answer").server(), home, "client {n} by its cookie");
    }
    let shown = engines[0].ask(&["show", "serviceengine-objsync"]);
    assert!(shown.contains("REDIS") && shown.contains("0.redis") && shown.contains("slot-1"), "{shown}");
    assert!(!shown.contains("a-long-enough"), "{shown}");
    let mut verify = Command::new(bin::path("forebay-se"));
    verify.args(["objsync", "verify", "--socket"]).arg(engines[0].config.with_extension("sock"));
    let said = verify.output().expect("it starts");
    assert_eq!(said.status.code(), Some(2), "there is nothing to compare with: {said:?}");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("where engines do not speak to one another"), "{said}");
}

//= test LEGACY-ALIVE-01
#[test]
fn an_open_connection_holds_its_entry_everywhere_until_its_engine_is_gone() {
    let legacy = Legacy::new(2);
    let mut engines = legacy.start();
    let group = &legacy.group;
    group.by_address(0, 1);
    let (mut chat, server) = websocket_from(group.lab.client_ip(500), group.vips[0][0]);
    eventually("both are known at both", secs(10), || entries(&engines[1]) == 2);
    let held = |slot: usize| {
        let lives = legacy.lives(slot);
        let open = lives.iter().filter(|life| life.is_none()).count();
        let ending = lives.iter().flatten().filter(|life| (1..=300).contains(*life)).count();
        (open, ending)
    };
    for slot in [0, 1] {
        eventually("the open one has no end, the other has", secs(20), || held(slot) == (1, 1));
    }
    assert!(echoes(&mut chat));
    engines[0].process.kill();
    others(&engines[1], 0);
    eventually("it counts down", secs(10), || held(1) == (0, 2));
    assert_eq!(group.by_address(1, 500), server);
}

//= test LEGACY-JOIN-01
#[test]
fn an_engine_that_starts_anew_has_its_tables_before_it_takes_the_first_connection() {
    let mut legacy = Legacy::new(2);
    let mut engines = legacy.start();
    let homes: Vec<String> = (0..20).map(|n| legacy.group.by_address(0, n)).collect();
    eventually("every entry is on both engines", secs(10), || entries(&engines[1]) == 20);
    let gone = |legacy: &Legacy| {
        eventually("the old one's sockets are gone", secs(10), || {
            std::net::TcpStream::connect(legacy.group.vips[0][0]).is_err()
        });
    };
    // From the other engine, by way of the distributor: its own Redis is new.
    engines[0].process.kill();
    legacy.redises[0].kill();
    legacy.restart_redis(0);
    gone(&legacy);
    engines[0] = legacy.spawn(0);
    let listens = |legacy: &Legacy| std::net::TcpStream::connect(legacy.group.vips[0][0]).is_ok();
    eventually("it takes connections", secs(45), || listens(&legacy));
    let served: Vec<String> = (0..20).map(|n| legacy.group.by_address(0, n)).collect();
    assert_eq!(served, homes);
    let said = engines[0].process.printed();
    assert!(said.contains("the tables are complete"), "{said}");
    // From its own Redis, when there is nobody else.
    eventually("its Redis has them", secs(10), || legacy.entries(0) == 20);
    legacy.distributor.kill();
    engines.iter_mut().for_each(|engine| engine.process.kill());
    gone(&legacy);
    engines[0] = legacy.spawn(0);
    eventually("it takes connections", secs(45), || listens(&legacy));
    let served: Vec<String> = (0..20).map(|n| legacy.group.by_address(0, n)).collect();
    assert_eq!(served, homes);
    let said = engines[0].process.printed();
    assert!(said.contains("not every member was heard of"), "{said}");
}
