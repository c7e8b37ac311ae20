//! What is counted and logged of a service, and what is held to be wrong with it.
//!
//! Numbers with a fraction have no default here: a field that its user left out stays absent, and whoever computes a
//! score knows what to take.

use super::common::{CODE_RANGE, PERCENT, PORT};
use super::matching::STRING_MATCH;
use crate::field::{Field, Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, message, number, one_of, text};
use crate::kind::{Kind, MARKER, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&ANALYTICS_PROFILE];

const fn processing(name: &'static str) -> Field {
    one_of(
        name,
        &[
            "LOGS_PROCESSING_NONE",
            "LOGS_PROCESSING_SYNC_AND_INDEX_ON_DEMAND",
            "LOGS_PROCESSING_AUTO_SYNC_AND_INDEX",
            "LOGS_PROCESSING_AUTO_SYNC_BUT_INDEX_ON_DEMAND",
        ],
    )
    .or_text("LOGS_PROCESSING_SYNC_AND_INDEX_ON_DEMAND")
}

static LOGS: Message = Message {
    name: "ClientLogConfiguration",
    fields: &[
        flag("enable_significant_log_collection").or_true(),
        processing("significant_log_processing"),
        processing("filtered_log_processing"),
        processing("non_significant_log_processing"),
    ],
};

static STREAMING: Message = Message {
    name: "ClientLogStreamingConfig",
    fields: &[
        text("external_server").required(),
        int("external_server_port", PORT).or_int(514),
        one_of(
            "log_types_to_send",
            &["LOGS_SIGNIFICANT_ONLY", "LOGS_UDF_ONLY", "LOGS_UDF_SIGNIFICANT", "LOGS_ALL"],
        )
        .or_text("LOGS_ALL"),
        // 0: no limit.
        count("max_logs_per_second").or_int(100),
        one_of(
            "protocol",
            &[
                "LOG_STREAMING_PROTOCOL_UDP",
                "LOG_STREAMING_PROTOCOL_SYSLOG_OVER_UDP",
                "LOG_STREAMING_PROTOCOL_TCP",
                "LOG_STREAMING_PROTOCOL_SYSLOG_OVER_TCP",
                "LOG_STREAMING_PROTOCOL_RAW_OVER_UDP",
                "LOG_STREAMING_PROTOCOL_TLS",
                "LOG_STREAMING_PROTOCOL_SYSLOG_OVER_TLS",
            ],
        )
        .or_text("LOG_STREAMING_PROTOCOL_UDP"),
        message("syslog_config", &SYSLOG),
        message("format_config", &FORMAT),
        keyed("marker_keys", &Type::Message(&MARKER), 64, &["key"]),
    ],
};

static SYSLOG: Message = Message {
    name: "StreamingSyslogConfig",
    fields: &[
        int("facility", &[(0, 23)]).or_int(16),
        int("significant_log_severity", &[(0, 7)]).or_int(4),
        int("filtered_log_severity", &[(0, 7)]).or_int(5),
        int("non_significant_log_severity", &[(0, 7)]).or_int(6),
        text("hostname").or_text("AviVantage"),
        text("msg_id").or_text("NILVALUE"),
        text("proc_id").or_text("NILVALUE"),
    ],
};

static FORMAT: Message = Message {
    name: "ClientLogStreamingFormat",
    fields: &[
        one_of("format", &["LOG_STREAMING_FORMAT_JSON_FULL", "LOG_STREAMING_FORMAT_JSON_SELECTED"])
            .required(),
        list("included_fields", &TEXT, 256),
    ],
};

static SENSITIVE: Message = Message {
    name: "SensitiveLogProfile",
    fields: &[
        keyed("header_field_rules", &Type::Message(&SENSITIVE_RULE), 128, &["index"]),
        keyed("uri_query_field_rules", &Type::Message(&SENSITIVE_RULE), 128, &["index"]),
        keyed("waf_field_rules", &Type::Message(&SENSITIVE_RULE), 128, &["index"]),
    ],
};

static SENSITIVE_RULE: Message = Message {
    name: "SensitiveFieldRule",
    fields: &[
        count("index"),
        text("name"),
        flag("enabled").or_false(),
        message("match", &STRING_MATCH),
        one_of("action", &["LOG_FIELD_REMOVE", "LOG_FIELD_MASKOFF"]).or_text("LOG_FIELD_REMOVE"),
    ],
};

const AUDIT: &[&str] = &["TT_AUDIT_OFF", "TT_AUDIT_ON", "TT_AUDIT_ON_WITH_SIG"];

static TIME_TRACKER: Message = Message {
    name: "TimeTrackerProperties",
    fields: &[
        one_of("fe_conn_est_audit_mode", AUDIT),
        count("fe_conn_est_threshold").unit("ms"),
        one_of("be_conn_est_audit_mode", AUDIT),
        count("be_conn_est_threshold").unit("ms"),
        flag("ingress_sig_log"),
    ],
};

const LATENCY: &[&str] = &["LATENCY_AUDIT_OFF", "LATENCY_AUDIT_ON", "LATENCY_AUDIT_ON_WITH_SIG"];

static LATENCY_AUDIT: Message = Message {
    name: "LatencyAuditProperties",
    fields: &[
        one_of("conn_est_audit_mode", LATENCY),
        count("conn_est_threshold").unit("ms"),
        one_of("latency_audit_mode", LATENCY),
        count("latency_threshold").unit("ms"),
    ],
};

/// A time that clients are content with, milliseconds.
const fn content(name: &'static str, most: &'static [(i64, i64)]) -> Field {
    int(name, most).unit("ms")
}

const RESPONSE: &[(i64, i64)] = &[(1, 30_000)];
const ROUND_TRIP: &[(i64, i64)] = &[(1, 2000)];

/// A share of packets or times, of a hundred.
const fn share(name: &'static str) -> Field {
    int(name, &[(1, 100)])
}

/// What is counted and logged of a service.
static ANALYTICS_PROFILE: Kind = Kind {
    path: "analyticsprofile",
    name: "AnalyticsProfile",
    permission: "PERMISSION_ANALYTICSPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        content("apdex_response_threshold", RESPONSE).or_int(500),
        number("apdex_response_tolerated_factor"),
        content("apdex_rtt_threshold", ROUND_TRIP).or_int(250),
        number("apdex_rtt_tolerated_factor"),
        content("apdex_rum_threshold", RESPONSE).or_int(5000),
        number("apdex_rum_tolerated_factor"),
        content("apdex_server_response_threshold", RESPONSE).or_int(400),
        number("apdex_server_response_tolerated_factor"),
        content("apdex_server_rtt_threshold", ROUND_TRIP).or_int(125),
        number("apdex_server_rtt_tolerated_factor"),
        share("conn_lossy_ooo_threshold").or_int(50),
        share("conn_lossy_timeo_rexmt_threshold").or_int(20),
        share("conn_lossy_total_rexmt_threshold").or_int(50),
        int("conn_lossy_zero_win_size_event_threshold", PERCENT).or_int(2),
        share("conn_server_lossy_ooo_threshold").or_int(50),
        share("conn_server_lossy_timeo_rexmt_threshold").or_int(20),
        share("conn_server_lossy_total_rexmt_threshold").or_int(50),
        int("conn_server_lossy_zero_win_size_event_threshold", PERCENT).or_int(2),
        message("client_log_config", &LOGS),
        message("client_log_streaming_config", &STREAMING),
        message("sensitive_log_profile", &SENSITIVE),
        message("time_tracker_props", &TIME_TRACKER),
        message("latency_audit_props", &LATENCY_AUDIT),
        flag("enable_adaptive_config").or_true(),
        flag("enable_advanced_analytics").or_true(),
        flag("enable_ondemand_metrics").or_true(),
        flag("enable_se_analytics").or_true(),
        flag("enable_server_analytics").or_true(),
        flag("enable_vs_analytics").or_true(),
        count("ondemand_metrics_idle_timeout").unit("s").or_int(1800),
        int("sip_log_depth", &[(1, 1000)]).or_int(20),
        flag("exclude_client_close_before_request_as_error").or_false(),
        flag("exclude_dns_policy_drop_as_significant").or_false(),
        flag("exclude_gs_down_as_error").or_false(),
        list("exclude_http_error_codes", &Type::Int(&[(100, 599)]), 500),
        flag("exclude_invalid_dns_domain_as_error").or_false(),
        flag("exclude_invalid_dns_query_as_error").or_false(),
        flag("exclude_issuer_revoked_ocsp_responses_as_error").or_true(),
        flag("exclude_no_dns_record_as_error").or_false(),
        flag("exclude_no_valid_gs_member_as_error").or_false(),
        flag("exclude_persistence_change_as_error").or_false(),
        flag("exclude_revoked_ocsp_responses_as_error").or_true(),
        flag("exclude_server_dns_error_as_error").or_false(),
        flag("exclude_server_tcp_reset_as_error").or_false(),
        list("exclude_sip_error_codes", &Type::Int(&[(100, 699)]), 600),
        flag("exclude_stale_ocsp_responses_as_error").or_true(),
        flag("exclude_syn_retransmit_as_error").or_false(),
        flag("exclude_tcp_reset_as_error").or_false(),
        flag("exclude_unavailable_ocsp_responses_as_error").or_true(),
        flag("exclude_unsupported_dns_query_as_error").or_false(),
        list("ranges", &Type::Message(&CODE_RANGE), 64),
        list("resp_code_block", &Type::Enum(&["AP_HTTP_RSP_4XX", "AP_HTTP_RSP_5XX"]), 2),
        int("healthscore_max_server_limit", &[(0, 5000)]).or_int(20),
        count("hs_event_throttle_window").unit("s").or_int(1_209_600),
        int("hs_max_anomaly_penalty", PERCENT).or_int(10),
        int("hs_max_resources_penalty", PERCENT).or_int(25),
        int("hs_max_security_penalty", PERCENT).or_int(100),
        count("hs_min_dos_rate").or_int(1000),
        int("hs_performance_boost", PERCENT),
        number("hs_pscore_traffic_threshold_l4_client"),
        number("hs_pscore_traffic_threshold_l4_server"),
        number("hs_security_certscore_expired"),
        number("hs_security_certscore_gt30d"),
        number("hs_security_certscore_le07d"),
        number("hs_security_certscore_le30d"),
        number("hs_security_chain_invalidity_penalty"),
        number("hs_security_cipherscore_eq000b"),
        number("hs_security_cipherscore_ge128b"),
        number("hs_security_cipherscore_lt128b"),
        number("hs_security_encalgo_score_none"),
        number("hs_security_encalgo_score_rc4"),
        number("hs_security_hsts_penalty"),
        number("hs_security_nonpfs_penalty"),
        number("hs_security_ocsp_revoked_score"),
        number("hs_security_selfsignedcert_penalty"),
        number("hs_security_ssl30_score"),
        number("hs_security_tls10_score"),
        number("hs_security_tls11_score"),
        number("hs_security_tls12_score"),
        number("hs_security_tls13_score"),
        number("hs_security_weak_signature_algo_penalty"),
    ],
};
