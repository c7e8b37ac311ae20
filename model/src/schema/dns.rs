//! Names and records of DNS, as virtual services and their addresses have them.

use super::common::{IP_ADDR, PORT_OR_0};
use crate::field::{Field, Message, TEXT, Type};
use crate::field::{count, flag, int, list, message, one_of, refers, text};

/// The types of records.
pub const RECORD_TYPES: &[&str] = &[
    "DNS_RECORD_OTHER",
    "DNS_RECORD_A",
    "DNS_RECORD_NS",
    "DNS_RECORD_CNAME",
    "DNS_RECORD_SOA",
    "DNS_RECORD_PTR",
    "DNS_RECORD_HINFO",
    "DNS_RECORD_MX",
    "DNS_RECORD_TXT",
    "DNS_RECORD_RP",
    "DNS_RECORD_DNSKEY",
    "DNS_RECORD_AAAA",
    "DNS_RECORD_SRV",
    "DNS_RECORD_OPT",
    "DNS_RECORD_RRSIG",
    "DNS_RECORD_AXFR",
    "DNS_RECORD_ANY",
];

const fn algorithm() -> Field {
    one_of("algorithm", &["DNS_RECORD_RESPONSE_ROUND_ROBIN", "DNS_RECORD_RESPONSE_CONSISTENT_HASH"])
}

const fn answers() -> Field {
    // 0: all of them.
    int("num_records_in_response", &[(0, 20)])
}

/// A name under which an address is to be found.
pub static DNS_INFO: Message = Message {
    name: "DnsInfo",
    fields: &[
        text("fqdn"),
        one_of("type", RECORD_TYPES).or_text("DNS_RECORD_A"),
        count("ttl").unit("s"),
        algorithm().or_text("DNS_RECORD_RESPONSE_CONSISTENT_HASH"),
        answers(),
        message("cname", &CNAME),
        text("metadata").read_only(),
    ],
};

/// Another name.
pub static CNAME: Message = Message { name: "DnsCnameRdata", fields: &[text("cname").required()] };

/// A record that a virtual service answers with, whatever becomes of the address.
pub static DNS_RECORD: Message = Message {
    name: "DnsRecord",
    fields: &[
        list("fqdn", &TEXT, 1000),
        one_of("type", RECORD_TYPES).required(),
        count("ttl").unit("s"),
        list("ip_address", &Type::Message(&A), 4),
        list("ip6_address", &Type::Message(&AAAA), 4),
        message("cname", &CNAME),
        list("service_locator", &Type::Message(&SRV), 4),
        list("ns", &Type::Message(&NS), 13),
        list("mx_records", &Type::Message(&MX), 4),
        list("txt_records", &Type::Message(&TXT), 4),
        algorithm().or_text("DNS_RECORD_RESPONSE_ROUND_ROBIN"),
        answers(),
        flag("wildcard_match").or_false(),
        flag("delegated").or_false(),
        text("description"),
        text("metadata"),
    ],
};

/// An address of IPv4.
pub static A: Message = Message { name: "DnsARdata", fields: &[message("ip_address", &IP_ADDR).required()] };
/// An address of IPv6.
pub static AAAA: Message =
    Message { name: "DnsAAAARdata", fields: &[message("ip6_address", &IP_ADDR).required()] };
static TXT: Message = Message { name: "DnsTxtRdata", fields: &[text("text_str").required()] };

static SRV: Message = Message {
    name: "DnsSrvRdata",
    fields: &[
        int("port", PORT_OR_0).required(),
        int("priority", PORT_OR_0),
        int("weight", PORT_OR_0),
        text("target").or_text("default.host"),
    ],
};

/// A name server.
pub static NS: Message = Message {
    name: "DnsNsRdata",
    fields: &[text("nsname").required(), message("ip_address", &IP_ADDR), message("ip6_address", &IP_ADDR)],
};

static MX: Message =
    Message { name: "DnsMxRdata", fields: &[text("host").required(), int("priority", PORT_OR_0).required()] };

/// A policy by which questions are answered, and its turn.
pub static DNS_POLICIES: Message = Message {
    name: "DnsPolicies",
    fields: &[count("index").required(), refers("dns_policy_ref", "dnspolicy").required()],
};
