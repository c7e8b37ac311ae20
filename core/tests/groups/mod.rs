//! Groups of engines with their services, as tests of placement make them.
#![allow(dead_code, reason = "each test uses some of it")]

use forebay_core::place::{Admin, Engine, EngineId, EngineState, Group, Ha, Service, ServiceId, Spread, Vip};
use forebay_core::policy::Prefix;
use proptest::prelude::*;

/// A network.
pub fn net(text: &str) -> Prefix {
    text.parse().expect("a network")
}

/// An engine that is well, with an interface in 10.0.0.0/24.
pub fn engine(id: u32) -> Engine {
    Engine {
        id: EngineId(id),
        state: EngineState::Up,
        admin: Admin::Enabled,
        host: None,
        interfaces: vec![net("10.0.0.0/24")],
        routes: Vec::new(),
    }
}

/// A service at an address there.
pub fn service(id: u32) -> Service {
    Service {
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
    }
}

/// Settings of a group.
pub fn group() -> Group {
    Group {
        ha: Ha::Shared { buffer: 1 },
        spread: Spread::Packed,
        services_max: 10,
        scale_min: 1,
        scale_max: 4,
        engines_min: 1,
        engines_max: 10,
        differing_hosts: true,
    }
}

/// Some engine.
pub fn any_engine(id: u32) -> impl Strategy<Value = Engine> {
    let state =
        prop_oneof![6 => Just(EngineState::Up), 1 => Just(EngineState::Silent), 1 => Just(EngineState::Lost)];
    let admin =
        prop_oneof![6 => Just(Admin::Enabled), 1 => Just(Admin::NothingNew), 1 => Just(Admin::Disabled)];
    (state, admin, prop::option::of(0_u32..3), 0_u8..8, 0_u8..8).prop_map(
        move |(state, admin, host, bits, routes)| {
            let nets = |bits: u8| {
                (0..3_u8)
                    .filter(move |n| bits & (1 << n) != 0)
                    .map(|n| net(&format!("10.0.{n}.0/24")))
                    .collect()
            };
            Engine { id: EngineId(id), state, admin, host, interfaces: nets(bits), routes: nets(routes) }
        },
    )
}

/// Some service, on engines of so many.
pub fn any_service(id: u32, engines: u32) -> impl Strategy<Value = Service> {
    let some = || prop::collection::vec((0..engines).prop_map(EngineId), 0..3);
    (0_u8..3, some(), some(), -2_i32..3, any::<bool>(), 1_u32..3).prop_map(
        move |(net, mut current, mut leaving, factor, second, weight)| {
            current.dedup();
            if current.first() == current.last() {
                current.truncate(1);
            }
            leaving.truncate(usize::from(second));
            current.retain(|id| !leaving.contains(id));
            let address = format!("10.0.{net}.7").parse().expect("an address");
            let vips = vec![Vip { address, networks: Vec::new() }];
            Service { vips, current, leaving, factor, second, weight, ..service(id) }
        },
    )
}

/// Some settings.
pub fn any_group() -> impl Strategy<Value = Group> {
    let ha = prop_oneof![
        4 => (0_u32..3).prop_map(|buffer| Ha::Shared { buffer }),
        2 => Just(Ha::Pair),
        1 => any::<bool>().prop_map(|shared_out| Ha::Legacy { shared_out }),
    ];
    (ha, any::<bool>(), 1_u32..8, 1_u16..3, 1_u16..5, any::<bool>()).prop_map(
        |(ha, packed, services_max, scale_min, scale_max, differing_hosts)| Group {
            ha,
            spread: if packed { Spread::Packed } else { Spread::Distributed },
            services_max,
            scale_min,
            scale_max,
            differing_hosts,
            ..group()
        },
    )
}

/// A group with engines and services.
pub fn any_case() -> impl Strategy<Value = (Group, Vec<Engine>, Vec<Service>)> {
    (1_u32..7, 0_u32..12).prop_flat_map(|(engines, services)| {
        (
            any_group(),
            (0..engines).map(any_engine).collect::<Vec<_>>(),
            (0..services).map(|id| any_service(id, engines)).collect::<Vec<_>>(),
        )
    })
}
