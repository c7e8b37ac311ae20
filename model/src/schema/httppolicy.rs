//! What is done with requests and answers that match.
//!
//! A header's value that `is_sensitive` marks is given out all the same: what is hidden depends on the field, not on what
//! stands beside it.

use super::common::{IP_ADDR, LOCAL_FILE, PORT};
use super::httpprofile::VARIABLES;
use super::matching::{MATCH_TARGET, RESPONSE_MATCH_TARGET};
use super::rates::{RATE_ACTION, RATE_LIMITER, REDIRECT, URI_PARAM, local_status};
use super::rule::{addresses, entries, once, part, problem, text as read};
use crate::Problem;
use crate::field::{Field, Message, Type};
use crate::field::{count, flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&HTTP_POLICY_SET];

/// The most rules of one policy: controllers of clusters generate one for each path that they serve.
const RULES_MAX: usize = 4096;

const fn index() -> Field {
    count("index").required()
}

const fn enable() -> Field {
    flag("enable").required().or_true()
}

const fn rules(rule: &'static Type) -> Field {
    keyed("rules", rule, RULES_MAX, &["index"])
}

static REQUEST_POLICY: Message =
    Message { name: "HTTPRequestPolicy", fields: &[rules(&Type::Message(&REQUEST_RULE))] };

static REQUEST_RULE: Message = Message {
    name: "HTTPRequestRule",
    fields: &[
        index(),
        text("name").required(),
        enable(),
        message("match", &MATCH_TARGET),
        message("redirect_action", &REDIRECT),
        list("hdr_action", &Type::Message(&HEADER_ACTION), 128),
        message("rewrite_url_action", &REWRITE),
        message("switching_action", &SWITCH),
        flag("log").or_false(),
        flag("all_headers").or_false(),
    ],
};

static RESPONSE_POLICY: Message =
    Message { name: "HTTPResponsePolicy", fields: &[rules(&Type::Message(&RESPONSE_RULE))] };

static RESPONSE_RULE: Message = Message {
    name: "HTTPResponseRule",
    fields: &[
        index(),
        text("name").required(),
        enable(),
        message("match", &RESPONSE_MATCH_TARGET),
        list("hdr_action", &Type::Message(&HEADER_ACTION), 128),
        message("loc_hdr_action", &LOCATION_ACTION),
        flag("log").or_false(),
        flag("all_headers").or_false(),
    ],
};

static SECURITY_POLICY: Message =
    Message { name: "HTTPSecurityPolicy", fields: &[rules(&Type::Message(&SECURITY_RULE))] };

static SECURITY_RULE: Message = Message {
    name: "HTTPSecurityRule",
    fields: &[
        index(),
        text("name").required(),
        enable(),
        message("match", &MATCH_TARGET),
        message("action", &SECURITY_ACTION),
        flag("log").or_false(),
    ],
};

static SECURITY_ACTION: Message = Message {
    name: "HTTPSecurityAction",
    fields: &[
        one_of(
            "action",
            &[
                "HTTP_SECURITY_ACTION_CLOSE_CONN",
                "HTTP_SECURITY_ACTION_SEND_RESPONSE",
                "HTTP_SECURITY_ACTION_ALLOW",
                "HTTP_SECURITY_ACTION_REDIRECT_TO_HTTPS",
                "HTTP_SECURITY_ACTION_RATE_LIMIT",
                "HTTP_SECURITY_ACTION_REQUEST_CHECK_ICAP",
            ],
        )
        .required(),
        local_status(),
        message("file", &LOCAL_FILE),
        int("https_port", PORT),
        message("rate_profile", &SECURITY_RATE),
    ],
};

static SECURITY_RATE: Message = Message {
    name: "HTTPSecurityActionRateProfile",
    fields: &[
        message("rate_limiter", &RATE_LIMITER).required(),
        message("action", &RATE_ACTION).required(),
        flag("per_client_ip").or_false(),
        flag("per_uri_path").or_false(),
    ],
};

static HEADER_ACTION: Message = Message {
    name: "HTTPHdrAction",
    fields: &[
        one_of("action", &["HTTP_ADD_HDR", "HTTP_REMOVE_HDR", "HTTP_REPLACE_HDR"]).required(),
        message("hdr", &HEADER),
        message("cookie", &COOKIE),
        count("hdr_index"),
    ],
};

static HEADER: Message =
    Message { name: "HTTPHdrData", fields: &[text("name"), message("value", &HEADER_VALUE)] };

static HEADER_VALUE: Message = Message {
    name: "HTTPHdrValue",
    fields: &[text("val"), one_of("var", VARIABLES), flag("is_sensitive").or_false()],
};

static COOKIE: Message = Message { name: "HTTPCookieData", fields: &[text("name"), text("value")] };

static REWRITE: Message = Message {
    name: "HTTPRewriteURLAction",
    fields: &[message("host_hdr", &URI_PARAM), message("path", &URI_PARAM), message("query", &QUERY)],
};

static QUERY: Message =
    Message { name: "URIParamQuery", fields: &[flag("keep_query").or_true(), text("add_string")] };

static LOCATION_ACTION: Message = Message {
    name: "HTTPRewriteLocHdrAction",
    fields: &[
        one_of("protocol", &["HTTP", "HTTPS"]).required(),
        int("port", PORT),
        message("host", &URI_PARAM),
        message("path", &URI_PARAM),
        flag("keep_query").or_true(),
    ],
};

static SWITCH: Message = Message {
    name: "HTTPSwitchingAction",
    fields: &[
        one_of(
            "action",
            &["HTTP_SWITCHING_SELECT_POOL", "HTTP_SWITCHING_SELECT_LOCAL", "HTTP_SWITCHING_SELECT_POOLGROUP"],
        )
        .required(),
        refers("pool_ref", "pool"),
        refers("pool_group_ref", "poolgroup"),
        message("server", &POOL_SERVER),
        local_status(),
        int("other_status_code", &[(200, 599)]),
        message("file", &LOCAL_FILE),
    ],
};

static POOL_SERVER: Message = Message {
    name: "PoolServer",
    fields: &[message("ip", &IP_ADDR).required(), int("port", PORT), text("hostname")],
};

/// What is done with requests and answers that match.
static HTTP_POLICY_SET: Kind = Kind {
    path: "httppolicyset",
    name: "HTTPPolicySet",
    permission: "PERMISSION_HTTPPOLICYSET",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[rules_have_their_turn, actions_are_whole, addresses],
    fields: &[
        text("name").required(),
        message("http_request_policy", &REQUEST_POLICY),
        message("http_response_policy", &RESPONSE_POLICY),
        message("http_security_policy", &SECURITY_POLICY),
        flag("is_internal_policy").or_false(),
        refers("geo_db_ref", "geodb"),
        refers("ip_reputation_db_ref", "ipreputationdb"),
        text("cloud_config_cksum"),
    ],
};

fn rules_have_their_turn(set: &Object, problems: &mut Vec<Problem>) {
    for name in ["http_request_policy", "http_response_policy", "http_security_policy"] {
        if let Some(policy) = part(set, name) {
            once(policy, &format!("{name}."), "rules", "index", problems);
        }
    }
}

/// What each action cannot do without.
const NEEDED: &[(&str, &[&str])] = &[
    ("HTTP_SWITCHING_SELECT_POOL", &["pool_ref"]),
    ("HTTP_SWITCHING_SELECT_POOLGROUP", &["pool_group_ref"]),
    ("HTTP_SWITCHING_SELECT_LOCAL", &["status_code", "other_status_code"]),
    ("HTTP_SECURITY_ACTION_SEND_RESPONSE", &["status_code"]),
    ("HTTP_SECURITY_ACTION_REDIRECT_TO_HTTPS", &["https_port"]),
    ("HTTP_SECURITY_ACTION_RATE_LIMIT", &["rate_profile"]),
];

fn actions_are_whole(set: &Object, problems: &mut Vec<Problem>) {
    for (policy, field) in [("http_request_policy", "switching_action"), ("http_security_policy", "action")] {
        let Some(inner) = part(set, policy) else { continue };
        for (at, rule) in entries(inner, "rules") {
            let Some(action) = part(rule, field) else { continue };
            let chosen = read(action, "action");
            for (_, names) in NEEDED.iter().filter(|(name, _)| *name == chosen) {
                if !names.iter().any(|name| action.contains_key(*name)) {
                    problems.push(problem(
                        format!("{policy}.rules[{at}].{field}.{}", names[0]),
                        format!("it is missing, and {chosen} does nothing without it"),
                        format!("give {}", names.join(" or ")),
                    ));
                }
            }
        }
    }
}
