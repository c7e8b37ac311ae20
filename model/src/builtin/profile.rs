//! Profiles, monitors and the certificate of the first start.

use serde_json::{Value, json};

use super::BuiltIn;

/// What engines offer where nobody says otherwise: forward secrecy, and ciphers that also authenticate.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:\
ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/// A document of this name.
fn named(kind: &'static str, name: &str, mut document: Value) -> BuiltIn {
    document["name"] = Value::from(name);
    BuiltIn::new(kind, document)
}

pub(super) fn objects() -> Vec<BuiltIn> {
    let mut all = secure();
    all.extend(applications());
    all.extend(networks());
    all.extend(monitors());
    all.extend(persistence());
    all.push(named("analyticsprofile", "System-Analytics-Profile", json!({})));
    all
}

fn secure() -> Vec<BuiltIn> {
    vec![
        named(
            "sslprofile",
            "System-Standard",
            json!({
                "accepted_ciphers": CIPHERS,
                "accepted_versions": [{"type": "SSL_VERSION_TLS1_2"}, {"type": "SSL_VERSION_TLS1_3"}],
            }),
        ),
        named(
            "sslkeyandcertificate",
            "System-Default-Cert",
            json!({
                "type": "SSL_CERTIFICATE_TYPE_VIRTUALSERVICE",
                // The Controller makes the pair at its first start, and signs it with its own key.
                "status": "SSL_CERTIFICATE_PENDING",
                "certificate": {
                    "self_signed": true, "days_until_expire": 3650,
                    "subject": {"common_name": "System Default Cert"},
                },
                "key_params": {"algorithm": "SSL_KEY_ALGORITHM_EC", "ec_params": {}},
            }),
        ),
    ]
}

fn applications() -> Vec<BuiltIn> {
    [
        ("System-HTTP", json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": {}})),
        (
            "System-Secure-HTTP",
            json!({
                "type": "APPLICATION_PROFILE_TYPE_HTTP",
                "http_profile": {
                    "hsts_enabled": true, "http_to_https": true, "httponly_enabled": true,
                    "secure_cookie_enabled": true, "server_side_redirect_to_https": true,
                    "x_forwarded_proto_enabled": true,
                },
            }),
        ),
        ("System-L4-Application", json!({"type": "APPLICATION_PROFILE_TYPE_L4", "tcp_app_profile": {}})),
        ("System-SSL-Application", json!({"type": "APPLICATION_PROFILE_TYPE_SSL", "tcp_app_profile": {}})),
        ("System-DNS", json!({"type": "APPLICATION_PROFILE_TYPE_DNS", "dns_service_profile": {}})),
    ]
    .into_iter()
    .map(|(name, document)| named("applicationprofile", name, document))
    .collect()
}

fn networks() -> Vec<BuiltIn> {
    [
        ("System-TCP-Proxy", "PROTOCOL_TYPE_TCP_PROXY", "tcp_proxy_profile"),
        ("System-TCP-Fast-Path", "PROTOCOL_TYPE_TCP_FAST_PATH", "tcp_fast_path_profile"),
        ("System-UDP-Fast-Path", "PROTOCOL_TYPE_UDP_FAST_PATH", "udp_fast_path_profile"),
        ("System-SCTP-Proxy", "PROTOCOL_TYPE_SCTP_PROXY", "sctp_proxy_profile"),
    ]
    .into_iter()
    .map(|(name, kind, settings)| {
        named("networkprofile", name, json!({"profile": {"type": kind, settings: {}}}))
    })
    .collect()
}

fn monitors() -> Vec<BuiltIn> {
    let http = json!({"http_request": "HEAD / HTTP/1.0", "http_response_code": ["HTTP_2XX", "HTTP_3XX"]});
    let mut https = http.clone();
    https["ssl_attributes"] = json!({"ssl_profile_ref": "/api/sslprofile?name=System-Standard"});
    [
        ("System-HTTP", json!({"type": "HEALTH_MONITOR_HTTP", "http_monitor": http})),
        ("System-HTTPS", json!({"type": "HEALTH_MONITOR_HTTPS", "https_monitor": https})),
        ("System-TCP", json!({"type": "HEALTH_MONITOR_TCP", "tcp_monitor": {"tcp_half_open": false}})),
        ("System-UDP", json!({"type": "HEALTH_MONITOR_UDP", "udp_monitor": {"udp_request": "\r\n"}})),
        ("System-Ping", json!({"type": "HEALTH_MONITOR_PING"})),
        ("System-SCTP", json!({"type": "HEALTH_MONITOR_SCTP", "sctp_monitor": {}})),
    ]
    .into_iter()
    .map(|(name, document)| named("healthmonitor", name, document))
    .collect()
}

fn persistence() -> Vec<BuiltIn> {
    [
        (
            "System-Persistence-Client-IP",
            json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "ip_persistence_profile": {}}),
        ),
        (
            "System-Persistence-Http-Cookie",
            json!({"persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE", "http_cookie_persistence_profile": {}}),
        ),
        ("System-Persistence-TLS", json!({"persistence_type": "PERSISTENCE_TYPE_TLS"})),
        (
            "System-Persistence-App-Cookie",
            json!({
                "persistence_type": "PERSISTENCE_TYPE_APP_COOKIE",
                // The name that most servers of Java applications give to their session.
                "app_cookie_persistence_profile": {"prst_hdr_name": "JSESSIONID"},
            }),
        ),
        (
            "System-Persistence-Custom-Http-Header",
            json!({
                "persistence_type": "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER",
                "hdr_persistence_profile": {"prst_hdr_name": "X-Persist"},
            }),
        ),
    ]
    .into_iter()
    .map(|(name, document)| named("applicationpersistenceprofile", name, document))
    .collect()
}
