//! Where services are placed: promises searched over random groups, and cases told one by one.

mod groups;

use forebay_core::place::{
    Admin, Engine, EngineId, EngineState, Group, Ha, Placed, Plan, Reach, Service, ServiceId, Spread, Unfit,
    Vip, candidates, plan,
};
use groups::{any_case, engine, group, net, service};
use proptest::prelude::*;

/// The services with the engines that a plan gave them.
fn settled(services: &[Service], plan: &Plan) -> Vec<Service> {
    let with = |service: &Service| {
        let placed = plan.services.iter().find(|placed| placed.id == service.id).expect("it is planned");
        Service { current: placed.engines.clone(), leaving: Vec::new(), ..service.clone() }
    };
    services.iter().map(with).collect()
}

fn engines_of(plan: &Plan, id: u32) -> Vec<u32> {
    let placed = plan.services.iter().find(|placed| placed.id == ServiceId(id)).expect("it is planned");
    placed.engines.iter().map(|engine| engine.0).collect()
}

/// Virtual services on an engine.
fn load(plan: &Plan, services: &[Service], engine: EngineId) -> u32 {
    let on = |placed: &&Placed| placed.engines.contains(&engine);
    let weight = |placed: &Placed| services.iter().find(|s| s.id == placed.id).map_or(0, |s| s.weight);
    plan.services.iter().filter(on).map(weight).sum()
}

fn of(engines: &[Engine], id: EngineId) -> &Engine {
    engines.iter().find(|engine| engine.id == id).expect("an engine")
}

fn reaches(engine: &Engine, service: &Service) -> bool {
    let nets = || engine.interfaces.iter().chain(&engine.routes);
    service.vips.iter().all(|vip| nets().any(|net| net.contains(vip.address)))
}

/// How many services can have one engine each at most, by trying all ways.
fn most(engines: &[Engine], services: &[Service], room: &mut Vec<u32>) -> usize {
    let Some((first, rest)) = services.split_first() else { return 0 };
    let mut best = most(engines, rest, room);
    for (at, engine) in engines.iter().enumerate() {
        if room[at] > 0 && reaches(engine, first) {
            room[at] -= 1;
            best = best.max(1 + most(engines, rest, room));
            room[at] += 1;
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    //= test PLACE-LIMIT-01
    #[test]
    fn nobody_is_put_where_it_must_not_be((group, engines, services) in any_case()) {
        let plan = plan(&group, &engines, &services);
        for placed in &plan.services {
            let wants = services.iter().find(|service| service.id == placed.id).expect("it was there");
            for (at, id) in placed.engines.iter().enumerate() {
                let engine = of(&engines, *id);
                prop_assert!(!placed.engines[..at].contains(id), "twice on one engine: {placed:?}");
                prop_assert!(engine.state != EngineState::Lost && engine.admin != Admin::Disabled);
                prop_assert!(!wants.leaving.contains(id));
                if !wants.current.contains(id) {
                    prop_assert!(engine.state == EngineState::Up && engine.admin == Admin::Enabled);
                    prop_assert!(reaches(engine, wants));
                    let leaving: u32 = services.iter().filter(|s| s.leaving.contains(id)).map(|s| s.weight).sum();
                    prop_assert!(load(&plan, &services, *id) + leaving <= group.services_max);
                }
            }
            prop_assert!(placed.engines.len() <= usize::from(placed.wanted).max(wants.current.len()));
        }
    }

    //= test PLACE-STAY-01
    #[test]
    fn what_can_stay_stays_and_a_plan_that_is_carried_out_asks_for_nothing_more(
        (group, engines, services) in any_case(),
    ) {
        let first = plan(&group, &engines, &services);
        for placed in &first.services {
            let before = services.iter().find(|service| service.id == placed.id).expect("it was there");
            let may = |id: &&EngineId| {
                let engine = of(&engines, **id);
                engine.state != EngineState::Lost
                    && engine.admin != Admin::Disabled
                    && (engine.state == EngineState::Silent || reaches(engine, before))
            };
            let stays: Vec<_> = before.current.iter().filter(may).copied().collect();
            if !matches!(group.ha, Ha::Legacy { .. }) {
                prop_assert_eq!(&placed.engines[..stays.len()], &stays[..]);
            }
        }
        let after = settled(&services, &first);
        let again = plan(&group, &engines, &after);
        if services.iter().all(|service| service.leaving.is_empty()) {
            for (a, b) in first.services.iter().zip(&again.services) {
                prop_assert_eq!(&a.engines, &b.engines);
            }
        }
        let (mut turned_e, mut turned_s) = (engines.clone(), services.clone());
        turned_e.reverse();
        turned_s.reverse();
        prop_assert_eq!(plan(&group, &turned_e, &turned_s), first);
    }

    //= test PLACE-LOST-01
    #[test]
    fn the_loss_of_an_engine_moves_only_its_services((group, engines, services) in any_case(), lost in 0_usize..7) {
        prop_assume!(!matches!(group.ha, Ha::Legacy { .. }));
        let before = plan(&group, &engines, &services);
        let after = settled(&services, &before);
        let mut engines = engines;
        let at = lost % engines.len();
        engines[at].state = EngineState::Lost;
        let id = engines[at].id;
        let then = plan(&group, &engines, &after);
        for (a, b) in before.services.iter().zip(&then.services) {
            let kept: Vec<_> = a.engines.iter().filter(|engine| **engine != id).collect();
            prop_assert_eq!(kept.clone(), b.engines.iter().take(kept.len()).collect::<Vec<_>>());
            if a.engines.contains(&id) && b.engines.len() < a.engines.len() && b.engines.len() < usize::from(b.wanted) {
                prop_assert!(b.waiting.contains(&id) || of(&engines, id).admin == Admin::Disabled, "it is forgotten: {b:?}");
            } else if !a.engines.contains(&id) {
                prop_assert!(b.engines.len() >= a.engines.len());
            }
        }
    }

    //= test PLACE-ROOM-01
    #[test]
    fn as_many_services_have_an_engine_as_there_is_any_way_to_place(
        engines in prop::collection::vec(0_u8..8, 1..5),
        nets in prop::collection::vec(0_u8..3, 0..7),
        services_max in 1_u32..4,
        packed in any::<bool>(),
    ) {
        let spread = if packed { Spread::Packed } else { Spread::Distributed };
        let group = Group { services_max, spread, ..group() };
        let with = |(id, bits): (u32, &u8)| {
            let nets = (0..3_u8).filter(|n| bits & (1 << n) != 0).map(|n| net(&format!("10.0.{n}.0/24")));
            Engine { interfaces: nets.collect(), ..engine(id) }
        };
        let engines: Vec<_> = (0..).zip(&engines).map(with).collect();
        let wants = |(id, net): (u32, &u8)| Service {
            vips: vec![Vip { address: format!("10.0.{net}.7").parse().expect("an address"), networks: Vec::new() }],
            ..service(id)
        };
        let services: Vec<_> = (0..).zip(&nets).map(wants).collect();
        let plan = plan(&group, &engines, &services);
        let placed = plan.services.iter().filter(|placed| !placed.engines.is_empty()).count();
        prop_assert_eq!(placed, most(&engines, &services, &mut vec![services_max; engines.len()]));
    }
}

//= test PLACE-SPREAD-01
#[test]
fn packed_fills_one_engine_and_distributed_takes_turns() {
    let engines = [engine(1), engine(2)];
    let services: Vec<_> = (0..4).map(service).collect();
    let on = |spread| {
        let plan = plan(&Group { spread, ..group() }, &engines, &services);
        (load(&plan, &services, EngineId(1)), load(&plan, &services, EngineId(2)))
    };
    assert_eq!(on(Spread::Packed), (4, 0));
    assert_eq!(on(Spread::Distributed), (2, 2));
    // An interface is nearer than a route, and one in the servers' network nearer still; a named engine is the first.
    let routed = Engine { interfaces: Vec::new(), routes: vec![net("0.0.0.0/0")], ..engine(1) };
    let near = Engine { interfaces: vec![net("10.0.0.0/24"), net("10.9.0.0/16")], ..engine(3) };
    let engines = [routed, engine(2), near];
    let wants = Service { servers: vec!["10.9.1.1".parse().expect("an address")], ..service(1) };
    let chosen = |wants: &Service| engines_of(&plan(&group(), &engines, std::slice::from_ref(wants)), 1);
    assert_eq!(chosen(&wants), [3]);
    assert_eq!(chosen(&service(1)), [2]);
    assert_eq!(chosen(&Service { named: Some(EngineId(1)), ..service(1) }), [1]);
    // Machines that differ come before all but that.
    let on_host = |id, host| Engine { host: Some(host), ..engine(id) };
    let engines = [on_host(1, 7), on_host(2, 7), on_host(3, 8)];
    let two = Group { scale_min: 2, ..group() };
    assert_eq!(engines_of(&plan(&two, &engines, &[service(1)]), 1), [1, 3]);
    assert_eq!(
        engines_of(&plan(&Group { differing_hosts: false, ..two }, &engines, &[service(1)]), 1),
        [1, 2]
    );
}

//= test PLACE-SCALE-01
#[test]
fn the_scale_is_the_least_and_what_people_asked_for_within_the_most() {
    let scale = |group: &Group, factor, has: u32| {
        group.scale(&Service { factor, current: (0..has).map(EngineId).collect(), ..service(1) })
    };
    let group = Group { scale_min: 2, ..group() };
    assert_eq!([scale(&group, 0, 0), scale(&group, 1, 2), scale(&group, 9, 4)], [2, 3, 4]);
    assert_eq!([scale(&group, -1, 2), scale(&group, -9, 2)], [1, 1]);
    // A most that was lowered takes nothing away, and lets nothing be added.
    assert_eq!(scale(&Group { scale_max: 3, ..group.clone() }, 9, 5), 5);
    assert_eq!(scale(&Group { ha: Ha::Pair, scale_min: 1, ..group.clone() }, 0, 0), 2);
    assert_eq!(scale(&Group { ha: Ha::Legacy { shared_out: false }, ..group }, 7, 0), 2);
}

//= test PLACE-BUFFER-01
#[test]
fn twenty_services_at_eight_an_engine_want_three_engines_and_one_to_stand_in() {
    let group = Group { services_max: 8, ..group() };
    let services: Vec<_> = (0..20).map(service).collect();
    let engines: Vec<_> = (0..4).map(engine).collect();
    let planned = plan(&group, &engines, &services);
    assert_eq!((planned.engines_wanted, planned.engines_usable), (4, 4));
    assert!(planned.services.iter().all(|placed| placed.engines.len() == 1));
    // With one lost, all have an engine still.
    let mut engines = engines;
    engines[0].state = EngineState::Lost;
    let after = plan(&group, &engines, &settled(&services, &planned));
    assert_eq!(after.engines_usable, 3);
    assert!(after.services.iter().all(|placed| placed.engines.len() == 1 && placed.waiting.is_empty()));
    assert_eq!(plan(&Group { engines_max: 3, ..group.clone() }, &engines, &services).engines_wanted, 3);
    assert_eq!(plan(&Group { ha: Ha::Pair, ..group.clone() }, &engines, &services).engines_wanted, 5);
    let legacy = Group { ha: Ha::Legacy { shared_out: false }, ..group };
    assert_eq!(plan(&legacy, &engines, &services).engines_wanted, 2);
}

//= test PLACE-LEGACY-01
#[test]
fn an_active_and_a_standby_engine_change_places_only_when_one_is_lost() {
    let group = Group { ha: Ha::Legacy { shared_out: false }, ..group() };
    let shared_out = Group { ha: Ha::Legacy { shared_out: true }, ..group.clone() };
    let mut engines = vec![engine(1), engine(2), engine(3)];
    let services = vec![service(1), Service { second: true, ..service(2) }];
    let first = plan(&group, &engines, &services);
    assert_eq!((engines_of(&first, 1), engines_of(&first, 2)), (vec![1, 2], vec![1, 2]));
    let shared = plan(&shared_out, &engines, &services);
    assert_eq!((engines_of(&shared, 1), engines_of(&shared, 2)), (vec![1, 2], vec![2, 1]));
    let on = settled(&services, &first);
    let judged = candidates(&group, &engines, &on, ServiceId(1));
    assert_eq!(
        judged.iter().map(|c| c.fit).collect::<Vec<_>>(),
        [Err(Unfit::HasIt), Err(Unfit::HasIt), Err(Unfit::Spare)]
    );
    engines[0].state = EngineState::Lost;
    let after = plan(&group, &engines, &on);
    assert_eq!(engines_of(&after, 1), [2, 3], "the standby serves, a third stands by");
    engines[0].state = EngineState::Up;
    let back = plan(&group, &engines, &settled(&services, &after));
    assert_eq!(engines_of(&back, 1), [2, 3], "who comes back takes nothing from anybody");
}

//= test PLACE-NETWORK-01
//= test PLACE-REASON-01
#[test]
fn each_engine_that_does_not_qualify_has_its_reason() {
    let group = Group { services_max: 1, ..group() };
    let lost = Engine { state: EngineState::Lost, ..engine(2) };
    let silent = Engine { state: EngineState::Silent, ..engine(3) };
    let disabled = Engine { admin: Admin::Disabled, ..engine(4) };
    let nothing_new = Engine { admin: Admin::NothingNew, ..engine(5) };
    let elsewhere = Engine { interfaces: vec![net("10.1.0.0/16")], ..engine(6) };
    let routed = Engine { interfaces: Vec::new(), routes: vec![net("10.0.0.0/8")], ..engine(8) };
    let engines = [engine(1), lost, silent, disabled, nothing_new, elsewhere, engine(7), routed, engine(9)];
    let other = Service { current: vec![EngineId(7)], ..service(2) };
    let wants = Service { current: vec![EngineId(9)], ..service(1) };
    let services = [wants.clone(), other];
    let heavy = [Service { weight: 12, ..service(1) }];
    let judged = candidates(&Group { services_max: 10, ..group.clone() }, &[engine(1)], &heavy, ServiceId(1));
    let why = judged[0].fit.expect_err("none can have so many");
    assert!(why.to_string().contains("12 virtual services share these addresses"), "{why}");
    let judged = candidates(&group, &engines, &services, ServiceId(1));
    let found: Vec<_> = judged.iter().map(|c| (c.engine.0, c.fit)).collect();
    let address = "10.0.0.9".parse().expect("an address");
    assert_eq!(
        found,
        [
            (1, Ok(Reach::Interface)),
            (8, Ok(Reach::Route)),
            (2, Err(Unfit::Lost)),
            (3, Err(Unfit::Silent)),
            (4, Err(Unfit::Disabled)),
            (5, Err(Unfit::NothingNew)),
            (6, Err(Unfit::Unreached(address))),
            (7, Err(Unfit::Full { has: 1, most: 1 })),
            (9, Err(Unfit::HasIt)),
        ]
    );
    for (_, fit) in &found {
        if let Err(why) = fit {
            assert!(why.to_string().len() > 10, "{why:?}");
        }
    }
    assert!(found[6].1.is_err_and(|why| why.to_string().contains("10.0.0.9")));
    // A network that is named counts, and the address does not.
    let vip = Vip { address, networks: vec![net("10.1.2.0/24")] };
    let named = Service { vips: vec![vip], ..wants };
    let judged = candidates(&group, &engines, &[named], ServiceId(1));
    assert_eq!(judged[0].engine, EngineId(6));
    assert!(judged[1..].iter().all(|c| c.fit.is_err()));
}
