//! What a plan is made of, and what it says.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::policy::Prefix;

/// An engine, unique within a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineId(pub u32);

/// What moves as one, unique within a plan: services of a lower number get their engines first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceId(pub u32);

/// How a group of engines stands in for one that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ha {
    /// N + M: services need one engine each, and there is room for those of so many engines besides.
    Shared {
        /// M.
        buffer: u32,
    },
    /// Every service is on two engines at least, and all of them serve.
    Pair,
    /// Two engines, on which every service is; one of them serves it.
    Legacy {
        /// Half of the services are served by each of the two, as their tags say, and not all by one.
        shared_out: bool,
    },
}

/// Which of several engines that could take a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Spread {
    /// The one with the most services.
    Packed,
    /// The one with the fewest.
    Distributed,
}

/// The settings of a group that count here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Group {
    /// How it stands in for an engine that fails.
    pub ha: Ha,
    /// Who takes a new service.
    pub spread: Spread,
    /// The most virtual services of one engine.
    pub services_max: u32,
    /// Engines of a service, at least.
    pub scale_min: u16,
    /// Engines of a service, at most; one that has more keeps them.
    pub scale_max: u16,
    /// Engines of the group, at least.
    pub engines_min: u32,
    /// Engines of the group, at most.
    pub engines_max: u32,
    /// The engines of a service stand on machines that differ, if they can.
    pub differing_hosts: bool,
}

impl Group {
    /// How many engines a service needs: the least, and what people have added or taken away since.
    //= PLACE-SCALE-01
    pub fn scale(&self, service: &Service) -> u16 {
        let least = match self.ha {
            Ha::Legacy { .. } => return 2,
            Ha::Pair => self.scale_min.max(2),
            Ha::Shared { .. } => self.scale_min.max(1),
        };
        let has = u16::try_from(service.current.len()).unwrap_or(u16::MAX);
        let asked = i32::from(least).saturating_add(service.factor).max(1);
        let most = i32::from(self.scale_max.max(least).max(has));
        u16::try_from(asked.min(most)).unwrap_or(u16::MAX)
    }
}

/// What is known of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EngineState {
    /// It is connected.
    Up,
    /// It is not connected, and may come back: what it carries stays there, and nothing new comes to it.
    Silent,
    /// It counts as lost.
    Lost,
}

/// What people want of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Admin {
    /// It works.
    Enabled,
    /// It keeps what it has, and gets nothing new.
    NothingNew,
    /// Nothing is to be on it.
    Disabled,
}

/// An engine of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Engine {
    /// Which.
    pub id: EngineId,
    /// What is known of it.
    pub state: EngineState,
    /// What people want of it.
    pub admin: Admin,
    /// The machine that it runs on, if that is known.
    pub host: Option<u32>,
    /// The networks of its interfaces.
    pub interfaces: Vec<Prefix>,
    /// The networks that it has routes to.
    pub routes: Vec<Prefix>,
}

/// An address of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Networks in one of which an engine must have an interface; none: the address itself must be in one, or routed.
    pub networks: Vec<Prefix>,
}

/// What moves as one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Service {
    /// Which.
    pub id: ServiceId,
    /// How many virtual services it is.
    pub weight: u32,
    /// Its addresses.
    pub vips: Vec<Vip>,
    /// Addresses of its servers: who has interfaces in their networks is better than who has not.
    pub servers: Vec<IpAddr>,
    /// How many engines more (or fewer) than the least people have asked for.
    pub factor: i32,
    /// The engines that it is on, its primary first.
    pub current: Vec<EngineId>,
    /// Engines that it is being taken away from.
    pub leaving: Vec<EngineId>,
    /// Engines that could not have it: they get it no more, and it goes to others that may have it.
    pub refused: Vec<EngineId>,
    /// The engine that a person has named for it.
    pub named: Option<EngineId>,
    /// In a group of active and standby: it is served by the second of the two.
    pub second: bool,
}

/// Where a service is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Placed {
    /// Which.
    pub id: ServiceId,
    /// Its engines, its primary first.
    pub engines: Vec<EngineId>,
    /// Lost engines whose place nobody could take: if one comes back, it goes on.
    pub waiting: Vec<EngineId>,
    /// How many it should have.
    pub wanted: u16,
}

/// Where all services are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Plan {
    /// The services, in the order of their numbers.
    pub services: Vec<Placed>,
    /// How many engines the group should have, those that stand in included.
    pub engines_wanted: u32,
    /// How many it has that can take something.
    pub engines_usable: u32,
}
