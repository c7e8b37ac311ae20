//! Servers that do the same work, and how one of them is picked.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, SocketAddr};

use crate::read::{section, words};
use crate::rules;

//= CFG-DEFAULT-01
section! {
    /// Servers that do the same work.
    pub struct Pool {
        /// Its name.
        name: String, is rules::name;
        /// How a server is picked.
        algorithm: Algorithm = Algorithm::LeastConnections;
        /// What `consistent_hash` hashes.
        hash_by: HashBy = HashBy::SourceIp;
        /// The header that `hash_by = "custom_header"` hashes.
        hash_header: Option<String> = None, is rules::token_if_given;
        /// Bounded load: a server's open connections stay below this percentage of its fair share under `consistent_hash`: 101 to 10000; 0: no bound. What lies between cannot be kept and is refused.
        hash_load_max_percent: u16 = 0, in 0..=10_000;
        /// Round robin over all workers together, not for each worker by itself.
        round_robin_per_engine: bool = false;
        /// Workers that share one server under `core_affinity`.
        core_nonaffinity: u16 = 2, in 1..=65_535;
        /// Leave the server's port out of hash keys.
        ignore_server_port: bool = false;
        /// The `[[persistence]]` that keeps a client on its server; absent: none.
        persistence: Option<String> = None;
        /// The `[[health_monitor]]`s that all must succeed; none: a server counts as up.
        health_monitors: Vec<String> = Vec::new();
        /// Learn from real traffic that a server fails.
        passive_health_monitor: bool = true;
        /// Minutes over which a server that came up gets its full share; 0: at once.
        connection_ramp_min: u16 = 10, in 0..=300;
        /// The port of servers that name none.
        default_server_port: u16 = 80, in 1..=65_535;
        /// Seconds between the load reports of `fewest_tasks`; planned, refused until then.
        fewest_tasks_feedback_delay_s: u16 = 10, in 1..=300;
        /// Connections to one server at the same time, exact over all workers; 0: no limit.
        max_concurrent_connections_per_server: u32 = 0;
        /// Requests that wait for a server when all are at their limit.
        request_queue: RequestQueue = RequestQueue::default();
        /// Trying another server after a failure.
        server_reselect: ServerReselect = ServerReselect::default();
        /// What a client gets when no server can serve it.
        fail_action: FailAction = FailAction::default();
        /// What a disabled server still accepts.
        server_disable: ServerDisable = ServerDisable::RefuseNew;
        /// Minutes that a disabled server keeps what is open and, under `allow_persistent`, takes its bound clients; then what is open is cut; 0: at once, -1: never.
        graceful_disable_timeout_min: i32 = 1, in -1..=7200;
        /// Seconds that a server found down keeps what is open before it is cut; 0: none, -1: for ever.
        graceful_hm_down_disable_timeout_s: i32 = -1, in -1..=432_000;
        /// Kept connections to the servers.
        connection_pool: ConnectionPool = ConnectionPool::default();
        /// Begin each connection to a server with a header of the PROXY protocol that names the client; no connection is kept for another request then.
        send_proxy_protocol: SendProxy = SendProxy::Off;
        /// How connections to the servers are secured; absent: they speak no TLS.
        tls: Option<crate::pool_tls::PoolTls> = None;
        /// Speak HTTP/2 to the servers, over TLS by ALPN, over clear text without asking first (docs/spec/http2.md): many requests share a connection.
        enable_http2: bool = false;
        /// Speak HTTP/1.1 to servers that do not choose HTTP/2 in the TLS handshake; without it they get no request.
        http2_fallback: bool = false;
        /// The servers; `[]`: none yet, and nobody is served.
        server: Vec<Server>;
    }

    /// One server of a pool.
    pub struct Server {
        /// Its IP address or host name, with a port if it is not the pool's `default_server_port`. Each address of a name is a server of its own (docs/spec/names.md).
        address: ServerAddress;
        /// Its share against the other servers.
        ratio: u8 = 1, in 1..=20;
        /// Whether it gets traffic.
        enabled: bool = true;
        /// The value of the persistence header that means this server.
        header_value: Option<String> = None, is rules::header_value_if_given;
    }

    /// Requests that wait for a server.
    pub struct RequestQueue {
        /// Whether requests wait; else they are refused at once.
        enabled: bool = false;
        /// Requests that may wait, over all workers together.
        depth: u32 = 128, in 1..=65_535;
        /// Milliseconds that a request may wait.
        timeout_ms: u32 = 5_000, in 1..=300_000;
    }

    /// Trying another server after a failure.
    pub struct ServerReselect {
        /// Whether an answer's status (below) leads to another try; failed connections always do.
        enabled: bool = false;
        /// Further servers that one request may try.
        num_retries: u8 = 4, in 0..=50;
        /// Also repeat requests that a server may have executed (POST and the like).
        retry_nonidempotent: bool = false;
        /// Answers that count as a failure.
        statuses: Vec<crate::health::StatusRange> = Vec::new();
    }

    /// What a client gets when no server can serve it.
    pub struct FailAction {
        /// The kind of answer.
        action: FailKind = FailKind::CloseConnection;
        /// The answer's status; absent: 503 for `local_response`, 302 for `redirect`.
        status: Option<u16> = None, in 200..=599;
        /// The body of `local_response`.
        body: String = String::new();
        /// The address of `redirect`.
        location: Option<String> = None, is rules::redirect_if_given;
    }

    /// Kept connections to the servers, for each worker.
    pub struct ConnectionPool {
        /// Milliseconds that an idle connection is kept.
        idle_ms: u32 = 60_000, in 0..=86_400_000;
        /// Milliseconds that a connection lives at most.
        life_ms: u32 = 600_000, in 0..=86_400_000;
        /// Requests on one connection; 0: no limit.
        reuse_max: u32 = 0;
        /// Idle connections kept to one server by one worker.
        idle_connections_max: u16 = 128, in 0..=65_535;
    }

    /// Pools that share or back up each other.
    pub struct PoolGroup {
        /// Its name.
        name: String, is rules::name;
        /// The pools.
        member: Vec<PoolGroupMember>;
        /// Servers that must be up in the highest priority, else the next one serves too. Avi: `min_servers`, by default 0, which means the same as 1, and up to 65535.
        servers_up_min: u32 = 1, in 1..=5_000;
        /// What a client gets when no pool can serve it.
        fail_action: FailAction = FailAction::default();
    }

    /// One pool of a group.
    pub struct PoolGroupMember {
        /// The pool's name.
        pool: String;
        /// Its share against the other pools of the same priority; 0: no new clients, those bound to it stay.
        ratio: u16 = 1, in 0..=1000;
        /// Pools of the highest priority that have a server up serve.
        priority: u32 = 0;
    }
}

words! {
    /// How a server is picked.
    pub enum Algorithm {
        /// The server with the fewest open connections.
        LeastConnections = "least_connections",
        /// One after the other, by ratio.
        RoundRobin = "round_robin",
        /// The server that answers fastest.
        FastestResponse = "fastest_response",
        /// The same key always to the same server.
        ConsistentHash = "consistent_hash",
        /// The server that exchanged the fewest bytes lately.
        LeastLoad = "least_load",
        /// As few servers as the load allows.
        FewestServers = "fewest_servers",
        /// The less loaded of two picked by chance.
        Random = "random",
        /// The server that reports the fewest tasks; planned, refused until then.
        FewestTasks = "fewest_tasks",
        /// Each worker keeps to its own servers.
        CoreAffinity = "core_affinity",
    }

    /// What `consistent_hash` hashes.
    pub enum HashBy {
        /// The client's address.
        SourceIp = "source_ip",
        /// The client's address and port.
        SourceIpPort = "source_ip_port",
        /// The request's path and query.
        Uri = "uri",
        /// The value of a header.
        CustomHeader = "custom_header",
        /// The value of the Call-ID header.
        CallId = "call_id",
        /// The part of the request that a rule's `hash_by` names; without one the client's address.
        CustomString = "custom_string",
    }

    /// What a client gets when no server can serve it.
    pub enum FailKind {
        /// The connection is closed.
        CloseConnection = "close_connection",
        /// An answer made here.
        LocalResponse = "local_response",
        /// A redirect.
        Redirect = "redirect",
    }

    /// The header of the PROXY protocol that servers get.
    pub enum SendProxy {
        /// None.
        Off = "off",
        /// A line of text.
        V1 = "v1",
        /// The binary form.
        V2 = "v2",
    }

    /// What a disabled server still accepts.
    pub enum ServerDisable {
        /// Nothing new.
        RefuseNew = "refuse_new",
        /// New connections of clients that are bound to it.
        AllowPersistent = "allow_persistent",
    }
}

/// Where a server is: at an IP address, or wherever a host name leads; with or without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddress {
    /// The IP address or the name.
    pub host: Host,
    /// The port; `None`: the pool's default.
    pub port: Option<u16>,
}

/// What stands before the port of a server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A host name in small letters, which the engine looks up. With a dot at its end nothing is added to it.
    Name(String),
}

impl ServerAddress {
    pub(crate) fn unset() -> Self {
        Self { host: Host::Ip(IpAddr::from([0, 0, 0, 0])), port: None }
    }

    /// The full address, the pool's port filled in; `None`: it is a name.
    pub fn with_default(&self, port: u16) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port.unwrap_or(port))),
            Host::Name(_) => None,
        }
    }

    /// The host name; `None`: it is an IP address.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Ip(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// Says whether a full address is one that this means; without a port, whatever the port.
    pub fn means(&self, address: SocketAddr) -> bool {
        self.host == Host::Ip(address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

/// The text is neither an IP address nor a host name, with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl FromStr for ServerAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if let Ok(full) = text.parse::<SocketAddr>() {
            return Ok(Self { host: Host::Ip(full.ip()), port: Some(full.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self { host: Host::Ip(ip), port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| NotAnAddress)?)),
            None => (text, None),
        };
        if !rules::is_host_name(name) || port.is_some_and(|port: u16| port == 0) {
            return Err(NotAnAddress);
        }
        Ok(Self { host: Host::Name(name.to_ascii_lowercase()), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
            (Host::Ip(ip), None) => write!(f, "{ip}"),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => f.write_str(name),
        }
    }
}

crate::read::text_serde!(ServerAddress);
