//! From the configuration's words to the decision core's.

use forebay_core::id::{PoolId, VsId};
use forebay_core::lb::{
    self, DisablePolicy, DisableType, FailAction, Grace, HashBy, PoolConfig, QueueConfig,
};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::custom_header::CustomHeader;
use forebay_core::persist::http_cookie::{HttpCookie, default_name};
use forebay_core::persist::{Kind, Profile, ServerDown};
use forebay_core::units::{Micros, Minutes};
use forebay_snapshot::persistence::ServerDown as Down;
use forebay_snapshot::pool::{Algorithm, FailKind, ServerDisable};
use forebay_snapshot::{Persistence, pool};

use crate::config::{Pool, PoolIndex, ServiceIndex, Tree, name_id};

/// The decision core's configuration of a pool as it serves one virtual service.
pub fn pool_config(tree: &Tree, service: ServiceIndex, index: PoolIndex) -> PoolConfig {
    let (service, pool) = (tree.service(service), tree.pool(index));
    let config = &pool.config;
    PoolConfig {
        vs: VsId(name_id(&service.name)),
        id: PoolId(name_id(&pool.name)),
        algorithm: algorithm(config),
        persistence: pool.persistence.as_ref().map(|kind| profile(kind, &service.name, &pool.name)),
        ramp: Minutes(u32::from(config.connection_ramp_min)),
        disable: DisablePolicy {
            kind: match config.server_disable {
                ServerDisable::RefuseNew => DisableType::DisallowNewConnection,
                ServerDisable::AllowPersistent => DisableType::AllowNewConnectionIfPersistencePresent,
            },
            grace: grace(config.graceful_disable_timeout_min),
        },
        down_grace: grace(config.graceful_hm_down_disable_timeout_min),
        connections_max: config.max_concurrent_connections_per_server,
        queue: config.request_queue.enabled.then_some(QueueConfig { depth: config.request_queue.depth }),
        fail_action: fail_action(&config.fail_action),
        servers: servers(pool),
    }
}

fn servers(pool: &Pool) -> Vec<lb::ServerConfig> {
    pool.servers
        .iter()
        .map(|server| lb::ServerConfig {
            ratio: server.config.ratio,
            enabled: server.config.enabled,
            header_value: server.config.header_value.clone().unwrap_or_default().into_bytes(),
            ..lb::ServerConfig::new(server.address.into())
        })
        .collect()
}

fn grace(minutes: i32) -> Grace {
    Grace::from_minutes(minutes).unwrap_or(Grace::Unlimited)
}

fn algorithm(config: &pool::Pool) -> lb::Algorithm {
    match config.algorithm {
        Algorithm::LeastConnections => lb::Algorithm::LeastConnections,
        Algorithm::RoundRobin => lb::Algorithm::RoundRobin { per_se: config.round_robin_per_engine },
        Algorithm::FastestResponse => lb::Algorithm::FastestResponse,
        Algorithm::LeastLoad => lb::Algorithm::LeastLoad,
        Algorithm::FewestTasks => lb::Algorithm::FewestTasks,
        Algorithm::FewestServers => {
            lb::Algorithm::FewestServers { time_to_first_byte_max: Micros::default() }
        }
        Algorithm::Random => lb::Algorithm::Random,
        Algorithm::CoreAffinity => lb::Algorithm::CoreAffinity { nonaffinity: config.core_nonaffinity },
        Algorithm::ConsistentHash => lb::Algorithm::ConsistentHash {
            by: hash_by(config),
            ignore_server_port: config.ignore_server_port,
            load_max_percent: 0,
        },
    }
}

fn hash_by(config: &pool::Pool) -> HashBy {
    match config.hash_by {
        pool::HashBy::SourceIp => HashBy::SourceIp,
        pool::HashBy::SourceIpPort => HashBy::SourceIpAndPort,
        pool::HashBy::Uri => HashBy::Uri,
        pool::HashBy::CustomHeader => {
            HashBy::CustomHeader(config.hash_header.clone().unwrap_or_default().to_ascii_lowercase())
        }
        pool::HashBy::CallId => HashBy::CallId,
    }
}

fn profile(kind: &Persistence, service: &str, pool: &str) -> Profile {
    let (kind, down) = match kind {
        Persistence::HttpCookie(c) => (
            Kind::HttpCookie(HttpCookie {
                name: c.cookie_name.clone().unwrap_or_else(|| default_name(service, pool)),
                timeout: Minutes(u32::from(c.timeout_min)),
                always_send: c.always_send_cookie,
                is_persistent: Some(c.persistent_cookie),
                http_only: c.http_only,
            }),
            c.server_down,
        ),
        Persistence::AppCookie(c) => (
            Kind::AppCookie(AppCookie {
                name: c.cookie_name.clone(),
                timeout: Minutes(u32::from(c.timeout_min)),
            }),
            c.server_down,
        ),
        Persistence::ClientIp(c) => (
            Kind::ClientIp(ClientIp {
                timeout: Minutes(u32::from(c.timeout_min)),
                mask_v4: c.ipv4_prefix_bits,
                mask_v6: c.ipv6_prefix_bits,
            }),
            c.server_down,
        ),
        Persistence::CustomHeader(c) => {
            (Kind::CustomHeader(CustomHeader { name: c.header.to_ascii_lowercase() }), c.server_down)
        }
    };
    let server_down = match down {
        Down::PickNewServer => ServerDown::PickNewServer,
        Down::AbortConnection => ServerDown::AbortConnection,
        Down::ContinuePersistentServer => ServerDown::ContinuePersistentServer,
    };
    Profile { kind, server_down }
}

fn fail_action(action: &pool::FailAction) -> FailAction {
    match action.action {
        FailKind::CloseConnection => FailAction::CloseConnection,
        FailKind::LocalResponse => {
            FailAction::LocalResponse { status: action.status, body: action.body.clone() }
        }
        FailKind::Redirect => FailAction::Redirect {
            status: match action.status {
                status @ (301 | 302 | 307 | 308) => status,
                _ => 302,
            },
            location: action.location.clone().unwrap_or_default(),
        },
    }
}
