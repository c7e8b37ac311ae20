//! How questions of DNS are answered: rules with what they match and what they do.

use super::common::U32;
use super::dns::{A, AAAA, CNAME, NS, RECORD_TYPES};
use super::matching::{GENERIC_PORT_MATCH, IP_ADDR_MATCH, IS_IN, STRING_CRITERIA};
use super::rates::RATE_LIMITER;
use super::rule::{addresses, once};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// Names and groups in one match, and records in one answer: what people write by hand.
const MANY: usize = 1024;

/// The sections of a message.
const SECTIONS: &[&str] = &[
    "DNS_MESSAGE_SECTION_QUESTION",
    "DNS_MESSAGE_SECTION_ANSWER",
    "DNS_MESSAGE_SECTION_AUTHORITY",
    "DNS_MESSAGE_SECTION_ADDITIONAL",
];

/// The codes of answers.
const CODES: &[&str] = &[
    "DNS_RCODE_NOERROR",
    "DNS_RCODE_FORMERR",
    "DNS_RCODE_SERVFAIL",
    "DNS_RCODE_NXDOMAIN",
    "DNS_RCODE_NOTIMP",
    "DNS_RCODE_REFUSED",
    "DNS_RCODE_YXDOMAIN",
    "DNS_RCODE_YXRRSET",
    "DNS_RCODE_NXRRSET",
    "DNS_RCODE_NOTAUTH",
    "DNS_RCODE_NOTZONE",
];

static CLIENT: Message = Message {
    name: "DnsClientIpMatch",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH).required(),
        flag("use_edns_client_subnet_ip").required().or_true(),
    ],
};

static CLIENT_PORT: Message = Message {
    name: "DnsClientPortMatch",
    fields: &[message("client_ports", &GENERIC_PORT_MATCH).required()],
};

static PLACE: Message = Message {
    name: "DnsGeoLocationMatch",
    fields: &[
        text("geolocation_name"),
        text("geolocation_tag"),
        one_of("match_criteria", IS_IN).required(),
        flag("use_edns_client_subnet_ip").or_true(),
    ],
};

static PROTOCOL: Message = Message {
    name: "DnsTransportProtocolMatch",
    fields: &[
        one_of("match_criteria", IS_IN).required(),
        one_of("protocol", &["DNS_OVER_UDP", "DNS_OVER_TCP"]).required(),
    ],
};

static NAME: Message = Message {
    name: "DnsQueryNameMatch",
    fields: &[
        one_of("match_criteria", STRING_CRITERIA).required(),
        list("query_domain_names", &TEXT, MANY),
        list("string_group_refs", &Type::Ref("stringgroup"), 64),
    ],
};

static TYPE: Message = Message {
    name: "DnsQueryTypeMatch",
    fields: &[
        one_of("match_criteria", IS_IN).required(),
        list("query_type", &Type::Enum(RECORD_TYPES), RECORD_TYPES.len()),
    ],
};

static MATCH: Message = Message {
    name: "DnsRuleMatchTarget",
    fields: &[
        message("client_ip_address", &CLIENT),
        message("client_port_numbers", &CLIENT_PORT),
        message("geo_location", &PLACE),
        message("protocol", &PROTOCOL),
        message("query_name", &NAME),
        message("query_type", &TYPE),
    ],
};

static RECORDS: Message = Message {
    name: "DnsRrSet",
    fields: &[
        message("cname", &CNAME),
        text("fqdn").required(),
        list("ip6_addresses", &Type::Message(&AAAA), MANY),
        list("ip_addresses", &Type::Message(&A), MANY),
        list("nses", &Type::Message(&NS), 13),
        int("ttl", &[(0, i32::MAX as i64)]).required().unit("s"),
        one_of("type", RECORD_TYPES).required(),
    ],
};

static SECTION: Message = Message {
    name: "DnsRuleDnsRrSet",
    fields: &[
        message("resource_record_set", &RECORDS).required(),
        one_of("section", SECTIONS).or_text("DNS_MESSAGE_SECTION_ANSWER"),
    ],
};

static ALLOW: Message = Message {
    name: "DnsRuleActionAllowDrop",
    fields: &[flag("allow").or_true(), flag("reset_conn").or_true()],
};

static ABOVE: Message = Message {
    name: "DnsRuleRLAction",
    fields: &[one_of("type", &["DNS_RL_ACTION_NONE", "DNS_RL_ACTION_DROP_REQ"]).or_text("DNS_RL_ACTION_NONE")],
};

static LIMIT: Message = Message {
    name: "DnsRateLimiter",
    fields: &[message("action", &ABOVE).required(), message("rate_limiter_object", &RATE_LIMITER).required()],
};

static GROUP: Message =
    Message { name: "DnsRuleActionGsGroupSelection", fields: &[text("group_name").required()] };

static SITE: Message = Message {
    name: "DnsRuleActionGslbSiteSelection",
    fields: &[
        list("fallback_site_names", &TEXT, 64),
        flag("is_site_preferred").or_true(),
        text("site_name").required(),
    ],
};

static POOL: Message = Message {
    name: "DnsRuleActionPoolSwitching",
    fields: &[refers("pool_group_ref", "poolgroup"), refers("pool_ref", "pool")],
};

static ANSWER: Message = Message {
    name: "DnsRuleActionResponse",
    fields: &[
        flag("authoritative").or_true(),
        one_of("rcode", CODES).or_text("DNS_RCODE_NOERROR"),
        list("resource_record_sets", &Type::Message(&SECTION), MANY),
        flag("truncation").or_false(),
    ],
};

static ACTION: Message = Message {
    name: "DnsRuleAction",
    fields: &[
        message("allow", &ALLOW),
        message("dns_rate_limiter", &LIMIT),
        message("gs_group_selection", &GROUP),
        message("gslb_site_selection", &SITE),
        message("pool_switching", &POOL),
        message("response", &ANSWER),
    ],
};

static RULE: Message = Message {
    name: "DnsRule",
    fields: &[
        message("action", &ACTION),
        flag("enable").or_true(),
        int("index", U32).required(),
        flag("log").or_false(),
        message("match", &MATCH),
        text("name").required(),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&POLICY];

/// By which questions are answered.
static POLICY: Kind = Kind {
    path: "dnspolicy",
    name: "DnsPolicy",
    permission: "PERMISSION_DNSPOLICY",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[addresses, each_rule_has_its_turn],
    fields: &[
        text("name").required(),
        flag("internal").or_false(),
        keyed("rule", &Type::Message(&RULE), MANY, &["index"]),
    ],
};

fn each_rule_has_its_turn(policy: &Object, problems: &mut Vec<Problem>) {
    once(policy, "", "rule", "index", problems);
}
