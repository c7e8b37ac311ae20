//! Clouds, and the credentials for what they stand on.
//!
//! Left out: the settings of kinds of clouds that this product does not work with (`aws_configuration`,
//! `cloudstack_configuration`, `docker_configuration`, `gcp_configuration`, `nsxt_configuration`,
//! `rancher_configuration`, `vca_configuration`, and the older ones for APIC, Mesos, OpenShift and OpenStack).

use super::common::{IP_ADDR, IP_ADDR_PREFIX, U32};
use super::infra::{CUSTOM_TAG, I31, LICENSE_TIERS, LICENSE_TYPES, NTP, PROXY};
use super::rule::{addresses, belongs};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The longest key in one field, bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// How long an answer of a name server may be kept, s.
const TTL: &[(i64, i64)] = &[(5, i32::MAX as i64)];

/// What engines may run in.
pub const CLOUDS: &[&str] = &[
    "CLOUD_NONE",
    "CLOUD_VCENTER",
    "CLOUD_OPENSTACK",
    "CLOUD_AWS",
    "CLOUD_VCA",
    "CLOUD_APIC",
    "CLOUD_MESOS",
    "CLOUD_LINUXSERVER",
    "CLOUD_DOCKER_UCP",
    "CLOUD_RANCHER",
    "CLOUD_OSHIFT_K8S",
    "CLOUD_AZURE",
    "CLOUD_GCP",
    "CLOUD_NSXT",
];

static CONTENT_LIB: Message = Message { name: "ContentLibConfig", fields: &[text("id"), text("name")] };

static VCENTER: Message = Message {
    name: "vCenterConfiguration",
    fields: &[
        message("content_lib", &CONTENT_LIB),
        text("datacenter"),
        text("datacenter_managed_object_id"),
        flag("deactivate_vm_discovery"),
        flag("is_nsx_environment"),
        message("management_ip_subnet", &IP_ADDR_PREFIX),
        text("management_network"),
        text("password").secret(),
        one_of("privilege", &["NO_ACCESS", "READ_ACCESS", "WRITE_ACCESS"]).required().or_text("WRITE_ACCESS"),
        flag("use_content_lib").or_true(),
        text("username"),
        text("vcenter_template_se_location"),
        text("vcenter_url"),
    ],
};

static AZURE_NETWORK: Message = Message {
    name: "AzureNetworkInfo",
    fields: &[text("management_network_id"), text("se_network_id"), text("virtual_network_id")],
};

static AZURE: Message = Message {
    name: "AzureConfiguration",
    fields: &[
        list("availability_zones", &TEXT, 16),
        refers("cloud_credentials_ref", "cloudconnectoruser"),
        text("des_id"),
        text("location"),
        list("network_info", &Type::Message(&AZURE_NETWORK), 1),
        text("resource_group"),
        text("se_storage_account"),
        text("subscription_id"),
        flag("use_azure_dns").or_false(),
        flag("use_enhanced_ha").or_false(),
        flag("use_managed_disks").or_true(),
        flag("use_standard_alb").or_true(),
    ],
};

static HOST_ATTRIBUTE: Message =
    Message { name: "HostAttributes", fields: &[text("attr_key").required(), text("attr_val")] };

static LINUX_HOST: Message = Message {
    name: "LinuxServerHost",
    fields: &[
        keyed("host_attr", &Type::Message(&HOST_ATTRIBUTE), 64, &["attr_key"]),
        message("host_ip", &IP_ADDR).required(),
        text("node_availability_zone"),
        refers("se_group_ref", "serviceenginegroup"),
    ],
};

static LINUX: Message = Message {
    name: "LinuxServerConfiguration",
    fields: &[
        keyed("hosts", &Type::Message(&LINUX_HOST), 1024, &["host_ip"]),
        flag("se_inband_mgmt").or_false(),
        text("se_log_disk_path"),
        int("se_log_disk_size_GB", I31).or_int(5).unit("GB"),
        text("se_sys_disk_path"),
        int("se_sys_disk_size_GB", I31).or_int(10).unit("GB"),
        refers("ssh_user_ref", "cloudconnectoruser"),
    ],
};

static RESOLVER: Message = Message {
    name: "DnsResolver",
    fields: &[
        int("fixed_ttl", TTL).unit("s"),
        int("min_ttl", TTL).unit("s"),
        list("nameserver_ips", &Type::Message(&IP_ADDR), 10),
        text("resolver_name").required(),
        flag("use_mgmt"),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&CLOUD, &CREDENTIALS];

/// Where engines run.
static CLOUD: Kind = Kind {
    path: "cloud",
    name: "Cloud",
    permission: "PERMISSION_CLOUD",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[the_settings_are_of_its_type, addresses],
    fields: &[
        text("name").required(),
        int("autoscale_polling_interval", &[(60, 3600)]).or_int(60).unit("s"),
        message("azure_configuration", &AZURE),
        keyed("custom_tags", &Type::Message(&CUSTOM_TAG), 64, &["tag_key"]),
        flag("dhcp_enabled").or_false(),
        flag("disable_metrics_polling"),
        refers("dns_provider_ref", "ipamdnsproviderprofile"),
        flag("dns_resolution_on_se").or_false(),
        keyed("dns_resolvers", &Type::Message(&RESOLVER), 1, &["resolver_name"]),
        refers("east_west_dns_provider_ref", "ipamdnsproviderprofile"),
        refers("east_west_ipam_provider_ref", "ipamdnsproviderprofile"),
        flag("enable_vip_on_all_interfaces").or_false(),
        flag("enable_vip_static_routes").or_false(),
        flag("ip6_autocfg_enabled").or_false(),
        refers("ipam_provider_ref", "ipamdnsproviderprofile"),
        one_of("license_tier", LICENSE_TIERS),
        one_of("license_type", LICENSE_TYPES),
        message("linuxserver_configuration", &LINUX),
        flag("maintenance_mode").or_false(),
        int("metrics_polling_interval", U32).unit("s"),
        flag("mgmt_ip_v4_enabled").or_true(),
        flag("mgmt_ip_v6_enabled"),
        int("mtu", U32).or_int(1500).unit("bytes"),
        message("ntp_configuration", &NTP),
        text("obj_name_prefix"),
        flag("prefer_static_routes").or_false(),
        message("proxy_configuration", &PROXY),
        flag("resolve_fqdn_to_ipv6"),
        refers("se_group_template_ref", "serviceenginegroup"),
        flag("state_based_dns_registration").or_true(),
        message("vcenter_configuration", &VCENTER),
        flag("vmc_deployment"),
        one_of("vtype", CLOUDS).required().or_text("CLOUD_NONE"),
    ],
};

fn the_settings_are_of_its_type(cloud: &Object, problems: &mut Vec<Problem>) {
    let parts: [(&str, &[&str]); 3] = [
        ("vcenter_configuration", &["CLOUD_VCENTER"]),
        ("azure_configuration", &["CLOUD_AZURE"]),
        ("linuxserver_configuration", &["CLOUD_LINUXSERVER"]),
    ];
    belongs(cloud, "", "vtype", &parts, problems);
}

pub static AZURE_PRINCIPAL: Message = Message {
    name: "AzureServicePrincipalCredentials",
    fields: &[text("application_id"), text("authentication_token").secret(), text("tenant_id")],
};

pub static AZURE_USER: Message = Message {
    name: "AzureUserPassCredentials",
    fields: &[text("password").secret(), text("tenant_name"), text("username")],
};

static GCP: Message = Message {
    name: "GCPCredentials",
    fields: &[long_text("service_account_keyfile_data", KEY_BYTES_MAX).secret()],
};

static NSXT: Message =
    Message { name: "NsxtCredentials", fields: &[text("password").secret(), text("username")] };

static OCI: Message = Message {
    name: "OCICredentials",
    fields: &[
        text("fingerprint"),
        long_text("key_content", KEY_BYTES_MAX).secret(),
        text("pass_phrase").secret(),
        text("user"),
    ],
};

static TENCENT: Message = Message {
    name: "TencentCredentials",
    fields: &[text("secret_id").required(), text("secret_key").required().secret()],
};

static VCENTER_USER: Message =
    Message { name: "VCenterCredentials", fields: &[text("password").secret(), text("username")] };

/// Credentials for a cloud, a host or a place for backups.
static CREDENTIALS: Kind = Kind {
    path: "cloudconnectoruser",
    name: "CloudConnectorUser",
    permission: "PERMISSION_USER_CREDENTIAL",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        message("azure_serviceprincipal", &AZURE_PRINCIPAL),
        message("azure_userpass", &AZURE_USER),
        message("gcp_credentials", &GCP),
        int("last_password_rotation", &[(0, i64::MAX)]).unit("s"),
        text("new_password_enc").secret(),
        message("nsxt_credentials", &NSXT),
        message("oci_credentials", &OCI),
        text("password").secret(),
        long_text("private_key", KEY_BYTES_MAX).secret(),
        long_text("public_key", KEY_BYTES_MAX),
        message("tencent_credentials", &TENCENT),
        message("vcenter_credentials", &VCENTER_USER),
    ],
};
