//! Documents that say things that do not go together: each names the place and what to do.

use forebay_model::{check, kind};
use serde_json::{Value, json};

/// The document is refused for just this: at this place, with these words in the reason and in what to do.
fn refused(path: &str, value: Value, place: &str, reason: &str, fix: &str) {
    let kind = kind(path).unwrap_or_else(|| panic!("a kind of the path {path}"));
    let problems = check(kind, value.as_object().expect("an object")).expect_err(place);
    assert_eq!(problems.len(), 1, "{path}: {problems:#?}");
    let told = &problems[0];
    assert_eq!(told.path, place, "{path}: {told}");
    assert!(told.reason.contains(reason) && told.fix.contains(fix), "{path}: {told}");
}

fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

fn service(more: Value) -> Value {
    let mut service = json!({"name": "v"});
    for (name, value) in more.as_object().expect("an object") {
        service[name] = value.clone();
    }
    service
}

//= test API-FIELD-01
#[test]
fn a_virtual_service_has_one_target_and_each_port_once() {
    let vs = "virtualservice";
    refused(
        vs,
        service(json!({"pool_ref": "/api/pool/pool-1", "pool_group_ref": "/api/poolgroup/poolgroup-1"})),
        "pool_group_ref",
        "one of them",
        "leave out pool_group_ref or pool_ref",
    );
    for (services, place) in [
        (json!([{"port": 80}, {"port": 80}]), "services[1].port"),
        (json!([{"port": 8000, "port_range_end": 8100}, {"port": 9}, {"port": 8100}]), "services[2].port"),
        (json!([{"port": 8050}, {"port": 8000, "port_range_end": 8100}]), "services[0].port"),
    ] {
        refused(vs, service(json!({"services": services})), place, "as well", "one entry");
    }
    refused(
        vs,
        service(json!({"services": [{"port": 90, "port_range_end": 80}]})),
        "services[0].port_range_end",
        "before it begins",
        "0 for one port",
    );
    refused(
        vs,
        service(json!({"service_pool_select": [{"service_port": 80}]})),
        "service_pool_select[0]",
        "one pool",
        "service_pool_ref or service_pool_group_ref",
    );
    refused(
        vs,
        service(json!({"service_pool_select": [
            {"service_port": 80, "service_port_range_end": 70, "service_pool_ref": "pool-1"}]})),
        "service_pool_select[0].service_port_range_end",
        "before it begins",
        "the last port",
    );
    refused(
        vs,
        service(json!({"fqdn": "a.example", "dns_info": [{"fqdn": "a.example"}]})),
        "fqdn",
        "already",
        "leave out fqdn or dns_info",
    );
}

#[test]
fn a_child_has_a_parent_and_something_to_be_chosen_by() {
    let (vs, parent) = ("virtualservice", "/api/virtualservice/virtualservice-1");
    refused(
        vs,
        service(json!({"vh_parent_vs_ref": parent})),
        "vh_parent_vs_ref",
        "only a child",
        "VS_TYPE_VH_CHILD",
    );
    refused(
        vs,
        service(json!({"type": "VS_TYPE_VH_CHILD", "vh_domain_name": ["a"]})),
        "vh_parent_vs_ref",
        "through its parent",
        "VS_TYPE_VH_PARENT",
    );
    refused(
        vs,
        service(json!({"type": "VS_TYPE_VH_CHILD", "vh_parent_vs_ref": parent, "vh_domain_name": []})),
        "vh_domain_name",
        "it is missing",
        "list the names",
    );
    refused(
        vs,
        service(
            json!({"type": "VS_TYPE_VH_CHILD", "vh_parent_vs_ref": parent, "vh_type": "VS_TYPE_VH_ENHANCED"}),
        ),
        "vh_matches",
        "it is missing",
        "hosts and paths",
    );
}

#[test]
fn what_has_a_turn_has_its_own() {
    let same = |field: &str, kind: &str| json!([{"index": 1, field: format!("{kind}-1")}, {"index": 1, field: format!("{kind}-2")}]);
    for (list, field, kind) in [
        ("vs_datascripts", "vs_datascript_set_ref", "vsdatascriptset"),
        ("http_policies", "http_policy_set_ref", "httppolicyset"),
        ("l4_policies", "l4_policy_set_ref", "l4policyset"),
        ("dns_policies", "dns_policy_ref", "dnspolicy"),
    ] {
        let place = format!("{list}[1].index");
        refused(
            "virtualservice",
            service(json!({list: same(field, kind)})),
            &place,
            "has the same",
            "its own",
        );
    }
    let rule = |rest: Value| {
        let mut rule = json!({"index": 7, "name": "r"});
        for (name, value) in rest.as_object().expect("an object") {
            rule[name] = value.clone();
        }
        json!({"rules": [rule.clone(), rule]})
    };
    for policy in ["http_request_policy", "http_response_policy", "http_security_policy"] {
        let set = json!({"name": "s", policy: rule(json!({}))});
        refused(
            "httppolicyset",
            set,
            &format!("{policy}.rules[1].index"),
            "rules[0] has the same",
            "its own",
        );
    }
    let mut network =
        rule(json!({"enable": true, "match": {}, "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY"}));
    network["name"] = json!("n");
    refused("networksecuritypolicy", network, "rules[1].index", "rules[0] has the same", "its own");
    refused(
        "l4policyset",
        json!({"name": "l", "l4_connection_policy": rule(json!({}))}),
        "l4_connection_policy.rules[1].index",
        "rules[0] has the same",
        "its own",
    );
}

#[test]
fn addresses_are_addresses_and_each_is_named_once() {
    let vip = |vip: Value| json!({"name": "v", "vip": [vip]});
    let twice = json!([
        {"vip_id": "1", "ip_address": v4("10.0.0.1")},
        {"vip_id": "1", "ip_address": v4("10.0.0.2")}
    ]);
    refused("vsvip", json!({"name": "v", "vip": twice}), "vip[1].vip_id", "has the same", "its own");
    refused("virtualservice", service(json!({"vip": twice})), "vip[1].vip_id", "has the same", "its own");
    refused("vsvip", vip(json!({"vip_id": "1"})), "vip[0]", "no address", "auto_allocate_ip");
    refused(
        "vsvip",
        vip(json!({"vip_id": "1", "ip_address": v4("10.0.0.256")})),
        "vip[0].ip_address.addr",
        "no address of type V4",
        "10.1.2.3",
    );
    refused(
        "vsvip",
        vip(json!({"vip_id": "1", "ip6_address": {"addr": "10.0.0.1", "type": "V6"}})),
        "vip[0].ip6_address.addr",
        "no address of type V6",
        "2001:db8::1",
    );
    refused(
        "vsvip",
        vip(
            json!({"vip_id": "1", "auto_allocate_ip": true, "subnet": {"ip_addr": v4("10.0.0.0"), "mask": 33}}),
        ),
        "vip[0].subnet.mask",
        "32 bits",
        "0 to 32",
    );
    for (begin, end) in
        [(v4("10.0.0.2"), v4("10.0.0.1")), (v4("10.0.0.2"), json!({"addr": "2001:db8::1", "type": "V6"}))]
    {
        refused(
            "ipaddrgroup",
            json!({"name": "g", "ranges": [{"begin": begin, "end": end}]}),
            "ranges[0].end",
            "before it begins",
            "same family",
        );
    }
    refused(
        "ipaddrgroup",
        json!({"name": "g", "ip_ports": [{"port": 80}]}),
        "ip_ports[0]",
        "no host",
        "ip or hostname",
    );
    refused(
        "pool",
        json!({"name": "p", "servers": [{"ip": {"addr": "", "type": "DNS"}}]}),
        "servers[0].ip.addr",
        "no address of type DNS",
        "name that DNS knows",
    );
}

#[test]
fn a_monitor_has_time_to_answer_and_the_part_of_its_type() {
    let monitor = |kind: &str, more: Value| {
        let mut monitor = service(more);
        monitor["type"] = json!(format!("HEALTH_MONITOR_{kind}"));
        monitor
    };
    for more in [json!({"receive_timeout": 10}), json!({"send_interval": 4})] {
        refused(
            "healthmonitor",
            monitor("TCP", more),
            "receive_timeout",
            "the next probe",
            "less than send_interval",
        );
    }
    refused(
        "healthmonitor",
        monitor("HTTP", json!({"tcp_monitor": {}})),
        "tcp_monitor",
        "says nothing for HEALTH_MONITOR_HTTP",
        "set type to HEALTH_MONITOR_TCP",
    );
    for name in ["EXTERNAL", "DNS", "RADIUS", "FTP", "FTPS", "LDAP", "LDAPS"] {
        let place = format!("{}_monitor", name.to_lowercase());
        refused("healthmonitor", monitor(name, json!({})), &place, "it is missing", "what is to be sent");
    }
    refused(
        "healthmonitor",
        monitor("HTTP", json!({"http_monitor": {"auth_type": "AUTH_NTLM"}})),
        "authentication",
        "http_monitor.auth_type asks for it",
        "name and password",
    );
}

#[test]
fn a_profile_has_the_part_of_its_type() {
    let persistence = "applicationpersistenceprofile";
    refused(
        persistence,
        service(json!({"http_cookie_persistence_profile": {}})),
        "http_cookie_persistence_profile",
        "says nothing for PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
        "PERSISTENCE_TYPE_HTTP_COOKIE or PERSISTENCE_TYPE_GSLB_SITE",
    );
    for (kind, place, fix) in [
        ("APP_COOKIE", "app_cookie_persistence_profile", "prst_hdr_name"),
        ("CUSTOM_HTTP_HEADER", "hdr_persistence_profile.prst_hdr_name", "name the header"),
        ("GSLB_SITE", "is_federated", "true"),
    ] {
        let profile = service(json!({"persistence_type": format!("PERSISTENCE_TYPE_{kind}")}));
        refused(persistence, profile, place, "", fix);
    }
    refused(
        "networkprofile",
        service(json!({"profile": {"type": "PROTOCOL_TYPE_UDP_PROXY", "udp_fast_path_profile": {}}})),
        "profile.udp_fast_path_profile",
        "says nothing for PROTOCOL_TYPE_UDP_PROXY",
        "PROTOCOL_TYPE_UDP_FAST_PATH",
    );
    let application = |kind: &str, more: Value| {
        let mut profile = service(more);
        profile["type"] = json!(format!("APPLICATION_PROFILE_TYPE_{kind}"));
        profile
    };
    for (part, own) in [
        ("http_profile", "HTTP"),
        ("dns_service_profile", "DNS"),
        ("sip_service_profile", "SIP"),
        ("l4_ssl_profile", "SSL"),
        ("diameter_service_profile", "DIAMETER"),
    ] {
        let profile = application("L4", json!({part: {}}));
        refused("applicationprofile", profile, part, "says nothing for APPLICATION_PROFILE_TYPE_L4", own);
    }
    refused(
        "applicationprofile",
        application("HTTP", json!({"preserve_client_ip": true, "http_profile": {}})),
        "preserve_client_ip",
        "shared by clients",
        "connection_multiplexing_enabled to false",
    );
    for (kind, part) in [("HTTP", "http_profile"), ("SSL", "tcp_app_profile")] {
        refused(
            "applicationprofile",
            application(
                kind,
                json!({part: {"ssl_client_certificate_mode": "SSL_CLIENT_CERTIFICATE_REQUIRE"}}),
            ),
            &format!("{part}.pki_profile_ref"),
            "must show certificates",
            "pkiprofile",
        );
    }
}

#[test]
fn an_action_has_what_it_needs() {
    for (action, field) in [
        ("HTTP_SWITCHING_SELECT_POOL", "pool_ref"),
        ("HTTP_SWITCHING_SELECT_POOLGROUP", "pool_group_ref"),
        ("HTTP_SWITCHING_SELECT_LOCAL", "status_code"),
    ] {
        refused(
            "httppolicyset",
            service(json!({"http_request_policy": {"rules": [
                {"index": 0, "name": "a"},
                {"index": 1, "name": "b", "switching_action": {"action": action}}
            ]}})),
            &format!("http_request_policy.rules[1].switching_action.{field}"),
            action,
            field,
        );
    }
    for (action, field) in [
        ("HTTP_SECURITY_ACTION_SEND_RESPONSE", "status_code"),
        ("HTTP_SECURITY_ACTION_REDIRECT_TO_HTTPS", "https_port"),
        ("HTTP_SECURITY_ACTION_RATE_LIMIT", "rate_profile"),
    ] {
        refused(
            "httppolicyset",
            service(json!({"http_security_policy": {"rules": [
                {"index": 1, "name": "b", "action": {"action": action}}]}})),
            &format!("http_security_policy.rules[0].action.{field}"),
            action,
            field,
        );
    }
    refused(
        "networksecuritypolicy",
        service(json!({"rules": [{"index": 1, "name": "r", "enable": true, "match": {},
            "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT"}]})),
        "rules[0].rl_param",
        "limits a rate",
        "max_rate and burst_size",
    );
    for (action, field) in
        [("L4_RULE_ACTION_SELECT_POOL", "pool_ref"), ("L4_RULE_ACTION_SELECT_POOLGROUP", "pool_group_ref")]
    {
        refused(
            "l4policyset",
            service(json!({"l4_connection_policy": {"rules": [{"index": 1, "name": "r",
                "action": {"select_pool": {"action_type": action}}}]}})),
            &format!("l4_connection_policy.rules[0].action.select_pool.{field}"),
            "leads nowhere",
            "takes the connections",
        );
    }
}
