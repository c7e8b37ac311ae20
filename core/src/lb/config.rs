//! A pool's configuration.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Algorithm, HashBy};
use crate::id::{Endpoint, PoolId, ServerId, VsId};
use crate::limits::{
    DOWN_GRACE_MAX_S, GRACE_MAX_MIN, HEADER_VALUE_MAX, QUEUE_DEPTH_MAX, RAMP_MAX_MIN, RATIO_MAX, SERVERS_MAX,
};
use crate::persist::{Kind, Profile};
use crate::problem::Problem;
use crate::units::{Micros, Minutes, Seconds};

/// A pool: servers, and how to choose among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PoolConfig {
    /// The virtual service that the pool serves.
    pub vs: VsId,
    /// The pool.
    pub id: PoolId,
    /// How a server is chosen.
    pub algorithm: Algorithm,
    /// How clients are bound to servers.
    pub persistence: Option<Profile>,
    /// Slow start: how long a server that came up takes to reach its full weight; 0: at once.
    pub ramp: Minutes,
    /// What a disabled server still does.
    pub disable: DisablePolicy,
    /// How long a server that went down keeps its open connections.
    pub down_grace: Grace,
    /// Connections that each server may have open; 0: no limit.
    pub connections_max: u32,
    /// Whether requests wait when all servers are at their limit.
    pub queue: Option<QueueConfig>,
    /// What happens when no server may serve.
    pub fail_action: FailAction,
    /// The servers, in the user's order.
    pub servers: Vec<ServerConfig>,
}

impl PoolConfig {
    /// The defaults of the API, without servers.
    pub const fn new(vs: VsId, id: PoolId) -> Self {
        Self {
            vs,
            id,
            algorithm: Algorithm::LeastConnections,
            persistence: None,
            ramp: Minutes(10),
            disable: DisablePolicy {
                kind: DisableType::DisallowNewConnection,
                grace: Grace::For(Minutes(1).seconds()),
            },
            down_grace: Grace::Unlimited,
            connections_max: 0,
            queue: None,
            fail_action: FailAction::CloseConnection,
            servers: Vec::new(),
        }
    }
}

/// One server of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerConfig {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its share relative to the others, 1 to 20; 0: no new clients, only those that are bound to it.
    pub ratio: u8,
    /// False: disabled by the administrator.
    pub enabled: bool,
    /// Its own connection limit; 0: the pool's.
    pub connections_max: u32,
    /// The value of the persistence header that means this server; empty: none.
    pub header_value: Vec<u8>,
}

impl ServerConfig {
    /// An enabled server of ratio 1.
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, ratio: 1, enabled: true, connections_max: 0, header_value: Vec::new() }
    }
}

/// What a disabled server still does, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DisablePolicy {
    /// Whether it serves its persistent clients.
    pub kind: DisableType,
    /// How long its connections, and its service to persistent clients, go on.
    pub grace: Grace,
}

/// Whether a disabled server serves its persistent clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DisableType {
    /// No new connection at all.
    #[default]
    #[cfg_attr(feature = "serde", serde(alias = "DISALLOW_NEW_CONNECTION"))]
    DisallowNewConnection,
    /// New connections of clients that are bound to it.
    #[cfg_attr(feature = "serde", serde(alias = "ALLOW_NEW_CONNECTION_IF_PERSISTENCE_PRESENT"))]
    AllowNewConnectionIfPersistencePresent,
}

/// How long something that ends may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Grace {
    /// It ends at once (0 in the API).
    Immediate,
    /// It ends after this time.
    For(Seconds),
    /// It goes on (-1 in the API).
    Unlimited,
}

impl Grace {
    /// That of a disabled server, from the API's number of minutes: 0 immediate, -1 unlimited, up to 7200.
    pub fn from_minutes(minutes: i32) -> Option<Self> {
        Self::from_number(minutes, GRACE_MAX_MIN, |m| Minutes(m).seconds())
    }

    /// That of a server found down, from the API's number of seconds: 0 immediate, -1 unlimited, up to 432000.
    pub fn from_seconds(seconds: i32) -> Option<Self> {
        Self::from_number(seconds, DOWN_GRACE_MAX_S, Seconds)
    }

    fn from_number(number: i32, max: u32, unit: impl Fn(u32) -> Seconds) -> Option<Self> {
        match number {
            0 => Some(Self::Immediate),
            -1 => Some(Self::Unlimited),
            n => u32::try_from(n).ok().filter(|n| *n <= max).map(|n| Self::For(unit(n))),
        }
    }

    /// The time; `None` if it has no end.
    pub const fn micros(self) -> Option<Micros> {
        match self {
            Self::Immediate => Some(Micros(0)),
            Self::For(s) => Some(s.micros()),
            Self::Unlimited => None,
        }
    }
}

/// Requests wait when all servers are at their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueueConfig {
    /// How many may wait, 1 to 65535; 128 by default in the API.
    pub depth: u32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { depth: 128 }
    }
}

/// What happens when no server may serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FailAction {
    /// Close the client's connection.
    #[default]
    CloseConnection,
    /// Answer from here.
    LocalResponse {
        /// HTTP status, 200 to 599.
        status: u16,
        /// Body, with its content type decided by the host.
        body: String,
    },
    /// Send the client elsewhere.
    Redirect {
        /// 301, 302, 307 or 308.
        status: u16,
        /// Absolute address.
        location: String,
    },
}

impl PoolConfig {
    /// Returns all problems of the pool; paths are relative to it.
    //= LB-CONFIG-01
    pub fn check(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        self.check_servers(&mut out);
        self.check_algorithm(&mut out);
        if let Some(profile) = &self.persistence {
            for p in profile.check() {
                out.push(Problem { path: format!("persistence.{}", p.path), ..p });
            }
            if matches!(profile.kind, Kind::CustomHeader(_))
                && self.servers.iter().all(|s| s.header_value.is_empty())
            {
                out.push(Problem::new(
                    "server",
                    "header persistence needs header values, and no server has one",
                    "set header_value on the servers",
                ));
            }
        }
        if self.ramp.0 > RAMP_MAX_MIN {
            out.push(Problem::new(
                "connection_ramp_duration_min",
                format!("{} minutes is longer than a slow start may last", self.ramp.0),
                format!("write 0 to {RAMP_MAX_MIN}"),
            ));
        }
        if let Some(q) = self.queue.filter(|q| q.depth == 0 || q.depth > QUEUE_DEPTH_MAX) {
            out.push(Problem::new(
                "request_queue.depth",
                format!("{} requests cannot wait", q.depth),
                format!("write 1 to {QUEUE_DEPTH_MAX}, or disable the queue"),
            ));
        }
        match &self.fail_action {
            FailAction::CloseConnection => {}
            FailAction::LocalResponse { status, .. } if !(200..=599).contains(status) => {
                out.push(Problem::new("fail_action.status", "not a final HTTP status", "write 200 to 599"));
            }
            FailAction::Redirect { status, .. } if !matches!(status, 301 | 302 | 307 | 308) => {
                out.push(Problem::new("fail_action.status", "not a redirect", "write 301, 302, 307 or 308"));
            }
            _ => {}
        }
        out
    }

    fn check_servers(&self, out: &mut Vec<Problem>) {
        if self.servers.len() > SERVERS_MAX {
            out.push(Problem::new(
                "server",
                format!("the pool has {} servers", self.servers.len()),
                format!("split it: a pool holds at most {SERVERS_MAX}"),
            ));
        }
        let mut seen: Vec<(ServerId, usize)> =
            self.servers.iter().enumerate().map(|(i, s)| (ServerId::of(s.endpoint), i)).collect();
        seen.sort_unstable();
        for pair in seen.windows(2) {
            if pair[0].0 == pair[1].0 {
                let (a, b) = (pair[0].1, pair[1].1);
                let reason = if self.servers[a].endpoint == self.servers[b].endpoint {
                    format!("{} stands in the pool twice, also as server[{a}]", self.servers[b].endpoint)
                } else {
                    format!("its id meets that of server[{a}] ({})", self.servers[a].endpoint)
                };
                out.push(Problem::new(
                    format!("server[{b}].address"),
                    reason,
                    "remove one, or change its port",
                ));
            }
        }
        for (i, server) in self.servers.iter().enumerate() {
            if server.ratio > RATIO_MAX {
                out.push(Problem::new(
                    format!("server[{i}].ratio"),
                    format!("{} is too high", server.ratio),
                    format!("write 1 to {RATIO_MAX}, or 0 for no new clients"),
                ));
            }
            if server.header_value.len() > HEADER_VALUE_MAX {
                out.push(Problem::new(
                    format!("server[{i}].header_value"),
                    format!("{} bytes are too long", server.header_value.len()),
                    format!("use at most {HEADER_VALUE_MAX}"),
                ));
            }
        }
        let mut values: Vec<(&[u8], usize)> = self
            .servers
            .iter()
            .enumerate()
            .filter(|(_, s)| !s.header_value.is_empty())
            .map(|(i, s)| (&s.header_value[..], i))
            .collect();
        values.sort_unstable();
        for pair in values.windows(2) {
            if pair[0].0 == pair[1].0 {
                out.push(Problem::new(
                    format!("server[{}].header_value", pair[1].1),
                    format!("server[{}] has the same value", pair[0].1),
                    "give each server its own value",
                ));
            }
        }
    }

    fn check_algorithm(&self, out: &mut Vec<Problem>) {
        match &self.algorithm {
            Algorithm::CoreAffinity { nonaffinity: 0 } => out.push(Problem::new(
                "core_nonaffinity",
                "no worker would use any server",
                "write 1 or more, usual is 2",
            )),
            Algorithm::ConsistentHash { by: HashBy::CustomHeader(name), .. }
                if name.is_empty() || name.chars().any(|c| c.is_ascii_uppercase()) =>
            {
                out.push(Problem::new(
                    "hash_header",
                    "the hash needs a header's name in lower case",
                    "name one, for example \"x-tenant\"",
                ));
            }
            Algorithm::ConsistentHash { load_max_percent: p, .. }
                if *p != 0 && !(101..=10_000).contains(p) =>
            {
                out.push(Problem::new(
                    "hash_load_max_percent",
                    format!("{p} % of the fair share cannot be kept"),
                    "write 101 to 10000, usual is 125, or 0 for no bound",
                ));
            }
            _ => {}
        }
    }
}
