//! Engines of a group that share tables by way of a Redis beside each, between which the Controller copies; and groups that change
//! from one way to the other.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use forebay_e2e::led::Led;
use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Process, bin};
use serde_json::json;

use crate::clients::Clients;
use crate::mirror::{entries, homes, mirrored};
use crate::site::Site;

/// What each Redis wants to hear; no engine tells the Controller.
const PASSWORD: &str = "a-long-enough-secret";
/// New clients before and after each change: no multiple of the servers.
const EACH: u32 = 13;

fn redis(lab: &Lab, n: usize) -> Process {
    let socket = format!("{n}.redis");
    let mut command = Command::new(bin::foreign("redis-server", "redis-server"));
    command.args(["--port", "0", "--unixsocket", &socket, "--requirepass", PASSWORD]);
    command.args(["--save", "", "--appendonly", "no"]);
    let redis = Process::start(&format!("redis-{n}"), command, lab.folder());
    eventually("redis listens", secs(10), || UnixStream::connect(lab.folder().join(&socket)).is_ok());
    redis
}

fn metric(engine: &Led, name: &str) -> f64 {
    Page::read(engine.metrics).unwrap_or_default().sum(name, &[])
}

/// New clients, of which both engines know then; nobody has moved, whichever engine they come to.
fn bind(site: &Site, all: &mut Vec<(u32, String)>, when: &str) {
    let first = u32::try_from(all.len()).expect("few");
    all.extend(homes(site, first..first + EACH));
    eventually(&format!("{when}: both engines have every client"), secs(30), || {
        site.engines.iter().all(|engine| entries(engine) == all.len() as f64)
    });
    // In another order, twice: the kernel says which engine each comes to.
    let count = first + EACH;
    for turn in 1..=2 {
        let order = (turn..count).chain(0..turn);
        assert_eq!(&homes(site, order), all, "{when}");
    }
}

/// Two engines with a Redis each, and a service that both have.
fn with_redises() -> (Site, [usize; 2], Vec<Process>) {
    let lab = Lab::new();
    let file = lab.folder().join("password");
    std::fs::write(&file, PASSWORD).expect("room");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let redises: Vec<Process> = (0..2).map(|n| redis(&lab, n)).collect();
    let own = |n| format!("redis_address = \"./{n}.redis\"\nredis_password_file = \"password\"");
    let site = Site::on(lab, 2, own);
    let [first] = site.serving()[..] else { panic!("one engine has it") };
    let to = format!("/api/serviceengine/{}", site.uuids[1 - first]);
    site.ask("scaleout", json!({"to_se_ref": to}));
    site.done("SCALEOUT_SUCCESS");
    site.serve(&[first, 1 - first]);
    (site, [first, 1 - first], redises)
}

//= test LEGACY-LED-01
//= test SYNC-SWITCH-01
#[test]
fn a_group_changes_its_way_of_sharing_and_back_while_it_serves_and_loses_no_entry() {
    let (site, _, _redises) = with_redises();
    let mut all = Vec::new();
    bind(&site, &mut all, "among themselves");

    site.group(&json!({"use_objsync": false}));
    eventually("each has its Redis, and the Controller copies", secs(30), || {
        let is = |engine: &Led| {
            metric(engine, "forebay_objsync_redis_connected") == 1.0
                && metric(engine, "forebay_objsync_redis_others") == 1.0
        };
        site.engines.iter().all(is)
    });
    bind(&site, &mut all, "by Redis");

    site.group(&json!({"use_objsync": true}));
    eventually("they speak to one another", secs(30), || {
        site.engines.iter().all(|engine| metric(engine, "forebay_objsync_peer_synced") >= 1.0)
    });
    bind(&site, &mut all, "among themselves again");
    mirrored(&site, all.len() as u64);
    for engine in &site.engines {
        assert_eq!(engine.said("OBJSYNC_SWITCHED"), 2, "{}", engine.name());
    }
}

//= test SYNC-SWITCH-01
#[test]
fn an_engine_that_is_killed_while_its_group_changes_its_way_of_sharing_costs_no_client_its_server() {
    let (mut site, [first, second], _redises) = with_redises();
    let clients = Clients::default();
    std::thread::scope(|scope| {
        let over = clients.until_dropped();
        for n in 0..EACH {
            let (clients, from, at) = (&clients, site.lab.client_ip(n), site.at);
            scope.spawn(move || clients.ask(from, at));
        }
        clients.go_on();
        eventually("both engines have every client", secs(20), || {
            site.engines.iter().all(|engine| entries(engine) == f64::from(EACH))
        });
        site.group(&json!({"use_objsync": false}));
        // One has changed, and the other one is killed in the middle of it.
        eventually("an engine changes", secs(30), || {
            site.engines.iter().any(|engine| engine.said("OBJSYNC_SWITCHED") > 0)
        });
        let killed = Instant::now();
        site.engines[second].process.kill();
        clients.go_on();
        let excused = Some((killed, Instant::now()));
        eventually("the other one has changed", secs(30), || {
            site.engines[first].said("OBJSYNC_SWITCHED") == 1
        });
        clients.go_on();
        site.group(&json!({"use_objsync": true}));
        eventually("and changes back", secs(30), || site.engines[first].said("OBJSYNC_SWITCHED") == 2);
        clients.go_on();
        drop(over);
        clients.are_well(excused);
    });
}
