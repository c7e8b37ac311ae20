//! Pools, their servers, and groups of pools.

use serde_json::Value;

use super::common::{
    CODE_RANGE, DISCOVERED_NETWORK, GEO_LOCATION, IP_ADDR, LOCAL_FILE, METADATA_BYTES_MAX, PORT, PORT_OR_0,
    U32,
};
use super::gslb::SRV;
use super::rates::RATE_PROFILE;
use super::rule::addresses;
use super::vsparts::REALTIME;
use crate::Problem;
use crate::field::{Default, Field, Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

static SERVER: Message = Message {
    name: "Server",
    fields: &[
        message("ip", &IP_ADDR).required(),
        int("port", PORT_OR_0),
        flag("enabled").or_true(),
        int("ratio", &[(1, 20)]).or_int(1),
        text("hostname"),
        flag("resolve_server_by_dns").or_false(),
        flag("rewrite_host_header").or_false(),
        text("prst_hdr_val"),
        int("preference_order", &[(1, 128)]),
        text("description"),
        text("server_node"),
        flag("static").or_false(),
        flag("verify_network").or_false(),
        text("external_uuid"),
        text("external_orchestration_id"),
        text("mac_address"),
        text("vm_uuid"),
        refers("vm_ref", "vimgrvmruntime"),
        refers("nw_ref", "vimgrnwruntime"),
        text("availability_zone"),
        text("autoscaling_group_name"),
        message("location", &GEO_LOCATION),
        list("health_monitor_refs", &Type::Ref("healthmonitor"), 10),
        message("srv_rdata", &SRV),
        list("discovered_networks", &Type::Message(&DISCOVERED_NETWORK), 64),
    ],
};

static PLACEMENT_NETWORK: Message = Message {
    name: "PlacementNetwork",
    fields: &[
        refers("network_ref", "network"),
        message("subnet", &super::common::IP_ADDR_PREFIX),
        message("subnet6", &super::common::IP_ADDR_PREFIX),
    ],
};

static NETWORK_FILTER: Message = Message {
    name: "NetworkFilter",
    fields: &[refers("network_ref", "vimgrnwruntime").required(), text("server_filter")],
};

static ANALYTICS_POLICY: Message = Message {
    name: "PoolAnalyticsPolicy",
    fields: &[flag("enable_realtime_metrics").or_false(), message("metrics_realtime_update", &REALTIME)],
};

static HTTP2_PROPERTIES: Message = Message {
    name: "HTTP2PoolProperties",
    fields: &[
        // 0: no limit.
        int("max_http2_control_frames_per_connection", &[(0, 10_000)]),
        int("max_http2_header_field_size", &[(1, 8192)]).unit("bytes"),
    ],
};

static HORIZON: Message =
    Message { name: "HorizonProfile", fields: &[int("blast_port", PORT), int("pcoip_port", PORT)] };

/// The service of all sites whose clients come back here.
static SITE_PERSISTENCE: Message = Message {
    name: "SpGslbServiceInfo",
    fields: &[list("fqdns", &TEXT, 1000), refers("gs_ref", "gslbservice")],
};

/// What happens to a request when no server can take it.
pub static FAIL_ACTION: Message = Message {
    name: "FailAction",
    fields: &[
        one_of(
            "type",
            &[
                "FAIL_ACTION_HTTP_REDIRECT",
                "FAIL_ACTION_HTTP_LOCAL_RSP",
                "FAIL_ACTION_CLOSE_CONN",
                "FAIL_ACTION_BACKUP_POOL",
            ],
        )
        .required()
        .or_text("FAIL_ACTION_CLOSE_CONN"),
        message("redirect", &FAIL_REDIRECT),
        message("local_rsp", &FAIL_RESPONSE),
    ],
};

static FAIL_REDIRECT: Message = Message {
    name: "FailActionHTTPRedirect",
    fields: &[
        text("host").required(),
        one_of("protocol", &["HTTP", "HTTPS"]).or_text("HTTPS"),
        text("path"),
        text("query"),
        one_of(
            "status_code",
            &[
                "HTTP_REDIRECT_STATUS_CODE_301",
                "HTTP_REDIRECT_STATUS_CODE_302",
                "HTTP_REDIRECT_STATUS_CODE_307",
            ],
        )
        .or_text("HTTP_REDIRECT_STATUS_CODE_302"),
    ],
};

static FAIL_RESPONSE: Message = Message {
    name: "FailActionHTTPLocalResponse",
    fields: &[
        one_of("status_code", &["FAIL_HTTP_STATUS_CODE_200", "FAIL_HTTP_STATUS_CODE_503"])
            .or_text("FAIL_HTTP_STATUS_CODE_503"),
        message("file", &LOCAL_FILE),
    ],
};

static RESELECT: Message = Message {
    name: "HTTPServerReselect",
    fields: &[
        flag("enabled").required().or_false(),
        int("num_retries", &[(0, 10)]).or_int(4),
        flag("retry_nonidempotent").or_false(),
        int("retry_timeout", &[(0, 3_600_000)]).unit("ms").or_int(0),
        message("svr_resp_code", &RETRY_CODES),
    ],
};

static RETRY_CODES: Message = Message {
    name: "HTTPReselectRespCode",
    fields: &[
        list("codes", &Type::Int(&[(400, 599)]), 64),
        list("ranges", &Type::Message(&CODE_RANGE), 64),
        list("resp_code_block", &Type::Enum(&["HTTP_RSP_4XX", "HTTP_RSP_5XX"]), 2),
    ],
};

static CONNECTION_POOL: Message = Message {
    name: "ConnPoolProperties",
    fields: &[
        int("upstream_connpool_conn_idle_tmo", &[(0, 86_400_000)]).unit("ms").or_int(60_000),
        int("upstream_connpool_conn_life_tmo", &[(0, 86_400_000)]).unit("ms").or_int(600_000),
        int("upstream_connpool_conn_max_reuse", U32).or_int(0),
        int("upstream_connpool_server_max_cache", U32).or_int(0),
    ],
};

const fn algorithm() -> Field {
    one_of(
        "lb_algorithm",
        &[
            "LB_ALGORITHM_LEAST_CONNECTIONS",
            "LB_ALGORITHM_ROUND_ROBIN",
            "LB_ALGORITHM_FASTEST_RESPONSE",
            "LB_ALGORITHM_CONSISTENT_HASH",
            "LB_ALGORITHM_LEAST_LOAD",
            "LB_ALGORITHM_FEWEST_SERVERS",
            "LB_ALGORITHM_RANDOM",
            "LB_ALGORITHM_FEWEST_TASKS",
            "LB_ALGORITHM_NEAREST_SERVER",
            "LB_ALGORITHM_CORE_AFFINITY",
            "LB_ALGORITHM_TOPOLOGY",
        ],
    )
    .or_text("LB_ALGORITHM_LEAST_CONNECTIONS")
}

const fn hash() -> Field {
    one_of(
        "lb_algorithm_hash",
        &[
            "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS",
            "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT",
            "LB_ALGORITHM_CONSISTENT_HASH_URI",
            "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER",
            "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_STRING",
            "LB_ALGORITHM_CONSISTENT_HASH_CALLID",
        ],
    )
    .or_text("LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS")
}

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&POOL, &POOL_GROUP];

/// Servers that do the same work.
static POOL: Kind = Kind {
    path: "pool",
    name: "Pool",
    permission: "PERMISSION_POOL",
    scope: Scope::Cloud,
    // One provider for Terraform has a field of its own.
    dropped: &["ignore_servers"],
    rules: &[hash_has_its_header, servers_are_named_once, addresses],
    fields: &[
        text("name").required(),
        flag("enabled").or_true(),
        refers("cloud_ref", "cloud"),
        text("cloud_config_cksum"),
        refers("vrf_ref", "vrfcontext"),
        int("default_server_port", PORT).or_int(80),
        keyed("servers", &Type::Message(&SERVER), 5000, &["ip", "port"]),
        list("health_monitor_refs", &Type::Ref("healthmonitor"), 50),
        refers("application_persistence_profile_ref", "applicationpersistenceprofile"),
        flag("inline_health_monitor").or_true(),
        int("min_servers_up", U32),
        int("min_health_monitors_up", U32),
        algorithm(),
        hash(),
        text("lb_algorithm_consistent_hash_hdr"),
        int("lb_algorithm_core_nonaffinity", U32).or_int(2),
        flag("lb_algo_rr_per_se").or_false(),
        int("fewest_tasks_feedback_delay", &[(1, 300)]).unit("s").or_int(10),
        flag("ignore_server_port").or_false(),
        int("connection_ramp_duration", &[(0, 0), (1, 300)]).unit("min").or_int(10),
        int("graceful_disable_timeout", &[(-1, -1), (0, 0), (1, 7200)]).unit("min").or_int(1),
        int("graceful_hm_down_disable_timeout", &[(-1, -1), (0, 0), (1, 432_000)]).unit("s").or_int(-1),
        one_of(
            "server_disable_type",
            &["DISALLOW_NEW_CONNECTION", "ALLOW_NEW_CONNECTION_IF_PERSISTENCE_PRESENT"],
        )
        .or_text("DISALLOW_NEW_CONNECTION"),
        int("max_concurrent_connections_per_server", U32).or_int(0),
        message("max_conn_rate_per_server", &RATE_PROFILE),
        flag("request_queue_enabled").or_false(),
        count("request_queue_depth").or_int(128),
        int("server_timeout", &[(0, 21_600_000)]).unit("ms").or_int(0),
        flag("capacity_estimation").or_false(),
        int("capacity_estimation_ttfb_thresh", &[(0, 5000)]).unit("ms").or_int(0),
        message("server_reselect", &RESELECT),
        message("fail_action", &FAIL_ACTION),
        refers("ssl_profile_ref", "sslprofile"),
        refers("ssl_key_and_certificate_ref", "sslkeyandcertificate"),
        refers("pki_profile_ref", "pkiprofile"),
        flag("sni_enabled").or_true(),
        text("server_name"),
        flag("host_check_enabled").or_false(),
        list("domain_name", &TEXT, 128),
        flag("rewrite_host_header_to_sni").or_false(),
        flag("rewrite_host_header_to_server_name").or_false(),
        one_of("append_port", &["NON_DEFAULT_80_443", "NEVER", "ALWAYS"]).or_text("NON_DEFAULT_80_443"),
        flag("enable_http2").or_false(),
        flag("use_service_port").or_false(),
        flag("use_service_ssl_mode").or_false(),
        message("conn_pool_properties", &CONNECTION_POOL).or(Default::Message),
        flag("routing_pool").or_false(),
        flag("lookup_server_by_name").or_false(),
        flag("delete_server_on_dns_refresh").or_true(),
        one_of("pool_type", &["POOL_TYPE_GENERIC_APP", "POOL_TYPE_OAUTH"]).or_text("POOL_TYPE_GENERIC_APP"),
        flag("gslb_sp_enabled").read_only(),
        long_text("service_metadata", METADATA_BYTES_MAX),
        refers("ipaddrgroup_ref", "ipaddrgroup"),
        refers("autoscale_policy_ref", "serverautoscalepolicy"),
        refers("autoscale_launch_config_ref", "autoscalelaunchconfig"),
        list("placement_networks", &Type::Message(&PLACEMENT_NETWORK), 10),
        refers("analytics_profile_ref", "analyticsprofile"),
        message("analytics_policy", &ANALYTICS_POLICY),
        list("autoscale_networks", &TEXT, 128),
        list("external_autoscale_groups", &TEXT, 128),
        list("networks", &Type::Message(&NETWORK_FILTER), 128),
        list("nsx_securitygroup", &TEXT, 128),
        text("tier1_lr"),
        flag("east_west"),
        flag("resolve_pool_by_dns"),
        int("graceful_disable_timeout_sec", &[(-1, -1), (0, 0), (1, 432_000)]).unit("s"),
        message("http2_properties", &HTTP2_PROPERTIES),
        message("horizon_profile", &HORIZON),
        message("sp_gs_info", &SITE_PERSISTENCE),
        int("server_count", U32).read_only(),
    ],
};

fn hash_has_its_header(pool: &Object, problems: &mut Vec<Problem>) {
    let says = |name: &str, value: &str| pool.get(name).and_then(Value::as_str) == Some(value);
    if says("lb_algorithm", "LB_ALGORITHM_CONSISTENT_HASH")
        && says("lb_algorithm_hash", "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER")
        && pool.get("lb_algorithm_consistent_hash_hdr").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        problems.push(Problem {
            line: None,
            path: "lb_algorithm_consistent_hash_hdr".to_owned(),
            reason: "it is missing, and requests are to be placed by a header".to_owned(),
            fix: "name the header, or choose another lb_algorithm_hash".to_owned(),
        });
    }
}

/// Different host names of a pool's servers: half of what an engine looks up.
const POOL_NAMES_MAX: usize = forebay_snapshot::limits::HOST_NAMES_MAX / 2;

/// A pool leaves room for others, or as much as it left `before`.
//= COMPILE-SHARE-01
pub(crate) fn names_leave_room(pool: &Object, before: Option<&Object>) -> Option<Problem> {
    let names = host_names(pool);
    let had = before.map_or(0, host_names);
    let most = had.clamp(POOL_NAMES_MAX, forebay_snapshot::limits::HOST_NAMES_MAX);
    (names > most).then(|| {
        let allowed = match most > POOL_NAMES_MAX {
            true => format!("{most} are the most that are looked up for it, as many as it had"),
            false => format!("{POOL_NAMES_MAX} are the most that are looked up for a pool"),
        };
        Problem {
            line: None,
            path: "servers".to_owned(),
            reason: format!("they have {names} different host names, and {allowed}"),
            fix: "write their addresses, or let one name have several".to_owned(),
        }
    })
}

/// How many different host names its servers have.
fn host_names(pool: &Object) -> usize {
    let servers = pool.get("servers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let name = |server: &Value| {
        let text = |at: &str| server.pointer(at).and_then(Value::as_str).filter(|text| !text.is_empty());
        let is_looked_up = server.get("resolve_server_by_dns") == Some(&Value::Bool(true));
        let named = text("/hostname").filter(|_| is_looked_up);
        let name = named.or_else(|| text("/ip/addr").filter(|_| text("/ip/type") == Some("DNS")))?;
        Some(name.to_ascii_lowercase())
    };
    servers.iter().filter_map(name).collect::<std::collections::BTreeSet<String>>().len()
}

fn servers_are_named_once(pool: &Object, problems: &mut Vec<Problem>) {
    let port = pool.get("default_server_port").and_then(Value::as_i64).unwrap_or(80);
    let servers = pool.get("servers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut seen = std::collections::BTreeMap::new();
    for (at, server) in servers.iter().enumerate() {
        let address = server.pointer("/ip/addr").and_then(Value::as_str).unwrap_or_default();
        let own = server.get("port").and_then(Value::as_i64).filter(|port| *port != 0).unwrap_or(port);
        let name = server.get("hostname").and_then(Value::as_str).unwrap_or_default();
        if let Some(first) = seen.insert((address, own, name), at) {
            problems.push(Problem {
                line: None,
                path: format!("servers[{at}]"),
                reason: format!("it is the same server as servers[{first}]"),
                fix: "leave it out, or give it another port".to_owned(),
            });
            return;
        }
    }
}

static GROUP_MEMBER: Message = Message {
    name: "PoolGroupMember",
    fields: &[
        refers("pool_ref", "pool").required(),
        int("ratio", &[(0, 0), (1, 1000)]).or_int(1),
        text("priority_label"),
        one_of(
            "deployment_state",
            &["EVALUATION_IN_PROGRESS", "IN_SERVICE", "OUT_OF_SERVICE", "EVALUATION_FAILED"],
        ),
    ],
};

/// Pools that share the requests of a service.
static POOL_GROUP: Kind = Kind {
    path: "poolgroup",
    name: "PoolGroup",
    permission: "PERMISSION_POOLGROUP",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        refers("cloud_ref", "cloud"),
        text("cloud_config_cksum"),
        keyed("members", &Type::Message(&GROUP_MEMBER), 1024, &["pool_ref"]),
        int("min_servers", &[(0, 0), (1, 65_535)]).or_int(0),
        message("fail_action", &FAIL_ACTION),
        refers("priority_labels_ref", "prioritylabels"),
        refers("deployment_policy_ref", "poolgroupdeploymentpolicy"),
        flag("implicit_priority_labels").or_false(),
        flag("deactivate_primary_pool_on_down").or_false(),
        flag("enable_http2").or_false(),
        long_text("service_metadata", METADATA_BYTES_MAX),
    ],
};
