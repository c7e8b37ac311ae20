//! The contract's records as the core's types.

use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use forebay_core::{
    Input,
    id::{Endpoint, PoolId, ServerId, ServerIndex, SiteId, VsId},
    lb::{self, Algorithm, DisablePolicy, DisableType, FailAction, Grace, HashBy, PoolConfig, QueueConfig},
    persist::{
        ClientKey, Found, Kind, Profile, SealedCookies, ServerDown, Stored, TableKey, app_cookie::AppCookie,
        client_ip::ClientIp, custom_header::CustomHeader, gslb_site, http_cookie, tls::Tls,
    },
    request::ClientAddr,
    units::{Micros, Minutes, Now, Seconds, UnixSeconds},
};

use crate::wit;

pub(crate) fn config(from: wit::PoolConfig) -> PoolConfig {
    PoolConfig {
        algorithm: algorithm(from.algorithm),
        persistence: from.persistence.map(profile),
        ramp: Minutes(from.ramp_min),
        disable: DisablePolicy {
            kind: match from.disable.kind {
                wit::DisableType::DisallowNewConnection => DisableType::DisallowNewConnection,
                wit::DisableType::AllowNewConnectionIfPersistencePresent => {
                    DisableType::AllowNewConnectionIfPersistencePresent
                }
            },
            grace: grace(from.disable.grace),
        },
        down_grace: grace(from.down_grace),
        connections_max: from.connections_max,
        queue: from.queue_depth.map(|depth| QueueConfig { depth }),
        fail_action: match from.fail_action {
            wit::FailAction::CloseConnection => FailAction::CloseConnection,
            wit::FailAction::LocalResponse(wit::LocalResponse { status, body }) => {
                FailAction::LocalResponse { status, body }
            }
            wit::FailAction::Redirect(wit::Redirect { status, location }) => {
                FailAction::Redirect { status, location }
            }
        },
        ..PoolConfig::new(VsId(from.vs), PoolId(from.id))
    }
}

fn algorithm(from: wit::Algorithm) -> Algorithm {
    match from {
        wit::Algorithm::LeastConnections => Algorithm::LeastConnections,
        wit::Algorithm::RoundRobin(per_se) => Algorithm::RoundRobin { per_se },
        wit::Algorithm::FastestResponse => Algorithm::FastestResponse,
        wit::Algorithm::LeastLoad => Algorithm::LeastLoad,
        wit::Algorithm::FewestTasks => Algorithm::FewestTasks,
        wit::Algorithm::FewestServers(us) => Algorithm::FewestServers { time_to_first_byte_max: Micros(us) },
        wit::Algorithm::Random => Algorithm::Random,
        wit::Algorithm::CoreAffinity(nonaffinity) => Algorithm::CoreAffinity { nonaffinity },
        wit::Algorithm::ConsistentHash(hash) => Algorithm::ConsistentHash {
            by: match hash.by {
                wit::HashBy::SourceIp => HashBy::SourceIp,
                wit::HashBy::SourceIpAndPort => HashBy::SourceIpAndPort,
                wit::HashBy::Uri => HashBy::Uri,
                wit::HashBy::CustomHeader(name) => HashBy::CustomHeader(name),
                wit::HashBy::CustomString => HashBy::CustomString,
                wit::HashBy::CallId => HashBy::CallId,
            },
            ignore_server_port: hash.ignore_server_port,
            load_max_percent: hash.load_max_percent,
        },
    }
}

fn profile(from: wit::Persistence) -> Profile {
    Profile {
        kind: match from.kind {
            wit::PersistenceKind::HttpCookie(c) => Kind::HttpCookie(http_cookie::HttpCookie {
                name: c.name,
                timeout: Minutes(c.timeout_min),
                always_send: c.always_send,
                is_persistent: c.is_persistent,
                http_only: c.http_only,
            }),
            wit::PersistenceKind::AppCookie(c) => {
                Kind::AppCookie(AppCookie { name: c.name, timeout: Minutes(c.timeout_min) })
            }
            wit::PersistenceKind::CustomHeader(name) => Kind::CustomHeader(CustomHeader { name }),
            wit::PersistenceKind::ClientIp(c) => Kind::ClientIp(ClientIp {
                timeout: Minutes(c.timeout_min),
                mask_v4: c.mask_v4,
                mask_v6: c.mask_v6,
            }),
            wit::PersistenceKind::Tls(c) => {
                Kind::Tls(Tls { carry_server: c.carry_server, lifetime: Seconds(c.lifetime_s) })
            }
            wit::PersistenceKind::GslbSite(c) => Kind::GslbSite(gslb_site::GslbSite {
                cookie_name: c.cookie_name,
                local: SiteId(c.local),
                remote: c.remote.into_iter().map(SiteId).collect(),
                service: VsId(c.service),
                http_only: c.http_only,
            }),
        },
        server_down: match from.server_down {
            wit::ServerDown::PickNewServer => ServerDown::PickNewServer,
            wit::ServerDown::AbortConnection => ServerDown::AbortConnection,
            wit::ServerDown::ContinuePersistentServer => ServerDown::ContinuePersistentServer,
        },
    }
}

fn grace(from: wit::Grace) -> Grace {
    match from {
        wit::Grace::Immediate => Grace::Immediate,
        wit::Grace::Seconds(seconds) => Grace::For(Seconds(seconds)),
        wit::Grace::Unlimited => Grace::Unlimited,
    }
}

pub(crate) fn server(from: wit::Server) -> lb::ServerConfig {
    lb::ServerConfig {
        endpoint: endpoint(from.endpoint),
        ratio: from.ratio,
        enabled: from.enabled,
        connections_max: from.connections_max,
        header_value: from.header_value,
    }
}

pub(crate) fn state(from: wit::ServerState) -> lb::ServerState {
    lb::ServerState {
        health: match from.health {
            wit::Health::Up => lb::Health::Up,
            wit::Health::Down => lb::Health::Down,
            wit::Health::Maintenance => lb::Health::Maintenance,
        },
        enabled: from.enabled,
    }
}

//= COMP-API-01
/// Runs `f` with the core's view of `given`, which borrows from it.
pub(crate) fn with<R>(given: &wit::Input, f: impl FnOnce(&Input<'_>) -> R) -> R {
    let tried = indices(&given.tried);
    let full = indices(&given.full);
    let mut key = None;
    let found = match &given.found {
        wit::Found::Off => Found::Off,
        wit::Found::Absent => Found::Absent,
        wit::Found::TooLong => Found::TooLong,
        // The host opened them; what counts is in `stored`.
        wit::Found::Sealed => Found::Sealed(SealedCookies::default()),
        wit::Found::Key(bytes) => {
            key = Some(TableKey(bytes16(*bytes)));
            Found::Key(ClientKey::Plain(bytes16(*bytes)))
        }
        wit::Found::Header(value) => Found::Header(value),
        wit::Found::Carried(id) => Found::Carried(ServerId(*id)),
        wit::Found::Script(script) => {
            key = Some(TableKey(bytes16(script.key)));
            Found::Script { key: ClientKey::Plain(bytes16(script.key)), lifetime: Seconds(script.lifetime_s) }
        }
    };
    let stored = match given.stored {
        wit::Stored::Nothing => Stored::Nothing,
        wit::Stored::Cookie(p) => Stored::Cookie(http_cookie::Payload {
            vs: VsId(p.vs),
            pool: PoolId(p.pool),
            server: endpoint(p.server),
            issued: UnixSeconds(p.issued),
        }),
        wit::Stored::Site(p) => {
            Stored::Site(gslb_site::Payload { service: VsId(p.service), site: SiteId(p.site) })
        }
        wit::Stored::Entry(e) => Stored::Entry { server: ServerId(e.server), generation: e.generation },
    };
    f(&Input {
        now: Now(given.now),
        wall: UnixSeconds(given.wall),
        seed: given.seed,
        ticket: given.ticket,
        client: ClientAddr::new(ip(given.client.address), given.client.port),
        hash_key: given.hash_key.as_deref(),
        found,
        key,
        stored,
        tried: &tried,
        full: &full,
        queued: given.queued,
    })
}

fn endpoint(from: wit::Endpoint) -> Endpoint {
    Endpoint { ip: ip(from.address), port: from.port }
}

pub(crate) fn ip(from: wit::IpAddress) -> IpAddr {
    match from {
        wit::IpAddress::V4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        wit::IpAddress::V6((high, low)) => {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
        }
    }
}

fn bytes16((high, low): (u64, u64)) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// Indices as the core's own.
fn indices(list: &[u16]) -> Vec<ServerIndex> {
    let mut out = vec![ServerIndex(0); list.len()];
    for (to, from) in out.iter_mut().zip(list) {
        *to = ServerIndex(*from);
    }
    out
}
