//! The two engines of `forebay up`: one address, one table.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use forebay_e2e::metrics::Page;
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, bin, eventually};
use serde_json::Value;

use crate::running::start;

/// Clients of the service that knows them by address.
const CLIENTS: u8 = 20;

struct Engine {
    pid: i32,
    metrics: SocketAddr,
    socket: PathBuf,
}

impl Engine {
    fn of(ready: &Value) -> Vec<Self> {
        let one = |told: &Value| Self {
            pid: told["pid"].as_i64().unwrap() as i32,
            metrics: address(&told["status_page"]),
            socket: told["admin_socket"].as_str().unwrap().into(),
        };
        ready["engines"].as_array().unwrap().iter().map(one).collect()
    }

    fn requests(&self) -> f64 {
        let page = Page::read(self.metrics).expect("its metrics");
        page.sum("forebay_requests_total", &[("virtual_service", "address")])
    }

    fn verified(&self) -> bool {
        let mut command = Command::new(bin::path("forebay-se"));
        command.args(["objsync", "verify", "--socket"]).arg(&self.socket);
        command.output().expect("forebay-se starts").status.success()
    }
}

fn address(url: &Value) -> SocketAddr {
    url.as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
}

/// The server of a client who comes with a new connection; `None`: the connection met an engine that is dying.
fn server(at: SocketAddr, client: u8) -> Option<String> {
    let mut client = Client::new(at).from(Ipv4Addr::new(127, 3, 0, client + 1).into()).without_jar();
    client.get_once("/").ok().map(|answer| answer.server().to_owned())
}

#[test]
fn both_engines_of_up_serve_one_address_and_whoever_comes_keeps_its_server_when_one_is_killed() {
    let lab = Lab::new();
    let (mut up, ready) = start(&lab, "up", 28_680);
    let engines = Engine::of(&ready);
    assert_eq!(engines.len(), 2, "{ready}");
    let at = address(&ready["services"][1]["url"]);
    assert_eq!(ready["services"][1]["name"], "address");
    let before: Vec<f64> = engines.iter().map(Engine::requests).collect();
    let homes: Vec<String> = (0..CLIENTS).map(|n| server(at, n).expect("an answer")).collect();
    let stay = || (0..CLIENTS).all(|n| server(at, n).is_none_or(|now| now == homes[usize::from(n)]));
    eventually("both have all entries", secs(20), || engines.iter().all(Engine::verified));
    // The kernel chooses the engine of each connection; each client meets both of them sooner or later.
    for _ in 0..10 {
        assert!(stay(), "{homes:?}");
    }
    for (engine, before) in engines.iter().zip(before) {
        assert!(engine.requests() >= before + f64::from(CLIENTS), "each engine has its part");
    }
    // SAFETY: a system call without memory; the process is a child of the `up` that runs.
    unsafe { libc::kill(engines[1].pid, libc::SIGKILL) };
    // The kernel takes back a ring's sockets some time after the process is gone; until then some connections are cut.
    eventually("nobody is cut any more", secs(20), || {
        assert!(stay(), "whoever is answered has its server");
        (0..CLIENTS).all(|n| server(at, n).is_some())
    });
    let all: Vec<Option<String>> = (0..CLIENTS).map(|n| server(at, n)).collect();
    assert_eq!(all, homes.iter().cloned().map(Some).collect::<Vec<_>>());
    assert!(up.ended().is_none(), "one engine is enough: {}", up.printed());
    eventually("it is told", secs(5), || up.printed().contains("se-2: forebay-se ended"));
    assert!(up.end(secs(15)).success(), "{}", up.printed());
}
