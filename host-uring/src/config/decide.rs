//! A pool of the document as the decision core knows it.

use forebay_core::id::ServerIndex;
use forebay_core::lb::{
    self, Algorithm, DisablePolicy, DisableType, FailAction, Grace, GroupConfig, GroupMember, HashBy,
    PoolConfig, QueueConfig, ServerConfig,
};
use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::client_ip::ClientIp;
use forebay_core::persist::custom_header::CustomHeader;
use forebay_core::persist::http_cookie::{self, HttpCookie};
use forebay_core::persist::{Kind, Profile, ServerDown};
use forebay_core::units::{Micros, Minutes, Now};
use forebay_http::Limits;
use forebay_snapshot::HttpProfile;
use forebay_snapshot::persistence::{self, Persistence};
use forebay_snapshot::pool::{self, FailKind};

use super::{Group, HealthState, Pool, Service, Tree};

impl Pool {
    /// What [`forebay_core::lb::Pool::new`] takes for this pool behind `service`: cookies belong to the two together.
    pub fn decision_config(&self, service: &Service) -> PoolConfig {
        let from = &self.config;
        PoolConfig {
            vs: service.id,
            id: self.id,
            algorithm: algorithm(from),
            persistence: self.persistence.as_ref().map(|p| profile(p, &service.name, &self.name)),
            ramp: Minutes(from.connection_ramp_min.into()),
            disable: DisablePolicy {
                kind: match from.server_disable {
                    pool::ServerDisable::RefuseNew => DisableType::DisallowNewConnection,
                    pool::ServerDisable::AllowPersistent => {
                        DisableType::AllowNewConnectionIfPersistencePresent
                    }
                },
                grace: grace(from.graceful_disable_timeout_min),
            },
            down_grace: grace(from.graceful_hm_down_disable_timeout_min),
            connections_max: from.max_concurrent_connections_per_server,
            queue: from.request_queue.enabled.then_some(QueueConfig { depth: from.request_queue.depth }),
            fail_action: fail_action(&from.fail_action),
            servers: self
                .servers
                .iter()
                .map(|server| ServerConfig {
                    endpoint: server.address.into(),
                    ratio: server.config.ratio,
                    enabled: server.config.enabled,
                    connections_max: 0,
                    header_value: server.config.header_value.clone().unwrap_or_default().into_bytes(),
                })
                .collect(),
        }
    }
}

impl Group {
    /// What [`forebay_core::lb::PoolGroup::new`] takes for this group.
    pub fn decision_config(&self, tree: &Tree) -> GroupConfig {
        let members = self
            .pools
            .iter()
            .zip(&self.config.member)
            .map(|(pool, member)| GroupMember {
                pool: tree.pool(*pool).id,
                ratio: member.ratio,
                priority: member.priority,
            })
            .collect();
        GroupConfig { members, servers_min: self.config.servers_up_min }
    }
}

/// Turns a fail action of the document into that of the core.
pub fn fail_action(from: &pool::FailAction) -> FailAction {
    match from.action {
        FailKind::CloseConnection => FailAction::CloseConnection,
        FailKind::LocalResponse => {
            FailAction::LocalResponse { status: from.status.unwrap_or(503), body: from.body.clone() }
        }
        FailKind::Redirect => FailAction::Redirect {
            status: from.status.unwrap_or(302),
            location: from.location.clone().unwrap_or_default(),
        },
    }
}

fn grace(minutes: i32) -> Grace {
    Grace::from_minutes(minutes).expect("checked: -1 to 7200")
}

fn algorithm(from: &forebay_snapshot::Pool) -> Algorithm {
    match from.algorithm {
        pool::Algorithm::LeastConnections => Algorithm::LeastConnections,
        pool::Algorithm::RoundRobin => Algorithm::RoundRobin { per_se: from.round_robin_per_engine },
        pool::Algorithm::FastestResponse => Algorithm::FastestResponse,
        pool::Algorithm::LeastLoad => Algorithm::LeastLoad,
        pool::Algorithm::FewestTasks => Algorithm::FewestTasks,
        pool::Algorithm::FewestServers => Algorithm::FewestServers { time_to_first_byte_max: Micros(0) },
        pool::Algorithm::Random => Algorithm::Random,
        pool::Algorithm::CoreAffinity => Algorithm::CoreAffinity { nonaffinity: from.core_nonaffinity },
        pool::Algorithm::ConsistentHash => Algorithm::ConsistentHash {
            by: match from.hash_by {
                pool::HashBy::SourceIp => HashBy::SourceIp,
                pool::HashBy::SourceIpPort => HashBy::SourceIpAndPort,
                pool::HashBy::Uri => HashBy::Uri,
                pool::HashBy::CustomHeader => {
                    HashBy::CustomHeader(from.hash_header.clone().unwrap_or_default().to_ascii_lowercase())
                }
                pool::HashBy::CallId => HashBy::CallId,
                pool::HashBy::CustomString => HashBy::CustomString,
            },
            ignore_server_port: from.ignore_server_port,
            load_max_percent: from.hash_load_max_percent,
        },
    }
}

fn profile(from: &Persistence, service: &str, pool: &str) -> Profile {
    let kind = match from {
        Persistence::HttpCookie(cookie) => Kind::HttpCookie(HttpCookie {
            name: cookie.cookie_name.clone().unwrap_or_else(|| http_cookie::default_name(service, pool)),
            timeout: Minutes(cookie.timeout_min.into()),
            always_send: cookie.always_send_cookie,
            is_persistent: cookie.persistent_cookie,
            http_only: cookie.http_only,
        }),
        Persistence::AppCookie(cookie) => Kind::AppCookie(AppCookie {
            name: cookie.cookie_name.clone(),
            timeout: Minutes(cookie.timeout_min.into()),
        }),
        Persistence::ClientIp(ip) => Kind::ClientIp(ClientIp {
            timeout: Minutes(ip.timeout_min.into()),
            mask_v4: ip.ipv4_prefix_bits,
            mask_v6: ip.ipv6_prefix_bits,
        }),
        Persistence::CustomHeader(header) => {
            Kind::CustomHeader(CustomHeader { name: header.header.to_ascii_lowercase() })
        }
    };
    let server_down = match from.server_down() {
        persistence::ServerDown::PickNewServer => ServerDown::PickNewServer,
        persistence::ServerDown::AbortConnection => ServerDown::AbortConnection,
        persistence::ServerDown::ContinuePersistentServer => ServerDown::ContinuePersistentServer,
    };
    Profile { kind, server_down }
}

/// Bounds of what clients send.
pub fn head_limits(http: &HttpProfile) -> Limits {
    Limits {
        head_bytes: http.head_bytes_max,
        target_bytes: http.request_line_bytes_max,
        field_bytes: http.field_bytes_max,
        fields: u32::from(http.fields_max),
        body_bytes: if http.body_bytes_max == 0 { u64::MAX } else { http.body_bytes_max },
        ..Limits::default()
    }
}

impl Pool {
    /// Brings what the decision core knows of the servers' states up to now.
    pub fn read_states(&self, pool: &mut lb::Pool, now: Now) {
        for (place, server) in self.servers.iter().enumerate() {
            let health = match server.shared.state() {
                HealthState::Up => lb::Health::Up,
                HealthState::Maintenance => lb::Health::Maintenance,
                HealthState::Checking | HealthState::Down => lb::Health::Down,
            };
            let index = ServerIndex(place as u16);
            let state = lb::ServerState { health, enabled: server.config.enabled };
            if pool.state(index) != state {
                pool.set_state(index, state, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_core::lb;
    use forebay_snapshot::pool::{Algorithm, HashBy};

    use crate::config::Tree;

    #[test]
    fn whatever_the_check_lets_pass_the_core_takes() {
        for (name, algorithm) in Algorithm::ALL.iter().filter(|(name, _)| *name != Algorithm::FewestTasks) {
            let hashes = *name == Algorithm::ConsistentHash;
            for (by, hash_by) in HashBy::ALL.iter().filter(|(by, _)| hashes || *by == HashBy::SourceIp) {
                let header = *by == HashBy::CustomHeader;
                for persistence in ["http_cookie", "app_cookie", "client_ip", "custom_header"] {
                    let document = format!(
                        "version = 1\n[[cookie_key]]\nname = \"k\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n\
                         [[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\"]\npool = \"web\"\n{}\
                         [[pool]]\nname = \"web\"\nalgorithm = \"{algorithm}\"\nhash_by = \"{hash_by}\"\npersistence = \"p\"\n{}\
                         connection_ramp_min = 300\ngraceful_disable_timeout_min = 7200\n{}\
                         fail_action = {{ action = \"redirect\", location = \"https://a.example/\" }}\n\
                         server = [{{ address = \"192.0.2.1:80\", ratio = 20{} }}, {{ address = \"[2001:db8::1]\" }}]\n\
                         [[persistence]]\nname = \"p\"\ntype = \"{persistence}\"\n{}",
                        match by {
                            HashBy::CustomString => {
                                "[[virtual_service.rules]]\nname = \"text\"\nthen = [{ hash_by = \"host\" }]\n"
                            }
                            _ => "",
                        },
                        if header { "hash_header = \"X-Shard\"\n" } else { "" },
                        if hashes { "hash_load_max_percent = 125\n" } else { "" },
                        match persistence {
                            "custom_header" => format!(", header_value = \"{}\"", "v".repeat(256)),
                            _ => String::new(),
                        },
                        match persistence {
                            "app_cookie" => "cookie_name = \"s\"\ntimeout_min = 720\n",
                            "custom_header" => "header = \"X-Server\"\n",
                            "http_cookie" => "timeout_min = 14400\npersistent_cookie = true\n",
                            _ => "timeout_min = 0\n",
                        }
                    );
                    let snapshot =
                        forebay_snapshot::check(&document).unwrap_or_else(|p| panic!("{p:?}\n{document}"));
                    let tree = Tree::build(snapshot);
                    let config = tree.pools[0].decision_config(&tree.services[0]);
                    assert_eq!(config.check(), [], "{document}");
                    assert_eq!(lb::Pool::new(config).map(|pool| pool.len()), Ok(2));
                }
            }
        }
    }
}
