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
    /// Where it listens, and from which address it calls. One that only reads listens nowhere: its port says nothing.
    pub address: SocketAddr,
    /// It only reads (SYNC-READER-01): it calls, and is waited for by nobody.
    pub reads: bool,
    /// The address from which this engine calls it, where it is another one than that on which it listens.
    pub from: Option<IpAddr>,
}

/// Where an engine listens, whom it knows, and who it is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its place.
    pub me: EngineSlot,
    /// It only reads: it calls every member, and listens for nobody.
    pub reads: bool,
    /// Members need not keep the same tables: each has those of the services that it was given.
    pub tables_of_its_own: bool,
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
    /// The other members, one bit a slot; those that only read are none of them.
    pub fn mask(&self) -> u64 {
        self.bits(|member| !member.reads)
    }

    /// Those that only read, one bit a slot, this engine perhaps.
    pub fn readers(&self) -> u64 {
        self.bits(|member| member.reads) | u64::from(self.reads) << self.me.get()
    }

    fn bits(&self, of: impl Fn(&Member) -> bool) -> u64 {
        let members = self.members.iter().filter(|member| of(member));
        members.fold(0, |bits, member| bits | 1 << member.slot.get())
    }

    /// Whether one of the others only reads.
    pub(crate) fn is_reader(&self, slot: EngineSlot) -> bool {
        self.members.iter().any(|member| member.slot == slot && member.reads)
    }

    /// Whether this engine calls a member: the lower slot does, and who only reads in any case.
    //= SYNC-MIRROR-01
    pub(crate) fn calls(&self, member: &Member) -> bool {
        self.reads || !member.reads && self.me < member.slot
    }

    /// Those who may call from an address.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.address.ip() == address || self.is_anywhere(member))
    }

    /// Whether a member may call from anywhere: the mirror of a Controller, which is on another machine whenever another one
    /// leads. Its certificate says who it is.
    //= SYNC-MIRROR-01
    pub(crate) fn is_anywhere(&self, member: &Member) -> bool {
        self.tables_of_its_own && member.reads
    }
}

/// Which connections a firewall must let through for this engine: who calls, and where.
pub fn open_ports(settings: &Settings) -> Vec<(IpAddr, SocketAddr)> {
    let known = settings.members.iter().filter(|member| !settings.is_anywhere(member));
    let each = known.map(|member| {
        if settings.calls(member) {
            (member.from.unwrap_or(settings.listen.ip()), member.address)
        } else {
            (member.address.ip(), settings.listen)
        }
    });
    each.collect()
}
