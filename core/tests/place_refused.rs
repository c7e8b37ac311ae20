//! Services that engines could not have: they go elsewhere, stay where nobody else may have them, and are not taken around.

mod groups;

use forebay_core::place::{
    Admin, Engine, EngineId, EngineState, Group, Ha, Refusal, Service, ServiceId, Unfit, candidates, plan,
    refused,
};
use groups::{any_case, engine, group, service};
use proptest::prelude::*;

fn engines_of(group: &Group, engines: &[Engine], services: &[Service]) -> Vec<Vec<u32>> {
    let plan = plan(group, engines, services);
    plan.services.iter().map(|placed| placed.engines.iter().map(|engine| engine.0).collect()).collect()
}

fn on(current: &[u32], refused: &[u32], id: u32) -> Service {
    let ids = |all: &[u32]| all.iter().copied().map(EngineId).collect();
    Service { current: ids(current), refused: ids(refused), ..service(id) }
}

//= test PLACE-REFUSED-01
#[test]
fn a_service_that_its_engine_cannot_have_goes_to_one_that_may_and_stays_if_there_is_none() {
    let engines = [engine(1), engine(2), engine(3)];
    let of = |engines: &[Engine], service: Service| engines_of(&group(), engines, &[service])[0].clone();
    assert_eq!(of(&engines, on(&[1], &[], 1)), [1]);
    assert_eq!(of(&engines, on(&[1], &[1], 1)), [2]);
    assert_eq!(of(&engines, on(&[1], &[1, 2], 1)), [3]);
    assert_eq!(of(&engines, on(&[2], &[1, 2, 3], 1)), [2], "nobody could");
    assert_eq!(of(&engines[..1], on(&[1], &[1], 1)), [1], "there is nobody else");
    assert_eq!(of(&engines, on(&[], &[1], 1)), [2], "who could not is not asked first");
    assert_eq!(of(&engines, on(&[], &[1, 2, 3], 1)), [0_u32; 0], "and not where all could not");
    // Of several, those that serve come first, and as many stay as it should have.
    let two = Group { scale_min: 2, ..group() };
    assert_eq!(engines_of(&two, &engines, &[on(&[1, 2], &[1], 1)]), [[2, 3]]);
    assert_eq!(engines_of(&two, &engines[..2], &[on(&[1, 2], &[1], 1)]), [[2, 1]]);
    // Nobody else is moved for it, and until it has moved it takes up its place.
    let one = Group { services_max: 1, ..group() };
    assert_eq!(engines_of(&one, &engines[..2], &[on(&[1], &[1], 1), on(&[2], &[], 2)]), [[1], [2]]);
    assert_eq!(engines_of(&one, &engines[..2], &[on(&[1], &[1], 1), on(&[], &[2], 2)]), [vec![2], vec![]]);
    // An active and a standby engine have all of them, and are not chosen by one.
    let legacy = Group { ha: Ha::Legacy { shared_out: false }, ..group() };
    assert_eq!(engines_of(&legacy, &engines, &[on(&[1, 2], &[1], 1)]), [[1, 2]]);
    let why = candidates(&group(), &engines, &[on(&[2], &[1], 1)], ServiceId(1));
    let why: Vec<_> = why.iter().map(|found| (found.engine.0, found.fit.err())).collect();
    assert_eq!(why, [(3, None), (1, Some(Unfit::Refused)), (2, Some(Unfit::HasIt))]);
}

//= test PLACE-REFUSED-01
#[test]
fn who_could_not_have_a_service_is_asked_again_after_longer_and_longer_pauses() {
    let said = |times, at_ms| Refusal { times, at_ms, is_said: true };
    let was = |times, at_ms| Refusal { times, at_ms, is_said: false };
    let is_out = |all: &[(u32, Refusal)], current: &[u32], now| {
        let all: Vec<_> = all.iter().map(|(id, one)| (EngineId(*id), *one)).collect();
        let current: Vec<_> = current.iter().copied().map(EngineId).collect();
        refused(&all, &current, now).iter().map(|id| id.0).collect::<Vec<_>>()
    };
    let none: [u32; 0] = [];
    // It says so, and nobody else was asked: at once.
    assert_eq!(is_out(&[(1, said(1, 7))], &[1], 7), [1]);
    // Another one could not either: for a while it stays, and the other one does not come.
    let both = [(1, said(1, 0)), (2, was(1, 1_000))];
    assert_eq!(is_out(&both, &[1], 2_999), [2]);
    assert_eq!(is_out(&both, &[1], 3_000), [1, 2]);
    // Each is asked again by itself, later each time.
    for (times, pause) in
        [(1, 30_000), (2, 60_000), (3, 120_000), (4, 240_000), (5, 300_000), (u32::MAX, 300_000)]
    {
        let was = [(2, was(times, 500))];
        assert_eq!(is_out(&was, &[1], 499 + pause), [2], "{times}");
        assert_eq!(is_out(&was, &[1], 500 + pause), none, "{times}");
    }
    // Many that could not: the service rests for longer each time, and not for ever.
    for (count, pause) in [(1, 2_000), (2, 4_000), (5, 32_000), (8, 256_000), (9, 300_000), (63, 300_000)] {
        let mut all = vec![(1, said(1, 0))];
        all.extend((2..2 + count).map(|id| (id, was(1, 0))));
        assert!(!is_out(&all, &[1], pause - 1).contains(&1), "{count}");
        assert!(is_out(&all, &[1], pause).contains(&1), "{count}");
    }
    // Who has it and can have it again is not left for what was.
    assert_eq!(is_out(&[(1, was(9, 100))], &[1], 100), none);
    assert!(was(1, 0).is_forgotten(3_600_001) && !was(1, 0).is_forgotten(3_600_000));
    assert!(!said(1, 0).is_forgotten(u64::MAX));
}

/// Groups whose services some engines could not have.
fn any_refused() -> impl Strategy<Value = (Group, Vec<Engine>, Vec<Service>)> {
    let ids = prop::collection::vec((0_u32..7).prop_map(EngineId), 0..4);
    (any_case(), prop::collection::vec(ids, 12)).prop_map(|((group, engines, mut services), refused)| {
        for (service, refused) in services.iter_mut().zip(refused) {
            service.refused = refused;
        }
        (group, engines, services)
    })
}

fn could_stay(engines: &[Engine], service: &Service, id: EngineId) -> bool {
    let free = Service { refused: Vec::new(), ..service.clone() };
    let engine = engines.iter().find(|engine| engine.id == id).expect("an engine");
    let reaches = || {
        let nets = || engine.interfaces.iter().chain(&engine.routes);
        free.vips.iter().all(|vip| nets().any(|net| net.contains(vip.address)))
    };
    engine.state != EngineState::Lost
        && engine.admin != Admin::Disabled
        && (engine.state == EngineState::Silent || reaches())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    //= test PLACE-REFUSED-01
    #[test]
    fn nobody_loses_an_engine_for_nothing_and_what_was_found_instead_stays(
        (group, engines, services) in any_refused(),
    ) {
        let group = match group.ha {
            Ha::Legacy { .. } => Group { ha: Ha::Pair, ..group },
            Ha::Shared { .. } | Ha::Pair => group,
        };
        let first = plan(&group, &engines, &services);
        for placed in &first.services {
            let before = services.iter().find(|service| service.id == placed.id).expect("it was there");
            let stays = |id: &&EngineId| could_stay(&engines, before, **id) && !before.leaving.contains(id);
            let had = before.current.iter().filter(stays).count();
            prop_assert!(placed.engines.len() >= had.min(usize::from(placed.wanted)), "{:?}", placed);
            for id in &placed.engines {
                prop_assert!(before.current.contains(id) || !before.refused.contains(id), "{:?}", placed);
            }
            for id in before.current.iter().filter(stays) {
                let is_left = !placed.engines.contains(id);
                prop_assert!(!is_left || before.refused.contains(id), "{:?}", placed);
                prop_assert!(!is_left || placed.engines.len() >= usize::from(placed.wanted), "{:?}", placed);
            }
        }
        let carried_out = services.iter().map(|service| {
            let placed = first.services.iter().find(|placed| placed.id == service.id).expect("it is planned");
            let leaving = service.leaving.iter().filter(|id| !placed.engines.contains(id));
            Service {
                current: placed.engines.clone(),
                leaving: leaving.copied().collect(),
                ..service.clone()
            }
        });
        let carried_out: Vec<Service> = carried_out.collect();
        let again = plan(&group, &engines, &carried_out);
        for (a, b) in first.services.iter().zip(&again.services) {
            let service = services.iter().find(|service| service.id == a.id).expect("it is planned");
            let settles = a.engines.iter().all(|id| !service.refused.contains(id));
            let stays = a.engines.iter().all(|id| b.engines.contains(id));
            prop_assert!(!settles || stays, "{:?} {:?}", a, b);
        }
    }
}
