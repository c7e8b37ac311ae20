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
use forebay_core::persist::tls::Tls;
use forebay_core::persist::{Kind, Profile, ServerDown};
use forebay_core::units::{Micros, Minutes, Now};
use forebay_http::Limits;
use forebay_snapshot::HttpProfile;
use forebay_snapshot::persistence::{self, Persistence};
use forebay_snapshot::pool::{self, FailKind};

use super::secure::Secure;
use super::{Group, HealthState, Override, Pool, Service, Tree};

impl Pool {
    /// The names of the keys that cookies of its clients are sealed with; none: those of the document.
    pub fn cookie_keys(&self) -> &[String] {
        match &self.persistence {
            Some(Persistence::HttpCookie(cookie)) => &cookie.cookie_keys,
            _ => &[],
        }
    }

    /// What [`forebay_core::lb::Pool::new`] takes for this pool behind `service`: cookies belong to the two together.
    pub fn decision_config(&self, service: &Service) -> PoolConfig {
        let from = &self.config;
        PoolConfig {
            vs: service.keeps_as,
            id: self.id,
            algorithm: algorithm(from),
            persistence: self.persistence.as_ref().map(|p| profile(p, service, &self.name)),
            ramp: Minutes(from.connection_ramp_min.into()),
            disable: DisablePolicy {
                kind: match from.server_disable {
                    pool::ServerDisable::RefuseNew => DisableType::DisallowNewConnection,
                    pool::ServerDisable::AllowPersistent => {
                        DisableType::AllowNewConnectionIfPersistencePresent
                    }
                },
                grace: Grace::from_minutes(from.graceful_disable_timeout_min).expect("checked: -1 to 7200"),
            },
            down_grace: Grace::from_seconds(from.graceful_hm_down_disable_timeout_s)
                .expect("checked: -1 to 432000"),
            connections_max: from.max_concurrent_connections_per_server,
            queue: from.request_queue.enabled.then_some(QueueConfig { depth: from.request_queue.depth }),
            fail_action: fail_action(&from.fail_action),
            servers: self
                .servers
                .iter()
                .map(|server| ServerConfig {
                    endpoint: server.address.into(),
                    ratio: server.config.ratio,
                    enabled: server.is_enabled(),
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

fn profile(from: &Persistence, service: &Service, pool: &str) -> Profile {
    let kind = match from {
        Persistence::HttpCookie(cookie) => Kind::HttpCookie(HttpCookie {
            name: cookie
                .cookie_name
                .clone()
                .unwrap_or_else(|| http_cookie::default_name(&service.name, pool)),
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
        //= PERS-TLS-06
        Persistence::Tls(_) => Kind::Tls(Tls {
            carry_server: false,
            lifetime: service.tls.as_ref().map_or_else(|| Tls::default().lifetime, Secure::session_lifetime),
        }),
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
            // Who has it out at once wants nobody there: a server that is down keeps no clients.
            let health =
                if server.shared.admin_override() == Override::Disabled { lb::Health::Down } else { health };
            let state = lb::ServerState { health, enabled: server.is_enabled() };
            if pool.state(index) != state {
                pool.set_state(index, state, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use forebay_core::id::{PoolId, VsId};
    use forebay_core::lb::{
        self, DisablePolicy, DisableType, FailAction, Grace, GroupConfig, GroupMember, PoolConfig,
        QueueConfig, ServerConfig,
    };
    use forebay_core::persist::app_cookie::AppCookie;
    use forebay_core::persist::client_ip::ClientIp;
    use forebay_core::persist::custom_header::CustomHeader;
    use forebay_core::persist::http_cookie::{self, HttpCookie};
    use forebay_core::persist::{Kind, Profile, ServerDown};
    use forebay_core::units::{Micros, Minutes, Seconds};
    use forebay_http::Limits;
    use forebay_snapshot::pool::{Algorithm, HashBy};

    use crate::config::{Tree, name_id};

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

    /// A tree of one service in front of the pool "web" with these lines, and further sections.
    fn tree(pool: &str, sections: &str) -> Tree {
        let document = format!(
            "version = 1\n[[cookie_key]]\nname = \"k\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n\
             [[virtual_service]]\nname = \"shop\"\nlisten = [\"127.0.0.1:8080\"]\npool = \"web\"\n{sections}\
             [[pool]]\nname = \"web\"\n{pool}\n"
        );
        Tree::build(forebay_snapshot::check(&document).unwrap_or_else(|p| panic!("{p:?}\n{document}")))
    }

    fn decided(pool: &str, sections: &str) -> PoolConfig {
        let tree = tree(pool, sections);
        tree.pools[0].decision_config(&tree.services[0])
    }

    const ONE: &str = "server = [{ address = \"192.0.2.1\" }]";

    /// Nothing here is a default, so whatever is not handed on is missed; a new field does not compile.
    #[test]
    fn everything_that_a_pool_says_reaches_the_core() {
        let config = decided(
            "algorithm = \"core_affinity\"\ncore_nonaffinity = 3\npersistence = \"p\"\nconnection_ramp_min = 13\n\
             default_server_port = 81\nmax_concurrent_connections_per_server = 9\n\
             request_queue = { enabled = true, depth = 7 }\nserver_disable = \"allow_persistent\"\n\
             graceful_disable_timeout_min = 4\ngraceful_hm_down_disable_timeout_s = 6\n\
             fail_action = { action = \"redirect\", status = 307, location = \"https://b.example/\" }\n\
             server = [{ address = \"192.0.2.1\", ratio = 3, header_value = \"one\" }, \
             { address = \"[2001:db8::2]:8443\", enabled = false, header_value = \"two\" }]",
            "[[persistence]]\nname = \"p\"\ntype = \"custom_header\"\nheader = \"X-Server\"\n\
             server_down = \"abort_connection\"\n",
        );
        let server = |address: &str, ratio, enabled, value: &str| ServerConfig {
            endpoint: address.parse::<SocketAddr>().expect("an address").into(),
            ratio,
            enabled,
            connections_max: 0,
            header_value: value.into(),
        };
        let want = PoolConfig {
            vs: VsId(name_id("shop")),
            id: PoolId(name_id("web")),
            algorithm: lb::Algorithm::CoreAffinity { nonaffinity: 3 },
            persistence: Some(Profile {
                kind: Kind::CustomHeader(CustomHeader { name: "x-server".into() }),
                server_down: ServerDown::AbortConnection,
            }),
            ramp: Minutes(13),
            disable: DisablePolicy {
                kind: DisableType::AllowNewConnectionIfPersistencePresent,
                grace: Grace::For(Seconds(240)),
            },
            down_grace: Grace::For(Seconds(6)),
            connections_max: 9,
            queue: Some(QueueConfig { depth: 7 }),
            fail_action: FailAction::Redirect { status: 307, location: "https://b.example/".into() },
            servers: vec![
                server("192.0.2.1:81", 3, true, "one"),
                server("[2001:db8::2]:8443", 1, false, "two"),
            ],
        };
        assert_eq!(config, want);
    }

    #[test]
    fn every_setting_of_an_algorithm_reaches_the_core() {
        let hash = |by, ignore_server_port, load_max_percent| lb::Algorithm::ConsistentHash {
            by,
            ignore_server_port,
            load_max_percent,
        };
        for (lines, want) in [
            ("\"least_connections\"", lb::Algorithm::LeastConnections),
            ("\"round_robin\"", lb::Algorithm::RoundRobin { per_se: false }),
            ("\"round_robin\"\nround_robin_per_engine = true", lb::Algorithm::RoundRobin { per_se: true }),
            ("\"fastest_response\"", lb::Algorithm::FastestResponse),
            ("\"least_load\"", lb::Algorithm::LeastLoad),
            ("\"fewest_servers\"", lb::Algorithm::FewestServers { time_to_first_byte_max: Micros(0) }),
            ("\"random\"", lb::Algorithm::Random),
            ("\"core_affinity\"", lb::Algorithm::CoreAffinity { nonaffinity: 2 }),
            ("\"consistent_hash\"", hash(lb::HashBy::SourceIp, false, 0)),
            (
                "\"consistent_hash\"\nhash_by = \"custom_header\"\nhash_header = \"X-Shard\"\n\
                 ignore_server_port = true\nhash_load_max_percent = 150",
                hash(lb::HashBy::CustomHeader("x-shard".into()), true, 150),
            ),
            (
                "\"consistent_hash\"\nhash_by = \"source_ip_port\"",
                hash(lb::HashBy::SourceIpAndPort, false, 0),
            ),
            ("\"consistent_hash\"\nhash_by = \"uri\"", hash(lb::HashBy::Uri, false, 0)),
            ("\"consistent_hash\"\nhash_by = \"call_id\"", hash(lb::HashBy::CallId, false, 0)),
        ] {
            assert_eq!(decided(&format!("algorithm = {lines}\n{ONE}"), "").algorithm, want, "{lines}");
        }
    }

    #[test]
    fn every_setting_of_a_persistence_reaches_the_core() {
        let cookie = |name: &str, timeout, always_send, is_persistent, http_only| {
            let (name, timeout) = (name.into(), Minutes(timeout));
            Kind::HttpCookie(HttpCookie { name, timeout, always_send, is_persistent, http_only })
        };
        let own = http_cookie::default_name("shop", "web");
        for (lines, kind) in [
            ("type = \"http_cookie\"", cookie(&own, 0, false, None, false)),
            (
                "type = \"http_cookie\"\ncookie_name = \"lb\"\ntimeout_min = 31\npersistent_cookie = false\n\
                 always_send_cookie = true\nhttp_only = true",
                cookie("lb", 31, true, Some(false), true),
            ),
            (
                "type = \"app_cookie\"\ncookie_name = \"sid\"\ntimeout_min = 17",
                Kind::AppCookie(AppCookie { name: "sid".into(), timeout: Minutes(17) }),
            ),
            (
                "type = \"client_ip\"\ntimeout_min = 11\nipv4_prefix_bits = 24\nipv6_prefix_bits = 56",
                Kind::ClientIp(ClientIp { timeout: Minutes(11), mask_v4: 24, mask_v6: 56 }),
            ),
        ] {
            for (word, server_down) in [
                ("pick_new_server", ServerDown::PickNewServer),
                ("abort_connection", ServerDown::AbortConnection),
                ("continue_persistent_server", ServerDown::ContinuePersistentServer),
            ] {
                let section = format!("[[persistence]]\nname = \"p\"\nserver_down = \"{word}\"\n{lines}\n");
                let config = decided(&format!("persistence = \"p\"\n{ONE}"), &section);
                assert_eq!(config.persistence, Some(Profile { kind: kind.clone(), server_down }), "{lines}");
            }
        }
    }

    #[test]
    fn what_a_pool_leaves_out_and_every_other_choice_reach_the_core() {
        let plain = decided(ONE, "");
        assert_eq!((plain.persistence, plain.queue), (None, None));
        assert_eq!(plain.disable.kind, DisableType::DisallowNewConnection);
        for (minutes, grace) in [("0", Grace::Immediate), ("-1", Grace::Unlimited)] {
            let line = format!("graceful_disable_timeout_min = {minutes}\n{ONE}");
            assert_eq!(decided(&line, "").disable.grace, grace);
        }
        for (action, want) in [
            ("\"close_connection\"", FailAction::CloseConnection),
            ("\"local_response\"", FailAction::LocalResponse { status: 503, body: String::new() }),
            (
                "\"local_response\", status = 429, body = \"soon\"",
                FailAction::LocalResponse { status: 429, body: "soon".into() },
            ),
            (
                "\"redirect\", location = \"https://c.example/\"",
                FailAction::Redirect { status: 302, location: "https://c.example/".into() },
            ),
        ] {
            let config = decided(&format!("fail_action = {{ action = {action} }}\n{ONE}"), "");
            assert_eq!(config.fail_action, want);
        }
    }

    #[test]
    fn everything_that_a_group_says_reaches_the_core() {
        let tree = tree(
            ONE,
            "[[pool_group]]\nname = \"g\"\nservers_up_min = 2\n\
             member = [{ pool = \"web\", ratio = 3, priority = 7 }, { pool = \"spare\" }]\n\
             [[virtual_service]]\nname = \"all\"\nlisten = [\"127.0.0.1:8081\"]\npool_group = \"g\"\n\
             [[pool]]\nname = \"spare\"\nserver = [{ address = \"192.0.2.3\" }]\n",
        );
        let member = |name, ratio, priority| GroupMember { pool: PoolId(name_id(name)), ratio, priority };
        let members = vec![member("web", 3, 7), member("spare", 1, 0)];
        assert_eq!(tree.groups[0].decision_config(&tree), GroupConfig { members, servers_min: 2 });
    }

    #[test]
    fn every_bound_of_a_profile_reaches_the_parser() {
        let snapshot = forebay_snapshot::check(
            "version = 1\n[[http_profile]]\nname = \"small\"\nhead_bytes_max = 9001\n\
             request_line_bytes_max = 8001\nfield_bytes_max = 7001\nfields_max = 77\nbody_bytes_max = 6001",
        )
        .expect("a right document");
        let want = Limits {
            head_bytes: 9_001,
            target_bytes: 8_001,
            field_bytes: 7_001,
            fields: 77,
            body_bytes: 6_001,
            ..Limits::default()
        };
        assert_eq!(super::head_limits(&snapshot.http_profile[0]), want);
    }
}
