//! Sites that share names, and the services on them.

use std::collections::BTreeMap;

use super::common::{GEO_LOCATION, IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, PORT, PORT_OR_0, U32};
use super::infra::TLS;
use super::rule::{self, addresses, entries, once, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// How a member is chosen.
const ALGORITHMS: &[&str] = &[
    "GSLB_ALGORITHM_ROUND_ROBIN",
    "GSLB_ALGORITHM_CONSISTENT_HASH",
    "GSLB_ALGORITHM_GEO",
    "GSLB_ALGORITHM_TOPOLOGY",
    "GSLB_ALGORITHM_PREFERENCE_ORDER",
];

static AUTO_TUNE: Message = Message {
    name: "AutoTuneSendInterval",
    fields: &[int("auto_tune_send_interval_timeout", &[(100, 3600)]).unit("s"), flag("enabled")],
};

static CLIENTS: Message = Message {
    name: "GslbClientIpAddrGroup",
    fields: &[
        list("addrs", &Type::Message(&IP_ADDR), 1024),
        list("prefixes", &Type::Message(&IP_ADDR_PREFIX), 1024),
        list("ranges", &Type::Message(&IP_ADDR_RANGE), 1024),
        one_of("type", &["GSLB_IP_PUBLIC", "GSLB_IP_PRIVATE"]).required(),
    ],
};

static DNS_CONFIG: Message = Message { name: "DNSConfig", fields: &[text("domain_name").required()] };

static CANDIDATE: Message =
    Message { name: "SiteInfo", fields: &[text("cluster_id"), text("site_name").read_only()] };

static LEADER_CHANGE: Message = Message {
    name: "LeaderChangeInfo",
    fields: &[
        flag("enabled"),
        keyed("leader_candidates", &Type::Message(&CANDIDATE), 1, &["cluster_id"]),
        one_of("leader_change_mode", &["GSLB_LC_MODE_MANUAL", "GSLB_LC_MODE_AUTO"]),
        int("max_unsuccessful_probes", &[(1, 3600)]),
    ],
};

static SITE_DNS: Message = Message {
    name: "GslbSiteDnsVs",
    fields: &[text("dns_vs_uuid").required(), list("domain_names", &TEXT, 256)],
};

static MONITOR_PROXY: Message = Message {
    name: "GslbHealthMonitorProxy",
    fields: &[
        one_of(
            "proxy_type",
            &["GSLB_HEALTH_MONITOR_PROXY_ALL_MEMBERS", "GSLB_HEALTH_MONITOR_PROXY_PRIVATE_MEMBERS"],
        )
        .or_text("GSLB_HEALTH_MONITOR_PROXY_PRIVATE_MEMBERS"),
        text("site_uuid"),
    ],
};

static LOCATION: Message = Message {
    name: "GslbGeoLocation",
    fields: &[
        message("location", &GEO_LOCATION),
        one_of(
            "source",
            &[
                "GSLB_LOCATION_SRC_USER_CONFIGURED",
                "GSLB_LOCATION_SRC_INHERIT_FROM_SITE",
                "GSLB_LOCATION_SRC_FROM_GEODB",
            ],
        )
        .required(),
    ],
};

static REPLICATION: Message = Message {
    name: "ReplicationPolicy",
    fields: &[
        refers("checkpoint_ref", "federationcheckpoint"),
        one_of(
            "replication_mode",
            &["REPLICATION_MODE_CONTINUOUS", "REPLICATION_MODE_MANUAL", "REPLICATION_MODE_ADAPTIVE"],
        ),
    ],
};

static SITE: Message = Message {
    name: "GslbSite",
    fields: &[
        text("address"),
        text("cluster_uuid").required(),
        keyed("dns_vses", &Type::Message(&SITE_DNS), 64, &["dns_vs_uuid"]),
        flag("enabled").or_true(),
        keyed("hm_proxies", &Type::Message(&MONITOR_PROXY), 64, &["site_uuid"]),
        flag("hm_shard_enabled"),
        list("ip_addresses", &Type::Message(&IP_ADDR), 3),
        message("location", &LOCATION),
        one_of("member_type", &["GSLB_ACTIVE_MEMBER", "GSLB_PASSIVE_MEMBER"]).or_text("GSLB_PASSIVE_MEMBER"),
        text("name").required(),
        text("password").required().secret(),
        int("port", PORT).or_int(443),
        int("ratio", &[(1, 20)]),
        message("replication_policy", &REPLICATION),
        flag("suspend_mode"),
        text("username").required(),
    ],
};

static THIRD_PARTY: Message = Message {
    name: "GslbThirdPartySite",
    fields: &[
        text("cluster_uuid").read_only(),
        flag("enabled").or_true(),
        keyed("hm_proxies", &Type::Message(&MONITOR_PROXY), 64, &["site_uuid"]),
        message("location", &LOCATION),
        text("name").required(),
        int("ratio", &[(1, 20)]),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&GSLB, &SERVICE, &PLACES];

/// The sites.
static GSLB: Kind = Kind {
    path: "gslb",
    name: "Gslb",
    permission: "PERMISSION_GSLB",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[sites_stand_once, the_leader_is_a_site, addresses],
    fields: &[
        text("name").required(),
        int("async_interval", &[(0, 5)]).or_int(0).unit("s"),
        message("auto_tune_send_interval", &AUTO_TUNE),
        int("clear_on_max_retries", &[(1, 1024)]).or_int(20),
        message("client_ip_addr_group", &CLIENTS),
        keyed("dns_configs", &Type::Message(&DNS_CONFIG), 256, &["domain_name"]),
        flag("enable_config_by_members"),
        int("error_resync_interval", &[(0, 0), (60, 3600)]).unit("s"),
        int("fileobject_max_file_versions", &[(1, 5)]),
        flag("gs_member_fqdn_resolution_on_se"),
        flag("is_federated").or_true(),
        message("leader_change_info", &LEADER_CHANGE),
        text("leader_cluster_uuid").required(),
        flag("maintenance_mode").or_false(),
        message("replication_policy", &REPLICATION),
        int("send_interval", &[(1, 3600)]).or_int(15).unit("s"),
        int("short_probe_interval", &[(1, 3600)]).unit("s"),
        keyed("sites", &Type::Message(&SITE), 64, &["cluster_uuid"]),
        flag("tenant_scoped"),
        keyed("third_party_sites", &Type::Message(&THIRD_PARTY), 64, &["name"]),
        message("tls_config", &TLS),
        int("view_id", &[(0, i64::MAX)]).or_int(0),
    ],
};

fn sites_stand_once(gslb: &Object, problems: &mut Vec<Problem>) {
    let mut seen = BTreeMap::new();
    for field in ["sites", "third_party_sites"] {
        for (at, site) in entries(gslb, field) {
            let path = format!("{field}[{at}]");
            if let Some(first) = seen.insert(rule::text(site, "name"), path.clone()) {
                problems.push(problem(
                    format!("{path}.name"),
                    format!("{first} has the same"),
                    "give each its own",
                ));
            }
        }
    }
}

fn the_leader_is_a_site(gslb: &Object, problems: &mut Vec<Problem>) {
    let leader = rule::text(gslb, "leader_cluster_uuid");
    let mut clusters = entries(gslb, "sites").map(|(_, site)| rule::text(site, "cluster_uuid")).peekable();
    if clusters.peek().is_some() && !clusters.any(|cluster| cluster == leader) {
        problems.push(problem(
            "leader_cluster_uuid",
            "it is the cluster of none of the sites",
            "put the cluster_uuid of one of the sites there",
        ));
    }
}

static PUBLIC_IP: Message = Message { name: "GslbIpAddr", fields: &[message("ip", &IP_ADDR)] };

/// What a record of the type SRV says of a server.
pub static SRV: Message = Message {
    name: "GslbServiceSrvRdata",
    fields: &[
        int("port", PORT_OR_0).required(),
        int("priority", PORT_OR_0).required(),
        int("weight", PORT_OR_0).required(),
    ],
};

static MEMBER: Message = Message {
    name: "GslbPoolMember",
    fields: &[
        text("cloud_uuid"),
        text("cluster_uuid"),
        text("description"),
        flag("enabled").or_true(),
        text("fqdn"),
        text("hostname"),
        message("ip", &IP_ADDR),
        message("location", &LOCATION),
        int("preference_order", &[(1, 128)]).or_int(1),
        message("public_ip", &PUBLIC_IP),
        int("ratio", &[(1, 20)]).or_int(1),
        flag("resolve_fqdn_to_v6").or_false(),
        message("srv_rdata", &SRV),
        text("vs_uuid"),
    ],
};

static GROUP: Message = Message {
    name: "GslbPool",
    fields: &[
        one_of("algorithm", ALGORITHMS).required().or_text("GSLB_ALGORITHM_ROUND_ROBIN"),
        int("consistent_hash_mask", &[(1, 31)]),
        int("consistent_hash_mask6", &[(1, 127)]),
        text("description"),
        flag("enabled").or_true(),
        one_of("fallback_algorithm", ALGORITHMS),
        one_of(
            "gslb_pool_type",
            &["GSLB_POOL_TYPE_GENERIC", "GSLB_POOL_TYPE_PRIVATE", "GSLB_POOL_TYPE_PUBLIC"],
        ),
        flag("manual_resume"),
        keyed("members", &Type::Message(&MEMBER), 1024, &["ip", "fqdn", "cluster_uuid", "vs_uuid"]),
        int("min_health_monitors_up", U32),
        text("name").required(),
        int("priority", &[(0, 100)]).or_int(10),
    ],
};

static DOWN: Message = Message {
    name: "GslbServiceDownResponse",
    fields: &[
        text("fallback_cname"),
        message("fallback_ip", &IP_ADDR),
        message("fallback_ip6", &IP_ADDR),
        message("public_fallback_ip", &IP_ADDR),
        message("public_fallback_ip6", &IP_ADDR),
        one_of(
            "type",
            &[
                "GSLB_SERVICE_DOWN_RESPONSE_NONE",
                "GSLB_SERVICE_DOWN_RESPONSE_ALL_RECORDS",
                "GSLB_SERVICE_DOWN_RESPONSE_FALLBACK_IP",
                "GSLB_SERVICE_DOWN_RESPONSE_EMPTY",
                "GSLB_SERVICE_DOWN_RESPONSE_CNAME",
            ],
        )
        .required()
        .or_text("GSLB_SERVICE_DOWN_RESPONSE_NONE"),
    ],
};

/// A name that leads to the best of several sites.
static SERVICE: Kind = Kind {
    path: "gslbservice",
    name: "GslbService",
    permission: "PERMISSION_GSLBSERVICE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[groups_stand_once, members_can_be_reached, addresses],
    fields: &[
        text("name").required(),
        refers("application_persistence_profile_ref", "applicationpersistenceprofile"),
        flag("controller_health_status_enabled").or_true(),
        list("domain_names", &TEXT, 256),
        message("down_response", &DOWN),
        flag("enabled").or_true(),
        keyed("groups", &Type::Message(&GROUP), 64, &["name"]),
        list("health_monitor_refs", &Type::Ref("healthmonitor"), 6),
        one_of(
            "health_monitor_scope",
            &["GSLB_SERVICE_HEALTH_MONITOR_ALL_MEMBERS", "GSLB_SERVICE_HEALTH_MONITOR_ONLY_NON_AVI_MEMBERS"],
        )
        .or_text("GSLB_SERVICE_HEALTH_MONITOR_ALL_MEMBERS"),
        flag("hm_off"),
        flag("include_additional_records"),
        flag("is_federated").or_true(),
        int("min_members", &[(0, 0), (1, 65_535)]).or_int(0),
        int("num_dns_ip", &[(0, 0), (1, 20)]),
        refers("pki_profile_ref", "pkiprofile"),
        one_of("pool_algorithm", &["GSLB_SERVICE_ALGORITHM_PRIORITY", "GSLB_SERVICE_ALGORITHM_GEO"])
            .or_text("GSLB_SERVICE_ALGORITHM_PRIORITY"),
        one_of("record_type", &["GSLB_SERVICE_RECORD_TYPE_A_AAAA_CNAME", "GSLB_SERVICE_RECORD_TYPE_SRV"]),
        flag("resolve_cname").or_false(),
        flag("site_persistence_enabled").or_false(),
        flag("topology_policy_enabled").or_false(),
        int("ttl", &[(0, 86_400)]).unit("s"),
        flag("use_edns_client_subnet").or_true(),
        text("vrf_uuid_for_gs"),
        flag("wildcard_match").or_false(),
    ],
};

fn groups_stand_once(service: &Object, problems: &mut Vec<Problem>) {
    once(service, "", "groups", "name", problems);
}

fn members_can_be_reached(service: &Object, problems: &mut Vec<Problem>) {
    for (at, group) in entries(service, "groups") {
        for (within, member) in entries(group, "members") {
            // A member of another site may be named by its service alone.
            if ["ip", "fqdn", "vs_uuid"].iter().all(|field| !member.contains_key(*field)) {
                let path = format!("groups[{at}].members[{within}]");
                problems.push(problem(path, "it has no address", "set ip, fqdn or vs_uuid"));
            }
        }
    }
}

static PLACES_FILE: Message = Message {
    name: "GslbGeoDbFile",
    fields: &[
        text("checksum").read_only(),
        text("file_id").read_only(),
        text("filename"),
        one_of("format", &["GSLB_GEODB_FILE_FORMAT_AVI", "GSLB_GEODB_FILE_FORMAT_MAXMIND_CITY"])
            .or_text("GSLB_GEODB_FILE_FORMAT_AVI"),
        int("timestamp", &[(0, i64::MAX)]).read_only(),
    ],
};

static PLACES_ENTRY: Message = Message {
    name: "GslbGeoDbEntry",
    fields: &[message("file", &PLACES_FILE), int("priority", &[(1, 100)]).or_int(10)],
};

/// Where on the earth addresses are.
static PLACES: Kind = Kind {
    path: "gslbgeodbprofile",
    name: "GslbGeoDbProfile",
    permission: "PERMISSION_GSLBGEODBPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        keyed("entries", &Type::Message(&PLACES_ENTRY), 64, &["priority"]).required(),
        flag("is_federated").or_true(),
    ],
};
