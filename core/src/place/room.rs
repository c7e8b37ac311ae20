//! Who finds room where, while a plan is made.
//!
//! A service that finds no room where it could go may have some made: one that has just been given a place there, and could
//! be elsewhere as well, goes elsewhere. So a service stays without an engine only if there is no way to place it beside the
//! others (where all of them count as one virtual service), and nothing that was somewhere before is moved for it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::fit::{Loads, Reach, can_take};
use super::types::{Engine, EngineId, Group, Service};

/// Services and engines while a plan is made; both are named by where they stand in their lists.
pub(super) struct Room<'p> {
    group: &'p Group,
    engines: &'p [Engine],
    services: &'p [&'p Service],
    loads: Loads,
    /// What each service has, its primary first.
    has: Vec<Vec<EngineId>>,
    /// The services that were put on an engine by this plan.
    fresh: Vec<Vec<usize>>,
    /// The engines that could carry a service, once that was looked up.
    could: Vec<Option<Vec<(usize, Reach)>>>,
    /// For each engine the least weight for which no room could be made there: none can be made later either, for engines
    /// only fill up, so nobody looks there again.
    closed: Vec<u64>,
    /// How often it was looked whether a service could go elsewhere: what a plan costs.
    #[cfg(test)]
    looks: u64,
}

/// Who would come to an engine, and from where it would come; `None`: it is the one that needs a place.
type Step = (usize, Option<usize>);

impl<'p> Room<'p> {
    /// `kept`: where a service is beside, until it is elsewhere.
    pub fn new(
        group: &'p Group,
        engines: &'p [Engine],
        services: &'p [&'p Service],
        has: Vec<Vec<EngineId>>,
        kept: &[Vec<EngineId>],
    ) -> Self {
        let mut loads = Loads::empty(engines);
        for ((service, has), kept) in services.iter().zip(&has).zip(kept) {
            for id in has.iter().chain(kept).chain(&service.leaving) {
                loads.add(*id, service.weight);
            }
        }
        let fresh = alloc::vec![Vec::new(); engines.len()];
        let could = alloc::vec![None; services.len()];
        let closed = alloc::vec![u64::MAX; engines.len()];
        Room {
            group,
            engines,
            services,
            loads,
            has,
            fresh,
            could,
            closed,
            #[cfg(test)]
            looks: 0,
        }
    }

    pub fn has(&self, service: usize) -> &[EngineId] {
        &self.has[service]
    }

    pub fn finish(self) -> Vec<Vec<EngineId>> {
        self.has
    }

    /// Gives a service one engine more; `false` if there is none for it.
    //= PLACE-ROOM-01
    pub fn take(&mut self, service: usize) -> bool {
        let could = self.could(service);
        let free = could.iter().filter(|(at, _)| self.is_free(*at, service)).min_by_key(|(at, reach)| {
            let (engine, wants) = (&self.engines[*at], self.services[service]);
            self.loads.rank(self.group, engine, wants, &self.has[service], *reach)
        });
        if let Some((at, _)) = free {
            self.put(service, *at);
            return true;
        }
        self.shift(service)
    }

    fn weight(&self, service: usize) -> u64 {
        u64::from(self.services[service].weight)
    }

    /// Whether a service that is not on an engine finds room there.
    fn is_free(&self, engine: usize, service: usize) -> bool {
        self.loads.load[engine] + self.weight(service) <= u64::from(self.group.services_max)
            && !self.has[service].contains(&self.engines[engine].id)
    }

    fn could(&mut self, service: usize) -> Vec<(usize, Reach)> {
        let wants = self.services[service];
        self.could[service]
            .get_or_insert_with(|| {
                let fits = |(at, engine): (usize, &Engine)| {
                    let reach = can_take(engine, wants).ok()?;
                    (!wants.leaving.contains(&engine.id)).then_some((at, reach))
                };
                self.engines.iter().enumerate().filter_map(fits).collect()
            })
            .clone()
    }

    fn put(&mut self, service: usize, engine: usize) {
        self.loads.load[engine] += self.weight(service);
        self.has[service].push(self.engines[engine].id);
        self.fresh[engine].push(service);
    }

    /// Sends services that were just placed elsewhere, one after another, until there is room.
    fn shift(&mut self, service: usize) -> bool {
        let mut came: Vec<Option<Step>> = alloc::vec![None; self.engines.len()];
        let mut next = VecDeque::new();
        for (at, _) in self.could(service) {
            if !self.has[service].contains(&self.engines[at].id) && self.weight(service) < self.closed[at] {
                came[at] = Some((service, None));
                next.push_back(at);
            }
        }
        while let Some(at) = next.pop_front() {
            let Some((comer, _)) = came[at] else { continue };
            if self.is_free(at, comer) {
                self.walk(&came, at);
                return true;
            }
            for other in self.fresh[at].clone() {
                let left = self.loads.load[at] - self.weight(other) + self.weight(comer);
                if other == service || left > u64::from(self.group.services_max) {
                    continue;
                }
                for (to, _) in self.could(other) {
                    #[cfg(test)]
                    {
                        self.looks += 1;
                    }
                    if came[to].is_none()
                        && self.weight(other) < self.closed[to]
                        && !self.has[other].contains(&self.engines[to].id)
                    {
                        came[to] = Some((other, Some(at)));
                        next.push_back(to);
                    }
                }
            }
        }
        for (at, came) in came.iter().enumerate() {
            if let Some((comer, _)) = came {
                self.closed[at] = self.closed[at].min(self.weight(*comer));
            }
        }
        false
    }

    /// Makes the moves that lead to an engine with room.
    fn walk(&mut self, came: &[Option<Step>], mut at: usize) {
        while let Some((mover, from)) = came[at] {
            let Some(from) = from else {
                self.put(mover, at);
                return;
            };
            // It keeps its place among the service's engines.
            let (old, new) = (self.engines[from].id, self.engines[at].id);
            for held in self.has[mover].iter_mut().filter(|held| **held == old) {
                *held = new;
            }
            let weight = self.weight(mover);
            self.loads.load[from] -= weight;
            self.loads.load[at] += weight;
            self.fresh[from].retain(|service| *service != mover);
            self.fresh[at].push(mover);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::types::{Admin, EngineState, Ha, ServiceId, Spread, Vip};
    use super::*;

    /// Services of which far more than there is room for, and engines of two kinds: one that all of them could have is
    /// full, another one has room that nobody may use.
    fn looks(count: u32) -> u64 {
        let group = Group {
            ha: Ha::Shared { buffer: 0 },
            spread: Spread::Packed,
            services_max: 10,
            scale_min: 1,
            scale_max: 4,
            engines_min: 1,
            engines_max: 64,
            differing_hosts: false,
        };
        let engine = |id: u32| Engine {
            id: EngineId(id),
            state: EngineState::Up,
            admin: if id == 0 { Admin::Disabled } else { Admin::Enabled },
            host: None,
            interfaces: vec!["10.0.0.0/8".parse().expect("a network")],
            routes: Vec::new(),
        };
        let service = |id: u32| Service {
            id: ServiceId(id),
            weight: 1,
            vips: vec![Vip { address: "10.0.0.9".parse().expect("an address"), networks: Vec::new() }],
            servers: Vec::new(),
            factor: 0,
            current: Vec::new(),
            leaving: Vec::new(),
            refused: Vec::new(),
            named: None,
            second: false,
        };
        let engines: Vec<Engine> = (0..9).map(engine).collect();
        let services: Vec<Service> = (0..count).map(service).collect();
        let services: Vec<&Service> = services.iter().collect();
        let none = vec![Vec::new(); services.len()];
        let mut room = Room::new(&group, &engines, &services, none.clone(), &none);
        let placed = (0..services.len()).filter(|at| room.take(*at)).count();
        assert_eq!(placed, 80, "eight engines have ten each");
        room.looks
    }

    //= test PLACE-ROOM-01
    #[test]
    fn services_without_room_cost_one_search_and_not_one_each() {
        let few = looks(100);
        assert!(few > 0, "room was looked for");
        assert_eq!(looks(1000), few);
    }
}
