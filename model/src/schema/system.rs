//! The system itself: its settings and its cluster.

use std::collections::BTreeMap;

use super::account::{QUOTA, TENANT_SETTINGS};
use super::common::{IP_ADDR, IP_ADDR_PREFIX, PORT};
use super::infra::{
    ADDRESS_MODES, I31, LICENSE_TIERS, METRICS_THRESHOLD, NTP, PROXY, STATIC_ROUTE, SYSLOG_FORMATS, TLS,
};
use super::matching::IP_ADDR_MATCH;
use super::rule::{addresses, entries, problem};
use super::tls::OCSP_HASHES;
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The longest banner, bytes.
const BANNER_BYTES_MAX: usize = 64 * 1024;

/// How a mapping rule finds what it gives.
const ASSIGNMENTS: &[&str] = &[
    "ASSIGN_ALL",
    "ASSIGN_FROM_SELECT_LIST",
    "ASSIGN_MATCHING_GROUP_NAME",
    "ASSIGN_MATCHING_ATTRIBUTE_VALUE",
    "ASSIGN_MATCHING_GROUP_REGEX",
    "ASSIGN_MATCHING_ATTRIBUTE_REGEX",
    "ASSIGN_CONFIG_CONTAINS_ATTRIBUTE_VALUE",
];
const MATCHES: &[&str] = &["AUTH_MATCH_CONTAINS", "AUTH_MATCH_DOES_NOT_CONTAIN", "AUTH_MATCH_REGEX"];

static ATTRIBUTE_MATCH: Message = Message {
    name: "AuthMatchAttribute",
    fields: &[one_of("criteria", MATCHES), text("name"), list("values", &TEXT, 256)],
};

static GROUP_MATCH: Message = Message {
    name: "AuthMatchGroupMembership",
    fields: &[one_of("criteria", MATCHES).required(), list("groups", &TEXT, 256)],
};

static MAPPING: Message = Message {
    name: "AuthMappingRule",
    fields: &[
        one_of("assign_policy", ASSIGNMENTS),
        one_of("assign_role", ASSIGNMENTS),
        one_of("assign_tenant", ASSIGNMENTS),
        one_of("assign_userprofile", ASSIGNMENTS),
        message("attribute_match", &ATTRIBUTE_MATCH),
        refers("default_tenant_ref", "tenant"),
        message("group_match", &GROUP_MATCH),
        int("index", I31).required(),
        flag("is_superuser"),
        text("policy_attribute_name"),
        text("role_attribute_name"),
        list("role_refs", &Type::Ref("role"), 64),
        text("tenant_attribute_name"),
        list("tenant_refs", &Type::Ref("tenant"), 1024),
        text("userprofile_attribute_name"),
        refers("userprofile_ref", "useraccountprofile"),
    ],
};

static ALTERNATE_AUTH: Message = Message {
    name: "AlternateAuthConfiguration",
    fields: &[
        refers("auth_profile_ref", "authprofile"),
        int("index", I31).required(),
        keyed("mapping_rules", &Type::Message(&MAPPING), 256, &["index"]),
    ],
};

static REMOTE_AUTH: Message = Message {
    name: "RemoteAuthConfiguration",
    fields: &[
        refers("auth_mapping_profile_ref", "authmappingprofile").required(),
        refers("auth_profile_ref", "authprofile").required(),
        int("index", I31).required(),
    ],
};

static ADMIN_AUTH: Message = Message {
    name: "AdminAuthConfiguration",
    fields: &[
        flag("allow_local_user_login").or_true(),
        keyed("alternate_auth_configurations", &Type::Message(&ALTERNATE_AUTH), 1, &["index"]),
        refers("auth_profile_ref", "authprofile"),
        keyed("mapping_rules", &Type::Message(&MAPPING), 256, &["index"]),
        keyed("remote_auth_configurations", &Type::Message(&REMOTE_AUTH), 16, &["index"]),
    ],
};

static SERVICE_AUTH: Message = Message {
    name: "ServiceAuthConfiguration",
    fields: &[
        refers("auth_mapping_profile_ref", "authmappingprofile").required(),
        refers("auth_profile_ref", "authprofile").required(),
        int("index", I31).required(),
    ],
};

static CERTIFICATE_POLICY: Message = Message {
    name: "CertificateSecurityPolicy",
    fields: &[
        list(
            "blocked_certificate_signature_algorithms",
            &Type::Enum(&[
                "SIGNATURE_ALGORITHM_MD5",
                "SIGNATURE_ALGORITHM_SHA1",
                "SIGNATURE_ALGORITHM_SHA256",
                "SIGNATURE_ALGORITHM_SHA384",
                "SIGNATURE_ALGORITHM_SHA512",
                "SIGNATURE_ALGORITHM_ED25519",
            ]),
            6,
        ),
        list("blocked_ocsp_request_hash_algorithms", &OCSP_HASHES, 4),
    ],
};

static SYSLOG_SERVER: Message = Message {
    name: "SyslogServerConfig",
    fields: &[
        one_of("format", SYSLOG_FORMATS),
        int("port", PORT),
        message("server", &IP_ADDR).required(),
        flag("udp").or_true(),
    ],
};

static TELEMETRY: Message =
    Message { name: "TelemetryConfiguration", fields: &[flag("enable"), text("url")] };

static ANALYTICS: Message = Message {
    name: "ControllerAnalyticsPolicy",
    fields: &[keyed(
        "metrics_event_thresholds",
        &Type::Message(&METRICS_THRESHOLD),
        16,
        &["metrics_event_threshold_type"],
    )],
};

static DNS: Message = Message {
    name: "DNSConfiguration",
    fields: &[text("search_domain"), list("server_list", &Type::Message(&IP_ADDR), 16)],
};

static EMAIL: Message = Message {
    name: "EmailConfiguration",
    fields: &[
        text("auth_password").secret(),
        text("auth_username"),
        flag("disable_tls").or_false(),
        // The names of hundreds of time zones in a spelling of their own.
        text("email_timezone"),
        text("from_email").or_text("admin@avicontroller.net"),
        text("from_name"),
        text("mail_server_name").or_text("localhost"),
        int("mail_server_port", PORT).or_int(25),
        one_of("smtp_type", &["SMTP_NONE", "SMTP_LOCAL_HOST", "SMTP_SERVER", "SMTP_ANONYMOUS_SERVER"])
            .required()
            .or_text("SMTP_LOCAL_HOST"),
        message("tls_config", &TLS),
    ],
};

static LINUX: Message = Message {
    name: "LinuxConfiguration",
    fields: &[long_text("banner", BANNER_BYTES_MAX), flag("cis_mode"), long_text("motd", BANNER_BYTES_MAX)],
};

static ACCESS: Message = Message {
    name: "MgmtIpAccessControl",
    fields: &[
        message("api_access", &IP_ADDR_MATCH),
        message("shell_server_access", &IP_ADDR_MATCH),
        message("snmp_access", &IP_ADDR_MATCH),
        message("ssh_access", &IP_ADDR_MATCH),
        message("sysint_access", &IP_ADDR_MATCH),
    ],
};

static PORTAL: Message = Message {
    name: "PortalConfiguration",
    fields: &[
        flag("allow_basic_authentication"),
        int("api_force_timeout", &[(1, 24)]).or_int(24).unit("h"),
        flag("disable_remote_cli_shell"),
        flag("disable_swagger"),
        flag("enable_clickjacking_protection").or_true(),
        flag("enable_http").or_true(),
        flag("enable_https").or_true(),
        flag("enable_rate_limiter"),
        int("http_port", PORT),
        int("https_port", PORT),
        flag("legacy_ssl_support"),
        int("minimum_password_length", &[(6, 32)]).or_int(8),
        flag("password_strength_check"),
        refers("pkiprofile_ref", "pkiprofile"),
        flag("redirect_to_https").or_true(),
        list("sslkeyandcertificate_refs", &Type::Ref("sslkeyandcertificate"), 2),
        refers("sslprofile_ref", "sslprofile"),
        flag("use_uuid_from_input"),
    ],
};

static SECURE_CHANNEL: Message = Message {
    name: "SecureChannelConfiguration",
    fields: &[list("sslkeyandcertificate_refs", &Type::Ref("sslkeyandcertificate"), 1)],
};

/// A user of SNMP, version 3.
pub static SNMP_USER: Message = Message {
    name: "SnmpV3UserParams",
    fields: &[
        text("auth_passphrase").secret(),
        one_of(
            "auth_type",
            &[
                "SNMP_V3_AUTH_MD5",
                "SNMP_V3_AUTH_SHA",
                "SNMP_V3_AUTH_SHA_224",
                "SNMP_V3_AUTH_SHA_256",
                "SNMP_V3_AUTH_SHA_384",
                "SNMP_V3_AUTH_SHA_512",
            ],
        )
        .or_text("SNMP_V3_AUTH_MD5"),
        text("priv_passphrase").secret(),
        one_of("priv_type", &["SNMP_V3_PRIV_DES", "SNMP_V3_PRIV_AES"]).or_text("SNMP_V3_PRIV_DES"),
        text("username"),
    ],
};

static SNMP_V3: Message =
    Message { name: "SnmpV3Configuration", fields: &[text("engine_id"), message("user", &SNMP_USER)] };

static SNMP: Message = Message {
    name: "SnmpConfiguration",
    fields: &[
        text("community").secret(),
        flag("large_trap_payload"),
        message("snmp_v3_config", &SNMP_V3),
        text("sys_contact").or_text("support@avinetworks.com"),
        text("sys_location"),
        one_of("version", &["SNMP_VER2", "SNMP_VER3"]).or_text("SNMP_VER2"),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&SYSTEM, &CLUSTER];

/// Settings of the Controller.
static SYSTEM: Kind = Kind {
    path: "systemconfiguration",
    name: "SystemConfiguration",
    permission: "PERMISSION_SYSTEMCONFIGURATION",
    scope: Scope::Single,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        message("admin_auth_configuration", &ADMIN_AUTH),
        flag("ai_assistant_enabled"),
        flag("allow_legacy_sha1_ntp_auth"),
        flag("allow_private_ips"),
        text("avi_email_login_password").secret(),
        message("certificate_security_policy", &CERTIFICATE_POLICY),
        flag("common_criteria_mode"),
        message("controller_analytics_policy", &ANALYTICS),
        one_of("default_license_tier", LICENSE_TIERS).or_text("ENTERPRISE_WITH_CLOUD_SERVICES"),
        message("dns_configuration", &DNS),
        list("dns_virtualservice_refs", &Type::Ref("virtualservice"), 64),
        flag("docker_mode"),
        message("email_configuration", &EMAIL),
        flag("enable_cors"),
        flag("enable_host_header_check"),
        flag("enable_license_quota"),
        flag("fips_mode"),
        message("global_tenant_config", &TENANT_SETTINGS),
        refers("gslb_client_cert_ref", "sslkeyandcertificate"),
        text("host_key_algorithm_exclude"),
        text("kex_algorithm_exclude"),
        flag("legacy_ssl_support"),
        message("license_quota", &QUOTA),
        message("linux_configuration", &LINUX),
        message("mgmt_ip_access_control", &ACCESS),
        message("ntp_configuration", &NTP),
        flag("password_policy_managed_at_ops"),
        message("portal_configuration", &PORTAL),
        message("proxy_configuration", &PROXY),
        text("rekey_time_limit"),
        text("rekey_volume_limit"),
        text("sddcmanager_fqdn"),
        message("secure_channel_configuration", &SECURE_CHANNEL),
        keyed("service_auth_configurations", &Type::Message(&SERVICE_AUTH), 16, &["index"]),
        message("snmp_configuration", &SNMP),
        list("ssh_ciphers", &TEXT, 64),
        list("ssh_hmacs", &TEXT, 64),
        flag("sync_kex_host_to_se"),
        flag("sync_syslog_to_se"),
        keyed("syslog_server_settings", &Type::Message(&SYSLOG_SERVER), 16, &["server"]),
        message("telemetry_configuration", &TELEMETRY),
        list("trusted_host_profiles_refs", &Type::Ref("trustedhostprofile"), 20),
        refers("truststore_pkiprofile_ref", "pkiprofile"),
        flag("welcome_workflow_complete"),
    ],
};

static INTERFACE: Message = Message {
    name: "ControllerInterface",
    fields: &[
        message("gateway", &IP_ADDR),
        message("gateway6", &IP_ADDR),
        text("if_name"),
        message("ip", &IP_ADDR_PREFIX),
        message("ip6", &IP_ADDR_PREFIX),
        list("labels", &Type::Enum(&["MGMT", "SE_SECURE_CHANNEL", "HSM"]), 3),
        text("mac_address"),
        one_of("mode", ADDRESS_MODES),
        one_of("mode6", ADDRESS_MODES),
        message("public_ip_or_name", &IP_ADDR),
        flag("v4_enabled"),
        flag("v6_enabled"),
    ],
};

static NODE: Message = Message {
    name: "ClusterNode",
    fields: &[
        list("categories", &TEXT, 16),
        keyed("interfaces", &Type::Message(&INTERFACE), 16, &["if_name"]),
        message("ip", &IP_ADDR),
        message("ip6", &IP_ADDR),
        text("name").or_text("node"),
        text("password").secret(),
        message("public_ip_or_name", &IP_ADDR),
        keyed("static_routes", &Type::Message(&STATIC_ROUTE), 256, &["route_id"]),
        text("vm_hostname"),
        text("vm_mor"),
        text("vm_name"),
        text("vm_uuid"),
    ],
};

/// The nodes of the Controller.
static CLUSTER: Kind = Kind {
    path: "cluster",
    name: "Cluster",
    permission: "PERMISSION_CONTROLLER",
    scope: Scope::Single,
    dropped: &[],
    rules: &[nodes_have_addresses_of_their_own, addresses],
    fields: &[
        text("name").required(),
        keyed("nodes", &Type::Message(&NODE), 7, &["ip", "ip6"]),
        flag("rejoin_nodes_automatically").or_true(),
        message("virtual_ip", &IP_ADDR),
        message("virtual_ip6", &IP_ADDR),
    ],
};

fn nodes_have_addresses_of_their_own(cluster: &Object, problems: &mut Vec<Problem>) {
    let shared = ["virtual_ip", "virtual_ip6"]
        .into_iter()
        .filter_map(|field| Some((cluster.get(field)?.get("addr")?.as_str()?, field.to_owned())));
    let mut seen: BTreeMap<&str, String> = shared.collect();
    for (at, node) in entries(cluster, "nodes") {
        let addresses: Vec<(&str, &str)> = ["ip", "ip6"]
            .into_iter()
            .filter_map(|field| Some((field, node.get(field)?.get("addr")?.as_str()?)))
            .collect();
        if addresses.is_empty() {
            problems.push(problem(format!("nodes[{at}]"), "it has no address", "set ip or ip6"));
        }
        for (field, address) in addresses {
            let path = format!("nodes[{at}].{field}");
            if let Some(first) = seen.insert(address, path.clone()) {
                problems.push(problem(
                    path,
                    format!("{first} is {address} as well"),
                    "give each node and the cluster an address of their own",
                ));
            }
        }
    }
}
