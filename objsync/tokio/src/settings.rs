//! Who the members are and where.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use forebay_core::table::EngineSlot;

use crate::Identity;

/// Another engine of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place.
    pub slot: EngineSlot,
    /// The DNS name that its certificate holds.
    pub name: String,
    /// Where it listens, and from which address it calls.
    pub address: SocketAddr,
}

/// Where an engine listens, whom it knows, and who it is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its place.
    pub me: EngineSlot,
    /// The group's name.
    pub group: String,
    /// The management address, with the port.
    pub listen: SocketAddr,
    /// The other members.
    pub members: Vec<Member>,
    /// Its certificate, and whom it trusts.
    pub identity: Arc<Identity>,
    /// The share of one core that comparing tables may take, in percent.
    pub cpu_percent: u8,
    /// Milliseconds from one comparison with a member to the next.
    pub compare_ms: u64,
}

impl Settings {
    /// The other members, one bit a slot.
    pub fn mask(&self) -> u64 {
        self.members.iter().fold(0, |bits, member| bits | 1 << member.slot.get())
    }

    /// The members at an address.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.address.ip() == address)
    }
}

/// Which connections a firewall must let through for this engine: who calls, and where.
pub fn open_ports(settings: &Settings) -> Vec<(IpAddr, SocketAddr)> {
    let each = settings.members.iter().map(|member| {
        if settings.me < member.slot {
            (settings.listen.ip(), member.address)
        } else {
            (member.address.ip(), settings.listen)
        }
    });
    each.collect()
}
