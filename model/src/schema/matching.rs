//! What requests, answers and connections are matched by.

use super::common::{CODE_RANGE, IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, PORT, PORT_RANGE};
use crate::field::{Field, Message, TEXT, Type};
use crate::field::{flag, list, message, one_of, refers, text};

/// How often a thing may be named in one match: what people write by hand, and what controllers of clusters generate.
const MANY: usize = 1024;

/// Whether a thing is one of those that are named, or none.
pub const IS_IN: &[&str] = &["IS_IN", "IS_NOT_IN"];

/// How a text is compared.
pub const STRING_CRITERIA: &[&str] = &[
    "BEGINS_WITH",
    "DOES_NOT_BEGIN_WITH",
    "CONTAINS",
    "DOES_NOT_CONTAIN",
    "ENDS_WITH",
    "DOES_NOT_END_WITH",
    "EQUALS",
    "DOES_NOT_EQUAL",
    "REGEX_MATCH",
    "REGEX_DOES_NOT_MATCH",
];

/// The methods of requests.
pub const METHODS: &[&str] = &[
    "HTTP_METHOD_GET",
    "HTTP_METHOD_HEAD",
    "HTTP_METHOD_PUT",
    "HTTP_METHOD_DELETE",
    "HTTP_METHOD_POST",
    "HTTP_METHOD_OPTIONS",
    "HTTP_METHOD_TRACE",
    "HTTP_METHOD_CONNECT",
    "HTTP_METHOD_PATCH",
    "HTTP_METHOD_PROPFIND",
    "HTTP_METHOD_PROPPATCH",
    "HTTP_METHOD_MKCOL",
    "HTTP_METHOD_COPY",
    "HTTP_METHOD_MOVE",
    "HTTP_METHOD_LOCK",
    "HTTP_METHOD_UNLOCK",
];

const fn is_in() -> Field {
    one_of("match_criteria", IS_IN).required()
}

const fn operation() -> Field {
    one_of("match_operation", IS_IN).required()
}

const fn header_criteria() -> Field {
    one_of(
        "match_criteria",
        &[
            "HDR_EXISTS",
            "HDR_DOES_NOT_EXIST",
            "HDR_BEGINS_WITH",
            "HDR_DOES_NOT_BEGIN_WITH",
            "HDR_CONTAINS",
            "HDR_DOES_NOT_CONTAIN",
            "HDR_ENDS_WITH",
            "HDR_DOES_NOT_END_WITH",
            "HDR_EQUALS",
            "HDR_DOES_NOT_EQUAL",
        ],
    )
    .required()
}

const fn letter_case() -> Field {
    one_of("match_case", &["SENSITIVE", "INSENSITIVE"]).or_text("INSENSITIVE")
}

const fn groups() -> Field {
    list("string_group_refs", &Type::Ref("stringgroup"), 64)
}

const fn strings(name: &'static str) -> Field {
    list(name, &TEXT, MANY)
}

/// Addresses of clients.
pub static IP_ADDR_MATCH: Message = Message {
    name: "IpAddrMatch",
    fields: &[
        is_in(),
        list("addrs", &Type::Message(&IP_ADDR), MANY),
        list("ranges", &Type::Message(&IP_ADDR_RANGE), MANY),
        list("prefixes", &Type::Message(&IP_ADDR_PREFIX), MANY),
        list("group_refs", &Type::Ref("ipaddrgroup"), 64),
    ],
};

/// A text.
pub static STRING_MATCH: Message = Message {
    name: "StringMatch",
    fields: &[one_of("match_criteria", STRING_CRITERIA).required(), strings("match_str"), groups()],
};

/// The path of a request.
pub static PATH_MATCH: Message = Message {
    name: "PathMatch",
    fields: &[
        one_of("match_criteria", STRING_CRITERIA).required().or_text("CONTAINS"),
        letter_case(),
        flag("match_decoded_string").or_true(),
        strings("match_str"),
        groups(),
    ],
};

static QUERY_MATCH: Message = Message {
    name: "QueryMatch",
    fields: &[
        one_of(
            "match_criteria",
            &[
                "QUERY_MATCH_CONTAINS",
                "QUERY_MATCH_DOES_NOT_CONTAIN",
                "QUERY_MATCH_EXISTS",
                "QUERY_MATCH_DOES_NOT_EXIST",
                "QUERY_MATCH_BEGINS_WITH",
                "QUERY_MATCH_DOES_NOT_BEGIN_WITH",
                "QUERY_MATCH_ENDS_WITH",
                "QUERY_MATCH_DOES_NOT_END_WITH",
                "QUERY_MATCH_EQUALS",
                "QUERY_MATCH_DOES_NOT_EQUAL",
                "QUERY_MATCH_REGEX_MATCH",
                "QUERY_MATCH_REGEX_DOES_NOT_MATCH",
            ],
        )
        .required(),
        letter_case(),
        flag("match_decoded_string").or_true(),
        strings("match_str"),
        groups(),
    ],
};

static METHOD_MATCH: Message =
    Message { name: "MethodMatch", fields: &[is_in(), list("methods", &Type::Enum(METHODS), 16)] };

static VERSION_MATCH: Message = Message {
    name: "HTTPVersionMatch",
    fields: &[is_in(), list("versions", &Type::Enum(&["ZERO_NINE", "ONE_ZERO", "ONE_ONE", "TWO_ZERO"]), 8)],
};

static PROTOCOL_MATCH: Message =
    Message { name: "ProtocolMatch", fields: &[is_in(), one_of("protocols", &["HTTP", "HTTPS"]).required()] };

/// Ports of a virtual service.
pub static PORT_MATCH: Message =
    Message { name: "PortMatch", fields: &[is_in(), list("ports", &Type::Int(PORT), MANY)] };

/// Ports of clients.
pub static GENERIC_PORT_MATCH: Message = Message {
    name: "PortMatchGeneric",
    fields: &[
        is_in(),
        list("ports", &Type::Int(PORT), MANY),
        list("ranges", &Type::Message(&PORT_RANGE), MANY),
    ],
};

static COOKIE_MATCH: Message = Message {
    name: "CookieMatch",
    fields: &[text("name").required(), header_criteria(), letter_case(), text("value")],
};

static HEADER_MATCH: Message = Message {
    name: "HdrMatch",
    fields: &[text("hdr").required(), header_criteria(), letter_case(), strings("value"), groups()],
};

static HOST_MATCH: Message =
    Message { name: "HostHdrMatch", fields: &[header_criteria(), letter_case(), strings("value")] };

static LOCATION_MATCH: Message =
    Message { name: "LocationHdrMatch", fields: &[header_criteria(), letter_case(), strings("value")] };

/// Status codes of answers.
pub static STATUS_MATCH: Message = Message {
    name: "HTTPStatusMatch",
    fields: &[
        is_in(),
        list("status_codes", &Type::Int(&[(100, 599)]), 500),
        list("ranges", &Type::Message(&CODE_RANGE), 64),
    ],
};

static GEO_MATCH: Message = Message {
    name: "GeoMatch",
    fields: &[
        one_of(
            "attribute",
            &[
                "ATTRIBUTE_IP_PREFIX",
                "ATTRIBUTE_COUNTRY_CODE",
                "ATTRIBUTE_COUNTRY_NAME",
                "ATTRIBUTE_CONTINENT_CODE",
                "ATTRIBUTE_CONTINENT_NAME",
                "ATTRIBUTE_REGION_NAME",
                "ATTRIBUTE_CITY_NAME",
                "ATTRIBUTE_ISP_NAME",
                "ATTRIBUTE_ORGANIZATION_NAME",
                "ATTRIBUTE_AS_NUMBER",
                "ATTRIBUTE_AS_NAME",
                "ATTRIBUTE_LONGITUDE",
                "ATTRIBUTE_LATITUDE",
                "ATTRIBUTE_CUSTOM_1",
                "ATTRIBUTE_CUSTOM_2",
                "ATTRIBUTE_CUSTOM_3",
                "ATTRIBUTE_CUSTOM_4",
                "ATTRIBUTE_CUSTOM_5",
                "ATTRIBUTE_CUSTOM_6",
                "ATTRIBUTE_CUSTOM_7",
                "ATTRIBUTE_CUSTOM_8",
                "ATTRIBUTE_CUSTOM_9",
                "ATTRIBUTE_USER_DEFINED_MAPPING",
            ],
        )
        .required(),
        operation(),
        strings("values").required(),
    ],
};

static REPUTATION_MATCH: Message = Message {
    name: "IPReputationTypeMatch",
    fields: &[
        operation(),
        list(
            "reputation_types",
            &Type::Enum(&[
                "IP_REPUTATION_TYPE_SPAM_SOURCE",
                "IP_REPUTATION_TYPE_WINDOWS_EXPLOITS",
                "IP_REPUTATION_TYPE_WEB_ATTACKS",
                "IP_REPUTATION_TYPE_BOTNETS",
                "IP_REPUTATION_TYPE_SCANNERS",
                "IP_REPUTATION_TYPE_DOS",
                "IP_REPUTATION_TYPE_REPUTATION",
                "IP_REPUTATION_TYPE_PHISHING",
                "IP_REPUTATION_TYPE_PROXY",
                "IP_REPUTATION_TYPE_NETWORK",
                "IP_REPUTATION_TYPE_CLOUD",
                "IP_REPUTATION_TYPE_MOBILE_THREATS",
                "IP_REPUTATION_TYPE_TOR",
                "IP_REPUTATION_TYPE_ALL",
            ]),
            16,
        ),
    ],
};

static FINGERPRINT_MATCH: Message =
    Message { name: "TlsFingerprintMatch", fields: &[operation(), strings("fingerprints"), groups()] };

static BOT_MATCH: Message = Message {
    name: "BotDetectionMatch",
    fields: &[operation(), list("classifications", &Type::Message(&BOT_CLASS), 16)],
};

static BOT_CLASS: Message = Message {
    name: "BotClassification",
    fields: &[
        one_of(
            "type",
            &["HUMAN", "GOOD_BOT", "BAD_BOT", "DANGEROUS_BOT", "USER_DEFINED_BOT", "UNKNOWN_CLIENT"],
        )
        .required(),
        text("user_defined_type"),
    ],
};

/// What a request is matched by.
pub static MATCH_TARGET: Message = Message {
    name: "MatchTarget",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH),
        message("source_ip", &IP_ADDR_MATCH),
        message("vs_port", &PORT_MATCH),
        message("protocol", &PROTOCOL_MATCH),
        message("version", &VERSION_MATCH),
        message("method", &METHOD_MATCH),
        message("path", &PATH_MATCH),
        message("query", &QUERY_MATCH),
        list("hdrs", &Type::Message(&HEADER_MATCH), 128),
        message("cookie", &COOKIE_MATCH),
        message("host_hdr", &HOST_MATCH),
        message("bot_detection_result", &BOT_MATCH),
        list("geo_matches", &Type::Message(&GEO_MATCH), 1),
        message("ip_reputation_type", &REPUTATION_MATCH),
        message("tls_fingerprint_match", &FINGERPRINT_MATCH),
    ],
};

/// What an answer is matched by.
pub static RESPONSE_MATCH_TARGET: Message = Message {
    name: "ResponseMatchTarget",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH),
        message("source_ip", &IP_ADDR_MATCH),
        message("vs_port", &PORT_MATCH),
        message("protocol", &PROTOCOL_MATCH),
        message("version", &VERSION_MATCH),
        message("method", &METHOD_MATCH),
        message("path", &PATH_MATCH),
        message("query", &QUERY_MATCH),
        list("hdrs", &Type::Message(&HEADER_MATCH), 128),
        message("cookie", &COOKIE_MATCH),
        message("host_hdr", &HOST_MATCH),
        list("rsp_hdrs", &Type::Message(&HEADER_MATCH), 128),
        message("loc_hdr", &LOCATION_MATCH),
        message("status", &STATUS_MATCH),
    ],
};

static MICROSERVICE_MATCH: Message = Message {
    name: "MicroServiceMatch",
    fields: &[is_in(), refers("group_ref", "microservicegroup").required()],
};

/// What a connection is matched by.
pub static NETWORK_MATCH_TARGET: Message = Message {
    name: "NetworkSecurityMatchTarget",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH),
        message("client_port", &GENERIC_PORT_MATCH),
        message("vs_port", &PORT_MATCH),
        message("microservice", &MICROSERVICE_MATCH),
        list("geo_matches", &Type::Message(&GEO_MATCH), 1),
        message("ip_reputation_type", &REPUTATION_MATCH),
    ],
};
