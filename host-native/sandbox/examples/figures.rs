//! Prints what a decision costs natively and as a component:
//! `cargo run --release -p forebay-sandbox --example figures`.
//!
//! Each figure is the least of many short batches, because a shared machine only ever adds time.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use forebay_core::{
    Input,
    id::{Endpoint, PoolId, ServerIndex, VsId},
    lb::{self, Algorithm, Name, PoolConfig, ServerConfig},
    persist::{ClientKey, Found, Kind, Profile, ServerDown, Stored, TableKey, client_ip::ClientIp},
    request::ClientAddr,
    testing,
    units::Now,
};
use forebay_sandbox::{Budget, CORE_COMPONENT, Decider, Sandbox};

const SERVERS: u16 = 16;
const BATCHES: u32 = 200;
const CALLS: u32 = 500;

fn main() -> anyhow::Result<()> {
    let sandbox = Sandbox::new()?;
    let begin = Instant::now();
    let core = sandbox.load(CORE_COMPONENT)?;
    println!("component_bytes {}", CORE_COMPONENT.len());
    println!("load_ms {}", begin.elapsed().as_millis());
    let budget = Budget { call_ms: 60_000, memory_bytes: 64 << 20 };
    print("instantiate", least(20, || drop(Decider::new(&core, budget).map(black_box))));

    let mut decider = Decider::new(&core, budget)?;
    for name in [Name::LeastConnections, Name::RoundRobin, Name::Random, Name::ConsistentHash] {
        let config = config(Algorithm::of(name), None);
        let mut native = lb::Pool::new(config.clone()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let pool = decider.pool(&config, Now(0))?;
        let mut n = 0;
        print(
            &format!("native_{name}"),
            least(CALLS, || {
                n += 1;
                black_box(forebay_core::decide(&mut native, &fresh(n)));
            }),
        );
        print(
            &format!("component_{name}"),
            least(CALLS, || {
                n += 1;
                let _ = black_box(decider.pick(&pool, &fresh(n)));
            }),
        );
        print(
            "component_connection_opened_and_closed",
            least(CALLS, || {
                let _ = black_box(decider.connection_opened(&pool, ServerIndex(0)));
                let _ = black_box(decider.connection_closed(&pool, ServerIndex(0)));
            }),
        );
    }

    let kind = Kind::ClientIp(ClientIp::default());
    let config =
        config(Algorithm::LeastConnections, Some(Profile { kind, server_down: ServerDown::PickNewServer }));
    let mut native = lb::Pool::new(config.clone()).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let pool = decider.pool(&config, Now(0))?;
    let bound = native.id_of(ServerIndex(3));
    let hit = Input {
        found: Found::Key(ClientKey::Plain([7; 16])),
        key: Some(TableKey([7; 16])),
        stored: Stored::Entry { server: bound, generation: 1 },
        ..fresh(1)
    };
    print(
        "native_client_ip_hit",
        least(CALLS, || {
            black_box(forebay_core::decide(&mut native, &hit));
        }),
    );
    print(
        "component_client_ip_hit",
        least(CALLS, || {
            let _ = black_box(decider.pick(&pool, &hit));
        }),
    );

    let scenarios: Vec<_> = (0..64).map(testing::scenario).collect();
    let inputs: usize = scenarios.iter().map(testing::decisions).sum();
    let frames = scenarios.iter().map(postcard::to_allocvec).collect::<Result<Vec<_>, _>>()?;
    let native_ns = least(1, || {
        for frame in &frames {
            let scenario = postcard::from_bytes(frame).map(|scenario| testing::run(&scenario).to_bytes());
            let _ = black_box(scenario);
        }
    });
    let component_ns = least(1, || drop(black_box(decider.pick_batch(&frames))));
    println!("batch_native_ns_per_input {}", native_ns / inputs as u64);
    println!("batch_component_ns_per_input {}", component_ns / inputs as u64);
    Ok(())
}

fn config(algorithm: Algorithm, persistence: Option<Profile>) -> PoolConfig {
    let server = |n| Endpoint { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port: 9_000 + n };
    PoolConfig {
        algorithm,
        persistence,
        servers: (0..SERVERS).map(|n| ServerConfig::new(server(n))).collect(),
        ..PoolConfig::new(VsId(1), PoolId(1))
    }
}

fn fresh(n: u32) -> Input<'static> {
    let client = ClientAddr::new(IpAddr::V4(Ipv4Addr::from_bits(n)), 40_000);
    Input { now: Now(u64::from(n)), seed: u64::from(n) << 20, ..Input::new(client) }
}

/// The least time of one call over all batches, in nanoseconds.
fn least(calls: u32, mut f: impl FnMut()) -> u64 {
    let mut best = u64::MAX;
    for _ in 0..BATCHES {
        let begin = Instant::now();
        for _ in 0..calls {
            f();
        }
        let ns = begin.elapsed().as_nanos() / u128::from(calls);
        best = best.min(u64::try_from(ns).unwrap_or(u64::MAX));
    }
    best
}

fn print(what: &str, ns: u64) {
    println!("{what}_ns {ns}");
}
