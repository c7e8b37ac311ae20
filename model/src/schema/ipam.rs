//! Who gives out addresses and names.

use super::cloud::{AZURE_PRINCIPAL, AZURE_USER};
use super::common::{CUSTOM_PARAMS, IP_ADDR, IP_ADDR_PREFIX, KEY_VALUE_TUPLE};
use super::infra::PROXY;
use super::rule::{addresses, belongs};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

static DOMAIN: Message = Message {
    name: "DnsServiceDomain",
    fields: &[
        text("domain_name").required(),
        flag("pass_through").or_true(),
        int("record_ttl", &[(1, 604_800)]).unit("s"),
    ],
};

static USABLE_NETWORK: Message = Message {
    name: "IpamUsableNetwork",
    fields: &[
        keyed("labels", &Type::Message(&KEY_VALUE_TUPLE), 1, &["key"]),
        refers("nw_ref", "network").required(),
    ],
};

static INTERNAL: Message = Message {
    name: "IpamDnsInternalProfile",
    fields: &[
        keyed("dns_service_domain", &Type::Message(&DOMAIN), 256, &["domain_name"]),
        refers("dns_virtualservice_ref", "virtualservice"),
        int("ttl", &[(1, 604_800)]).or_int(30).unit("s"),
        keyed("usable_networks", &Type::Message(&USABLE_NETWORK), 256, &["nw_ref"]),
    ],
};

static INFOBLOX_SUBNET: Message = Message {
    name: "InfobloxSubnet",
    fields: &[message("subnet", &IP_ADDR_PREFIX), message("subnet6", &IP_ADDR_PREFIX)],
};

static INFOBLOX: Message = Message {
    name: "IpamDnsInfobloxProfile",
    fields: &[
        text("dns_view"),
        keyed("extensible_attributes", &Type::Message(&CUSTOM_PARAMS), 64, &["name"]),
        message("ip6_address", &IP_ADDR),
        message("ip_address", &IP_ADDR),
        text("network_view"),
        text("password").required().secret(),
        list("usable_alloc_subnets", &Type::Message(&INFOBLOX_SUBNET), 256),
        list("usable_domains", &TEXT, 256),
        text("username").required(),
        text("wapi_version").or_text("2.0"),
    ],
};

static CUSTOM_SUBNET: Message = Message {
    name: "CustomIpamSubnet",
    fields: &[
        text("network_id").required(),
        message("subnet", &IP_ADDR_PREFIX),
        message("subnet6", &IP_ADDR_PREFIX),
    ],
};

static CUSTOM: Message = Message {
    name: "IpamDnsCustomProfile",
    fields: &[
        refers("custom_ipam_dns_profile_ref", "customipamdnsprofile"),
        keyed("dynamic_params", &Type::Message(&CUSTOM_PARAMS), 64, &["name"]),
        keyed("usable_alloc_subnets", &Type::Message(&CUSTOM_SUBNET), 256, &["network_id"]),
        list("usable_domains", &TEXT, 256),
    ],
};

static AZURE: Message = Message {
    name: "IpamDnsAzureProfile",
    fields: &[
        message("azure_serviceprincipal", &AZURE_PRINCIPAL),
        message("azure_userpass", &AZURE_USER),
        list("egress_service_subnets", &TEXT, 1),
        text("resource_group"),
        text("subscription_id"),
        list("usable_domains", &TEXT, 256),
        list("usable_network_uuids", &TEXT, 128),
        flag("use_enhanced_ha").or_false(),
        flag("use_standard_alb").or_false(),
        list("virtual_network_ids", &TEXT, 1),
    ],
};

static AWS_ZONE: Message = Message {
    name: "AwsZoneNetwork",
    fields: &[text("availability_zone").required(), list("usable_network_uuids", &TEXT, 128)],
};

static AWS: Message = Message {
    name: "IpamDnsAwsProfile",
    fields: &[
        text("access_key_id"),
        list("egress_service_subnets", &TEXT, 1),
        text("iam_assume_role"),
        flag("publish_vip_to_public_zone").or_false(),
        text("region"),
        text("secret_access_key").secret(),
        int("ttl", &[(1, 172_800)]).or_int(60).unit("s"),
        list("usable_domains", &TEXT, 256),
        list("usable_network_uuids", &TEXT, 128),
        flag("use_iam_roles").or_false(),
        text("vpc"),
        text("vpc_id").required(),
        keyed("zones", &Type::Message(&AWS_ZONE), 64, &["availability_zone"]),
    ],
};

static GCP: Message = Message {
    name: "IpamDnsGCPProfile",
    fields: &[
        flag("match_se_group_subnet").or_false(),
        text("network_host_project_id"),
        text("region_name"),
        text("se_project_id"),
        list("usable_network_refs", &Type::Ref("network"), 256),
        flag("use_gcp_network").or_false(),
        text("vpc_network_name"),
    ],
};

static OCI: Message = Message {
    name: "IpamDnsOCIProfile",
    fields: &[
        refers("cloud_credentials_ref", "cloudconnectoruser"),
        text("region"),
        text("tenancy"),
        text("vcn_compartment_id"),
        text("vcn_id"),
    ],
};

static OPENSTACK: Message = Message {
    name: "IpamDnsOpenstackProfile",
    fields: &[
        text("keystone_host"),
        text("password").secret(),
        text("region"),
        text("tenant"),
        text("username"),
        text("vip_network_name"),
    ],
};

static TENCENT_ZONE: Message = Message {
    name: "TencentZoneNetwork",
    fields: &[text("availability_zone").required(), text("usable_subnet_id").required()],
};

static TENCENT: Message = Message {
    name: "IpamDnsTencentProfile",
    fields: &[
        refers("cloud_credentials_ref", "cloudconnectoruser"),
        text("region").required(),
        list("usable_subnet_ids", &TEXT, 128),
        text("vpc_id").required(),
        keyed("zones", &Type::Message(&TENCENT_ZONE), 64, &["availability_zone"]),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&PROVIDER, &CUSTOM_SCRIPT];

/// Who gives out addresses and names.
static PROVIDER: Kind = Kind {
    path: "ipamdnsproviderprofile",
    name: "IpamDnsProviderProfile",
    permission: "PERMISSION_IPAMDNSPROVIDERPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[the_settings_are_of_its_type, addresses],
    fields: &[
        text("name").required(),
        flag("allocate_ip_in_vrf").or_false(),
        message("aws_profile", &AWS),
        message("azure_profile", &AZURE),
        message("custom_profile", &CUSTOM),
        message("gcp_profile", &GCP),
        message("infoblox_profile", &INFOBLOX),
        message("internal_profile", &INTERNAL),
        message("oci_profile", &OCI),
        message("openstack_profile", &OPENSTACK),
        message("proxy_configuration", &PROXY),
        message("tencent_profile", &TENCENT),
        one_of(
            "type",
            &[
                "IPAMDNS_TYPE_INFOBLOX",
                "IPAMDNS_TYPE_AWS",
                "IPAMDNS_TYPE_OPENSTACK",
                "IPAMDNS_TYPE_GCP",
                "IPAMDNS_TYPE_INFOBLOX_DNS",
                "IPAMDNS_TYPE_CUSTOM",
                "IPAMDNS_TYPE_CUSTOM_DNS",
                "IPAMDNS_TYPE_AZURE",
                "IPAMDNS_TYPE_OCI",
                "IPAMDNS_TYPE_TENCENT",
                "IPAMDNS_TYPE_INTERNAL",
                "IPAMDNS_TYPE_INTERNAL_DNS",
                "IPAMDNS_TYPE_AWS_DNS",
                "IPAMDNS_TYPE_AZURE_DNS",
            ],
        )
        .required(),
    ],
};

fn the_settings_are_of_its_type(profile: &Object, problems: &mut Vec<Problem>) {
    // A type for names has the settings of the one for addresses.
    let parts: [(&str, &[&str]); 9] = [
        ("aws_profile", &["IPAMDNS_TYPE_AWS", "IPAMDNS_TYPE_AWS_DNS"]),
        ("azure_profile", &["IPAMDNS_TYPE_AZURE", "IPAMDNS_TYPE_AZURE_DNS"]),
        ("custom_profile", &["IPAMDNS_TYPE_CUSTOM", "IPAMDNS_TYPE_CUSTOM_DNS"]),
        ("gcp_profile", &["IPAMDNS_TYPE_GCP"]),
        ("infoblox_profile", &["IPAMDNS_TYPE_INFOBLOX", "IPAMDNS_TYPE_INFOBLOX_DNS"]),
        ("internal_profile", &["IPAMDNS_TYPE_INTERNAL", "IPAMDNS_TYPE_INTERNAL_DNS"]),
        ("oci_profile", &["IPAMDNS_TYPE_OCI"]),
        ("openstack_profile", &["IPAMDNS_TYPE_OPENSTACK"]),
        ("tencent_profile", &["IPAMDNS_TYPE_TENCENT"]),
    ];
    belongs(profile, "", "type", &parts, problems);
}

/// A script that gives out addresses and names.
static CUSTOM_SCRIPT: Kind = Kind {
    path: "customipamdnsprofile",
    name: "CustomIpamDnsProfile",
    permission: "PERMISSION_CUSTOMIPAMDNSPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        keyed("script_params", &Type::Message(&CUSTOM_PARAMS), 64, &["name"]),
        text("script_uri").required(),
    ],
};
