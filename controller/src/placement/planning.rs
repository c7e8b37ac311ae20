//! The core's plan, in the words of the Controller.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::place::{
    self, Admin, Candidate, Engine, EngineId, EngineState, Ha, Placed, Service, ServiceId, Unfit, plan,
    refused,
};
use forebay_core::policy::Prefix;

use super::state::{Phase, Unit};
use super::turns::Turns;
use super::world::{Settings, Wanted, World};

/// A virtual service, as an engine tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It listens on its addresses.
    pub is_listening: bool,
    /// It has a server that can be used.
    pub is_up: bool,
    /// Client connections that are open.
    pub connections: u64,
}

/// An engine, as it is seen now.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its uuid.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The uuid of its tenant.
    pub tenant: String,
    /// The uuid of its group.
    pub group: String,
    /// Whether it is there.
    pub state: EngineState,
    /// What people want of it.
    pub admin: Admin,
    /// Nothing may be on it even where nobody could take its place.
    pub is_forced: bool,
    /// The machine that it runs on, if that is known.
    pub host: Option<String>,
    /// The networks of its interfaces.
    pub interfaces: Vec<Prefix>,
    /// The networks that it has routes to.
    pub routes: Vec<Prefix>,
    /// Why it does not work by the last configuration.
    pub problems: Vec<String>,
    /// Its tables are as complete as those of the others.
    pub has_tables: bool,
    /// What it has, by the uuids of virtual services.
    pub services: BTreeMap<String, Told>,
    /// The virtual services that it is not told of, because they cannot be carried out.
    pub left_out: BTreeSet<String>,
    /// The virtual services that it does not serve as its machine is, and why: another engine may have them.
    pub refused: BTreeMap<String, String>,
}

/// A group, its engines and services, numbered for the core.
#[derive(Debug)]
pub struct Inputs<'i> {
    settings: &'i Settings,
    seen: Vec<&'i Seen>,
    engines: Vec<Engine>,
    keys: Vec<&'i str>,
    services: Vec<Service>,
    /// What engines have said that could not have a service, by its key and their uuids.
    whys: BTreeMap<&'i str, BTreeMap<String, String>>,
}

impl<'i> Inputs<'i> {
    /// Of the group of this uuid, `now` being milliseconds since 1970. A service that nobody has on yet, and that is off, needs
    /// no engine.
    pub fn new(
        group: &str,
        settings: &'i Settings,
        world: &'i World,
        units: &BTreeMap<String, Unit>,
        all: &'i [Seen],
        now: u64,
    ) -> Self {
        let mut seen: Vec<&Seen> = all.iter().filter(|seen| seen.group == group).collect();
        seen.sort_by(|a, b| a.uuid.cmp(&b.uuid));
        let hosts: BTreeSet<&str> = seen.iter().filter_map(|seen| seen.host.as_deref()).collect();
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let host = |seen: &Seen| {
            let at = hosts.binary_search(&seen.host.as_deref()?).ok()?;
            u32::try_from(at).ok()
        };
        let engines = (0..).zip(&seen).map(|(id, seen)| Engine {
            id: EngineId(id),
            state: seen.state,
            admin: seen.admin,
            host: host(seen),
            interfaces: seen.interfaces.clone(),
            routes: seen.routes.clone(),
        });
        let engines: Vec<Engine> = engines.collect();
        let number = |uuid: &str| {
            let at = seen.binary_search_by(|seen| seen.uuid.as_str().cmp(uuid)).ok()?;
            Some(EngineId(u32::try_from(at).ok()?))
        };
        let none = Unit::default();
        let mut keys = Vec::new();
        let mut services: Vec<Service> = Vec::new();
        let mut turns = Turns::new(engines.len(), now);
        let mut whys = BTreeMap::new();
        for (key, wanted) in world.of_group(group) {
            let unit = units.get(key).unwrap_or(&none);
            if unit.members.is_empty() && !wanted.services.iter().any(|vs| vs.is_enabled) {
                continue;
            }
            let id = ServiceId(u32::try_from(keys.len()).unwrap_or(u32::MAX));
            let leaves = |phase| matches!(phase, Phase::Leaving { .. });
            let part = |leaving: bool| {
                let members = unit.members.iter().filter(move |member| leaves(member.phase) == leaving);
                members.filter_map(|member| number(&member.engine)).collect::<Vec<_>>()
            };
            if !unit.refused.is_empty() {
                let said = unit.refused.iter().map(|(engine, one)| (engine.clone(), one.why.clone()));
                whys.insert(key.as_str(), said.collect());
            }
            let current = part(false);
            let were: Vec<_> =
                unit.refused.iter().filter_map(|(engine, one)| Some((number(engine)?, one.said()))).collect();
            let refused = refused(&were, &current, now);
            turns.look(services.len(), unit, &were, &refused);
            services.push(Service {
                id,
                weight: u32::try_from(wanted.services.len()).unwrap_or(u32::MAX),
                vips: wanted.vips.clone(),
                servers: wanted.servers.clone(),
                factor: unit.factor,
                refused,
                current,
                leaving: part(true),
                named: None,
                second: wanted.is_second,
            });
            keys.push(key.as_str());
        }
        // Where it is not its turn a service stays where it is. Of an active and a standby engine nobody else is asked.
        if !matches!(settings.group.ha, Ha::Legacy { .. }) {
            for at in turns.wait() {
                if let Some(service) = services.get_mut(at) {
                    let current = &service.current;
                    service.refused.retain(|engine| !current.contains(engine));
                }
            }
        }
        Inputs { settings, seen, engines, keys, services, whys }
    }

    /// Where the services are to be: with their keys, engines and waiting engines by their uuids.
    pub fn plan(&self) -> (Vec<(&'i str, Place)>, u32) {
        let plan = plan(&self.settings.group, &self.engines, &self.services);
        let place = |placed: Placed| {
            let key = self.keys.get(usize::try_from(placed.id.0).ok()?).copied()?;
            let uuids = |ids: &[EngineId]| ids.iter().filter_map(|id| self.uuid(*id)).collect();
            let place = Place {
                engines: uuids(&placed.engines),
                waiting: uuids(&placed.waiting),
                wanted: placed.wanted,
            };
            Some((key, place))
        };
        (plan.services.into_iter().filter_map(place).collect(), plan.engines_wanted)
    }

    /// Who says which engines could take which service.
    pub fn judge<'j>(&'j self) -> Judge<'j, 'i> {
        let found = place::Judge::new(&self.settings.group, &self.engines, &self.services);
        Judge { inputs: self, found }
    }

    fn of(&self, id: EngineId) -> Option<&'i Seen> {
        self.seen.get(usize::try_from(id.0).ok()?).copied()
    }

    fn uuid(&self, id: EngineId) -> Option<String> {
        self.of(id).map(|seen| seen.uuid.clone())
    }
}

/// Says which engines could take a service: one for all services of a group.
pub struct Judge<'j, 'i> {
    inputs: &'j Inputs<'i>,
    found: place::Judge<'j>,
}

impl<'i> Judge<'_, 'i> {
    fn service(&self, key: &str) -> Option<&Service> {
        let at = self.inputs.keys.binary_search(&key).ok()?;
        self.inputs.services.get(at)
    }

    /// What was found of each engine for a service, best first.
    pub fn of(&self, key: &str) -> Vec<(&'i Seen, Candidate)> {
        let found = self.service(key).map(|service| self.found.of(service)).unwrap_or_default();
        found.into_iter().filter_map(|found| Some((self.inputs.of(found.engine)?, found))).collect()
    }

    /// Why an engine cannot have a service.
    pub fn why(&self, key: &str, (seen, found): &(&Seen, Candidate)) -> Option<String> {
        let why = found.fit.err()?;
        let said = || self.inputs.whys.get(key)?.get(&seen.uuid).map(|said| format!("{why}: {said}"));
        Some(if why == Unfit::Refused { said() } else { None }.unwrap_or_else(|| why.to_string()))
    }

    /// Why a service has no further engine: a line for each one of its group.
    //= PLACE-REASON-01
    pub fn reasons(&self, key: &str) -> Vec<String> {
        let judged = self.of(key);
        if judged.is_empty() {
            return vec![no_engines(self.inputs.settings)];
        }
        let line = |found: &(&Seen, Candidate)| Some(format!("{}: {}", found.0.name, self.why(key, found)?));
        judged.iter().filter_map(line).collect()
    }

    /// Why a service has no further engine, in few words: how many engines have which reason.
    pub fn counted(&self, key: &str) -> Vec<String> {
        let Some(service) = self.service(key) else { return Vec::new() };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for found in self.found.each(service) {
            let why = match found.fit {
                Ok(_) => continue,
                Err(Unfit::HasIt) => "have it already",
                Err(Unfit::Lost | Unfit::Silent) => "are not connected",
                Err(Unfit::Disabled | Unfit::NothingNew) => "are disabled",
                Err(Unfit::Unreached(_)) => "have no way to its addresses",
                Err(Unfit::Full { .. }) => "have as many as max_vs_per_se allows",
                Err(Unfit::TooMany { .. }) => "may not have as many as share its addresses (max_vs_per_se)",
                Err(Unfit::Leaving) => "are being left by it",
                Err(Unfit::Spare) => "are neither the active nor the standby one",
                Err(Unfit::Refused) => "could not have it when they were asked",
            };
            *counts.entry(why).or_default() += 1;
        }
        counts.into_iter().map(|(why, count)| format!("engines that {why}: {count}")).collect()
    }
}

/// Where a service is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its engines.
    pub engines: Vec<String>,
    /// Lost engines whose place nobody could take.
    pub waiting: Vec<String>,
    /// How many it should have.
    pub wanted: u16,
}

/// Why a service has no engine where there is none.
pub fn no_engines(settings: &Settings) -> String {
    format!("the group {} has no engines: let one join it by a token", settings.name)
}

/// The settings and the wish of a service.
pub fn of<'w>(world: &'w World, key: &str) -> Option<(&'w Wanted, &'w Settings)> {
    let wanted = world.wanted.get(key)?;
    Some((wanted, world.groups.get(&wanted.group)?))
}
