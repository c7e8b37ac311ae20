//! The table of algorithms: API, documents and tests read it.

use alloc::string::String;

use super::{
    Gate, Pool, consistent_hash, core_affinity, fastest_response, fewest_servers, fewest_tasks,
    least_connections, least_load, random, round_robin,
};
use crate::decide::Input;
use crate::id::ServerIndex;
use crate::reason::names;
use crate::units::Micros;

/// A pool's algorithm, with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Algorithm {
    /// The fewest open connections for its weight.
    #[default]
    LeastConnections,
    /// In turn, by weight.
    RoundRobin {
        /// One turn for all workers of the service engine instead of one per worker.
        per_se: bool,
    },
    /// The shortest response time for its weight and open requests.
    FastestResponse,
    /// The least recent traffic for its weight.
    LeastLoad,
    /// The fewest tasks, as the server's health monitor reports them.
    FewestTasks,
    /// As few servers as carry the load, in the order of the list.
    FewestServers {
        /// Response time above which a server has no room; 0: twice its own best.
        time_to_first_byte_max: Micros,
    },
    /// The better of two random servers.
    Random,
    /// Each worker uses its own share of the servers.
    CoreAffinity {
        /// How many workers use a server, 1 to 65535.
        nonaffinity: u16,
    },
    /// The same key, the same server.
    ConsistentHash {
        /// What the key is.
        by: HashBy,
        /// Servers of one address count as one, whatever their port.
        ignore_server_port: bool,
        /// Bounded load: a server's open connections stay below this percentage of its fair share, 101 to
        /// 10000; 0: no bound.
        load_max_percent: u16,
    },
}

/// What a consistent hash takes as the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum HashBy {
    /// The client's address.
    #[default]
    SourceIp,
    /// The client's address and port.
    SourceIpAndPort,
    /// The path and query of the request.
    Uri,
    /// The value of this header (lower-case name).
    CustomHeader(String),
    /// A string that a rule or script computes.
    CustomString,
    /// The Call-ID of a SIP message.
    CallId,
}

/// An algorithm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Name {
    /// See [`Algorithm::LeastConnections`].
    LeastConnections,
    /// See [`Algorithm::RoundRobin`].
    RoundRobin,
    /// See [`Algorithm::FastestResponse`].
    FastestResponse,
    /// See [`Algorithm::LeastLoad`].
    LeastLoad,
    /// See [`Algorithm::FewestTasks`].
    FewestTasks,
    /// See [`Algorithm::FewestServers`].
    FewestServers,
    /// See [`Algorithm::Random`].
    Random,
    /// See [`Algorithm::CoreAffinity`].
    CoreAffinity,
    /// See [`Algorithm::ConsistentHash`].
    ConsistentHash,
}

names!(Name {
    LeastConnections => "least_connections", RoundRobin => "round_robin",
    FastestResponse => "fastest_response", LeastLoad => "least_load", FewestTasks => "fewest_tasks",
    FewestServers => "fewest_servers", Random => "random", CoreAffinity => "core_affinity",
    ConsistentHash => "consistent_hash",
});

/// How far the state that an algorithm reads reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The worker's own view, plus the other workers' open connections of limited servers.
    Worker,
    /// One state for the service engine.
    ServiceEngine,
    /// Health monitors' results, alike on all workers of the service engine.
    Monitors,
    /// Nothing but the configuration and the key: alike on all service engines.
    Configuration,
}

type Pick = fn(&mut Pool, &Input<'_>, &Gate<'_>) -> Option<ServerIndex>;

/// One algorithm.
#[derive(Clone, Copy, Debug)]
pub struct AlgorithmEntry {
    /// Its name.
    pub name: Name,
    /// Its name in the API.
    pub api_name: &'static str,
    /// How far the state that it reads reaches.
    pub scope: Scope,
    /// What it does, in one sentence.
    pub doc: &'static str,
    pub(super) pick: Pick,
}

/// All algorithms.
pub const ALGORITHMS: [AlgorithmEntry; 9] = [
    AlgorithmEntry {
        name: Name::LeastConnections,
        api_name: "LB_ALGORITHM_LEAST_CONNECTIONS",
        scope: Scope::Worker,
        doc: "The server with the fewest open connections for its weight; ties in turn.",
        pick: least_connections::pick,
    },
    AlgorithmEntry {
        name: Name::RoundRobin,
        api_name: "LB_ALGORITHM_ROUND_ROBIN",
        scope: Scope::Worker,
        doc: "In turn, smoothly by weight: per worker, or per service engine where asked for.",
        pick: round_robin::pick,
    },
    AlgorithmEntry {
        name: Name::FastestResponse,
        api_name: "LB_ALGORITHM_FASTEST_RESPONSE",
        scope: Scope::Worker,
        doc: "The shortest average response time, times the requests that are open, for its weight.",
        pick: fastest_response::pick,
    },
    AlgorithmEntry {
        name: Name::LeastLoad,
        api_name: "LB_ALGORITHM_LEAST_LOAD",
        scope: Scope::Worker,
        doc: "The fewest bytes lately for its weight, whatever the number of connections.",
        pick: least_load::pick,
    },
    AlgorithmEntry {
        name: Name::FewestTasks,
        api_name: "LB_ALGORITHM_FEWEST_TASKS",
        scope: Scope::Monitors,
        doc: "The fewest tasks by the server's own report, plus what was sent since.",
        pick: fewest_tasks::pick,
    },
    AlgorithmEntry {
        name: Name::FewestServers,
        api_name: "LB_ALGORITHM_FEWEST_SERVERS",
        scope: Scope::Worker,
        doc: "The first server of the list that has room, so that the last ones idle.",
        pick: fewest_servers::pick,
    },
    AlgorithmEntry {
        name: Name::Random,
        api_name: "LB_ALGORITHM_RANDOM",
        scope: Scope::Worker,
        doc: "Two servers at random by ratio, then the one with fewer connections for its weight.",
        pick: random::pick,
    },
    AlgorithmEntry {
        name: Name::CoreAffinity,
        api_name: "LB_ALGORITHM_CORE_AFFINITY",
        scope: Scope::Worker,
        doc: "Least connections within the worker's own share of the servers.",
        pick: core_affinity::pick,
    },
    AlgorithmEntry {
        name: Name::ConsistentHash,
        api_name: "LB_ALGORITHM_CONSISTENT_HASH",
        scope: Scope::Configuration,
        doc: "The same key meets the same server; a lost server moves its own keys only.",
        pick: consistent_hash::pick,
    },
];

impl Name {
    /// The algorithm's line of the table.
    pub fn entry(self) -> &'static AlgorithmEntry {
        &ALGORITHMS[self as usize]
    }
}

impl Algorithm {
    /// The algorithm's name.
    pub const fn name(&self) -> Name {
        match self {
            Self::LeastConnections => Name::LeastConnections,
            Self::RoundRobin { .. } => Name::RoundRobin,
            Self::FastestResponse => Name::FastestResponse,
            Self::LeastLoad => Name::LeastLoad,
            Self::FewestTasks => Name::FewestTasks,
            Self::FewestServers { .. } => Name::FewestServers,
            Self::Random => Name::Random,
            Self::CoreAffinity { .. } => Name::CoreAffinity,
            Self::ConsistentHash { .. } => Name::ConsistentHash,
        }
    }

    /// The algorithm with its default settings.
    pub const fn of(name: Name) -> Self {
        match name {
            Name::LeastConnections => Self::LeastConnections,
            Name::RoundRobin => Self::RoundRobin { per_se: false },
            Name::FastestResponse => Self::FastestResponse,
            Name::LeastLoad => Self::LeastLoad,
            Name::FewestTasks => Self::FewestTasks,
            Name::FewestServers => Self::FewestServers { time_to_first_byte_max: Micros(0) },
            Name::Random => Self::Random,
            Name::CoreAffinity => Self::CoreAffinity { nonaffinity: 2 },
            Name::ConsistentHash => {
                Self::ConsistentHash { by: HashBy::SourceIp, ignore_server_port: false, load_max_percent: 0 }
            }
        }
    }
}

impl HashBy {
    /// All keys: short name, API name, and the key with `header` as its header.
    pub const NAMES: [(&'static str, &'static str); 6] = [
        ("source_ip", "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS"),
        ("source_ip_and_port", "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT"),
        ("uri", "LB_ALGORITHM_CONSISTENT_HASH_URI"),
        ("custom_header", "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER"),
        ("custom_string", "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_STRING"),
        ("call_id", "LB_ALGORITHM_CONSISTENT_HASH_CALLID"),
    ];

    /// Finds a key by either name; `header` is the lower-case name for `custom_header`.
    pub fn parse(name: &str, header: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|(short, api)| *short == name || *api == name)?;
        Some(match at {
            0 => Self::SourceIp,
            1 => Self::SourceIpAndPort,
            2 => Self::Uri,
            3 => Self::CustomHeader(header.into()),
            4 => Self::CustomString,
            _ => Self::CallId,
        })
    }

    /// The short name.
    pub const fn as_str(&self) -> &'static str {
        Self::NAMES[match self {
            Self::SourceIp => 0,
            Self::SourceIpAndPort => 1,
            Self::Uri => 2,
            Self::CustomHeader(_) => 3,
            Self::CustomString => 4,
            Self::CallId => 5,
        }]
        .0
    }
}

/// Why a pool cannot have the algorithm of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOffered {
    /// It chooses between sites by the client's location, not between servers of one pool.
    GlobalOnly,
    /// There is no algorithm of this name.
    Unknown,
}

impl core::fmt::Display for NotOffered {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::GlobalOnly => "chooses between sites of a global service, not between servers of one pool",
            Self::Unknown => "is not the name of an algorithm",
        })
    }
}

/// Finds an algorithm by its short name or its API name, with default settings.
///
/// # Errors
/// [`NotOffered`]: nearest server and topology belong to global services.
//= LB-NAME-01
pub fn parse(name: &str) -> Result<Algorithm, NotOffered> {
    match name {
        "nearest_server" | "LB_ALGORITHM_NEAREST_SERVER" | "topology" | "LB_ALGORITHM_TOPOLOGY" => {
            Err(NotOffered::GlobalOnly)
        }
        _ => ALGORITHMS
            .iter()
            .find(|a| a.name.as_str() == name || a.api_name == name)
            .map(|a| Algorithm::of(a.name))
            .ok_or(NotOffered::Unknown),
    }
}
