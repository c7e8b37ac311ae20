//! The plan: who stays, who comes, who takes over.

use alloc::vec::Vec;

use super::fit::{Loads, can_stay, can_take, pair};
use super::room::Room;
use super::types::{Admin, Engine, EngineId, EngineState, Group, Ha, Placed, Plan, Service};

/// Says where the services of a group are to be.
///
/// The same inputs give the same plan, in whatever order engines and services are listed. What is on an engine that can
/// carry it stays. Every service gets its first engine before any gets its second one.
//= PLACE-STAY-01
pub fn plan(group: &Group, engines: &[Engine], services: &[Service]) -> Plan {
    let mut engines: Vec<&Engine> = engines.iter().collect();
    engines.sort_by_key(|engine| engine.id);
    engines.dedup_by_key(|engine| engine.id);
    let engines: Vec<Engine> = engines.into_iter().cloned().collect();
    let mut services: Vec<&Service> = services.iter().collect();
    services.sort_by_key(|service| service.id);
    services.dedup_by_key(|service| service.id);
    let placed = match group.ha {
        Ha::Legacy { shared_out } => legacy(group, &engines, &services, shared_out),
        _ => shared(group, &engines, &services),
    };
    Plan {
        services: placed,
        engines_wanted: engines_wanted(group, &services),
        engines_usable: count(
            engines.iter().filter(|engine| engine.state == EngineState::Up && engine.admin == Admin::Enabled),
        ),
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// Those of a service's engines on which it may stay.
fn staying(engines: &[Engine], service: &Service) -> Vec<EngineId> {
    let mut stays: Vec<EngineId> = Vec::with_capacity(service.current.len());
    for id in &service.current {
        let engine = engines.binary_search_by_key(id, |engine| engine.id).ok().map(|at| &engines[at]);
        let may = engine.is_some_and(|engine| can_stay(engine, service));
        if may && !service.leaving.contains(id) && !stays.contains(id) {
            stays.push(*id);
        }
    }
    stays
}

fn shared(group: &Group, engines: &[Engine], services: &[&Service]) -> Vec<Placed> {
    // Where an engine says that it cannot have a service, another one is looked for, and it stays there if there is none.
    let stays = services
        .iter()
        .map(|service| staying(engines, service).into_iter().partition(|id| !service.refused.contains(id)));
    let (has, kept): (Vec<Vec<EngineId>>, Vec<Vec<EngineId>>) = stays.unzip();
    let wanted: Vec<u16> = services.iter().map(|service| group.scale(service)).collect();
    let mut room = Room::new(group, engines, services, has, &kept);
    let mut without: Vec<bool> = alloc::vec![false; services.len()];
    for level in 0..wanted.iter().copied().max().unwrap_or(0) {
        for at in 0..services.len() {
            let has = room.has(at).len();
            if !without[at] && has <= usize::from(level) && has < usize::from(wanted[at]) {
                // Who found nobody once finds nobody later: engines only fill up.
                without[at] = !room.take(at);
            }
        }
    }
    let found = room.finish();
    let all = services.iter().zip(found).zip(kept).zip(wanted);
    all.map(|(((service, mut has), kept), wanted)| {
        let missing = usize::from(wanted).saturating_sub(has.len());
        has.extend(kept.into_iter().take(missing));
        let missing = usize::from(wanted).saturating_sub(has.len());
        let waiting = lost(engines, service, &has, missing);
        Placed { id: service.id, engines: has, waiting, wanted }
    })
    .collect()
}

/// Lost engines of a service whose place nobody has taken.
//= PLACE-LOST-01
fn lost(engines: &[Engine], service: &Service, has: &[EngineId], missing: usize) -> Vec<EngineId> {
    let is_lost = |id: &&EngineId| {
        let at = engines.binary_search_by_key(*id, |engine| engine.id);
        at.is_ok_and(|at| engines[at].state == EngineState::Lost && engines[at].admin != Admin::Disabled)
    };
    let gone = service.current.iter().filter(is_lost);
    gone.filter(|id| !service.leaving.contains(id) && !has.contains(id)).take(missing).copied().collect()
}

/// Both engines carry every service; which of them serves it stays so, until that one is lost.
//= PLACE-LEGACY-01
fn legacy(group: &Group, engines: &[Engine], services: &[&Service], shared_out: bool) -> Vec<Placed> {
    let pair = pair(engines, services.iter().copied());
    let mut loads = Loads::empty(engines);
    let mut has: Vec<Vec<EngineId>> = Vec::with_capacity(services.len());
    for service in services {
        let mut stays = staying(engines, service);
        stays.retain(|id| pair.contains(id));
        for id in stays.iter().chain(&service.leaving) {
            loads.add(*id, service.weight);
        }
        has.push(stays);
    }
    // The one that serves comes first, for all services, and then the one that stands by.
    for level in 0..2 {
        for (service, has) in services.iter().zip(&mut has).filter(|(_, has)| has.len() <= level) {
            let fits = |id: &&EngineId| {
                let Some(at) = loads.place.get(id).copied() else { return false };
                !has.contains(id)
                    && !service.leaving.contains(id)
                    && can_take(&engines[at], service).is_ok()
                    && loads.load[at] + u64::from(service.weight) <= u64::from(group.services_max)
            };
            let mut free = pair.iter().filter(fits);
            let chosen = if shared_out && service.second { free.next_back() } else { free.next() };
            if let Some(chosen) = chosen.copied() {
                loads.add(chosen, service.weight);
                has.push(chosen);
            }
        }
    }
    let placed = |(service, has): (&&Service, Vec<EngineId>)| {
        let waiting = lost(engines, service, &has, 2_usize.saturating_sub(has.len()));
        Placed { id: service.id, engines: has, waiting, wanted: 2 }
    };
    services.iter().zip(has).map(placed).collect()
}

/// N, as many as the services fill, and M, as many as stand in.
//= PLACE-BUFFER-01
fn engines_wanted(group: &Group, services: &[&Service]) -> u32 {
    let buffer = match group.ha {
        Ha::Legacy { .. } => return 2,
        Ha::Pair => 0,
        Ha::Shared { buffer } => buffer,
    };
    let parts = services.iter().map(|s| u64::from(s.weight) * u64::from(group.scale(s))).sum::<u64>();
    let filled = parts.div_ceil(u64::from(group.services_max.max(1)));
    // No engine carries a service twice.
    let widest = services.iter().map(|service| u64::from(group.scale(service))).max().unwrap_or(0);
    let wanted = filled.max(widest).saturating_add(u64::from(buffer));
    let least = u64::from(group.engines_min);
    u32::try_from(wanted.max(least).min(u64::from(group.engines_max).max(least))).unwrap_or(u32::MAX)
}
