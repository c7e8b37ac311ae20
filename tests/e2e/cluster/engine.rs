//! An engine that serves while the Controllers change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forebay_e2e::client::Client;
use forebay_e2e::led::{Led, Options};
use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Origin};
use serde_json::{Value, json};

use crate::site::Site;

/// The pause between two requests of a client.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Clients that have an entry each, with addresses of their own, beside the one that asks all the while.
const CLIENTS: u32 = 7;

pub struct Served {
    engine: Led,
    uuid: String,
    /// Where its service is.
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Requests that were answered.
    good: Arc<AtomicUsize>,
    /// What became of others.
    client: Option<JoinHandle<Vec<String>>>,
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
        let pool = json!({
            "name": "served",
            "servers": [{"ip": ip(server), "port": server.port()}],
            "application_persistence_profile_ref":
                "/api/applicationpersistenceprofile?name=System-Persistence-Client-IP",
        });
        let pool = make("pool", pool);
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
        let good = Arc::new(AtomicUsize::new(0));
        let (stopping, counted) = (Arc::clone(&stop), Arc::clone(&good));
        let client = std::thread::spawn(move || {
            let mut bad = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                match ask() {
                    Ok(200) => drop(counted.fetch_add(1, Ordering::Relaxed)),
                    other => bad.push(format!("{other:?}")),
                }
                std::thread::sleep(LOOK_EVERY);
            }
            bad
        });
        Served { engine, uuid, at: vip, stop, good, client: Some(client), _origin: origin }
    }

    /// Each client comes, so that the engine has an entry of it and the leader mirrors all of them; says how often the engine has
    /// loaded a configuration by then.
    //= test SYNC-MIRROR-04
    pub fn is_mirrored_by(&self, lab: &Lab, site: &Site, leader: usize) -> usize {
        for client in 0..CLIENTS {
            let mut client = Client::new(self.at).from(lab.client_ip(client));
            assert_eq!(client.get_once("/").expect("an answer").status, 200);
        }
        self.is_mirrored_still_by(site, leader);
        self.engine.said("CONFIG_LOADED")
    }

    /// The engine has the entries of all, and so has the mirror of this leader.
    pub fn is_mirrored_still_by(&self, site: &Site, leader: usize) {
        let all = f64::from(CLIENTS + 1);
        let admin = site.admin(leader);
        let group = admin.get("/api/serviceenginegroup?name=Default-Group").1["results"][0]["uuid"].clone();
        let path = format!("/api/serviceenginegroup/{}/mirror", group.as_str().expect("a uuid"));
        let mut seen = Value::Null;
        eventually("the mirror of the leader has all entries", secs(30), || {
            seen = admin.get(&path).1;
            let engine = &seen["engines"][0];
            let is_equal = engine["synced"] == true && engine["cells_differ"] == 0;
            seen["entries"].as_f64() == Some(all) && is_equal
        });
        let page = Page::read(self.engine.metrics).expect("its metrics");
        assert_eq!(page.sum("forebay_persistence_entries", &[]), all, "none has gone at the engine: {seen}");
    }

    /// It has loaded nothing since.
    //= test SYNC-MIRROR-01
    pub fn has_loaded(&self, times: usize) {
        assert_eq!(self.engine.said("CONFIG_LOADED"), times, "another leader is no other configuration");
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

    /// Nobody leads it, and it answers: so many requests since it was asked first.
    pub fn serves_alone(&self) -> usize {
        let before = self.good.load(Ordering::Relaxed);
        eventually("it serves without a Controller", secs(30), || {
            self.good.load(Ordering::Relaxed) >= before + 100
        });
        self.good.load(Ordering::Relaxed) - before
    }

    /// No request went wrong meanwhile.
    pub fn ends(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let bad = self.client.take().expect("once").join().expect("a client");
        let good = self.good.load(Ordering::Relaxed);
        assert!(good > 10 && bad.is_empty(), "{good} requests were answered, and not: {bad:?}");
    }
}
