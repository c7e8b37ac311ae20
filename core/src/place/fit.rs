//! Which engines could carry a service, and why others could not.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::net::IpAddr;

use super::types::{Admin, Engine, EngineId, EngineState, Group, Ha, Service, ServiceId, Spread, Vip};
use crate::policy::Prefix;

/// By what way an engine has a service's addresses: the nearer one is the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reach {
    /// It has interfaces in the networks of all of them.
    Interface,
    /// It has routes to some of them only.
    Route,
}

/// Why an engine takes no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Unfit {
    /// It counts as lost.
    Lost,
    /// It is not connected.
    Silent,
    /// It is disabled.
    Disabled,
    /// It is to get nothing new.
    NothingNew,
    /// It has no way to this address.
    Unreached(IpAddr),
    /// It has as many virtual services as it may.
    Full {
        /// How many it has.
        has: u64,
        /// How many it may have.
        most: u32,
    },
    /// The service counts as more virtual services than any engine may have.
    TooMany {
        /// As how many it counts.
        weight: u32,
        /// How many an engine may have.
        most: u32,
    },
    /// The service is on it.
    HasIt,
    /// The service is being taken away from it.
    Leaving,
    /// Two others are the active and the standby one.
    Spare,
    /// It could not have the service when it was asked last.
    Refused,
}

//= PLACE-REASON-01
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Lost => f.write_str("it was not heard of for so long that it counts as lost"),
            Unfit::Silent => f.write_str("it is not connected"),
            Unfit::Disabled => f.write_str("it is disabled: set its enable_state to SE_STATE_ENABLED"),
            Unfit::NothingNew => {
                f.write_str("it is disabled for placement: set its enable_state to SE_STATE_ENABLED")
            }
            Unfit::Unreached(address) => write!(
                f,
                "it has no interface in the network of {address} and no route to it: give it one, or name the network by placement_networks"
            ),
            Unfit::Full { has, most } => {
                write!(f, "it has {has} virtual services, and max_vs_per_se of its group is {most}")
            }
            Unfit::TooMany { weight, most } => write!(
                f,
                "{weight} virtual services share these addresses, and max_vs_per_se of its group is {most}: raise it, or give some of them other addresses"
            ),
            Unfit::HasIt => f.write_str("the virtual service is on it"),
            Unfit::Leaving => f.write_str("the virtual service is being taken away from it"),
            Unfit::Spare => f.write_str("its group has an active and a standby engine, and it is neither"),
            Unfit::Refused => f.write_str(
                "it could not have the virtual service when it was asked last, and is asked again after a while"
            ),
        }
    }
}

/// What was found of an engine for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Candidate {
    /// Which.
    pub engine: EngineId,
    /// By what way it would have the addresses, or why it takes nothing.
    pub fit: Result<Reach, Unfit>,
}

/// Says of each engine whether it could take one of the services, best first; those that could not stand behind, by number.
pub fn candidates(
    group: &Group,
    engines: &[Engine],
    services: &[Service],
    service: ServiceId,
) -> Vec<Candidate> {
    let held = services.iter().find(|held| held.id == service);
    held.map_or_else(Vec::new, |service| Judge::new(group, engines, services).of(service))
}

/// What is the same for all services of a group that ask which engines could take them: it is made once for all of them.
pub struct Judge<'j> {
    group: &'j Group,
    engines: &'j [Engine],
    held: Loads,
    pair: Option<Vec<EngineId>>,
}

impl<'j> Judge<'j> {
    /// Of a group, its engines, and its services as they are now.
    pub fn new(group: &'j Group, engines: &'j [Engine], services: &[Service]) -> Self {
        let pair = match group.ha {
            Ha::Legacy { .. } => Some(pair(engines, services.iter())),
            _ => None,
        };
        Judge { group, engines, held: Loads::new(engines, services), pair }
    }

    /// What is said of each engine for a service, in the order of the engines.
    pub fn each(&self, service: &Service) -> impl Iterator<Item = Candidate> {
        self.engines.iter().enumerate().map(|(at, engine)| {
            let spare = self.pair.as_ref().is_some_and(|pair| !pair.contains(&engine.id));
            let fit = if spare && can_take(engine, service).is_ok() {
                Err(Unfit::Spare)
            } else {
                new_on(self.group, engine, self.held.load[at], service)
            };
            Candidate { engine: engine.id, fit }
        })
    }

    /// The same, best first; those that could not take it stand behind, by number.
    pub fn of(&self, service: &Service) -> Vec<Candidate> {
        let ranked = self.each(service).zip(self.engines).map(|(found, engine)| {
            let rank = |reach| self.held.rank(self.group, engine, service, &service.current, reach);
            (found.fit.is_err(), found.fit.ok().map(rank), found)
        });
        let mut all: Vec<_> = ranked.collect();
        all.sort_by_key(|(unfit, rank, candidate)| (*unfit, *rank, candidate.engine));
        all.into_iter().map(|(_, _, candidate)| candidate).collect()
    }
}

/// Whether a service may go on where it is.
pub(super) fn can_stay(engine: &Engine, service: &Service) -> bool {
    match (engine.state, engine.admin) {
        (EngineState::Lost, _) | (_, Admin::Disabled) => false,
        // What it has is not known while it is not connected.
        (EngineState::Silent, _) => true,
        (EngineState::Up, _) => reach(engine, service).is_ok(),
    }
}

//= PLACE-LIMIT-01
/// Whether an engine could carry a service, however many it has.
pub(super) fn can_take(engine: &Engine, service: &Service) -> Result<Reach, Unfit> {
    match (engine.state, engine.admin) {
        (EngineState::Lost, _) => Err(Unfit::Lost),
        (_, Admin::Disabled) => Err(Unfit::Disabled),
        (_, Admin::NothingNew) => Err(Unfit::NothingNew),
        (EngineState::Silent, _) => Err(Unfit::Silent),
        (EngineState::Up, Admin::Enabled) => {
            let reach = reach(engine, service)?;
            //= PLACE-REFUSED-01
            if service.refused.contains(&engine.id) { Err(Unfit::Refused) } else { Ok(reach) }
        }
    }
}

/// Whether an engine with so many virtual services can take one that it has not.
fn new_on(group: &Group, engine: &Engine, load: u64, service: &Service) -> Result<Reach, Unfit> {
    if service.leaving.contains(&engine.id) {
        return Err(Unfit::Leaving);
    }
    if service.current.contains(&engine.id) {
        return Err(Unfit::HasIt);
    }
    let reach = can_take(engine, service)?;
    if service.weight > group.services_max {
        return Err(Unfit::TooMany { weight: service.weight, most: group.services_max });
    }
    if load + u64::from(service.weight) > u64::from(group.services_max) {
        return Err(Unfit::Full { has: load, most: group.services_max });
    }
    Ok(reach)
}

//= PLACE-NETWORK-01
fn reach(engine: &Engine, service: &Service) -> Result<Reach, Unfit> {
    let mut worst = Reach::Interface;
    for vip in &service.vips {
        let way = one(engine, vip).ok_or(Unfit::Unreached(vip.address))?;
        worst = worst.max(way);
    }
    Ok(worst)
}

fn one(engine: &Engine, vip: &Vip) -> Option<Reach> {
    let has = |list: &[Prefix]| list.iter().any(|network| network.contains(vip.address));
    if !vip.networks.is_empty() {
        let named = |network: &Prefix| vip.networks.iter().any(|wanted| wanted.overlaps(network));
        return engine.interfaces.iter().any(named).then_some(Reach::Interface);
    }
    if has(&engine.interfaces) { Some(Reach::Interface) } else { has(&engine.routes).then_some(Reach::Route) }
}

/// Which two engines are the active and the standby one: those with the most services, then those that could have the most,
/// then those of lower numbers.
pub(super) fn pair<'s>(
    engines: &[Engine],
    services: impl Iterator<Item = &'s Service> + Clone,
) -> Vec<EngineId> {
    let rank = |engine: &Engine| {
        let has = |service: &&Service| {
            service.current.contains(&engine.id)
                && !service.leaving.contains(&engine.id)
                && can_stay(engine, service)
        };
        let has = services.clone().filter(has).count();
        let could = services.clone().filter(|service| can_take(engine, service).is_ok()).count();
        (Reverse(has), Reverse(could), engine.id)
    };
    let usable =
        engines.iter().filter(|engine| engine.state != EngineState::Lost && engine.admin != Admin::Disabled);
    let mut usable: Vec<_> = usable.map(rank).collect();
    usable.sort_unstable();
    let mut pair: Vec<EngineId> = usable.into_iter().take(2).map(|(.., id)| id).collect();
    pair.sort_unstable();
    pair
}

/// In which order engines are taken: the smallest first.
pub(super) type Rank = (bool, usize, Reach, bool, i64, EngineId);

/// How many virtual services are on each engine, and where engines stand in the list.
pub(super) struct Loads {
    pub place: BTreeMap<EngineId, usize>,
    pub load: Vec<u64>,
    hosts: Vec<Option<u32>>,
}

impl Loads {
    /// Of engines with nothing on them.
    pub fn empty(engines: &[Engine]) -> Self {
        Loads {
            place: engines.iter().enumerate().map(|(at, engine)| (engine.id, at)).collect(),
            load: alloc::vec![0; engines.len()],
            hosts: engines.iter().map(|engine| engine.host).collect(),
        }
    }

    /// As things are: an engine that a service is leaving has it still.
    pub fn new(engines: &[Engine], services: &[Service]) -> Self {
        let mut held = Loads::empty(engines);
        for service in services {
            let staying = service.current.iter().filter(|id| !service.leaving.contains(id));
            for id in staying.chain(&service.leaving) {
                held.add(*id, service.weight);
            }
        }
        held
    }

    /// A service more on this engine.
    pub fn add(&mut self, engine: EngineId, weight: u32) {
        if let Some(at) = self.place.get(&engine) {
            self.load[*at] += u64::from(weight);
        }
    }

    /// Where an engine stands among those that can take a service which has these.
    //= PLACE-SPREAD-01
    pub fn rank(
        &self,
        group: &Group,
        engine: &Engine,
        service: &Service,
        has: &[EngineId],
        reach: Reach,
    ) -> Rank {
        let near = service.servers.iter().all(|server| engine.interfaces.iter().any(|n| n.contains(*server)));
        let at = self.place.get(&engine.id).copied();
        let load = at.and_then(|at| i64::try_from(self.load[at]).ok()).unwrap_or(i64::MAX);
        let load = match group.spread {
            Spread::Packed => -load,
            Spread::Distributed => load,
        };
        let beside = if group.differing_hosts { self.beside(engine, has) } else { 0 };
        (service.named != Some(engine.id), beside, reach, !near, load, engine.id)
    }

    /// How many of these engines stand on the machine of this one.
    fn beside(&self, engine: &Engine, has: &[EngineId]) -> usize {
        let Some(host) = engine.host else { return 0 };
        let on = |id: &&EngineId| self.place.get(id).is_some_and(|at| self.hosts[*at] == Some(host));
        has.iter().filter(on).count()
    }
}
