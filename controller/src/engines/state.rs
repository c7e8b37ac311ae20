//! What is known of one engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_wire::Sections;

use super::Given;

/// An engine sends a report this often, unless the Controller was started with another time.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// After so many that did not come it counts as gone.
pub const MISSED_MAX: u32 = 6;

/// An engine: who it is, and what it has told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Engine {
    /// The uuid of its object (`serviceengine`).
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The uuid of its group (`serviceenginegroup`).
    pub group: String,
    /// The uuid of its cloud.
    pub cloud: String,
    /// The uuid of its tenant.
    pub tenant: String,
    /// The word of its object that says whether it may be used, as in `SE_STATE_ENABLED`.
    pub enable_state: String,
    /// Its place among the engines of its group that share tables; `None`: it has not enrolled.
    pub slot: Option<u8>,
    /// Where it is reached by other engines: what it says, else the address from which it calls the Controller.
    pub address: Option<IpAddr>,
    /// The port for that, where it is another one than the group's: engines of one machine.
    pub sync_port: Option<u16>,
    /// The Redis beside it, as it calls that.
    pub redis: Option<String>,
    /// It knows members that only read: the Controller may mirror its tables.
    pub takes_mirror: bool,
    /// The Controller's address by which it came; from there its mirror calls the engine.
    pub door: Option<IpAddr>,
    /// It has a stream open.
    pub is_connected: bool,
    /// When its stream was opened.
    pub since: Option<Instant>,
    /// When it last said anything.
    pub heard: Option<Instant>,
    /// It counts as gone when nothing was heard of it for longer than this.
    pub patience: Duration,
    /// Other engines of its machine listen on the addresses of its services, as it says.
    pub shares_addresses: bool,
    /// The version of its software.
    pub software: String,
    /// The configuration that was sent to it last; 0: none yet.
    pub sent: u64,
    /// The configuration that it works by; 0: none yet.
    pub applied: u64,
    /// What it works by, as far as it was compared since its stream was opened; `None`: it has had no stream.
    pub configured: Option<Arc<Sections>>,
    /// Why it does not work by what was sent last.
    pub problems: Vec<String>,
    /// Why no configuration can be made for it.
    pub unmade: Vec<String>,
    /// The services and pools that it was given: it may tell of these alone.
    pub given: Arc<Given>,
    /// Services that are not in its configuration though they are placed on it, by their uuids, and why.
    pub left_out: BTreeMap<String, Vec<String>>,
    /// Services that it could not take as its configuration says, by their uuids.
    pub untaken: BTreeMap<String, Untaken>,
    /// Settings that take effect when it starts the next time.
    pub pending: Vec<String>,
    /// What it runs on.
    pub machine: Machine,
    /// What it says of its services, by their names in its configuration.
    pub services: BTreeMap<String, Service>,
    /// What it says of the servers of its pools, by the name of the pool and the server's address.
    pub servers: BTreeMap<(String, String), Server>,
    /// Its tables are as complete as those of the others: it lets clients in.
    pub has_tables: bool,
    /// How it stands with the other engines of its group.
    pub peers: Vec<Peer>,
    /// Messages of reports that told all, or of servers, since this Controller began.
    pub reports: u64,
    /// More of its last report is to come.
    pub is_telling: bool,
}

/// A service that an engine could not take as its configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untaken {
    /// It does not serve it; else it serves it as it was before, or without a part.
    pub is_left_out: bool,
    /// Why, in its words.
    pub why: Vec<String>,
    /// That is for its machine, and not for the service: another engine may have it.
    pub may_mend: bool,
}

/// What an engine runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Processor cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// The networks that it has routes to, each with the length of its prefix; a default route is none.
    pub routes: Vec<(IpAddr, u8)>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, as in `02:00:00:00:00:01`; empty if it has none.
    pub mac: String,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// It is up.
    pub is_up: bool,
    /// It leads to this machine only.
    pub is_loopback: bool,
    /// The longest packet, bytes.
    pub mtu: u32,
}

/// A service on one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// It has a server that can be used.
    pub is_up: bool,
    /// The engine listens on its addresses.
    pub is_listening: bool,
    /// Client connections that are open.
    pub connections: u64,
}

/// A server as one engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `up`, `down`, `checking` or `maintenance`.
    pub state: String,
    /// Why.
    pub why: String,
}

/// Another engine of the group, as one engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its slot.
    pub slot: u8,
    /// They are connected.
    pub is_connected: bool,
    /// Changes that it has not acknowledged yet.
    pub waiting: u64,
    /// Its tables are equal, by the last comparison.
    pub is_equal: bool,
}

impl Engine {
    /// It is there: it has a stream open, or was heard of lately enough.
    //= CHAN-HEART-01
    pub fn is_up(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) <= self.patience)
    }

    /// It may tell of this service of its configuration: what it kept of another one does not count.
    //= PLACE-TOLD-01
    pub fn is_to_have(&self, service: &str) -> bool {
        let key = format!("virtual_service/{service}");
        self.configured.as_ref().is_none_or(|sections| sections.contains_key(&key))
    }

    /// Why it does not serve a service that is placed on it: what the Controller left out, and what the engine did.
    //= CHAN-PART-06
    pub fn lacks(&self, service: &str) -> Option<&Vec<String>> {
        let own = || self.untaken.get(service).filter(|one| one.is_left_out).map(|one| &one.why);
        self.left_out.get(service).or_else(own)
    }

    /// The services that it does not serve though they are placed on it, and why.
    pub fn lacking(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        let own =
            self.untaken.iter().filter(|(uuid, one)| one.is_left_out && !self.left_out.contains_key(*uuid));
        self.left_out.iter().chain(own.map(|(uuid, one)| (uuid, &one.why)))
    }

    /// The services that it does not serve as its machine is, and why: another engine may have them.
    //= PLACE-REFUSED-01
    pub fn refused(&self) -> impl Iterator<Item = (&String, &String)> {
        let own = self.untaken.iter().filter(|(_, one)| one.is_left_out && one.may_mend);
        own.filter_map(|(uuid, one)| Some((uuid, one.why.first()?)))
    }

    /// The services that it serves as they were before, or without a part, and why.
    pub fn as_before(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.untaken.iter().filter(|(_, one)| !one.is_left_out).map(|(uuid, one)| (uuid, &one.why))
    }

    /// It works by the last configuration that was sent to it.
    pub fn is_current(&self) -> bool {
        self.sent > 0 && self.sent == self.applied && self.problems.is_empty()
    }
}
