//! The core component behind its typed interface.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::OnceLock,
};

use forebay_core::{
    Input,
    id::{Endpoint, PoolId, ServerIndex, VsId},
    lb::{self, Algorithm, PoolConfig, ServerConfig, ServerState},
    request::ClientAddr,
    testing::{self, Step},
    units::Now,
};
use forebay_sandbox::{Budget, CORE_COMPONENT, Decider, Error, GuestError, Loaded, Sandbox, wit};

fn endpoint(n: u16) -> Endpoint {
    Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port: 9_000 + n }
}

fn config(servers: u16) -> PoolConfig {
    PoolConfig {
        servers: (0..servers).map(|n| ServerConfig::new(endpoint(n))).collect(),
        ..PoolConfig::new(VsId(7), PoolId(3))
    }
}

fn client(n: u32) -> ClientAddr {
    ClientAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 + n)), 40_000)
}

fn decider(budget: Budget) -> Decider {
    // Compiled once: unoptimised, as the gate builds it, the compiler takes seconds.
    static CORE: OnceLock<Loaded> = OnceLock::new();
    let load = || Sandbox::new().and_then(|sandbox| sandbox.load(CORE_COMPONENT));
    let core = CORE.get_or_init(|| load().expect("the prebuilt component loads"));
    Decider::new(core, budget).expect("it instantiates")
}

/// Time for a loaded machine: the subject of these tests is not the deadline.
const PATIENT: Budget = Budget { call_ms: 60_000, memory_bytes: 64 << 20 };

//= test COMP-API-01
#[test]
fn the_typed_component_decides_as_the_native_core_in_every_cell() {
    let mut decider = decider(PATIENT);
    let mut reached = BTreeSet::new();
    for seed in 0..250 {
        let scenario = testing::scenario(seed);
        let native = testing::run(&scenario);
        reached.extend(testing::coverage(&scenario, &native));
        let pool = decider.pool(&scenario.config, Now(0)).expect("scenarios are valid");
        decider.for_worker(&pool, scenario.worker.0, scenario.worker.1).expect("told");
        let mut expected = native.decisions.iter();
        for (n, step) in scenario.steps.iter().enumerate() {
            match step {
                Step::Open(at) => decider.connection_opened(&pool, *at),
                Step::Close(at) => decider.connection_closed(&pool, *at),
                Step::Elsewhere(at, open) => decider.set_open_elsewhere(&pool, *at, *open),
                Step::Response(at, time) => decider.response_time(&pool, *at, *time),
                Step::Transferred(at, bytes, now) => decider.transferred(&pool, *at, *bytes, *now),
                Step::Tasks(at, tasks) => decider.set_tasks(&pool, *at, *tasks),
                Step::State(at, state, now) => decider.set_state(&pool, *at, *state, *now),
                Step::Site(site, up) => decider.set_site(&pool, *site, *up),
                Step::Decide(input) => {
                    let got = decider.pick(&pool, &input.as_input()).expect("decided");
                    let expected = wit::decision(expected.next().expect("one per step"));
                    assert_eq!(got, expected, "seed {seed}, step {n}");
                    Ok(())
                }
            }
            .expect("told");
        }
        decider.drop_pool(pool).expect("dropped");
    }
    assert_eq!(testing::wanted().difference(&reached).count(), 0);
}

//= test COMP-ARG-01
#[test]
fn an_index_beyond_the_pool_is_refused_and_costs_nothing() {
    let mut decider = decider(PATIENT);
    let pool = decider.pool(&config(3), Now(0)).expect("valid");
    let beyond = [ServerIndex(3)];
    let bad = Err(Error::Guest(GuestError::BadArgument));
    assert_eq!(decider.connection_opened(&pool, ServerIndex(3)), bad);
    assert_eq!(decider.set_state(&pool, ServerIndex(u16::MAX), ServerState::UP, Now(1)), bad);
    let input = Input { tried: &beyond, ..Input::new(client(1)) };
    assert_eq!(decider.pick(&pool, &input).map(|_| ()), bad);
    assert!(decider.pick(&pool, &Input::new(client(1))).is_ok());
    assert_eq!(decider.generation(), 0);
}

//= test COMP-ARG-02
#[test]
fn a_wrong_configuration_is_refused_with_the_native_problems() {
    let mut decider = decider(PATIENT);
    let mut wrong = config(3);
    wrong.servers[1].ratio = 21;
    wrong.servers[2].endpoint = wrong.servers[0].endpoint;
    let native: Vec<String> = wrong.check().iter().map(ToString::to_string).collect();
    assert!(native.len() >= 2);
    match decider.pool(&wrong, Now(0)) {
        Err(Error::Config(problems)) => assert_eq!(problems, native),
        other => panic!("{other:?}"),
    }
    assert!(decider.pool(&config(3), Now(0)).is_ok(), "the instance lives");
}

//= test COMP-TRAP-02
#[test]
fn a_pool_of_a_lost_instance_is_stale_and_a_new_one_works() {
    let mut decider = decider(Budget { memory_bytes: 2 << 20, ..PATIENT });
    let old = decider.pool(&config(3), Now(0)).expect("a small pool fits");
    let large = PoolConfig { algorithm: Algorithm::of(lb::Name::ConsistentHash), ..config(5_000) };
    match decider.pool(&large, Now(0)) {
        Err(Error::Memory { limit, .. }) => assert_eq!(limit, 2 << 20),
        other => panic!("{other:?}"),
    }
    assert_eq!(decider.pick(&old, &Input::new(client(1))).map(|_| ()), Err(Error::Stale));
    assert_eq!(decider.generation(), 1);
    let new = decider.pool(&config(3), Now(0)).expect("in a new instance");
    assert!(decider.pick(&new, &Input::new(client(1))).is_ok());
}
