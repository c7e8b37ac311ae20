//! The core's answers as the contract's records.
//!
//! Two programs are compiled from this file, each against bindings of its own that its parent calls `wit`: this
//! component, and the host (`host-native/sandbox`), which compares a native decision with the component's.

use core::net::IpAddr;

use forebay_core::{
    ChosenBy, Decision, Effect, KeyOutcome, Reason, Refusal, SkipWhy, Verdict,
    id::{Endpoint, ServerId},
    lb::Name,
    persist::{KindName, ServerDown, TableKey},
};

use super::wit;

/// A function from an enumeration to one with the same names.
macro_rules! same {
    ($name:ident: $from:ident => $to:ident { $($variant:ident),* $(,)? }) => {
        pub(crate) fn $name(from: $from) -> wit::$to {
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

//= COMP-API-01
pub(crate) fn decision(from: &Decision) -> wit::Decision {
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
        Effect::Write { key, server: ServerId(server), generation, lifetime } => {
            wit::Effect::Write(wit::TableWrite {
                key: table_key(key),
                server,
                generation,
                lifetime_s: lifetime.0,
            })
        }
        Effect::Touch { key, lifetime } => {
            wit::Effect::Touch(wit::TableTouch { key: table_key(key), lifetime_s: lifetime.0 })
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

pub(crate) fn endpoint(from: Endpoint) -> wit::Endpoint {
    wit::Endpoint { address: ip(from.ip), port: from.port }
}

pub(crate) fn ip(from: IpAddr) -> wit::IpAddress {
    match from {
        IpAddr::V4(v4) => wit::IpAddress::V4(v4.to_bits()),
        IpAddr::V6(v6) => wit::IpAddress::V6(bytes16(v6.octets())),
    }
}

fn table_key(from: TableKey) -> (u64, u64) {
    bytes16(from.0)
}

pub(crate) fn bytes16(from: [u8; 16]) -> (u64, u64) {
    let all = u128::from_be_bytes(from);
    ((all >> 64) as u64, all as u64)
}
