//! The interface `planner`: groups of the contract as the core's, and its plans back.

use alloc::vec::Vec;

use forebay_core::place::{
    Admin, Engine, EngineId, EngineState, Group, Ha, Service, ServiceId, Spread, Vip, candidates, plan,
};
use forebay_core::policy::Prefix;

use crate::bindings::exports::forebay::core::planner::{self as wit, Error};
use crate::{Component, input, placed};

impl wit::Guest for Component {
    //= COMP-PLAN-01
    fn place(
        group: wit::Group,
        engines: Vec<wit::Engine>,
        services: Vec<wit::Service>,
    ) -> Result<wit::Plan, Error> {
        Ok(placed::plan(&plan(&self::group(&group), &all(engines, engine)?, &all(services, service)?)))
    }

    //= COMP-PLAN-01
    fn candidates(
        group: wit::Group,
        engines: Vec<wit::Engine>,
        services: Vec<wit::Service>,
        of: u32,
    ) -> Result<Vec<wit::Candidate>, Error> {
        let (engines, services) = (all(engines, engine)?, all(services, service)?);
        let found = candidates(&self::group(&group), &engines, &services, ServiceId(of));
        Ok(found.iter().map(placed::candidate).collect())
    }
}

fn all<A, B>(from: Vec<A>, one: impl Fn(A) -> Option<B>) -> Result<Vec<B>, Error> {
    from.into_iter().map(one).collect::<Option<_>>().ok_or(Error::BadArgument)
}

fn group(from: &wit::Group) -> Group {
    Group {
        ha: match from.ha {
            wit::Ha::Shared(buffer) => Ha::Shared { buffer },
            wit::Ha::Pair => Ha::Pair,
            wit::Ha::Legacy(shared_out) => Ha::Legacy { shared_out },
        },
        spread: match from.spread {
            wit::Spread::Packed => Spread::Packed,
            wit::Spread::Distributed => Spread::Distributed,
        },
        services_max: from.services_max,
        scale_min: from.scale_min,
        scale_max: from.scale_max,
        engines_min: from.engines_min,
        engines_max: from.engines_max,
        differing_hosts: from.differing_hosts,
    }
}

/// `None`: more bits than an address has.
fn networks(from: Vec<wit::Network>) -> Option<Vec<Prefix>> {
    from.into_iter().map(|network| Prefix::new(input::ip(network.address), network.bits)).collect()
}

fn engine(from: wit::Engine) -> Option<Engine> {
    Some(Engine {
        id: EngineId(from.id),
        state: match from.state {
            wit::EngineState::Up => EngineState::Up,
            wit::EngineState::Silent => EngineState::Silent,
            wit::EngineState::Lost => EngineState::Lost,
        },
        admin: match from.admin {
            wit::Admin::Enabled => Admin::Enabled,
            wit::Admin::NothingNew => Admin::NothingNew,
            wit::Admin::Disabled => Admin::Disabled,
        },
        host: from.host,
        interfaces: networks(from.interfaces)?,
        routes: networks(from.routes)?,
    })
}

fn service(from: wit::Service) -> Option<Service> {
    let ids = |engines: Vec<u32>| engines.into_iter().map(EngineId).collect();
    let vip =
        |vip: wit::Vip| Some(Vip { address: input::ip(vip.address), networks: networks(vip.networks)? });
    Some(Service {
        id: ServiceId(from.id),
        weight: from.weight,
        vips: from.vips.into_iter().map(vip).collect::<Option<_>>()?,
        servers: from.servers.into_iter().map(input::ip).collect(),
        factor: from.factor,
        current: ids(from.current),
        leaving: ids(from.leaving),
        refused: ids(from.refused),
        named: from.named.map(EngineId),
        second: from.second,
    })
}
