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
}

/// Who would come to an engine, and from where it would come; `None`: it is the one that needs a place.
type Step = (usize, Option<usize>);

impl<'p> Room<'p> {
    pub fn new(
        group: &'p Group,
        engines: &'p [Engine],
        services: &'p [&'p Service],
        has: Vec<Vec<EngineId>>,
    ) -> Self {
        let mut loads = Loads::empty(engines);
        for (service, has) in services.iter().zip(&has) {
            for id in has.iter().chain(&service.leaving) {
                loads.add(*id, service.weight);
            }
        }
        let fresh = alloc::vec![Vec::new(); engines.len()];
        let could = alloc::vec![None; services.len()];
        Room { group, engines, services, loads, has, fresh, could }
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
        // Where everything is full nothing can be shifted.
        let most = u64::from(self.group.services_max);
        self.loads.load.iter().any(|load| *load < most) && self.shift(service)
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
            if !self.has[service].contains(&self.engines[at].id) {
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
                    if came[to].is_none() && !self.has[other].contains(&self.engines[to].id) {
                        came[to] = Some((other, Some(at)));
                        next.push_back(to);
                    }
                }
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
