//! Virtual services and what they are made of, whole, as the public clients send them.

use forebay_model::{Object, Problem, check, kind, shape};
use serde_json::{Value, json};

fn sent(path: &str, value: Value) -> Result<Object, Vec<Problem>> {
    let kind = kind(path).unwrap_or_else(|| panic!("a kind of the path {path}"));
    check(kind, value.as_object().expect("an object"))
}

/// It is taken, says what was sent, and can be sent back as it was given out.
fn taken(path: &str, value: Value) -> Object {
    let object = sent(path, value.clone()).unwrap_or_else(|problems| panic!("{path}: {problems:#?}"));
    within(path, &value, &Value::Object(object.clone()));
    assert_eq!(sent(path, Value::Object(object.clone())).as_ref(), Ok(&object), "{path}");
    object
}

/// Each thing that was sent is there, the same, in the same order.
fn within(path: &str, sent: &Value, held: &Value) {
    match (sent, held) {
        (Value::Object(sent), Value::Object(held)) => {
            for (name, value) in sent {
                within(&format!("{path}.{name}"), value, held.get(name).unwrap_or(&Value::Null));
            }
        }
        (Value::Array(sent), Value::Array(held)) => {
            assert_eq!(sent.len(), held.len(), "{path}");
            for (at, (sent, held)) in sent.iter().zip(held).enumerate() {
                within(&format!("{path}[{at}]"), sent, held);
            }
        }
        _ => assert_eq!(sent, held, "{path}"),
    }
}

fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

#[test]
fn a_virtual_service_of_terraform() {
    let made = taken(
        "virtualservice",
        json!({
            "name": "web",
            "tenant_ref": "https://c/api/tenant/admin",
            "cloud_ref": "https://c/api/cloud/cloud-1",
            "vsvip_ref": "https://c/api/vsvip/vsvip-1",
            "se_group_ref": "https://c/api/serviceenginegroup/serviceenginegroup-1",
            "application_profile_ref": "/api/applicationprofile?name=System-Secure-HTTP",
            "network_profile_ref": "/api/networkprofile?name=System-TCP-Proxy",
            "pool_group_ref": "https://c/api/poolgroup/poolgroup-1",
            "ssl_profile_ref": "/api/sslprofile?name=System-Standard",
            "ssl_key_and_certificate_refs": ["/api/sslkeyandcertificate?name=System-Default-Cert"],
            "services": [
                {"port": 80},
                {"port": 443, "enable_ssl": true, "enable_http2": true},
                {"port": 8000, "port_range_end": 8100}
            ],
            "http_policies": [{"index": 11, "http_policy_set_ref": "/api/httppolicyset/httppolicyset-1"}],
            "vs_datascripts": [{"index": 1, "vs_datascript_set_ref": "/api/vsdatascriptset/vsdatascriptset-1"}],
            "network_security_policy_ref": "/api/networksecuritypolicy/networksecuritypolicy-1",
            "analytics_policy": {
                "full_client_logs": {"enabled": true, "duration": 0},
                "metrics_realtime_update": {"enabled": true, "duration": 0},
                "client_insights": "NO_INSIGHTS"
            },
            "performance_limits": {"max_concurrent_connections": 10_000},
            "connections_rate_limit": {
                "rate_limiter": {"count": 100, "period": 1},
                "action": {"type": "RL_ACTION_CLOSE_CONN"}
            },
            "content_rewrite": {
                "rewritable_content_ref": "/api/stringgroup?name=System-Rewritable-Content-Types"
            },
            "flow_dist": "CONSISTENT_HASH_SOURCE_IP_ADDRESS",
            "markers": [{"key": "team", "values": ["a"]}]
        }),
    );
    assert_eq!(made["weight"], 1);
    assert_eq!(made["ssl_sess_cache_avg_size"], 1024);
    assert_eq!(made["services"][0]["enable_ssl"], false);
    assert_eq!(
        made["connections_rate_limit"]["action"]["status_code"],
        "HTTP_LOCAL_RESPONSE_STATUS_CODE_429"
    );
    assert!(made.get("analytics_profile_ref").is_none(), "what nobody set does not grow");
}

#[test]
fn pools_of_terraform_and_of_a_cluster() {
    let made = taken(
        "pool",
        json!({
            "name": "web",
            "cloud_ref": "https://c/api/cloud/cloud-1",
            "tier1_lr": "/infra/tier-1s/t1",
            "lb_algorithm": "LB_ALGORITHM_FASTEST_RESPONSE",
            "health_monitor_refs": ["/api/healthmonitor?name=System-HTTP"],
            "application_persistence_profile_ref": "/api/applicationpersistenceprofile/p-1",
            "service_metadata": "{\"pool_ratio\":100}",
            "analytics_policy": {"enable_realtime_metrics": true},
            "graceful_disable_timeout_sec": -1,
            "http2_properties": {"max_http2_control_frames_per_connection": 0},
            "networks": [{"network_ref": "/api/vimgrnwruntime/dvportgroup-1", "server_filter": "*"}],
            "placement_networks": [{"network_ref": "/api/network/network-1",
                "subnet": {"ip_addr": v4("10.0.0.0"), "mask": 24}}],
            "max_conn_rate_per_server": {"action": {"type": "RL_ACTION_DROP_CONN"}, "fine_grain": true,
                "rate_limiter": {"count": 9, "period": 1}},
            "servers": [{"ip": v4("10.0.0.1"), "port": 8080, "autoscaling_group_name": "g", "server_node": "n",
                "discovered_networks": [{"network_ref": "/api/network/network-1",
                    "subnet": [{"ip_addr": v4("10.0.0.0"), "mask": 24}]}]}]
        }),
    );
    assert_eq!(made["servers"][0]["enabled"], true);
    taken(
        "poolgroup",
        json!({"name": "g", "members": [{"pool_ref": "/api/pool?name=web", "ratio": 0, "priority_label": "10"}],
            "priority_labels_ref": "/api/prioritylabels/prioritylabels-1", "created_by": "ako"}),
    );
}

#[test]
fn virtual_services_of_a_cluster() {
    let host = json!({
        "match_criteria": "HDR_EQUALS", "match_case": "INSENSITIVE", "value": ["a.example"]
    });
    taken(
        "virtualservice",
        json!({
            "name": "ako--a.example",
            "type": "VS_TYPE_VH_CHILD",
            "vh_type": "VS_TYPE_VH_ENHANCED",
            "vh_parent_vs_ref": "/api/virtualservice/?name=ako--shared",
            "vh_matches": [{"host": "b.example", "path": [{"match_criteria": "EQUALS", "match_str": ["/b"]}]},
                {"host": "a.example", "rules": [{"name": "r", "matches": {
                "vs_port": {"match_criteria": "IS_IN", "ports": [80, 443]},
                "path": {"match_criteria": "BEGINS_WITH", "match_str": ["/"]},
                "host_hdr": host
            }}]}],
            "created_by": "ako-cluster",
            "cloud_config_cksum": "1234567",
            "service_metadata": "{\"namespace_ingress_name\":[\"default/web\"]}",
            "enabled": true,
            "east_west_placement": false
        }),
    );
    taken(
        "virtualservice",
        json!({
            "name": "ako--dns",
            "services": [
                {"port": 53},
                {"port": 53, "override_network_profile_ref": "/api/networkprofile?name=System-TCP-Proxy"}
            ],
            "l4_policies": [{"index": 0, "l4_policy_set_ref": "/api/l4policyset/?name=ako--dns"}],
            "vip": [{"vip_id": "0", "ip_address": v4("10.0.0.9")}],
            "dns_info": [{"fqdn": "d.example", "ttl": 30, "type": "DNS_RECORD_A"}]
        }),
    );
    let vip = taken(
        "vsvip",
        json!({
            "name": "ako--shared",
            "cloud_ref": "/api/cloud?name=Default-Cloud",
            "vrf_context_ref": "/api/vrfcontext/vrfcontext-1",
            "vip": [
                {"vip_id": "0", "auto_allocate_ip": true, "auto_allocate_ip_type": "V4_ONLY",
                 "ipam_network_subnet": {"network_ref": "/api/network/network-1",
                    "subnet": {"ip_addr": v4("10.0.0.0"), "mask": 24}},
                 "placement_networks": [{"network_ref": "/api/network/network-1",
                    "subnet": {"ip_addr": v4("10.0.0.0"), "mask": 24}}]},
                {"vip_id": "1", "ip6_address": {"addr": "2001:db8::1", "type": "V6"}, "enabled": false}
            ],
            "dns_info": [{"fqdn": "a.example", "cname": {"cname": "b.example"}, "num_records_in_response": 0}],
            "bgp_peer_labels": ["a"],
            "tier1_lr": "t",
            "east_west_placement": false,
            "vsvip_cloud_config_cksum": "7"
        }),
    );
    assert_eq!(vip["vip"][0]["prefix_length"], 32);
    assert_eq!(vip["dns_info"][0]["algorithm"], "DNS_RECORD_RESPONSE_CONSISTENT_HASH");
}

#[test]
fn health_monitors_of_every_type() {
    let made = taken(
        "healthmonitor",
        json!({
            "name": "https", "type": "HEALTH_MONITOR_HTTPS", "send_interval": 20, "receive_timeout": 5,
            "monitor_port": 0,
            "authentication": {"username": "u", "password": "p"},
            "https_monitor": {
                "http_request": "HEAD / HTTP/1.0", "http_response_code": ["HTTP_2XX", "HTTP_3XX"],
                "maintenance_code": [503], "response_size": 2048, "auth_type": "AUTH_BASIC",
                "ssl_attributes": {"ssl_profile_ref": "/api/sslprofile?name=System-Standard", "server_name": "s"}
            }
        }),
    );
    assert_eq!(made["successful_checks"], 2);
    let mut seen = made.clone();
    shape::mask(kind("healthmonitor").expect("a kind"), &mut seen);
    assert_eq!(seen["authentication"]["password"], shape::MASK);
    let ssl = json!({"ssl_attributes": {"ssl_profile_ref": "/api/sslprofile/sslprofile-1"}});
    for (name, part) in [
        ("tcp", json!({"tcp_request": "a", "tcp_response": "b", "tcp_half_open": false})),
        ("udp", json!({"udp_request": "a", "udp_response": "b", "maintenance_response": "c"})),
        ("sctp", json!({"sctp_request": "a", "sctp_response": "b"})),
        ("http", json!({"http_request": "GET /x HTTP/1.1\r\nHost: h", "exact_http_request": true})),
        ("http2", json!({"http_method": "HTTP_METHOD_GET", "http_headers": ["a: b"]})),
        ("http2s", ssl.clone()),
        (
            "external",
            json!({"command_code": "#!/bin/sh\n", "command_parameters": "a", "command_variables": "b=c"}),
        ),
        ("dns", json!({"query_name": "n", "record_type": "DNS_RECORD_AAAA", "rcode": "RCODE_ANYTHING"})),
        ("sip", json!({"sip_monitor_transport": "SIP_TCP_PROTO"})),
        ("radius", json!({"username": "u", "password": "p", "shared_secret": "s"})),
        ("smtp", json!({"domainname": "d", "recipients_ids": ["r"], "sender_id": "s", "mail_data": "m"})),
        ("smtps", ssl.clone()),
        ("pop3", json!({})),
        ("pop3s", ssl.clone()),
        ("imap", json!({"folder": "f"})),
        ("imaps", ssl.clone()),
        ("ftp", json!({"filename": "/f", "mode": "FTP_PORT_MODE"})),
        ("ftps", json!({"filename": "/f"})),
        ("ldap", json!({"base_dn": "dc=x", "scope": "LDAP_SUB_MODE", "filter": "f", "attributes": "a"})),
        ("ldaps", json!({"base_dn": "dc=x"})),
    ] {
        let mut monitor = json!({"name": name, "type": format!("HEALTH_MONITOR_{}", name.to_uppercase())});
        monitor[format!("{name}_monitor")] = part;
        taken("healthmonitor", monitor);
    }
    for name in ["PING", "GSLB", "TCP", "HTTP"] {
        taken("healthmonitor", json!({"name": name, "type": format!("HEALTH_MONITOR_{name}")}));
    }
}

#[test]
fn persistence_profiles_of_every_type() {
    for (name, part) in [
        (
            "CLIENT_IP_ADDRESS",
            json!({"ip_persistence_profile": {"ip_persistent_timeout": 30, "ip_mask": 24}}),
        ),
        ("CLIENT_IPV6_ADDRESS", json!({"ip_persistence_profile": {}})),
        (
            "HTTP_COOKIE",
            json!({"http_cookie_persistence_profile": {
            "cookie_name": "c", "always_send_cookie": false, "timeout": 0, "http_only": true,
            "key": [{"name": "k", "aes_key": "YQ==", "hmac_key": "Yg=="}]}}),
        ),
        (
            "APP_COOKIE",
            json!({"app_cookie_persistence_profile": {"prst_hdr_name": "JSESSIONID", "timeout": 20}}),
        ),
        ("CUSTOM_HTTP_HEADER", json!({"hdr_persistence_profile": {"prst_hdr_name": "X-User"}})),
        ("TLS", json!({})),
        ("GSLB_SITE", json!({"is_federated": true, "http_cookie_persistence_profile": {"cookie_name": "s"}})),
        ("APP_DIAMETER", json!({"diameter_app_persistence_profile": {"avp_key_type": "ORIGIN_HOST"}})),
    ] {
        let mut profile = part;
        profile["name"] = json!(name);
        profile["persistence_type"] = json!(format!("PERSISTENCE_TYPE_{name}"));
        profile["server_hm_down_recovery"] = json!("HM_DOWN_ABORT_CONNECTION");
        taken("applicationpersistenceprofile", profile);
    }
    // What keys seal stays between the Controller and its engines.
    for (of, part, field) in [
        (
            "HTTP_COOKIE",
            "http_cookie_persistence_profile",
            json!({"key": [{"name": "k", "aes_key": "YQ==", "hmac_key": "YQ=="}]}),
        ),
        ("HTTP_COOKIE", "http_cookie_persistence_profile", json!({"encryption_key": "YQ=="})),
        (
            "APP_COOKIE",
            "app_cookie_persistence_profile",
            json!({"prst_hdr_name": "s", "encryption_key": "YQ=="}),
        ),
    ] {
        let document =
            json!({"name": "c", "persistence_type": format!("PERSISTENCE_TYPE_{of}"), part: field});
        let old = sent("applicationpersistenceprofile", document).expect("good");
        let mut shown = old.clone();
        let kind = kind("applicationpersistenceprofile").expect("a kind");
        shape::mask(kind, &mut shown);
        assert!(!format!("{shown:?}").contains("YQ=="), "{of}: {shown:?}");
        shape::keep_secrets(kind, &mut shown, &old);
        assert_eq!(shown, old, "{of}");
    }
}

#[test]
fn profiles_of_applications_and_networks() {
    let http = taken(
        "applicationprofile",
        json!({
            "name": "secure", "type": "APPLICATION_PROFILE_TYPE_HTTP", "preserve_client_ip": false,
            "http_profile": {
                "connection_multiplexing_enabled": true, "xff_enabled": true, "http_to_https": true,
                "hsts_enabled": true, "hsts_max_age": 365, "secure_cookie_enabled": true,
                "client_max_body_size": 0, "max_rps_cip": 0, "max_header_count": 0,
                "ssl_client_certificate_mode": "SSL_CLIENT_CERTIFICATE_REQUIRE",
                "pki_profile_ref": "/api/pkiprofile/pkiprofile-1",
                "ssl_client_certificate_action": {"close_connection": true, "headers": [
                    {"request_header": "X-C", "request_header_value": "HTTP_POLICY_VAR_SSL_CLIENT_SUBJECT"}]},
                "true_client_ip": {"headers": ["X-Real-IP"], "index_in_header": 1, "direction": "RIGHT"},
                "http2_profile": {"max_http2_concurrent_streams_per_connection": 64},
                "session_config": {"session_cookie_name": "s", "session_idle_timeout": 600},
                "compression_profile": {"compression": true, "remove_accept_encoding_header": true,
                    "type": "CUSTOM_COMPRESSION", "filter": [{"index": 0, "name": "f", "level": "NO_COMPRESSION",
                    "ip_addr_ranges": [{"begin": v4("10.0.0.1"), "end": v4("10.0.0.9")}]}]},
                "cache_config": {"enabled": true, "mime_types_group_refs": ["/api/stringgroup/stringgroup-1"],
                    "uri_non_cacheable": {"match_criteria": "EQUALS", "match_str": ["/x"]}}
            },
            "dos_rl_profile": {
                "dos_profile": {"thresh_period": 5, "thresh_info": [
                    {"attack": "SYN_FLOOD", "min_value": 1, "max_value": 2}]},
                "rl_profile": {"client_ip_requests_rate_limit": {"rate_limiter": {"count": 10, "period": 1},
                    "action": {"type": "RL_ACTION_LOCAL_RSP", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403",
                    "file": {"content_type": "text/plain", "file_content": "no"}}}}
            }
        }),
    );
    assert_eq!(http["http_profile"]["keepalive_timeout"], 30_000);
    assert_eq!(http["http_profile"]["client_max_request_size"], 48);
    taken(
        "applicationprofile",
        json!({"name": "l4", "type": "APPLICATION_PROFILE_TYPE_L4", "preserve_client_ip": true,
            "tcp_app_profile": {"proxy_protocol_enabled": true, "proxy_protocol_version": "PROXY_PROTOCOL_VERSION_2"}}),
    );
    let dns = taken(
        "applicationprofile",
        json!({"name": "dns", "type": "APPLICATION_PROFILE_TYPE_DNS", "dns_service_profile": {
            "domain_names": ["example"], "num_dns_ip": 0, "dns_zones": [{"domain_name": "example"}]}}),
    );
    assert_eq!(dns["dns_service_profile"]["ttl"], 30);
    for (name, part) in [
        (
            "TCP_PROXY",
            json!({"automatic": false, "idle_connection_timeout": 0, "receive_window": 128,
            "cc_algo": "CC_ALGO_CUBIC", "time_wait_delay": 0, "max_segment_size": 0, "ip_dscp": 46}),
        ),
        (
            "TCP_FAST_PATH",
            json!({"session_idle_timeout": 0, "enable_syn_protection": true,
            "dsr_profile": {"dsr_type": "DSR_TYPE_L2", "dsr_encap_type": "ENCAP_GRE"}}),
        ),
        ("UDP_FAST_PATH", json!({"session_idle_timeout": 2, "per_pkt_loadbalance": true, "snat": false})),
        ("UDP_PROXY", json!({"session_idle_timeout": 3600})),
        ("SCTP_PROXY", json!({"number_of_streams": 100, "heartbeat_interval": 30})),
        ("SCTP_FAST_PATH", json!({"idle_timeout": 0})),
    ] {
        let mut profile = json!({"type": format!("PROTOCOL_TYPE_{name}")});
        profile[format!("{}_profile", name.to_lowercase())] = part;
        taken("networkprofile", json!({"name": name, "profile": profile, "connection_mirror": false}));
    }
}

#[test]
fn policies() {
    let uri = |kind: &str, rest: Value| {
        let mut token = rest;
        token["type"] = json!(kind);
        json!({"type": "URI_PARAM_TYPE_TOKENIZED", "tokens": [token]})
    };
    let set = taken(
        "httppolicyset",
        json!({
            "name": "set", "is_internal_policy": false, "created_by": "ako", "cloud_config_cksum": "1",
            "http_request_policy": {"rules": [
                {"index": 1, "name": "to https", "enable": true, "match": {
                    "vs_port": {"match_criteria": "IS_IN", "ports": [80]},
                    "client_ip": {"match_criteria": "IS_NOT_IN", "group_refs": ["/api/ipaddrgroup/ipaddrgroup-1"]}
                 }, "redirect_action": {"protocol": "HTTPS", "port": 443, "keep_query": true,
                    "status_code": "HTTP_REDIRECT_STATUS_CODE_301",
                    "host": uri("URI_TOKEN_TYPE_STRING", json!({"str_value": "a.example"})),
                    "path": uri("URI_TOKEN_TYPE_PATH", json!({"start_index": 0, "end_index": 65_535}))}},
                {"index": 2, "name": "api", "match": {
                    "path": {"match_criteria": "REGEX_MATCH", "match_str": ["^/v[0-9]"],
                        "string_group_refs": ["/api/stringgroup/stringgroup-1"]},
                    "query": {"match_criteria": "QUERY_MATCH_CONTAINS", "match_str": ["q"]},
                    "method": {"match_criteria": "IS_IN", "methods": ["HTTP_METHOD_GET", "HTTP_METHOD_POST"]},
                    "hdrs": [{"hdr": "X-A", "match_criteria": "HDR_EXISTS"}],
                    "cookie": {"name": "c", "match_criteria": "HDR_EQUALS", "value": "v"},
                    "protocol": {"match_criteria": "IS_IN", "protocols": "HTTPS"},
                    "version": {"match_criteria": "IS_IN", "versions": ["ONE_ONE", "TWO_ZERO"]}
                 }, "switching_action": {"action": "HTTP_SWITCHING_SELECT_POOL", "pool_ref": "/api/pool/pool-1",
                    "server": {"ip": v4("10.0.0.1"), "port": 80}},
                 "rewrite_url_action": {"path": uri("URI_TOKEN_TYPE_STRING", json!({"str_value": "x"})),
                    "query": {"keep_query": true, "add_string": "a=b"}},
                 "hdr_action": [{"action": "HTTP_REPLACE_HDR", "hdr": {"name": "X-B",
                    "value": {"var": "HTTP_POLICY_VAR_CLIENT_IP"}}}], "log": true},
                {"index": 3, "name": "gone", "switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL",
                    "other_status_code": 410, "file": {"content_type": "text/html", "file_content": "<p>"}}}
            ]},
            "http_response_policy": {"rules": [{"index": 1, "name": "r", "match": {
                "status": {"match_criteria": "IS_IN", "status_codes": [301], "ranges": [{"begin": 302, "end": 308}]},
                "loc_hdr": {"match_criteria": "HDR_BEGINS_WITH", "value": ["http://"]}},
                "loc_hdr_action": {"protocol": "HTTPS", "port": 443},
                "hdr_action": [{"action": "HTTP_REMOVE_HDR", "hdr": {"name": "Server"}}]}]},
            "http_security_policy": {"rules": [
                {"index": 1, "name": "slow", "enable": true, "action": {"action": "HTTP_SECURITY_ACTION_RATE_LIMIT",
                    "rate_profile": {"rate_limiter": {"count": 5, "period": 1}, "per_client_ip": true,
                    "action": {"type": "RL_ACTION_REDIRECT", "redirect": {"protocol": "HTTP"}}}}},
                {"index": 2, "name": "no", "action": {"action": "HTTP_SECURITY_ACTION_SEND_RESPONSE",
                    "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403"}}
            ]}
        }),
    );
    assert_eq!(set["http_request_policy"]["rules"][1]["match"]["path"]["match_case"], "INSENSITIVE");
    taken(
        "networksecuritypolicy",
        json!({"name": "n", "rules": [
            {"index": 1, "name": "block", "enable": true, "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY",
             "match": {"client_ip": {"match_criteria": "IS_IN", "addrs": [v4("192.0.2.1")],
                "prefixes": [{"ip_addr": v4("198.51.100.0"), "mask": 24}],
                "ranges": [{"begin": v4("10.0.0.1"), "end": v4("10.0.0.1")}]}}, "age": 0, "log": true},
            {"index": 2, "name": "slow", "enable": false, "match": {"vs_port": {"match_criteria": "IS_IN", "ports": [80]}},
             "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT", "rl_param": {"max_rate": 9, "burst_size": 1}}
        ]}),
    );
    taken(
        "l4policyset",
        json!({"name": "ako--l4", "created_by": "ako", "is_internal_policy": false, "l4_connection_policy": {"rules": [
            {"index": 0, "name": "r", "enable": true, "match": {
                "port": {"match_criteria": "IS_IN", "ports": [53], "port_ranges": [{"start": 1, "end": 9}]},
                "protocol": {"match_criteria": "IS_IN", "protocol": "PROTOCOL_UDP"}},
             "action": {"select_pool": {"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=p"}}}
        ]}}),
    );
}

#[test]
fn groups_pages_scripts_and_analytics() {
    let group = taken(
        "stringgroup",
        json!({"name": "g", "type": "SG_TYPE_KEYVAL", "kv": [{"key": "a", "value": "1"}, {"key": "b"}]}),
    );
    assert_eq!(group["longest_match"], false);
    taken(
        "ipaddrgroup",
        json!({"name": "g", "addrs": [v4("10.0.0.1")], "prefixes": [{"ip_addr": v4("10.0.0.0"), "mask": 8}],
            "ranges": [{"begin": v4("10.0.0.1"), "end": v4("10.0.0.2")}],
            "ip_ports": [{"ip": v4("10.0.0.1"), "port": 80}, {"hostname": "h", "port": 81}],
            "country_codes": ["DE"]}),
    );
    taken("prioritylabels", json!({"name": "p", "equivalent_labels": [{"labels": ["green", "blue"]}]}));
    let policy = taken(
        "poolgroupdeploymentpolicy",
        json!({"name": "d", "scheme": "CANARY", "rules": [{"operator": "CO_GE", "threshold": 85.5}]}),
    );
    assert_eq!(policy["rules"][0]["metric_id"], "health.health_score_value");
    taken(
        "errorpageprofile",
        json!({"name": "e", "error_pages": [{"index": 0, "enable": true,
            "error_page_body_ref": "/api/errorpagebody/errorpagebody-1",
            "match": {"match_criteria": "IS_IN", "status_codes": [404], "ranges": [{"begin": 500, "end": 599}]}}]}),
    );
    taken(
        "errorpagebody",
        json!({"name": "b", "error_page_body": "<html>", "format": "ERROR_PAGE_FORMAT_HTML"}),
    );
    taken(
        "vsdatascriptset",
        json!({"name": "ako--ds", "created_by": "ako",
            "datascript": [{"evt": "VS_DATASCRIPT_EVT_HTTP_REQ", "script": "avi.http.close_conn()"}],
            "pool_group_refs": ["/api/poolgroup?name=a"], "string_group_refs": ["/api/stringgroup/stringgroup-1"],
            "ipgroup_refs": [], "rate_limiters": [{"name": "r", "count": 1, "period": 1}]}),
    );
    taken(
        "trafficcloneprofile",
        json!({"name": "t", "clone_servers": [{"ip_address": v4("10.0.0.7"), "mac": "02:00:00:00:00:01"}],
            "preserve_client_ip": true}),
    );
    let analytics = taken(
        "analyticsprofile",
        json!({"name": "a", "apdex_response_threshold": 500, "apdex_response_tolerated_factor": 4.0,
            "hs_security_tls10_score": 5.0, "exclude_http_error_codes": [401],
            "client_log_streaming_config": {"external_server": "10.0.0.1", "protocol": "LOG_STREAMING_PROTOCOL_UDP",
                "marker_keys": [{"key": "k"}], "syslog_config": {"facility": 1}},
            "sensitive_log_profile": {"header_field_rules": [{"index": 0, "name": "n", "enabled": true,
                "match": {"match_criteria": "EQUALS", "match_str": ["Authorization"]}, "action": "LOG_FIELD_MASKOFF"}]},
            "ranges": [{"begin": 400, "end": 404}], "resp_code_block": ["AP_HTTP_RSP_4XX"]}),
    );
    assert_eq!(analytics["conn_lossy_ooo_threshold"], 50);
}
