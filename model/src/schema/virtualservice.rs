//! Virtual services: what clients reach.
//!
//! Left out: `test_se_datastore_level_1_ref`, a means to test upgrades of the published product.

use super::cloud::CLOUDS;
use super::common::{IP_ADDR, METADATA_BYTES_MAX, PORT, PORT_OR_0, U32};
use super::dns::{DNS_INFO, DNS_POLICIES, DNS_RECORD};
use super::matching::IP_ADDR_MATCH;
use super::networkprofile::PROTOCOLS;
use super::rates::RATE_PROFILE;
use super::rule::{addresses, entries, number, once, problem, text as read};
use super::vsparts::{
    ANALYTICS_POLICY, CONTENT_REWRITE, JWT_CONFIG, LDAP_CONFIG, OAUTH_CONFIG, SAML_CONFIG, SIDEBAND, VH_MATCH,
};
use super::vsvip::{VIP, vips_are_hosts, vips_differ};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{count, flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&VIRTUAL_SERVICE];

static SERVICE: Message = Message {
    name: "Service",
    fields: &[
        int("port", PORT_OR_0).required(),
        // 0: one port.
        int("port_range_end", &[(0, 0), (1, 65_535)]),
        flag("enable_ssl").or_false(),
        flag("enable_http2").or_false(),
        refers("override_network_profile_ref", "networkprofile"),
        refers("override_application_profile_ref", "applicationprofile"),
        flag("horizon_internal_ports").or_false(),
        flag("is_active_ftp_data_port").or_false(),
        flag("is_passive_ftp_data_port"),
    ],
};

static POOL_SELECTOR: Message = Message {
    name: "ServicePoolSelector",
    fields: &[
        int("service_port", PORT).required(),
        int("service_port_range_end", &[(0, 0), (1, 65_535)]),
        one_of("service_protocol", PROTOCOLS),
        refers("service_pool_ref", "pool"),
        refers("service_pool_group_ref", "poolgroup"),
    ],
};

static HTTP_POLICIES: Message = Message {
    name: "HTTPPolicies",
    fields: &[count("index").required(), refers("http_policy_set_ref", "httppolicyset").required()],
};

static L4_POLICIES: Message = Message {
    name: "L4Policies",
    fields: &[count("index").required(), refers("l4_policy_set_ref", "l4policyset").required()],
};

static DATASCRIPTS: Message = Message {
    name: "VSDataScripts",
    fields: &[count("index").required(), refers("vs_datascript_set_ref", "vsdatascriptset").required()],
};

static SSL_SELECTOR: Message = Message {
    name: "SSLProfileSelector",
    fields: &[
        message("client_ip_list", &IP_ADDR_MATCH).required(),
        refers("ssl_profile_ref", "sslprofile").required(),
    ],
};

static LIMITS: Message = Message {
    name: "PerformanceLimits",
    fields: &[count("max_concurrent_connections"), count("max_throughput")],
};

/// What clients reach.
static VIRTUAL_SERVICE: Kind = Kind {
    path: "virtualservice",
    name: "VirtualService",
    permission: "PERMISSION_VIRTUALSERVICE",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[
        one_target,
        ports_differ,
        selectors_lead_somewhere,
        children_have_parents,
        names_stand_in_one_place,
        policies_have_their_turn,
        vips_differ,
        vips_are_hosts,
        addresses,
    ],
    fields: &[
        text("name").required(),
        flag("enabled").or_true(),
        flag("traffic_enabled").or_true(),
        one_of("type", &["VS_TYPE_NORMAL", "VS_TYPE_VH_PARENT", "VS_TYPE_VH_CHILD"])
            .or_text("VS_TYPE_NORMAL"),
        refers("cloud_ref", "cloud"),
        one_of("cloud_type", CLOUDS).or_text("CLOUD_NONE"),
        refers("vrf_context_ref", "vrfcontext"),
        refers("se_group_ref", "serviceenginegroup"),
        long_text("service_metadata", METADATA_BYTES_MAX),
        text("cloud_config_cksum"),
        text("vsvip_cloud_config_cksum"),
        text("azure_availability_set").read_only(),
        refers("vsvip_ref", "vsvip"),
        keyed("vip", &Type::Message(&VIP), 128, &["vip_id"]),
        text("fqdn"),
        list("dns_info", &Type::Message(&DNS_INFO), 1000),
        list("services", &Type::Message(&SERVICE), 2048),
        refers("pool_ref", "pool"),
        refers("pool_group_ref", "poolgroup"),
        list("service_pool_select", &Type::Message(&POOL_SELECTOR), 2048),
        refers("application_profile_ref", "applicationprofile"),
        refers("network_profile_ref", "networkprofile"),
        refers("server_network_profile_ref", "networkprofile"),
        keyed("vs_datascripts", &Type::Message(&DATASCRIPTS), 128, &["index"]),
        keyed("http_policies", &Type::Message(&HTTP_POLICIES), 128, &["index"]),
        keyed("l4_policies", &Type::Message(&L4_POLICIES), 128, &["index"]),
        keyed("dns_policies", &Type::Message(&DNS_POLICIES), 128, &["index"]),
        keyed("topology_policies", &Type::Message(&DNS_POLICIES), 128, &["index"]),
        list("static_dns_records", &Type::Message(&DNS_RECORD), 1000),
        refers("network_security_policy_ref", "networksecuritypolicy"),
        refers("security_policy_ref", "securitypolicy"),
        refers("waf_policy_ref", "wafpolicy"),
        refers("bot_policy_ref", "botdetectionpolicy"),
        refers("csrf_policy_ref", "csrfpolicy"),
        refers("sso_policy_ref", "ssopolicy"),
        list("icap_request_profile_refs", &Type::Ref("icapprofile"), 1),
        refers("analytics_profile_ref", "analyticsprofile"),
        message("analytics_policy", &ANALYTICS_POLICY),
        refers("ssl_profile_ref", "sslprofile"),
        list("ssl_profile_selectors", &Type::Message(&SSL_SELECTOR), 128),
        list("ssl_key_and_certificate_refs", &Type::Ref("sslkeyandcertificate"), 128),
        int("ssl_sess_cache_avg_size", &[(1024, 16_383)]).or_int(1024),
        flag("allow_invalid_client_cert").or_false(),
        message("content_rewrite", &CONTENT_REWRITE),
        refers("error_page_profile_ref", "errorpageprofile"),
        refers("traffic_clone_profile_ref", "trafficcloneprofile"),
        refers("microservice_ref", "microservice"),
        message("sideband_profile", &SIDEBAND),
        message("jwt_config", &JWT_CONFIG),
        message("ldap_vs_config", &LDAP_CONFIG),
        message("saml_sp_config", &SAML_CONFIG),
        message("oauth_vs_config", &OAUTH_CONFIG),
        flag("enable_session").or_false(),
        text("host_name_xlate"),
        list("nsx_securitygroup", &TEXT, 128),
        one_of(
            "flow_dist",
            &[
                "LOAD_AWARE",
                "CONSISTENT_HASH_SOURCE_IP_ADDRESS",
                "CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT",
            ],
        )
        .or_text("LOAD_AWARE"),
        one_of("flow_label_type", &["NO_LABEL", "APPLICATION_LABEL", "SERVICE_LABEL"]).or_text("NO_LABEL"),
        flag("scaleout_ecmp").or_false(),
        flag("enable_rhi").or_false(),
        flag("enable_rhi_snat").or_false(),
        list("bgp_peer_labels", &TEXT, 128),
        int("bgp_local_preference", U32),
        int("bgp_num_as_path_prepend", &[(1, 10)]),
        flag("advertise_down_vs").or_false(),
        flag("revoke_vip_route").or_false(),
        flag("remove_listening_port_on_vs_down").or_false(),
        one_of("active_standby_se_tag", &["ACTIVE_STANDBY_SE_1", "ACTIVE_STANDBY_SE_2"])
            .or_text("ACTIVE_STANDBY_SE_1"),
        flag("east_west_placement").or_false(),
        flag("enable_autogw").or_true(),
        flag("use_vip_as_snat").or_false(),
        flag("use_bridge_ip_as_vip").or_false(),
        list("snat_ip", &Type::Message(&IP_ADDR), 32),
        list("snat_ip6_addresses", &Type::Message(&IP_ADDR), 32),
        flag("ign_pool_net_reach").or_false(),
        int("weight", &[(1, 128)]).or_int(1),
        flag("delay_fairness").or_false(),
        flag("limit_doser").or_false(),
        int("max_cps_per_client", &[(0, 0), (10, 1000)]),
        message("connections_rate_limit", &RATE_PROFILE),
        message("requests_rate_limit", &RATE_PROFILE),
        message("performance_limits", &LIMITS),
        count("min_pools_up"),
        flag("bulk_sync_kvcache").or_false(),
        flag("close_client_conn_on_config_update").or_false(),
        one_of("vh_type", &["VS_TYPE_VH_SNI", "VS_TYPE_VH_ENHANCED"]).or_text("VS_TYPE_VH_SNI"),
        refers("vh_parent_vs_ref", "virtualservice"),
        list("vh_domain_name", &TEXT, 1024),
        keyed("vh_matches", &Type::Message(&VH_MATCH), 1024, &["host"]),
        list("sp_pool_refs", &Type::Ref("pool"), 1024).read_only(),
    ],
};

fn one_target(service: &Object, problems: &mut Vec<Problem>) {
    if service.contains_key("pool_ref") && service.contains_key("pool_group_ref") {
        problems.push(problem(
            "pool_group_ref",
            "the service has a pool as well, and its traffic goes to one of them",
            "leave out pool_group_ref or pool_ref",
        ));
    }
}

/// The first and the last port, where both ends are ports; `None`: its end lies before its beginning.
fn ports(entry: &Object, first: &str, last: &str) -> Option<(i64, i64)> {
    let from = number(entry, first)?;
    let to = number(entry, last).filter(|to| *to != 0).unwrap_or(from);
    (from <= to).then_some((from, to))
}

fn ports_differ(service: &Object, problems: &mut Vec<Problem>) {
    // TCP and UDP may share a port: each then has a network profile of its own.
    let mut taken: Vec<(&str, i64, i64, usize)> = Vec::new();
    for (at, entry) in entries(service, "services") {
        match ports(entry, "port", "port_range_end") {
            None => problems.push(problem(
                format!("services[{at}].port_range_end"),
                "the range ends before it begins",
                "put the last port there, or 0 for one port",
            )),
            Some((from, to)) => taken.push((read(entry, "override_network_profile_ref"), from, to, at)),
        }
    }
    taken.sort_unstable();
    for pair in taken.windows(2) {
        let [(profile, _, end, first), (other, from, _, second)] = pair else { continue };
        if profile == other && from <= end {
            problems.push(problem(
                format!("services[{second}].port"),
                format!("port {from} is in services[{first}] as well"),
                "give each port to one entry",
            ));
        }
    }
}

fn selectors_lead_somewhere(service: &Object, problems: &mut Vec<Problem>) {
    for (at, entry) in entries(service, "service_pool_select") {
        if entry.contains_key("service_pool_ref") == entry.contains_key("service_pool_group_ref") {
            problems.push(problem(
                format!("service_pool_select[{at}]"),
                "traffic goes to one pool or to one group of pools",
                "give service_pool_ref or service_pool_group_ref",
            ));
        }
        if ports(entry, "service_port", "service_port_range_end").is_none() {
            problems.push(problem(
                format!("service_pool_select[{at}].service_port_range_end"),
                "the range ends before it begins",
                "put the last port there, or 0 for one port",
            ));
        }
    }
}

fn children_have_parents(service: &Object, problems: &mut Vec<Problem>) {
    let has = |name: &str| {
        service.get(name).is_some_and(|list| list.as_array().is_none_or(|list| !list.is_empty()))
    };
    if read(service, "type") != "VS_TYPE_VH_CHILD" {
        if has("vh_parent_vs_ref") {
            problems.push(problem(
                "vh_parent_vs_ref",
                "only a child has a parent",
                "set type to VS_TYPE_VH_CHILD, or leave it out",
            ));
        }
        return;
    }
    if !has("vh_parent_vs_ref") {
        problems.push(problem(
            "vh_parent_vs_ref",
            "it is missing, and a child is reached through its parent",
            "name the virtualservice of type VS_TYPE_VH_PARENT",
        ));
    }
    match read(service, "vh_type") {
        "VS_TYPE_VH_SNI" if !has("vh_domain_name") => problems.push(problem(
            "vh_domain_name",
            "it is missing, and the name that clients ask for chooses the child",
            "list the names",
        )),
        "VS_TYPE_VH_ENHANCED" if !has("vh_matches") && !has("vh_domain_name") => problems.push(problem(
            "vh_matches",
            "it is missing, and a match chooses the child",
            "list the hosts and paths",
        )),
        _ => {}
    }
}

fn names_stand_in_one_place(service: &Object, problems: &mut Vec<Problem>) {
    let has_info = entries(service, "dns_info").next().is_some();
    if !read(service, "fqdn").is_empty() && has_info {
        problems.push(problem("fqdn", "dns_info has the names already", "leave out fqdn or dns_info"));
    }
}

fn policies_have_their_turn(service: &Object, problems: &mut Vec<Problem>) {
    for list in ["vs_datascripts", "http_policies", "l4_policies", "dns_policies", "topology_policies"] {
        once(service, "", list, "index", problems);
    }
}
