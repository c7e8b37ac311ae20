//! HTTP/2 to servers, by other people's servers: the h2 crate and nghttpd.

mod grpc;
mod requests;
mod server;
mod sharing;

use std::net::SocketAddr;

use forebay_e2e::{Client, Engine, Lab, Options, config};
use server::{Manner, Server};

/// One service over HTTP/1.1 in front of servers that speak HTTP/2; one worker, so that connections can be counted.
struct Scene {
    engine: Engine,
    servers: Vec<Server>,
    at: SocketAddr,
    _lab: Lab,
}

impl Scene {
    fn new(pool: &str, manners: &[Manner]) -> Scene {
        let lab = Lab::new();
        let servers: Vec<Server> =
            manners.iter().map(|manner| Server::start(lab.address(), *manner)).collect();
        let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        let at = lab.address();
        let engine =
            lab.engine_with(&text(at, pool, &addresses), Options { workers: 1, ..Options::default() });
        Scene { engine, servers, at, _lab: lab }
    }

    fn one() -> Scene {
        Scene::new("", &[Manner::default()])
    }

    fn client(&self) -> Client {
        Client::new(self.at)
    }

    fn metric(&self, name: &str) -> f64 {
        self.engine.metric(name, &[])
    }
}

/// The configuration.
fn text(at: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    let keys =
        format!("enable_http2 = true\nalgorithm = \"round_robin\"\npassive_health_monitor = false\n{pool}");
    config::COOKIE_KEY.to_owned() + &config::service("web", at) + &config::pool("web", &keys, servers)
}
