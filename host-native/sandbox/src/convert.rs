//! The core's types as the contract's records.

use std::net::IpAddr;

use forebay_core::{
    ChosenBy, Decision, Effect, Input, KeyOutcome, Reason, Refusal, SkipWhy, Verdict,
    id::Endpoint,
    lb::{
        Algorithm, DisableType, FailAction, Grace, HashBy, Health, Name, PoolConfig, ServerConfig,
        ServerState,
    },
    persist::{Found, Kind, KindName, Profile, ServerDown, Stored},
};

use crate::decider::bindings::exports::forebay::core::types as wit;

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

/// A function from an enumeration to one with the same names.
macro_rules! same {
    ($name:ident: $from:ident => $to:ident { $($variant:ident),* $(,)? }) => {
        fn $name(from: $from) -> wit::$to {
            match from { $($from::$variant => wit::$to::$variant),* }
        }
    };
}

same!(name: Name => AlgorithmName {
    LeastConnections, RoundRobin, FastestResponse, LeastLoad, FewestTasks, FewestServers, Random, CoreAffinity,
    ConsistentHash,
});
same!(kind: KindName => PersistenceName {
    HttpCookie, AppCookie, CustomHeader, ClientIp, Tls, GslbSite, KeyValue,
});
same!(key: KeyOutcome => KeyOutcome {
    Off, Absent, TooLong, Miss, Hit, Invalid, Foreign, Expired, NotAMember, LocalSite, RemoteSite, RemoteSiteDown,
});
same!(chosen_by: ChosenBy => ChosenBy { Persistence, Algorithm, Site, Nobody });
same!(skip: SkipWhy => SkipWhy { Down, Maintenance, Disabled, Draining, AtLimit, Tried, WeightZero });
same!(down: ServerDown => ServerDown { PickNewServer, AbortConnection, ContinuePersistentServer });
same!(refusal: Refusal => Refusal {
    NoServerUp, AllTried, AllAtLimit, QueueFull, PersistentServerDown, PersistentServerFailed,
    PersistentServerAtLimit,
});

/// Returns a native decision as the contract's record, to compare it with a component's.
pub fn decision(from: &Decision) -> wit::Decision {
    wit::Decision {
        verdict: match from.verdict {
            Verdict::Server(at) => wit::Verdict::Server(at.0),
            Verdict::Site(site) => wit::Verdict::Site(site.0),
            Verdict::Queue => wit::Verdict::Queue,
            Verdict::Close => wit::Verdict::Close,
            Verdict::Reject { status, why } => {
                wit::Verdict::Reject(wit::Rejection { status, why: refusal(why) })
            }
        },
        effects: from.effects.iter().map(effect).collect(),
        reason: reason(&from.reason),
    }
}

fn effect(from: &Effect) -> wit::Effect {
    match *from {
        Effect::SetCookie(p) => wit::Effect::SetCookie(wit::CookiePayload {
            vs: p.vs.0,
            pool: p.pool.0,
            server: endpoint(p.server),
            issued: p.issued.0,
        }),
        Effect::SetSiteCookie(p) => {
            wit::Effect::SetSiteCookie(wit::SitePayload { service: p.service.0, site: p.site.0 })
        }
        Effect::Write { key, server, generation, lifetime } => wit::Effect::Write(wit::TableWrite {
            key: bytes16(key.0),
            server: server.0,
            generation,
            lifetime_s: lifetime.0,
        }),
        Effect::Touch { key, lifetime } => {
            wit::Effect::Touch(wit::TableTouch { key: bytes16(key.0), lifetime_s: lifetime.0 })
        }
        Effect::SealTicket { server } => wit::Effect::SealTicket(server.0),
    }
}

fn reason(from: &Reason) -> wit::Reason {
    wit::Reason {
        algorithm: name(from.algorithm),
        persistence: from.persistence.map(kind),
        key: key(from.key),
        chosen_by: chosen_by(from.chosen_by),
        policy: from.policy.map(|applied| wit::PolicyApplied {
            policy: down(applied.policy),
            server: applied.server.0,
            why: skip(applied.why),
        }),
        site: from.site.map(|site| site.0),
        refusal: from.refusal.map(refusal),
        attempt: from.attempt,
        skipped: from
            .skipped
            .iter()
            .flatten()
            .map(|skipped| wit::Skipped { server: skipped.server.0, why: skip(skipped.why) })
            .collect(),
        skipped_more: from.skipped_more,
    }
}

fn endpoint(from: Endpoint) -> wit::Endpoint {
    wit::Endpoint { address: ip(from.ip), port: from.port }
}

fn ip(from: IpAddr) -> wit::IpAddress {
    match from {
        IpAddr::V4(v4) => wit::IpAddress::V4(v4.to_bits()),
        IpAddr::V6(v6) => wit::IpAddress::V6(bytes16(v6.octets())),
    }
}

fn bytes16(from: [u8; 16]) -> (u64, u64) {
    let all = u128::from_be_bytes(from);
    ((all >> 64) as u64, all as u64)
}
