//! The usual scene: one virtual service in front of three demo servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::Client;
use crate::{Demo, Engine, Lab, Options, config};

/// One virtual service `web`, its pool `web`, and demo servers `a`, `b`, `c`.
pub struct Scene {
    /// The service engine.
    pub engine: Engine,
    /// The servers.
    pub servers: Vec<Demo>,
    /// Where the service listens.
    pub at: SocketAddr,
    /// Where all of it lives.
    pub lab: Lab,
}

impl Scene {
    /// With further keys of the pool, and further sections.
    pub fn new(pool: &str, sections: &str) -> Self {
        Self::with(Lab::new(), pool, sections, Options::default())
    }

    /// With options for the service engine.
    pub fn with(lab: Lab, pool: &str, sections: &str, options: Options) -> Self {
        let servers = Vec::from(lab.demos(["a", "b", "c"]));
        let at = lab.address();
        let addresses: Vec<SocketAddr> = servers.iter().map(|s| s.address).collect();
        let text = format!(
            "{}{}{}{sections}",
            config::COOKIE_KEY,
            config::service("web", at),
            config::pool("web", pool, &addresses)
        );
        let engine = lab.engine_with(&text, options);
        Self { engine, servers, at, lab }
    }

    /// A client of the service.
    pub fn client(&self) -> Client {
        Client::new(self.at)
    }

    /// The server of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn server(&mut self, name: &str) -> &mut Demo {
        self.servers.iter_mut().find(|s| s.name == name).expect("a server of this scene")
    }
}

/// How many answers each server gave.
pub fn tally(servers: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for server in servers {
        *tally.entry(server).or_default() += 1;
    }
    tally
}
