//! An engine that serves while the Controllers change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_e2e::client::Client;
use forebay_e2e::led::{Led, Options};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Origin};
use serde_json::{Value, json};

use crate::site::Site;

/// The pause between two requests of a client.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub struct Served {
    engine: Led,
    uuid: String,
    stop: Arc<AtomicBool>,
    /// Requests that were answered, and what became of others.
    client: Option<JoinHandle<(usize, Vec<String>)>>,
    _origin: Origin,
}

impl Served {
    /// One that knows the leader alone, with a service and a client that asks all the while.
    pub fn start(lab: &Lab, site: &Site, leader: usize) -> Self {
        let admin = site.admin(leader);
        let make = |path: &str, object: Value| {
            let (status, made) = admin.send("POST", &format!("/api/{path}"), &object);
            assert_eq!(status, 201, "{made}");
            made
        };
        let token = make("se-token", json!({}))["token"].as_str().expect("a text").to_owned();
        let mut engine = Led::start(lab, site.nodes[leader].engines, &token, &Options::default());
        let (server, vip) = (lab.address(), lab.address());
        let origin = Origin::fixed(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let ip = |of: SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
        let pool =
            make("pool", json!({"name": "served", "servers": [{"ip": ip(server), "port": server.port()}]}));
        let addresses = make("vsvip", json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}));
        let service = json!({
            "name": "s",
            "vsvip_ref": addresses["url"],
            "pool_ref": pool["url"],
            "services": [{"port": vip.port()}],
        });
        make("virtualservice", service);
        let ask = move || Client::new(vip).get_once("/").map(|answer| answer.status);
        eventually("the service serves", secs(20), || ask().is_ok_and(|status| status == 200));
        engine.says("SE_ENROLLED");
        let uuid = engine.uuid();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let client = std::thread::spawn(move || {
            let (mut good, mut bad) = (0, Vec::new());
            while !stopping.load(Ordering::Relaxed) {
                match ask() {
                    Ok(200) => good += 1,
                    other => bad.push(format!("{other:?}")),
                }
                std::thread::sleep(LOOK_EVERY);
            }
            (good, bad)
        });
        Served { engine, uuid, stop, client: Some(client), _origin: origin }
    }

    /// Waits until it hangs on this node, and says how long that took.
    pub fn is_attached_to(&mut self, site: &Site, node: usize, since: Instant) -> Duration {
        let there = format!("controller=\"{}\"", site.nodes[node].engines);
        let plain = format!("controller={}", site.nodes[node].engines);
        eventually("the engine is with the new leader", secs(20), || {
            let printed = self.engine.process.printed();
            let last = printed.lines().rev().find(|line| line.contains("CONTROLLER_REACHED"));
            last.is_some_and(|line| line.contains(&there) || line.contains(&plain))
        });
        let took = since.elapsed();
        eventually("the new leader knows it", secs(20), || {
            let path = format!("/api/serviceengine/{}/channel", self.uuid);
            let seen = site.admin(node).get(&path).1;
            seen["up"] == true && seen["configuration"]["current"] == true
        });
        took
    }

    /// No request went wrong meanwhile.
    pub fn ends(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (good, bad) = self.client.take().expect("once").join().expect("a client");
        assert!(good > 10 && bad.is_empty(), "{good} requests were answered, and not: {bad:?}");
    }
}
