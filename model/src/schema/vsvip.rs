//! The addresses of virtual services.

use std::net::{IpAddr, Ipv4Addr};

use super::common::{DISCOVERED_NETWORK, IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, KEY_VALUE_TUPLE, U32};
use super::dns::DNS_INFO;
use super::rule::{addresses, entries, is_on, once, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&VS_VIP];

/// An address of a virtual service.
pub(super) static VIP: Message = Message {
    name: "Vip",
    fields: &[
        text("vip_id").required(),
        flag("enabled").or_true(),
        message("ip_address", &IP_ADDR),
        message("ip6_address", &IP_ADDR),
        flag("auto_allocate_ip").or_false(),
        one_of("auto_allocate_ip_type", &["V4_ONLY", "V6_ONLY", "V4_V6"]).or_text("V4_ONLY"),
        flag("auto_allocate_floating_ip").or_false(),
        message("floating_ip", &IP_ADDR),
        message("floating_ip6", &IP_ADDR),
        text("floating_subnet_uuid"),
        text("floating_subnet6_uuid"),
        flag("avi_allocated_vip").or_false(),
        flag("avi_allocated_fip").or_false(),
        refers("network_ref", "network"),
        message("subnet", &IP_ADDR_PREFIX),
        message("subnet6", &IP_ADDR_PREFIX),
        text("subnet_uuid"),
        text("subnet6_uuid"),
        message("ipam_network_subnet", &IPAM_SUBNET),
        list("placement_networks", &Type::Message(&PLACEMENT), 10),
        int("prefix_length", &[(0, 32)]).or_int(32),
        text("port_uuid"),
        text("availability_zone"),
        list("discovered_networks", &Type::Message(&DISCOVERED_NETWORK), 64),
    ],
};

static IPAM_SUBNET: Message = Message {
    name: "IPNetworkSubnet",
    fields: &[
        refers("network_ref", "network"),
        message("subnet", &IP_ADDR_PREFIX),
        message("subnet6", &IP_ADDR_PREFIX),
        text("subnet_uuid"),
        text("subnet6_uuid"),
        message("range", &IP_ADDR_RANGE),
        message("ipv6_range", &IP_ADDR_RANGE),
    ],
};

static PLACEMENT: Message = Message {
    name: "VipPlacementNetwork",
    fields: &[
        refers("network_ref", "network"),
        message("subnet", &IP_ADDR_PREFIX),
        message("subnet6", &IP_ADDR_PREFIX),
    ],
};

static SELECTOR: Message = Message {
    name: "Selector",
    fields: &[
        one_of("type", &["SELECTOR_IPAM"]).required(),
        list("labels", &Type::Message(&KEY_VALUE_TUPLE), 64),
    ],
};

/// Addresses that virtual services share.
static VS_VIP: Kind = Kind {
    path: "vsvip",
    name: "VsVip",
    // There is none of its own.
    permission: "PERMISSION_VIRTUALSERVICE",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[vips_differ, vips_have_addresses, vips_are_hosts, addresses],
    fields: &[
        text("name").required(),
        refers("cloud_ref", "cloud"),
        refers("vrf_context_ref", "vrfcontext"),
        keyed("vip", &Type::Message(&VIP), 128, &["vip_id"]),
        list("dns_info", &Type::Message(&DNS_INFO), 1000),
        flag("east_west_placement").or_false(),
        list("bgp_peer_labels", &TEXT, 128),
        int("bgp_local_preference", U32),
        int("bgp_num_as_path_prepend", &[(1, 10)]),
        message("ipam_selector", &SELECTOR),
        text("tier1_lr"),
        flag("use_standard_alb"),
        text("vsvip_cloud_config_cksum"),
    ],
};

/// The addresses of one service have names that differ.
pub(super) fn vips_differ(object: &Object, problems: &mut Vec<Problem>) {
    once(object, "", "vip", "vip_id", problems);
}

/// An address of a service is that of one host: nobody gets all addresses of an engine by naming none.
//= PLACE-ADDRESS-01
pub(super) fn vips_are_hosts(object: &Object, problems: &mut Vec<Problem>) {
    for (at, vip) in entries(object, "vip") {
        for name in ["ip_address", "ip6_address"] {
            let Some(text) = vip.get(name).and_then(|held| held.get("addr")?.as_str()) else { continue };
            let Ok(ip) = text.parse::<IpAddr>().map(|ip| ip.to_canonical()) else { continue };
            if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
                problems.push(problem(
                    format!("vip[{at}].{name}.addr"),
                    format!("{ip} is no address of a host"),
                    "put an address that clients can connect to",
                ));
            }
        }
    }
}

fn vips_have_addresses(object: &Object, problems: &mut Vec<Problem>) {
    for (at, vip) in entries(object, "vip") {
        let has = ["ip_address", "ip6_address"].iter().any(|name| vip.contains_key(*name));
        if !has && !is_on(vip, "auto_allocate_ip") {
            problems.push(problem(
                format!("vip[{at}]"),
                "it has no address, and none is to be found for it",
                "give it ip_address or ip6_address, or set auto_allocate_ip",
            ));
        }
    }
}
