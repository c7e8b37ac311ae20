//! How a service speaks HTTP: a part of application profiles.

use super::common::{IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, SAMESITE};
use super::matching::PATH_MATCH;
use crate::field::{Field, Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, message, one_of, refers, text};

/// Whether clients are to show certificates.
pub const CERTIFICATE_MODES: &[&str] =
    &["SSL_CLIENT_CERTIFICATE_NONE", "SSL_CLIENT_CERTIFICATE_REQUEST", "SSL_CLIENT_CERTIFICATE_REQUIRE"];

/// What a header may be given instead of a text.
pub const VARIABLES: &[&str] = &[
    "HTTP_POLICY_VAR_CLIENT_IP",
    "HTTP_POLICY_VAR_VS_PORT",
    "HTTP_POLICY_VAR_VS_IP",
    "HTTP_POLICY_VAR_HTTP_HDR",
    "HTTP_POLICY_VAR_SSL_CLIENT_FINGERPRINT",
    "HTTP_POLICY_VAR_SSL_CLIENT_SERIAL",
    "HTTP_POLICY_VAR_SSL_CLIENT_ISSUER",
    "HTTP_POLICY_VAR_SSL_CLIENT_SUBJECT",
    "HTTP_POLICY_VAR_SSL_CLIENT_RAW",
    "HTTP_POLICY_VAR_SSL_PROTOCOL",
    "HTTP_POLICY_VAR_SSL_SERVER_NAME",
    "HTTP_POLICY_VAR_USER_NAME",
    "HTTP_POLICY_VAR_SSL_CIPHER",
    "HTTP_POLICY_VAR_REQUEST_ID",
    "HTTP_POLICY_VAR_SSL_CLIENT_VERSION",
    "HTTP_POLICY_VAR_SSL_CLIENT_SIGALG",
    "HTTP_POLICY_VAR_SSL_CLIENT_NOTVALIDBEFORE",
    "HTTP_POLICY_VAR_SSL_CLIENT_NOTVALIDAFTER",
    "HTTP_POLICY_VAR_SSL_CLIENT_ESCAPED",
    "HTTP_POLICY_VAR_SOURCE_IP",
];

/// A time of one step of a request; 0 where there is to be no limit.
const fn time(name: &'static str, allowed: &'static [(i64, i64)]) -> Field {
    int(name, allowed).unit("ms")
}

const TIME: &[(i64, i64)] = &[(10, 100_000_000)];
const TIME_OR_0: &[(i64, i64)] = &[(0, 100_000_000)];

/// Requests in a second; 0: no limit.
const fn rate(name: &'static str) -> Field {
    int(name, &[(0, 0), (10, 1000)])
}

/// How a service speaks HTTP.
pub static HTTP_PROFILE: Message = Message {
    name: "HTTPApplicationProfile",
    fields: &[
        flag("connection_multiplexing_enabled").or_true(),
        flag("xff_enabled").or_true(),
        text("xff_alternate_name").or_text("X-Forwarded-For"),
        one_of("xff_update", &["REPLACE_XFF_HEADERS", "APPEND_TO_THE_XFF_HEADER", "ADD_NEW_XFF_HEADER"])
            .or_text("REPLACE_XFF_HEADERS"),
        flag("x_forwarded_proto_enabled").or_false(),
        flag("use_true_client_ip").or_false(),
        message("true_client_ip", &TRUE_CLIENT_IP),
        flag("http_to_https").or_false(),
        flag("server_side_redirect_to_https").or_false(),
        flag("hsts_enabled").or_false(),
        int("hsts_max_age", &[(0, 10_000)]).unit("days").or_int(365),
        flag("hsts_subdomains_enabled").or_true(),
        flag("secure_cookie_enabled").or_false(),
        flag("httponly_enabled").or_false(),
        flag("websockets_enabled").or_true(),
        time("keepalive_timeout", TIME).or_int(30_000),
        flag("keepalive_header").or_false(),
        flag("use_app_keepalive_timeout").or_false(),
        int("max_keepalive_requests", &[(0, 1_000_000)]).or_int(100),
        time("post_accept_timeout", TIME).or_int(30_000),
        time("client_header_timeout", TIME).or_int(10_000),
        time("client_body_timeout", TIME_OR_0).or_int(30_000),
        int("client_max_header_size", &[(1, 64)]).unit("KB").or_int(12),
        int("client_max_request_size", &[(1, 256)]).unit("KB").or_int(48),
        // 0: no limit.
        int("client_max_body_size", &[(0, i64::MAX)]).unit("KB"),
        int("max_header_count", &[(0, 4096)]).or_int(256),
        int("max_response_headers_size", &[(1, 256)]).unit("KB").or_int(48),
        int("http_upstream_buffer_size", &[(0, 0), (1, 256)]).unit("KB"),
        flag("respond_with_100_continue").or_true(),
        flag("enable_100_continue_upstream_peek"),
        flag("enable_chunk_merge").or_true(),
        flag("enable_fire_and_forget").or_false(),
        flag("enable_request_body_buffering").or_false(),
        flag("enable_request_body_metrics").or_false(),
        flag("close_server_side_connection_on_error").or_false(),
        flag("close_client_side_connection_on_error"),
        flag("reset_conn_http_on_ssl_port").or_false(),
        flag("detect_ntlm_app").or_true(),
        flag("disable_keepalive_posts_msie6").or_true(),
        flag("fwd_close_hdr_for_bound_connections").or_true(),
        flag("allow_dots_in_header_name").or_false(),
        flag("disable_sni_hostname_check").or_false(),
        flag("pass_through_x_accel_headers").or_false(),
        flag("collect_client_tls_fingerprint").or_false(),
        one_of("ssl_client_certificate_mode", CERTIFICATE_MODES).or_text("SSL_CLIENT_CERTIFICATE_NONE"),
        message("ssl_client_certificate_action", &CERTIFICATE_ACTION),
        refers("pki_profile_ref", "pkiprofile"),
        message("http2_profile", &HTTP2_PROFILE),
        message("session_config", &SESSION),
        message("compression_profile", &COMPRESSION),
        message("cache_config", &CACHE),
        rate("max_rps_cip"),
        rate("max_rps_uri"),
        rate("max_rps_cip_uri"),
        rate("max_rps_unknown_cip"),
        rate("max_rps_unknown_uri"),
        rate("max_bad_rps_cip"),
        rate("max_bad_rps_uri"),
        rate("max_bad_rps_cip_uri"),
    ],
};

static TRUE_CLIENT_IP: Message = Message {
    name: "TrueClientIPConfig",
    fields: &[
        list("headers", &TEXT, 1),
        int("index_in_header", &[(1, 1000)]).or_int(1),
        one_of("direction", &["LEFT", "RIGHT"]).or_text("LEFT"),
    ],
};

static HTTP2_PROFILE: Message = Message {
    name: "HTTP2ApplicationProfile",
    fields: &[
        int("max_http2_concurrent_streams_per_connection", &[(1, 256)]).or_int(128),
        int("max_http2_requests_per_connection", &[(0, 10_000)]).or_int(1000),
        int("max_http2_control_frames_per_connection", &[(0, 10_000)]).or_int(1000),
        int("max_http2_empty_data_frames_per_connection", &[(0, 10_000)]).or_int(1000),
        int("max_http2_queued_frames_to_client_per_connection", &[(0, 10_000)]).or_int(1000),
        int("max_http2_header_field_size", &[(1, 8192)]).unit("bytes").or_int(4096),
        int("http2_initial_window_size", &[(64, 32_768)]).unit("KB").or_int(64),
        flag("enable_http2_server_push").or_false(),
        int("max_http2_concurrent_pushes_per_connection", &[(1, 256)]).or_int(10),
    ],
};

static SESSION: Message = Message {
    name: "HTTPSessionConfig",
    fields: &[
        text("session_cookie_name"),
        flag("session_cookie_httponly"),
        flag("session_cookie_secure"),
        one_of("session_cookie_samesite", SAMESITE),
        int("session_establishment_timeout", &[(120, 3600)]).unit("s"),
        int("session_idle_timeout", &[(120, 604_800)]).unit("s"),
        int("session_maximum_timeout", &[(120, 604_800)]).unit("s"),
    ],
};

static CERTIFICATE_ACTION: Message = Message {
    name: "SSLClientCertificateAction",
    fields: &[flag("close_connection").or_false(), list("headers", &Type::Message(&CERTIFICATE_HEADER), 64)],
};

static CERTIFICATE_HEADER: Message = Message {
    name: "SSLClientRequestHeader",
    fields: &[text("request_header"), one_of("request_header_value", VARIABLES)],
};

static COMPRESSION: Message = Message {
    name: "CompressionProfile",
    fields: &[
        flag("compression").required().or_false(),
        one_of("type", &["AUTO_COMPRESSION", "CUSTOM_COMPRESSION"]).required().or_text("AUTO_COMPRESSION"),
        flag("remove_accept_encoding_header").required().or_true(),
        refers("compressible_content_ref", "stringgroup"),
        refers("mobile_str_ref", "stringgroup"),
        keyed("filter", &Type::Message(&COMPRESSION_FILTER), 128, &["index"]),
        count("buf_num").or_int(128),
        count("buf_size").unit("bytes").or_int(4096),
        count("hash_size").or_int(16_384),
        count("window_size").or_int(4096),
        count("level_normal").or_int(1),
        count("level_aggressive").or_int(5),
        count("max_low_rtt").unit("ms").or_int(10),
        count("min_high_rtt").unit("ms").or_int(200),
        count("min_length").unit("bytes").or_int(128),
    ],
};

static COMPRESSION_FILTER: Message = Message {
    name: "CompressionFilter",
    fields: &[
        count("index").required(),
        text("name").required(),
        one_of("level", &["AGGRESSIVE_COMPRESSION", "NORMAL_COMPRESSION", "NO_COMPRESSION"])
            .required()
            .or_text("NORMAL_COMPRESSION"),
        one_of("match", &["IS_IN", "IS_NOT_IN"]).or_text("IS_IN"),
        list("ip_addrs", &Type::Message(&IP_ADDR), 1024),
        list("ip_addr_prefixes", &Type::Message(&IP_ADDR_PREFIX), 1024),
        list("ip_addr_ranges", &Type::Message(&IP_ADDR_RANGE), 1024),
        refers("ip_addrs_ref", "ipaddrgroup"),
        refers("devices_ref", "stringgroup"),
        list("user_agent", &TEXT, 1024),
    ],
};

static CACHE: Message = Message {
    name: "HttpCacheConfig",
    fields: &[
        flag("enabled").or_false(),
        flag("xcache_header").or_true(),
        flag("age_header").or_true(),
        flag("date_header").or_true(),
        count("default_expire").unit("s").or_int(600),
        flag("heuristic_expire").or_false(),
        flag("aggressive").or_false(),
        flag("ignore_request_cache_control").or_false(),
        flag("query_cacheable").or_false(),
        // 0: as large as fits.
        int("max_cache_size", &[(0, i64::MAX)]).unit("bytes"),
        count("min_object_size").unit("bytes").or_int(100),
        count("max_object_size").unit("bytes").or_int(4_194_304),
        list("mime_types_list", &TEXT, 256),
        list("mime_types_group_refs", &Type::Ref("stringgroup"), 64),
        list("mime_types_block_lists", &TEXT, 256),
        list("mime_types_block_group_refs", &Type::Ref("stringgroup"), 64),
        message("uri_non_cacheable", &PATH_MATCH),
    ],
};
