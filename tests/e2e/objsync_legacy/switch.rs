//! From one way of sharing tables to the other, while the engines serve.

use std::net::{SocketAddr, TcpListener};

use forebay_e2e::Engine;
use forebay_e2e::lively::{echoes, websocket_from};
use forebay_e2e::wait::{eventually, secs};

use crate::group::{Group, entries, synced};
use crate::redis::{Legacy, connected, others};

/// Clients that come to each engine before each change.
const EACH: u32 = 15;

struct Scene {
    legacy: Legacy,
    engines: Vec<Engine>,
    homes: Vec<String>,
}

impl Scene {
    /// New clients at both engines; both know all then.
    fn bind(&mut self) {
        for _ in 0..2 * EACH {
            let client = self.homes.len() as u32;
            self.homes.push(self.legacy.group.by_address((client % 2) as usize, client));
        }
    }

    /// Both engines know everybody, and nobody has moved.
    fn all_are_there(&self, what: &str) {
        // One more has a connection open all the while.
        let all = self.homes.len() + 1;
        for engine in &self.engines {
            eventually(&format!("{what}: every engine has every entry"), secs(30), || entries(engine) == all);
        }
        for slot in 0..self.engines.len() {
            for (n, home) in self.homes.iter().enumerate() {
                let now = self.legacy.group.by_address(slot, n as u32);
                assert_eq!(&now, home, "{what}: client {n} at engine {slot}");
            }
        }
    }

    fn load(&self, slot: usize, redis: bool) {
        let (group, before) = (&self.legacy.group, entries(&self.engines[slot]));
        self.engines[slot].load(&if redis { self.legacy.config(slot) } else { group.config(slot) });
        assert!(entries(&self.engines[slot]) >= before, "its entries stay");
    }
}

//= test SYNC-SWITCH-01
#[test]
fn a_group_changes_from_one_way_to_the_other_and_back_and_no_entry_is_lost() {
    let legacy = Legacy::new(2);
    let engines = legacy.start();
    let mut scene = Scene { legacy, engines, homes: Vec::new() };
    scene.bind();
    let group = &scene.legacy.group;
    let (mut chat, server) = websocket_from(group.lab.client_ip(900), group.vips[0][0]);
    scene.all_are_there("by Redis");
    scene.load(0, false);
    // While one has followed and the other has not, each serves by its own.
    scene.bind();
    scene.load(1, false);
    scene.engines.iter().for_each(|engine| synced(engine, 1));
    scene.bind();
    scene.all_are_there("among themselves");
    assert!(echoes(&mut chat), "a connection goes on");
    scene.load(1, true);
    scene.bind();
    scene.load(0, true);
    for engine in &scene.engines {
        connected(engine, true);
        others(engine, 1);
    }
    scene.bind();
    scene.all_are_there("by Redis again");
    assert!(echoes(&mut chat), "a connection goes on");
    drop(chat);
    assert_eq!(scene.legacy.group.by_address(1, 900), server, "and is known everywhere");
    let said = scene.engines[0].process.printed();
    assert_eq!(said.matches("OBJSYNC_SWITCHED").count(), 2, "{said}");
}

//= test SYNC-SWITCH-01
#[test]
fn a_way_that_cannot_be_had_is_refused_and_the_tables_are_shared_as_before() {
    let legacy = Legacy::new(2);
    let engines = legacy.start();
    let mut scene = Scene { legacy, engines, homes: Vec::new() };
    let group = &scene.legacy.group;
    let (chat, _) = websocket_from(group.lab.client_ip(900), group.vips[0][0]);
    let taken = TcpListener::bind(SocketAddr::new(Group::address(0), group.port)).expect("it is free");
    scene.engines[0].write(&group.config(0));
    let answer = scene.engines[0].reload();
    assert!(
        answer["ok"] == false && answer.to_string().contains("another process listens there"),
        "{answer}"
    );
    drop(taken);
    connected(&scene.engines[0], true);
    scene.bind();
    scene.all_are_there("by Redis as before");
    drop(chat);
}
