//! What a service does with what its connections carry.

use super::httpprofile::{CERTIFICATE_MODES, HTTP_PROFILE};
use super::infra::DOS_PROFILE;
use super::rates::RATE_PROFILE;
use super::rule::{addresses, belongs, is_on, part, problem, text as read};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&APPLICATION_PROFILE];

static TCP_APP: Message = Message {
    name: "TCPApplicationProfile",
    fields: &[
        flag("proxy_protocol_enabled").or_false(),
        one_of("proxy_protocol_version", &["PROXY_PROTOCOL_VERSION_1", "PROXY_PROTOCOL_VERSION_2"])
            .or_text("PROXY_PROTOCOL_VERSION_1"),
        one_of("ssl_client_certificate_mode", CERTIFICATE_MODES).or_text("SSL_CLIENT_CERTIFICATE_NONE"),
        refers("pki_profile_ref", "pkiprofile"),
        message("ftp_profile", &FTP),
    ],
};

static FTP: Message = Message {
    name: "FTPProfile",
    fields: &[flag("deactivate_active").or_false(), flag("deactivate_passive").or_false()],
};

static DNS_SERVICE: Message = Message {
    name: "DnsServiceApplicationProfile",
    fields: &[
        flag("aaaa_empty_response").or_true(),
        text("admin_email").or_text("hostmaster"),
        flag("dns_over_tcp_enabled").or_true(),
        flag("close_tcp_connection_post_response"),
        keyed("dns_zones", &Type::Message(&DNS_ZONE), 100, &["domain_name"]),
        list("domain_names", &TEXT, 100),
        flag("ecs_stripping_enabled").or_true(),
        flag("edns").or_true(),
        int("edns_client_subnet_prefix_len", &[(1, 32)]),
        one_of("error_response", &["DNS_ERROR_RESPONSE_ERROR", "DNS_ERROR_RESPONSE_NONE"])
            .or_text("DNS_ERROR_RESPONSE_NONE"),
        text("name_server"),
        int("negative_caching_ttl", &[(0, 86_400)]).unit("s").or_int(30),
        // 0: all of them.
        int("num_dns_ip", &[(0, 0), (1, 20)]).or_int(1),
        int("ttl", &[(0, 86_400)]).unit("s").or_int(30),
    ],
};

static DNS_ZONE: Message = Message {
    name: "DnsZone",
    fields: &[text("domain_name").required(), text("admin_email"), text("name_server")],
};

static DOS_AND_RATES: Message = Message {
    name: "DosRateLimitProfile",
    fields: &[message("dos_profile", &DOS_PROFILE), message("rl_profile", &RATES)],
};

static RATES: Message = Message {
    name: "RateLimiterProfile",
    fields: &[
        message("client_ip_connections_rate_limit", &RATE_PROFILE),
        message("client_ip_requests_rate_limit", &RATE_PROFILE),
        message("client_ip_failed_requests_rate_limit", &RATE_PROFILE),
        message("client_ip_scanners_requests_rate_limit", &RATE_PROFILE),
        message("client_ip_to_uri_requests_rate_limit", &RATE_PROFILE),
        message("client_ip_to_uri_failed_requests_rate_limit", &RATE_PROFILE),
        message("uri_requests_rate_limit", &RATE_PROFILE),
        message("uri_failed_requests_rate_limit", &RATE_PROFILE),
        message("uri_scanners_requests_rate_limit", &RATE_PROFILE),
        message("custom_requests_rate_limit", &RATE_PROFILE),
        list("http_header_rate_limits", &Type::Message(&RATE_PROFILE), 64),
    ],
};

static SIP: Message = Message {
    name: "SipServiceApplicationProfile",
    fields: &[int("transaction_timeout", &[(2, 512)]).unit("s").or_int(32)],
};

static L4_SSL: Message = Message {
    name: "L4SSLApplicationProfile",
    fields: &[int("ssl_stream_idle_timeout", &[(60, 86_400)]).unit("s").or_int(3600)],
};

static DIAMETER: Message = Message {
    name: "DiameterServiceApplicationProfile",
    fields: &[
        text("client_origin_host"),
        text("client_origin_realm"),
        text("server_origin_host"),
        text("server_origin_realm"),
        flag("host_ip_addr_rewrite"),
        count("max_outstanding_req"),
        count("req_timeout").unit("s"),
    ],
};

/// What a service does with what its connections carry.
static APPLICATION_PROFILE: Kind = Kind {
    path: "applicationprofile",
    name: "ApplicationProfile",
    permission: "PERMISSION_APPLICATIONPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[part_fits_type, clients_keep_their_connections, certificates_have_a_judge, addresses],
    fields: &[
        text("name").required(),
        one_of(
            "type",
            &[
                "APPLICATION_PROFILE_TYPE_L4",
                "APPLICATION_PROFILE_TYPE_HTTP",
                "APPLICATION_PROFILE_TYPE_SYSLOG",
                "APPLICATION_PROFILE_TYPE_DNS",
                "APPLICATION_PROFILE_TYPE_SSL",
                "APPLICATION_PROFILE_TYPE_SIP",
                "APPLICATION_PROFILE_TYPE_DIAMETER",
            ],
        )
        .required(),
        flag("preserve_client_ip").or_false(),
        flag("preserve_client_port").or_false(),
        flag("preserve_dest_ip_port").or_false(),
        message("http_profile", &HTTP_PROFILE),
        message("tcp_app_profile", &TCP_APP),
        message("dos_rl_profile", &DOS_AND_RATES),
        message("dns_service_profile", &DNS_SERVICE),
        message("sip_service_profile", &SIP),
        message("l4_ssl_profile", &L4_SSL),
        message("diameter_service_profile", &DIAMETER),
        one_of(
            "app_service_type",
            &[
                "APP_SERVICE_TYPE_L7_HORIZON",
                "APP_SERVICE_TYPE_L4_BLAST",
                "APP_SERVICE_TYPE_L4_PCOIP",
                "APP_SERVICE_TYPE_L4_FTP",
                "APP_SERVICE_TYPE_HTTP_MCP",
            ],
        ),
        text("cloud_config_cksum"),
    ],
};

fn part_fits_type(profile: &Object, problems: &mut Vec<Problem>) {
    // What is said of TCP and of floods goes with every type.
    let parts: &[(&str, &[&str])] = &[
        ("http_profile", &["APPLICATION_PROFILE_TYPE_HTTP"]),
        ("dns_service_profile", &["APPLICATION_PROFILE_TYPE_DNS"]),
        ("sip_service_profile", &["APPLICATION_PROFILE_TYPE_SIP"]),
        ("l4_ssl_profile", &["APPLICATION_PROFILE_TYPE_SSL"]),
        ("diameter_service_profile", &["APPLICATION_PROFILE_TYPE_DIAMETER"]),
    ];
    belongs(profile, "", "type", parts, problems);
}

fn clients_keep_their_connections(profile: &Object, problems: &mut Vec<Problem>) {
    let shares =
        part(profile, "http_profile").is_some_and(|http| is_on(http, "connection_multiplexing_enabled"));
    if is_on(profile, "preserve_client_ip") && shares {
        problems.push(problem(
            "preserve_client_ip",
            "a connection to a server is shared by clients, and has one address",
            "set http_profile.connection_multiplexing_enabled to false, or leave preserve_client_ip out",
        ));
    }
}

fn certificates_have_a_judge(profile: &Object, problems: &mut Vec<Problem>) {
    for name in ["http_profile", "tcp_app_profile"] {
        let Some(inner) = part(profile, name) else { continue };
        if read(inner, "ssl_client_certificate_mode") == "SSL_CLIENT_CERTIFICATE_REQUIRE"
            && !inner.contains_key("pki_profile_ref")
        {
            problems.push(problem(
                format!("{name}.pki_profile_ref"),
                "it is missing, and clients must show certificates",
                "name the pkiprofile whose authorities are believed",
            ));
        }
    }
}
