//! Lists that other objects refer to: texts, addresses, priorities, deployments, pages of errors, scripts, copies.

use super::common::{IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, KEY_VALUE, PORT};
use super::matching::STATUS_MATCH;
use super::rates::RATE_LIMITER;
use super::rule::{addresses, entries, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, long_text, message, number, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[
    &STRING_GROUP,
    &IP_ADDR_GROUP,
    &PRIORITY_LABELS,
    &DEPLOYMENT_POLICY,
    &ERROR_PAGE_PROFILE,
    &ERROR_PAGE_BODY,
    &DATASCRIPT_SET,
    &TRAFFIC_CLONE_PROFILE,
    &WEBHOOK,
];

/// The most entries of a group: lists of what is to be blocked come by the ten thousand.
const GROUP_MAX: usize = 65_536;

/// Texts, or names and what they stand for.
static STRING_GROUP: Kind = Kind {
    path: "stringgroup",
    name: "StringGroup",
    permission: "PERMISSION_STRINGGROUP",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        one_of("type", &["SG_TYPE_STRING", "SG_TYPE_KEYVAL"]).required().or_text("SG_TYPE_STRING"),
        keyed("kv", &Type::Message(&KEY_VALUE), GROUP_MAX, &["key"]),
        flag("longest_match").or_false(),
    ],
};

static IP_ADDR_PORT: Message = Message {
    name: "IpAddrPort",
    fields: &[message("ip", &IP_ADDR), int("port", PORT).required(), text("hostname"), text("name")],
};

/// Addresses.
static IP_ADDR_GROUP: Kind = Kind {
    path: "ipaddrgroup",
    name: "IpAddrGroup",
    permission: "PERMISSION_IPADDRGROUP",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[ports_have_hosts, addresses],
    fields: &[
        text("name").required(),
        list("addrs", &Type::Message(&IP_ADDR), GROUP_MAX),
        list("prefixes", &Type::Message(&IP_ADDR_PREFIX), GROUP_MAX),
        list("ranges", &Type::Message(&IP_ADDR_RANGE), GROUP_MAX),
        list("ip_ports", &Type::Message(&IP_ADDR_PORT), GROUP_MAX),
        list("country_codes", &TEXT, 300),
        text("marathon_app_name"),
        count("marathon_service_port"),
    ],
};

fn ports_have_hosts(group: &Object, problems: &mut Vec<Problem>) {
    for (at, entry) in entries(group, "ip_ports") {
        if !entry.contains_key("ip") && !entry.contains_key("hostname") {
            problems.push(problem(
                format!("ip_ports[{at}]"),
                "it is a port of no host",
                "give it ip or hostname",
            ));
        }
    }
}

static EQUIVALENT_LABELS: Message =
    Message { name: "EquivalentLabels", fields: &[list("labels", &TEXT, 128)] };

/// The order in which the pools of a group are taken.
static PRIORITY_LABELS: Kind = Kind {
    path: "prioritylabels",
    name: "PriorityLabels",
    permission: "PERMISSION_PRIORITYLABELS",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        refers("cloud_ref", "cloud"),
        list("equivalent_labels", &Type::Message(&EQUIVALENT_LABELS), 128),
    ],
};

static DEPLOYMENT_RULE: Message = Message {
    name: "PGDeploymentRule",
    fields: &[
        text("metric_id").or_text("health.health_score_value"),
        one_of("operator", &["CO_EQ", "CO_GT", "CO_GE", "CO_LT", "CO_LE", "CO_NE"]).or_text("CO_GE"),
        number("threshold"),
    ],
};

/// How a new pool of a group takes over.
static DEPLOYMENT_POLICY: Kind = Kind {
    path: "poolgroupdeploymentpolicy",
    name: "PoolGroupDeploymentPolicy",
    permission: "PERMISSION_POOLGROUPDEPLOYMENTPOLICY",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        one_of("scheme", &["BLUE_GREEN", "CANARY"]).or_text("BLUE_GREEN"),
        flag("auto_disable_old_prod_pools").or_true(),
        int("evaluation_duration", &[(60, 86_400)]).unit("s").or_int(300),
        list("rules", &Type::Message(&DEPLOYMENT_RULE), 64),
        int("target_test_traffic_ratio", &[(1, 100)]).or_int(100),
        int("test_traffic_ratio_rampup", &[(1, 100)]).or_int(100),
        refers("webhook_ref", "webhook"),
    ],
};

static ERROR_PAGE: Message = Message {
    name: "ErrorPage",
    fields: &[
        count("index"),
        flag("enable").or_true(),
        message("match", &STATUS_MATCH),
        refers("error_page_body_ref", "errorpagebody"),
        text("error_redirect"),
    ],
};

/// The pages that clients see instead of errors.
static ERROR_PAGE_PROFILE: Kind = Kind {
    path: "errorpageprofile",
    name: "ErrorPageProfile",
    permission: "PERMISSION_ERRORPAGEPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[text("name").required(), keyed("error_pages", &Type::Message(&ERROR_PAGE), 500, &["index"])],
};

/// What such a page says.
static ERROR_PAGE_BODY: Kind = Kind {
    path: "errorpagebody",
    name: "ErrorPageBody",
    permission: "PERMISSION_ERRORPAGEBODY",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        long_text("error_page_body", 65_536).required(),
        one_of("format", &["ERROR_PAGE_FORMAT_HTML", "ERROR_PAGE_FORMAT_JSON"])
            .or_text("ERROR_PAGE_FORMAT_HTML"),
    ],
};

static DATASCRIPT: Message = Message {
    name: "VSDataScript",
    fields: &[
        one_of(
            "evt",
            &[
                "VS_DATASCRIPT_EVT_HTTP_REQ",
                "VS_DATASCRIPT_EVT_HTTP_RESP",
                "VS_DATASCRIPT_EVT_HTTP_RESP_DATA",
                "VS_DATASCRIPT_EVT_HTTP_LB_FAILED",
                "VS_DATASCRIPT_EVT_HTTP_REQ_DATA",
                "VS_DATASCRIPT_EVT_HTTP_RESP_FAILED",
                "VS_DATASCRIPT_EVT_HTTP_LB_DONE",
                "VS_DATASCRIPT_EVT_HTTP_AUTH",
                "VS_DATASCRIPT_EVT_HTTP_POST_AUTH",
                "VS_DATASCRIPT_EVT_TCP_CLIENT_ACCEPT",
                "VS_DATASCRIPT_EVT_SSL_HANDSHAKE_DONE",
                "VS_DATASCRIPT_EVT_CLIENT_SSL_PRE_CONNECT",
                "VS_DATASCRIPT_EVT_CLIENT_SSL_CLIENT_HELLO",
                "VS_DATASCRIPT_EVT_DNS_REQ",
                "VS_DATASCRIPT_EVT_DNS_RESP",
                "VS_DATASCRIPT_EVT_L4_REQUEST",
                "VS_DATASCRIPT_EVT_L4_RESPONSE",
                "VS_DATASCRIPT_EVT_CLIENT_CLOSED",
                "VS_DATASCRIPT_EVT_SERVER_CLOSED",
                "VS_DATASCRIPT_EVT_SERVER_CONNECTED",
                "VS_DATASCRIPT_EVT_MAX",
            ],
        )
        .required(),
        // As much as a person writes, and as much as a generator makes of a long list.
        long_text("script", 262_144).required(),
    ],
};

/// Scripts, and what they refer to by name.
static DATASCRIPT_SET: Kind = Kind {
    path: "vsdatascriptset",
    name: "VSDataScriptSet",
    permission: "PERMISSION_VSDATASCRIPTSET",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        list("datascript", &Type::Message(&DATASCRIPT), 64),
        list("pool_refs", &Type::Ref("pool"), 1024),
        list("pool_group_refs", &Type::Ref("poolgroup"), 1024),
        list("string_group_refs", &Type::Ref("stringgroup"), 1024),
        list("ipgroup_refs", &Type::Ref("ipaddrgroup"), 1024),
        list("protocol_parser_refs", &Type::Ref("protocolparser"), 64),
        list("pki_profile_refs", &Type::Ref("pkiprofile"), 1024),
        list("ssl_key_certificate_refs", &Type::Ref("sslkeyandcertificate"), 1024),
        list("ssl_profile_refs", &Type::Ref("sslprofile"), 1024),
        keyed("rate_limiters", &Type::Message(&RATE_LIMITER), 64, &["name"]),
        refers("geo_db_ref", "geodb"),
        refers("ip_reputation_db_ref", "ipreputationdb"),
    ],
};

static CLONE_SERVER: Message = Message {
    name: "CloneServer",
    fields: &[
        message("ip_address", &IP_ADDR),
        text("mac"),
        refers("network_ref", "network"),
        message("subnet", &IP_ADDR_PREFIX),
    ],
};

/// Who gets a copy of the traffic.
static TRAFFIC_CLONE_PROFILE: Kind = Kind {
    path: "trafficcloneprofile",
    name: "TrafficCloneProfile",
    permission: "PERMISSION_TRAFFICCLONEPROFILE",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        text("name").required(),
        refers("cloud_ref", "cloud"),
        list("clone_servers", &Type::Message(&CLONE_SERVER), 10),
        flag("preserve_client_ip").or_false(),
    ],
};

/// Who is asked before a new pool takes over.
static WEBHOOK: Kind = Kind {
    path: "webhook",
    name: "Webhook",
    permission: "PERMISSION_POOLGROUPDEPLOYMENTPOLICY",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[text("name").required(), text("callback_url"), text("verification_token").secret()],
};
