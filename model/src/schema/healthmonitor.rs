//! How servers are probed.

use super::common::{IP_ADDR, PORT_OR_0};
use super::matching::METHODS;
use super::rule::{addresses, belongs, number, part, problem, text as read};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&HEALTH_MONITOR];

/// The longest request and the longest script, bytes.
const SENT_BYTES_MAX: usize = 65_536;

static AUTHENTICATION: Message = Message {
    name: "HealthMonitorAuthInfo",
    fields: &[text("username").required(), text("password").required().secret()],
};

static SSL_ATTRIBUTES: Message = Message {
    name: "HealthMonitorSSLAttributes",
    fields: &[
        refers("ssl_profile_ref", "sslprofile").required(),
        refers("ssl_key_and_certificate_ref", "sslkeyandcertificate"),
        refers("pki_profile_ref", "pkiprofile"),
        text("server_name"),
        flag("use_pool_sni_server_name").or_false(),
    ],
};

static BY_HTTP: Message = Message {
    name: "HealthMonitorHttp",
    fields: &[
        long_text("http_request", SENT_BYTES_MAX).or_text("GET / HTTP/1.0"),
        long_text("http_request_body", SENT_BYTES_MAX),
        text("http_response"),
        list(
            "http_response_code",
            &Type::Enum(&["HTTP_ANY", "HTTP_1XX", "HTTP_2XX", "HTTP_3XX", "HTTP_4XX", "HTTP_5XX"]),
            6,
        ),
        list("maintenance_code", &Type::Int(&[(101, 599)]), 4),
        text("maintenance_response"),
        flag("exact_http_request").or_false(),
        int("response_size", &[(2048, 16_384)]),
        one_of("auth_type", &["AUTH_BASIC", "AUTH_NTLM"]),
        message("ssl_attributes", &SSL_ATTRIBUTES),
        one_of("http_method", METHODS),
        list("http_headers", &TEXT, 64),
        text("http_request_header_path"),
    ],
};

static BY_TCP: Message = Message {
    name: "HealthMonitorTcp",
    fields: &[
        long_text("tcp_request", SENT_BYTES_MAX),
        text("tcp_response"),
        text("maintenance_response"),
        flag("tcp_half_open").or_false(),
    ],
};

static BY_UDP: Message = Message {
    name: "HealthMonitorUdp",
    fields: &[long_text("udp_request", SENT_BYTES_MAX), text("udp_response"), text("maintenance_response")],
};

static BY_SCTP: Message = Message {
    name: "HealthMonitorSctp",
    fields: &[long_text("sctp_request", SENT_BYTES_MAX), text("sctp_response")],
};

static BY_SCRIPT: Message = Message {
    name: "HealthMonitorExternal",
    fields: &[
        long_text("command_code", SENT_BYTES_MAX).required(),
        text("command_path"),
        text("command_parameters"),
        text("command_variables"),
    ],
};

static BY_DNS: Message = Message {
    name: "HealthMonitorDNS",
    fields: &[
        text("query_name").required(),
        one_of("record_type", super::dns::RECORD_TYPES).or_text("DNS_RECORD_A"),
        one_of("qtype", &["DNS_QUERY_TYPE", "DNS_ANY_TYPE", "DNS_ANY_THING"]).or_text("DNS_QUERY_TYPE"),
        one_of("rcode", &["RCODE_NO_ERROR", "RCODE_ANYTHING"]).or_text("RCODE_NO_ERROR"),
        text("response_string"),
    ],
};

static BY_SIP: Message = Message {
    name: "HealthMonitorSIP",
    fields: &[
        one_of("sip_monitor_transport", &["SIP_UDP_PROTO", "SIP_TCP_PROTO"]).or_text("SIP_UDP_PROTO"),
        one_of("sip_request_code", &["SIP_OPTIONS"]).or_text("SIP_OPTIONS"),
        text("sip_response").or_text("SIP/2.0"),
    ],
};

static BY_RADIUS: Message = Message {
    name: "HealthMonitorRadius",
    fields: &[
        text("username").required(),
        text("password").required().secret(),
        text("shared_secret").required().secret(),
    ],
};

static BY_SMTP: Message = Message {
    name: "HealthMonitorSmtp",
    fields: &[
        text("domainname"),
        long_text("mail_data", SENT_BYTES_MAX),
        list("recipients_ids", &TEXT, 64),
        text("sender_id"),
        message("ssl_attributes", &SSL_ATTRIBUTES),
    ],
};

static BY_POP3: Message =
    Message { name: "HealthMonitorPop3", fields: &[message("ssl_attributes", &SSL_ATTRIBUTES)] };

static BY_IMAP: Message = Message {
    name: "HealthMonitorImap",
    fields: &[text("folder"), message("ssl_attributes", &SSL_ATTRIBUTES)],
};

static BY_FTP: Message = Message {
    name: "HealthMonitorFtp",
    fields: &[
        text("filename").required(),
        one_of("mode", &["FTP_PASSIVE_MODE", "FTP_PORT_MODE"]).required().or_text("FTP_PASSIVE_MODE"),
        message("ssl_attributes", &SSL_ATTRIBUTES),
    ],
};

static BY_LDAP: Message = Message {
    name: "HealthMonitorLdap",
    fields: &[
        text("base_dn").required(),
        text("attributes"),
        text("filter"),
        one_of("scope", &["LDAP_BASE_MODE", "LDAP_ONE_MODE", "LDAP_SUB_MODE"]),
        message("ssl_attributes", &SSL_ATTRIBUTES),
    ],
};

/// How servers are probed.
static HEALTH_MONITOR: Kind = Kind {
    path: "healthmonitor",
    name: "HealthMonitor",
    permission: "PERMISSION_HEALTHMONITOR",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[answers_come_before_the_next_probe, part_fits_type, type_has_its_part, addresses],
    fields: &[
        text("name").required(),
        one_of(
            "type",
            &[
                "HEALTH_MONITOR_PING",
                "HEALTH_MONITOR_TCP",
                "HEALTH_MONITOR_HTTP",
                "HEALTH_MONITOR_HTTPS",
                "HEALTH_MONITOR_EXTERNAL",
                "HEALTH_MONITOR_UDP",
                "HEALTH_MONITOR_DNS",
                "HEALTH_MONITOR_GSLB",
                "HEALTH_MONITOR_SIP",
                "HEALTH_MONITOR_RADIUS",
                "HEALTH_MONITOR_SMTP",
                "HEALTH_MONITOR_SMTPS",
                "HEALTH_MONITOR_POP3",
                "HEALTH_MONITOR_POP3S",
                "HEALTH_MONITOR_IMAP",
                "HEALTH_MONITOR_IMAPS",
                "HEALTH_MONITOR_FTP",
                "HEALTH_MONITOR_FTPS",
                "HEALTH_MONITOR_LDAP",
                "HEALTH_MONITOR_LDAPS",
                "HEALTH_MONITOR_SCTP",
                "HEALTH_MONITOR_HTTP2",
                "HEALTH_MONITOR_HTTP2S",
            ],
        )
        .required(),
        int("send_interval", &[(1, 3600)]).unit("s").or_int(10),
        int("receive_timeout", &[(1, 2400)]).unit("s").or_int(4),
        int("successful_checks", &[(1, 50)]).or_int(2),
        int("failed_checks", &[(1, 50)]).or_int(2),
        // 0: the server's.
        int("monitor_port", PORT_OR_0),
        message("monitor_ip", &IP_ADDR),
        flag("is_federated").or_false(),
        flag("disable_quickstart").or_false(),
        flag("allow_duplicate_monitors"),
        message("authentication", &AUTHENTICATION),
        message("tcp_monitor", &BY_TCP),
        message("http_monitor", &BY_HTTP),
        message("https_monitor", &BY_HTTP),
        message("http2_monitor", &BY_HTTP),
        message("http2s_monitor", &BY_HTTP),
        message("external_monitor", &BY_SCRIPT),
        message("udp_monitor", &BY_UDP),
        message("dns_monitor", &BY_DNS),
        message("sip_monitor", &BY_SIP),
        message("radius_monitor", &BY_RADIUS),
        message("smtp_monitor", &BY_SMTP),
        message("smtps_monitor", &BY_SMTP),
        message("pop3_monitor", &BY_POP3),
        message("pop3s_monitor", &BY_POP3),
        message("imap_monitor", &BY_IMAP),
        message("imaps_monitor", &BY_IMAP),
        message("ftp_monitor", &BY_FTP),
        message("ftps_monitor", &BY_FTP),
        message("ldap_monitor", &BY_LDAP),
        message("ldaps_monitor", &BY_LDAP),
        message("sctp_monitor", &BY_SCTP),
    ],
};

/// Each type's own part.
const PARTS: &[(&str, &[&str])] = &[
    ("tcp_monitor", &["HEALTH_MONITOR_TCP"]),
    ("http_monitor", &["HEALTH_MONITOR_HTTP"]),
    ("https_monitor", &["HEALTH_MONITOR_HTTPS"]),
    ("http2_monitor", &["HEALTH_MONITOR_HTTP2"]),
    ("http2s_monitor", &["HEALTH_MONITOR_HTTP2S"]),
    ("external_monitor", &["HEALTH_MONITOR_EXTERNAL"]),
    ("udp_monitor", &["HEALTH_MONITOR_UDP"]),
    ("dns_monitor", &["HEALTH_MONITOR_DNS"]),
    ("sip_monitor", &["HEALTH_MONITOR_SIP"]),
    ("radius_monitor", &["HEALTH_MONITOR_RADIUS"]),
    ("smtp_monitor", &["HEALTH_MONITOR_SMTP"]),
    ("smtps_monitor", &["HEALTH_MONITOR_SMTPS"]),
    ("pop3_monitor", &["HEALTH_MONITOR_POP3"]),
    ("pop3s_monitor", &["HEALTH_MONITOR_POP3S"]),
    ("imap_monitor", &["HEALTH_MONITOR_IMAP"]),
    ("imaps_monitor", &["HEALTH_MONITOR_IMAPS"]),
    ("ftp_monitor", &["HEALTH_MONITOR_FTP"]),
    ("ftps_monitor", &["HEALTH_MONITOR_FTPS"]),
    ("ldap_monitor", &["HEALTH_MONITOR_LDAP"]),
    ("ldaps_monitor", &["HEALTH_MONITOR_LDAPS"]),
    ("sctp_monitor", &["HEALTH_MONITOR_SCTP"]),
];

/// The parts without which there is nothing to send.
const NEEDED: &[&str] = &[
    "external_monitor",
    "dns_monitor",
    "radius_monitor",
    "ftp_monitor",
    "ftps_monitor",
    "ldap_monitor",
    "ldaps_monitor",
];

fn answers_come_before_the_next_probe(monitor: &Object, problems: &mut Vec<Problem>) {
    if let (Some(timeout), Some(interval)) =
        (number(monitor, "receive_timeout"), number(monitor, "send_interval"))
        && timeout >= interval
    {
        problems.push(problem(
            "receive_timeout",
            format!("it is {timeout} s, and the next probe is sent after {interval} s"),
            "make it less than send_interval",
        ));
    }
}

fn part_fits_type(monitor: &Object, problems: &mut Vec<Problem>) {
    belongs(monitor, "", "type", PARTS, problems);
}

fn type_has_its_part(monitor: &Object, problems: &mut Vec<Problem>) {
    let chosen = read(monitor, "type");
    for (name, types) in PARTS.iter().filter(|(name, types)| NEEDED.contains(name) && types.contains(&chosen))
    {
        if !monitor.contains_key(*name) {
            problems.push(problem(
                *name,
                format!("it is missing, and {} probes nothing without it", types[0]),
                "say what is to be sent",
            ));
        }
    }
    for (name, _) in PARTS {
        let asks = part(monitor, name).is_some_and(|part| part.contains_key("auth_type"));
        if asks && !monitor.contains_key("authentication") {
            problems.push(problem(
                "authentication",
                format!("it is missing, and {name}.auth_type asks for it"),
                "give the user's name and password, or leave auth_type out",
            ));
        }
    }
}
