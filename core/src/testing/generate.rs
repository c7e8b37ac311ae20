//! Makes scenarios from seeds.

use alloc::string::ToString;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Scenario;
use super::history::History;
use crate::hash::Draw;
use crate::id::{Endpoint, PoolId, SiteId, VsId};
use crate::lb::{
    Algorithm, DisablePolicy, DisableType, FailAction, Grace, HashBy, Name, PoolConfig, QueueConfig,
    ServerConfig,
};
use crate::persist::app_cookie::AppCookie;
use crate::persist::client_ip::ClientIp;
use crate::persist::custom_header::CustomHeader;
use crate::persist::gslb_site::GslbSite;
use crate::persist::http_cookie::HttpCookie;
use crate::persist::tls::Tls;
use crate::persist::{Kind, KindName, Profile, ServerDown};
use crate::units::{Micros, Minutes, Seconds};

/// Makes the scenario of `seed`: the seed's remainder chooses algorithm, kind and policy, the rest is drawn.
///
/// Two hundred consecutive seeds reach everything in [`wanted`](super::wanted).
pub fn scenario(seed: u64) -> Scenario {
    let mut draw = Draw::new(seed ^ 0x666f_7265_6261_7931);
    let mut rest = seed;
    let mut of = |n: u64| {
        let at = rest % n;
        rest /= n;
        at as usize
    };
    let algorithm = algorithm(crate::lb::ALGORITHMS[of(9)].name, &mut draw);
    let kind = match of(8) {
        0 => None,
        n => Some(crate::persist::KINDS[n - 1].name),
    };
    let server_down = ServerDown::ALL[of(3)];
    let config = config(algorithm, kind, server_down, &mut draw);
    let workers = 1 + draw.below(8) as u16;
    let worker = (draw.below(u32::from(workers)) as u16, workers);
    let steps = History::new(&config, worker, kind, draw).write();
    Scenario { seed, config, worker, steps }
}

fn algorithm(name: Name, draw: &mut Draw) -> Algorithm {
    match name {
        Name::RoundRobin => Algorithm::RoundRobin { per_se: draw.below(2) == 0 },
        Name::FewestServers => {
            Algorithm::FewestServers { time_to_first_byte_max: Micros(u64::from(draw.below(2)) * 20_000) }
        }
        Name::CoreAffinity => Algorithm::CoreAffinity { nonaffinity: 1 + draw.below(4) as u16 },
        Name::ConsistentHash => Algorithm::ConsistentHash {
            by: match draw.below(6) {
                0 => HashBy::SourceIp,
                1 => HashBy::SourceIpAndPort,
                2 => HashBy::Uri,
                3 => HashBy::CustomHeader("x-key".to_string()),
                4 => HashBy::CustomString,
                _ => HashBy::CallId,
            },
            ignore_server_port: draw.below(2) == 0,
            load_max_percent: if draw.below(2) == 0 { 0 } else { 125 },
        },
        other => Algorithm::of(other),
    }
}

fn profile(kind: KindName, draw: &mut Draw) -> Option<Kind> {
    Some(match kind {
        KindName::HttpCookie => Kind::HttpCookie(HttpCookie {
            name: "sticky".to_string(),
            timeout: Minutes(draw.below(3) * 10),
            always_send: draw.below(2) == 0,
            ..HttpCookie::default()
        }),
        KindName::AppCookie => {
            Kind::AppCookie(AppCookie { name: "sid".to_string(), timeout: Minutes(1 + draw.below(720)) })
        }
        KindName::CustomHeader => Kind::CustomHeader(CustomHeader { name: "x-shard".to_string() }),
        KindName::ClientIp | KindName::KeyValue => Kind::ClientIp(ClientIp::default()),
        KindName::Tls => {
            Kind::Tls(Tls { carry_server: draw.below(2) == 0, lifetime: Seconds(1 + draw.below(86_400)) })
        }
        KindName::GslbSite => Kind::GslbSite(GslbSite {
            cookie_name: "site".to_string(),
            local: SiteId(1),
            remote: vec![SiteId(2), SiteId(3)],
            service: VsId(99),
            http_only: false,
        }),
    })
}

fn config(
    algorithm: Algorithm,
    kind: Option<KindName>,
    server_down: ServerDown,
    draw: &mut Draw,
) -> PoolConfig {
    let servers = 2 + draw.below(15);
    let v6 = draw.below(4) == 0;
    let servers = (0..servers as u16)
        .map(|i| ServerConfig {
            endpoint: Endpoint {
                ip: if v6 {
                    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i))
                } else {
                    IpAddr::V4(Ipv4Addr::new(10, 1, 0, (i / 2) as u8))
                },
                port: 8_000 + i,
            },
            ratio: [1, 1, 1, 2, 5, 20, 0][draw.below(7) as usize],
            enabled: true,
            connections_max: if draw.below(4) == 0 { 1 + draw.below(6) } else { 0 },
            header_value: [b"shard-".as_slice(), &[b'a' + i as u8]].concat(),
        })
        .collect();
    PoolConfig {
        algorithm,
        persistence: kind.and_then(|k| profile(k, draw)).map(|kind| Profile { kind, server_down }),
        ramp: Minutes(draw.below(3) * 5),
        disable: DisablePolicy {
            kind: if draw.below(2) == 0 {
                DisableType::DisallowNewConnection
            } else {
                DisableType::AllowNewConnectionIfPersistencePresent
            },
            grace: [Grace::Immediate, Grace::For(Minutes(1).seconds()), Grace::Unlimited]
                [draw.below(3) as usize],
        },
        connections_max: [0, 0, 8][draw.below(3) as usize],
        queue: (draw.below(2) == 0).then_some(QueueConfig { depth: 4 }),
        fail_action: match draw.below(3) {
            0 => FailAction::CloseConnection,
            1 => FailAction::LocalResponse { status: 503, body: "down".to_string() },
            _ => FailAction::Redirect { status: 302, location: "https://sorry.example/".to_string() },
        },
        servers,
        ..PoolConfig::new(VsId(1), PoolId(2))
    }
}
