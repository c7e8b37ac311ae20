//! The core's types as the contract's records: what is asked here, what is answered in a file that the component
//! is compiled from as well.

use forebay_core::{
    Decision, Input,
    lb::{Algorithm, DisableType, FailAction, Grace, HashBy, Health, PoolConfig, ServerConfig, ServerState},
    persist::{Found, Kind, Profile, Stored},
};

use self::output::{bytes16, down, endpoint, ip};
use crate::bindings::exports::forebay::core::types as wit;

#[path = "../../../core/component/src/output.rs"]
pub(crate) mod output;

pub(crate) fn config(from: &PoolConfig) -> wit::PoolConfig {
    wit::PoolConfig {
        vs: from.vs.0,
        id: from.id.0,
        algorithm: algorithm(&from.algorithm),
        persistence: from.persistence.as_ref().map(profile),
        ramp_min: from.ramp.0,
        disable: wit::DisablePolicy {
            kind: match from.disable.kind {
                DisableType::DisallowNewConnection => wit::DisableType::DisallowNewConnection,
                DisableType::AllowNewConnectionIfPersistencePresent => {
                    wit::DisableType::AllowNewConnectionIfPersistencePresent
                }
            },
            grace: grace(from.disable.grace),
        },
        down_grace: grace(from.down_grace),
        connections_max: from.connections_max,
        queue_depth: from.queue.map(|queue| queue.depth),
        fail_action: match &from.fail_action {
            FailAction::CloseConnection => wit::FailAction::CloseConnection,
            FailAction::LocalResponse { status, body } => {
                wit::FailAction::LocalResponse(wit::LocalResponse { status: *status, body: body.clone() })
            }
            FailAction::Redirect { status, location } => {
                wit::FailAction::Redirect(wit::Redirect { status: *status, location: location.clone() })
            }
        },
    }
}

fn algorithm(from: &Algorithm) -> wit::Algorithm {
    match from {
        Algorithm::LeastConnections => wit::Algorithm::LeastConnections,
        Algorithm::RoundRobin { per_se } => wit::Algorithm::RoundRobin(*per_se),
        Algorithm::FastestResponse => wit::Algorithm::FastestResponse,
        Algorithm::LeastLoad => wit::Algorithm::LeastLoad,
        Algorithm::FewestTasks => wit::Algorithm::FewestTasks,
        Algorithm::FewestServers { time_to_first_byte_max } => {
            wit::Algorithm::FewestServers(time_to_first_byte_max.0)
        }
        Algorithm::Random => wit::Algorithm::Random,
        Algorithm::CoreAffinity { nonaffinity } => wit::Algorithm::CoreAffinity(*nonaffinity),
        Algorithm::ConsistentHash { by, ignore_server_port, load_max_percent } => {
            wit::Algorithm::ConsistentHash(wit::ConsistentHash {
                by: match by {
                    HashBy::SourceIp => wit::HashBy::SourceIp,
                    HashBy::SourceIpAndPort => wit::HashBy::SourceIpAndPort,
                    HashBy::Uri => wit::HashBy::Uri,
                    HashBy::CustomHeader(name) => wit::HashBy::CustomHeader(name.clone()),
                    HashBy::CustomString => wit::HashBy::CustomString,
                    HashBy::CallId => wit::HashBy::CallId,
                },
                ignore_server_port: *ignore_server_port,
                load_max_percent: *load_max_percent,
            })
        }
    }
}

fn profile(from: &Profile) -> wit::Persistence {
    wit::Persistence {
        kind: match &from.kind {
            Kind::HttpCookie(c) => wit::PersistenceKind::HttpCookie(wit::HttpCookie {
                name: c.name.clone(),
                timeout_min: c.timeout.0,
                always_send: c.always_send,
                is_persistent: c.is_persistent,
                http_only: c.http_only,
            }),
            Kind::AppCookie(c) => wit::PersistenceKind::AppCookie(wit::AppCookie {
                name: c.name.clone(),
                timeout_min: c.timeout.0,
            }),
            Kind::CustomHeader(c) => wit::PersistenceKind::CustomHeader(c.name.clone()),
            Kind::ClientIp(c) => wit::PersistenceKind::ClientIp(wit::ClientIp {
                timeout_min: c.timeout.0,
                mask_v4: c.mask_v4,
                mask_v6: c.mask_v6,
            }),
            Kind::Tls(c) => {
                wit::PersistenceKind::Tls(wit::Tls { carry_server: c.carry_server, lifetime_s: c.lifetime.0 })
            }
            Kind::GslbSite(c) => wit::PersistenceKind::GslbSite(wit::GslbSite {
                cookie_name: c.cookie_name.clone(),
                local: c.local.0,
                remote: c.remote.iter().map(|site| site.0).collect(),
                service: c.service.0,
                http_only: c.http_only,
            }),
        },
        server_down: down(from.server_down),
    }
}

fn grace(from: Grace) -> wit::Grace {
    match from {
        Grace::Immediate => wit::Grace::Immediate,
        Grace::For(seconds) => wit::Grace::Seconds(seconds.0),
        Grace::Unlimited => wit::Grace::Unlimited,
    }
}

pub(crate) fn servers(from: &[ServerConfig]) -> Vec<wit::Server> {
    from.iter()
        .map(|server| wit::Server {
            endpoint: endpoint(server.endpoint),
            ratio: server.ratio,
            enabled: server.enabled,
            connections_max: server.connections_max,
            header_value: server.header_value.clone(),
        })
        .collect()
}

pub(crate) fn state(from: ServerState) -> wit::ServerState {
    let health = match from.health {
        Health::Up => wit::Health::Up,
        Health::Down => wit::Health::Down,
        Health::Maintenance => wit::Health::Maintenance,
    };
    wit::ServerState { health, enabled: from.enabled }
}

pub(crate) fn input(from: &Input<'_>) -> wit::Input {
    // A key that was found and not looked up is no key: the core reads it from `key` alone.
    let key = from.key.map(|key| bytes16(key.0));
    wit::Input {
        now: from.now.0,
        wall: from.wall.0,
        seed: from.seed,
        ticket: from.ticket,
        client: wit::Client { address: ip(from.client.ip), port: from.client.port },
        hash_key: from.hash_key.map(<[u8]>::to_vec),
        found: match (from.found, key) {
            (Found::Off, _) => wit::Found::Off,
            (Found::TooLong, _) => wit::Found::TooLong,
            (Found::Sealed(_), _) => wit::Found::Sealed,
            (Found::Header(value), _) => wit::Found::Header(value.to_vec()),
            (Found::Carried(id), _) => wit::Found::Carried(id.0),
            (Found::Key(_), Some(key)) => wit::Found::Key(key),
            (Found::Script { lifetime, .. }, Some(key)) => {
                wit::Found::Script(wit::ScriptKey { key, lifetime_s: lifetime.0 })
            }
            (Found::Absent | Found::Key(_) | Found::Script { .. }, _) => wit::Found::Absent,
        },
        stored: match from.stored {
            Stored::Nothing => wit::Stored::Nothing,
            Stored::Cookie(p) => wit::Stored::Cookie(wit::CookiePayload {
                vs: p.vs.0,
                pool: p.pool.0,
                server: endpoint(p.server),
                issued: p.issued.0,
            }),
            Stored::Site(p) => wit::Stored::Site(wit::SitePayload { service: p.service.0, site: p.site.0 }),
            Stored::Entry { server, generation } => {
                wit::Stored::Entry(wit::TableEntry { server: server.0, generation })
            }
        },
        tried: from.tried.iter().map(|at| at.0).collect(),
        full: from.full.iter().map(|at| at.0).collect(),
        queued: from.queued,
    }
}

/// Returns a native decision as the contract's record, to compare it with a component's.
pub fn decision(from: &Decision) -> wit::Decision {
    output::decision(from)
}
