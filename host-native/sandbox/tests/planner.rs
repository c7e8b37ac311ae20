//! The component plans as the native core does.

#[path = "../../../core/tests/groups/mod.rs"]
mod groups;

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use forebay_core::place::{self, Engine, EngineId, Group, Service, ServiceId};
use forebay_sandbox::{Budget, CORE_COMPONENT, Decider, Sandbox, planning};
use groups::{any_case, engine, group, net, service};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Groups that are planned for; each is one call for the plan and one for candidates.
const CASES: u32 = 400;

/// Time for a loaded machine: the subject is not the deadline.
const PATIENT: Budget = Budget { call_ms: 120_000, memory_bytes: 64 << 20 };

fn decider() -> Decider {
    let core = Sandbox::new().and_then(|sandbox| sandbox.load(CORE_COMPONENT)).expect("it loads");
    Decider::new(&core, PATIENT).expect("it instantiates")
}

/// With what the cases of the core itself leave out: engines that people have named, or that there are not, servers, IPv6.
fn any_group_at_all() -> impl Strategy<Value = (Group, Vec<Engine>, Vec<Service>)> {
    let refused = vec((0_u32..7).prop_map(EngineId), 0..3);
    let more = (prop::option::of(0_u32..9), vec(0_u8..4, 0..3), any::<bool>(), any::<bool>(), refused);
    (any_case(), vec(more, 12)).prop_map(|((group, mut engines, mut services), more)| {
        for (service, (named, servers, is_v6, is_astray, refused)) in services.iter_mut().zip(more) {
            service.named = named.map(EngineId);
            service.refused = refused;
            service.servers = servers.iter().map(|n| Ipv4Addr::new(10, 0, *n, 1).into()).collect();
            if is_v6 {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into();
                service.vips.push(place::Vip { address, networks: vec![net("2001:db8::/64")] });
            }
            if is_astray {
                service.current.push(EngineId(77));
            }
        }
        for engine in engines.iter_mut().step_by(2) {
            engine.interfaces.push(net("2001:db8::/32"));
        }
        (group, engines, services)
    })
}

//= test COMP-PLAN-01
#[test]
fn plans_and_reasons_are_those_of_the_native_core() {
    let decider = RefCell::new(decider());
    let (placed, unfit) = (RefCell::new(0), RefCell::new(0));
    let run = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() }).run(
        &any_group_at_all(),
        |(group, engines, services)| {
            let mut decider = decider.borrow_mut();
            let native = planning::plan(&place::plan(&group, &engines, &services));
            prop_assert_eq!(&decider.place(&group, &engines, &services).unwrap(), &native);
            *placed.borrow_mut() += native.services.iter().filter(|one| !one.engines.is_empty()).count();
            let native: Vec<_> = place::candidates(&group, &engines, &services, ServiceId(0))
                .iter()
                .map(planning::candidate)
                .collect();
            let found = decider.candidates(&group, &engines, &services, ServiceId(0)).unwrap();
            prop_assert_eq!(&found, &native);
            *unfit.borrow_mut() += found.iter().filter(|one| one.fit.is_err()).count();
            Ok(())
        },
    );
    run.unwrap_or_else(|error| panic!("{error}"));
    let (placed, unfit) = (placed.into_inner(), unfit.into_inner());
    assert!(placed > CASES as usize && unfit > CASES as usize, "{placed} placed, {unfit} unfit");
    assert_eq!(decider.into_inner().generation(), 0, "no instance was lost");
}

//= test COMP-PLAN-01
#[test]
fn a_group_as_large_as_any_is_planned_in_one_call() {
    // 64 engines and 1,000 services: below the default limit of memory.
    let core = Sandbox::new().and_then(|sandbox| sandbox.load(CORE_COMPONENT)).expect("it loads");
    let budget = Budget { memory_bytes: Budget::default().memory_bytes, ..PATIENT };
    let mut decider = Decider::new(&core, budget).expect("it instantiates");
    let engines: Vec<Engine> = (0..64).map(engine).collect();
    let services: Vec<Service> = (0..1_000).map(service).collect();
    let group = Group { services_max: 1_000, engines_max: 64, ..group() };
    let plan = decider.place(&group, &engines, &services).expect("planned");
    assert_eq!(plan, planning::plan(&place::plan(&group, &engines, &services)));
    assert!(plan.services.iter().all(|one| one.engines.len() == 1));
}
