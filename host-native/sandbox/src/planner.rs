//! The interface `planner` of a component of world `decide`, called with the core's own types.

use std::net::IpAddr;

use forebay_core::place::{
    self as native, Admin, Engine, EngineId, EngineState, Group, Ha, Service, ServiceId, Spread,
};
use forebay_core::policy::Prefix;

use crate::bindings::exports::forebay::core::planner as planning;
use crate::convert::output;
use crate::decider::{Decider, refused};
use crate::errors::Error;

#[path = "../../../core/component/src/placed.rs"]
mod placed;

impl Decider {
    /// Says where every service of a group is to be.
    ///
    /// # Errors
    /// The guest's faults. The time limit holds for the whole plan.
    pub fn place(
        &mut self,
        group: &Group,
        engines: &[Engine],
        services: &[Service],
    ) -> Result<planning::Plan, Error> {
        let (group, engines, services) = asked(group, engines, services);
        let call = self.guest.call(|store, decide| {
            decide.forebay_core_planner().call_place(store, group, &engines, &services)
        });
        call?.map_err(refused)
    }

    /// Says of each engine whether it could take a service, best first.
    ///
    /// # Errors
    /// As [`Decider::place`].
    pub fn candidates(
        &mut self,
        group: &Group,
        engines: &[Engine],
        services: &[Service],
        service: ServiceId,
    ) -> Result<Vec<planning::Candidate>, Error> {
        let (group, engines, services) = asked(group, engines, services);
        let call = self.guest.call(|store, decide| {
            decide.forebay_core_planner().call_candidates(store, group, &engines, &services, service.0)
        });
        call?.map_err(refused)
    }
}

/// Returns a native plan as the contract's record, to compare it with a component's.
pub fn plan(from: &native::Plan) -> planning::Plan {
    placed::plan(from)
}

/// The same of what was found of an engine.
pub fn candidate(from: &native::Candidate) -> planning::Candidate {
    placed::candidate(from)
}

fn asked(
    group: &Group,
    engines: &[Engine],
    services: &[Service],
) -> (planning::Group, Vec<planning::Engine>, Vec<planning::Service>) {
    (self::group(group), engines.iter().map(engine).collect(), services.iter().map(service).collect())
}

fn group(from: &Group) -> planning::Group {
    planning::Group {
        ha: match from.ha {
            Ha::Shared { buffer } => planning::Ha::Shared(buffer),
            Ha::Pair => planning::Ha::Pair,
            Ha::Legacy { shared_out } => planning::Ha::Legacy(shared_out),
        },
        spread: match from.spread {
            Spread::Packed => planning::Spread::Packed,
            Spread::Distributed => planning::Spread::Distributed,
        },
        services_max: from.services_max,
        scale_min: from.scale_min,
        scale_max: from.scale_max,
        engines_min: from.engines_min,
        engines_max: from.engines_max,
        differing_hosts: from.differing_hosts,
    }
}

fn networks(from: &[Prefix]) -> Vec<planning::Network> {
    from.iter().map(|net| planning::Network { address: output::ip(net.ip()), bits: net.bits() }).collect()
}

fn engine(from: &Engine) -> planning::Engine {
    planning::Engine {
        id: from.id.0,
        state: match from.state {
            EngineState::Up => planning::EngineState::Up,
            EngineState::Silent => planning::EngineState::Silent,
            EngineState::Lost => planning::EngineState::Lost,
        },
        admin: match from.admin {
            Admin::Enabled => planning::Admin::Enabled,
            Admin::NothingNew => planning::Admin::NothingNew,
            Admin::Disabled => planning::Admin::Disabled,
        },
        host: from.host,
        interfaces: networks(&from.interfaces),
        routes: networks(&from.routes),
    }
}

fn service(from: &Service) -> planning::Service {
    let ids = |engines: &[EngineId]| engines.iter().map(|engine| engine.0).collect();
    let addresses = |all: &[IpAddr]| all.iter().map(|address| output::ip(*address)).collect();
    let vip = |vip: &native::Vip| planning::Vip {
        address: output::ip(vip.address),
        networks: networks(&vip.networks),
    };
    planning::Service {
        id: from.id.0,
        weight: from.weight,
        vips: from.vips.iter().map(vip).collect(),
        servers: addresses(&from.servers),
        factor: from.factor,
        current: ids(&from.current),
        leaving: ids(&from.leaving),
        refused: ids(&from.refused),
        named: from.named.map(|engine| engine.0),
        second: from.second,
    }
}
