//! HTTP/1.1 through the service engine, both sides on real sockets.

mod answers;
mod bulk;
mod commands;
mod connections;
mod framing;
mod headers;
mod logs;
mod queue;
mod retries;
mod rules;
mod streams;
mod timeouts;
mod upgrades;

use std::net::SocketAddr;

use forebay_e2e::{Client, Engine, Lab, Origin, config};

/// One service in front of scripted servers.
pub struct Proxied {
    /// The service engine.
    pub engine: Engine,
    /// Where the service listens.
    pub at: SocketAddr,
    /// The servers.
    pub origins: Vec<Origin>,
    /// Where all of it lives.
    pub lab: Lab,
}

impl Proxied {
    /// In front of servers that `make` starts at the addresses it is given.
    pub fn new<const N: usize>(
        pool: &str,
        sections: &str,
        make: impl Fn(usize, SocketAddr) -> Origin,
    ) -> Self {
        let lab = Lab::new();
        let addresses: [SocketAddr; N] = lab.addresses();
        let origins: Vec<Origin> = addresses.iter().enumerate().map(|(n, a)| make(n, *a)).collect();
        let at = lab.address();
        // The servers of these tests fail on purpose; that must not take them out of service.
        let keys = format!("algorithm = \"round_robin\"\npassive_health_monitor = false\n{pool}");
        let text = config::COOKIE_KEY.to_owned()
            + &config::service("web", at)
            + &config::pool("web", &keys, &addresses)
            + sections;
        let engine = lab.engine(&text);
        Self { engine, at, origins, lab }
    }

    /// In front of one server that answers each request with what `answer` makes of its head.
    pub fn one(sections: &str, answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let answer = std::sync::Arc::new(answer);
        Self::new::<1>("", sections, move |_, address| {
            let answer = answer.clone();
            Origin::answering(address, move |head| answer(head))
        })
    }

    /// A client of the service.
    pub fn client(&self) -> Client {
        Client::new(self.at)
    }

    /// Heads that the first server got, health checks apart.
    pub fn heads(&self) -> Vec<String> {
        self.origins[0].heads()
    }
}
