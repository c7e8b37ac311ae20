//! Networks, and the routing of an address space.

use super::common::{IP_ADDR, IP_ADDR_PREFIX, IP_ADDR_RANGE, KEY_VALUE, U32};
use super::infra::STATIC_ROUTE;
use super::rule::{addresses, entries, number, once, part, problem};
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&NETWORK, &VRF];

static STATIC_RANGE: Message = Message {
    name: "StaticIpRange",
    fields: &[
        message("range", &IP_ADDR_RANGE).required(),
        one_of("type", &["STATIC_IPS_FOR_SE", "STATIC_IPS_FOR_VIP", "STATIC_IPS_FOR_VIP_AND_SE"])
            .or_text("STATIC_IPS_FOR_VIP_AND_SE"),
    ],
};

static SUBNET: Message = Message {
    name: "Subnet",
    fields: &[
        message("prefix", &IP_ADDR_PREFIX).required(),
        keyed("static_ip_ranges", &Type::Message(&STATIC_RANGE), 256, &["range"]),
    ],
};

/// A network of a cloud, and the addresses in it that may be given out.
static NETWORK: Kind = Kind {
    path: "network",
    name: "Network",
    permission: "PERMISSION_NETWORK",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        text("name").required(),
        keyed("attrs", &Type::Message(&KEY_VALUE), 64, &["key"]),
        refers("cloud_ref", "cloud"),
        keyed("configured_subnets", &Type::Message(&SUBNET), 256, &["prefix"]),
        flag("dhcp_enabled").or_true(),
        flag("exclude_discovered_subnets").or_false(),
        flag("ip6_autocfg_enabled").or_true(),
        flag("synced_from_se"),
        flag("vcenter_dvs").or_true(),
        refers("vimgrnw_ref", "vimgrnwruntime").read_only(),
        refers("vrf_context_ref", "vrfcontext"),
    ],
};

static BFD: Message = Message {
    name: "BfdProfile",
    fields: &[
        int("minrx", &[(500, 4_000_000)]).or_int(1000).unit("ms"),
        int("mintx", &[(500, 4_000_000)]).or_int(1000).unit("ms"),
        int("multi", &[(3, 255)]).or_int(3),
    ],
};

static PEER: Message = Message {
    name: "BgpPeer",
    fields: &[
        flag("advertise_snat_ip").or_true(),
        flag("advertise_vip").or_true(),
        int("advertisement_interval", &[(1, 60)]).or_int(5).unit("s"),
        flag("bfd").or_true(),
        int("connect_timer", &[(1, 120)]).or_int(10).unit("s"),
        int("ebgp_multihop", &[(0, 255)]).or_int(0),
        int("hold_time", &[(3, 7200)]).unit("s"),
        flag("ibgp_local_as_override").or_false(),
        int("keepalive_interval", &[(0, 3600)]).unit("s"),
        text("label"),
        int("local_as", &[(1, 4_294_967_295)]),
        text("md5_secret").secret(),
        refers("network_ref", "network"),
        message("peer_ip", &IP_ADDR),
        message("peer_ip6", &IP_ADDR),
        int("remote_as", &[(1, 4_294_967_295)]),
        flag("shutdown").or_false(),
        message("subnet", &IP_ADDR_PREFIX),
        message("subnet6", &IP_ADDR_PREFIX),
    ],
};

static COMMUNITY: Message = Message {
    name: "IpCommunity",
    fields: &[
        list("community", &TEXT, 16),
        message("ip_begin", &IP_ADDR).required(),
        message("ip_end", &IP_ADDR),
    ],
};

static ROUTING: Message = Message {
    name: "BgpRoutingOptions",
    fields: &[
        flag("advertise_default_route").or_false(),
        flag("advertise_learned_routes").or_false(),
        text("label").required(),
        flag("learn_only_default_route").or_false(),
        flag("learn_routes").or_false(),
        int("max_learn_limit", &[(50, 250)]).or_int(50),
    ],
};

static BGP: Message = Message {
    name: "BgpProfile",
    fields: &[
        list("community", &TEXT, 16),
        int("hold_time", &[(3, 7200)]).or_int(180).unit("s"),
        flag("ibgp").required().or_true(),
        keyed("ip_communities", &Type::Message(&COMMUNITY), 1024, &["ip_begin"]),
        int("keepalive_interval", &[(0, 3600)]).or_int(60).unit("s"),
        int("local_as", &[(1, 4_294_967_295)]).required(),
        int("local_preference", U32),
        int("num_as_path_prepend", &[(1, 10)]),
        keyed("peers", &Type::Message(&PEER), 128, &["peer_ip", "peer_ip6"]),
        keyed("routing_options", &Type::Message(&ROUTING), 128, &["label"]),
        flag("send_community").or_true(),
        flag("shutdown").or_false(),
    ],
};

static DEBUG_FLAG: Message = Message {
    name: "DebugVrf",
    fields: &[
        one_of("flag", &["DEBUG_VRF_BGP", "DEBUG_VRF_QUAGGA", "DEBUG_VRF_ALL", "DEBUG_VRF_NONE"]).required()
    ],
};

static DEBUG: Message = Message {
    name: "DebugVrfContext",
    fields: &[
        int("command_buffer_interval", &[(1, 4)]).or_int(2).unit("s"),
        int("command_buffer_size", &[(1, 32_768)]).or_int(32_768).unit("bytes"),
        keyed("flags", &Type::Message(&DEBUG_FLAG), 4, &["flag"]),
    ],
};

static GATEWAY: Message = Message {
    name: "GatewayMonitor",
    fields: &[
        message("gateway_ip", &IP_ADDR).required(),
        int("gateway_monitor_fail_threshold", &[(3, 50)]).or_int(10),
        int("gateway_monitor_interval", &[(100, 60_000)]).or_int(1000).unit("ms"),
        int("gateway_monitor_success_threshold", &[(3, 50)]).or_int(15),
        message("subnet", &IP_ADDR_PREFIX),
    ],
};

static INTERNAL_GATEWAY: Message = Message {
    name: "InternalGatewayMonitor",
    fields: &[
        flag("disable_gateway_monitor").or_false(),
        int("gateway_monitor_failure_threshold", &[(3, 50)]).or_int(10),
        int("gateway_monitor_interval", &[(100, 60_000)]).or_int(1000).unit("ms"),
        int("gateway_monitor_success_threshold", &[(3, 50)]).or_int(15),
    ],
};

/// An address space with routes of its own.
static VRF: Kind = Kind {
    path: "vrfcontext",
    name: "VrfContext",
    permission: "PERMISSION_VRFCONTEXT",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[routes_stand_once, peers_can_be_reached, neighbours_are_heard_in_time, addresses],
    fields: &[
        text("name").required(),
        keyed("attrs", &Type::Message(&KEY_VALUE), 64, &["key"]),
        message("bfd_profile", &BFD),
        message("bgp_profile", &BGP),
        refers("cloud_ref", "cloud"),
        message("debugvrfcontext", &DEBUG),
        keyed("gateway_mon", &Type::Message(&GATEWAY), 64, &["gateway_ip"]),
        message("internal_gateway_monitor", &INTERNAL_GATEWAY),
        flag("lldp_enable").or_true(),
        keyed("static_routes", &Type::Message(&STATIC_ROUTE), 1024, &["route_id"]),
        flag("system_default"),
    ],
};

fn routes_stand_once(vrf: &Object, problems: &mut Vec<Problem>) {
    once(vrf, "", "static_routes", "route_id", problems);
}

fn peers_can_be_reached(vrf: &Object, problems: &mut Vec<Problem>) {
    let Some(bgp) = part(vrf, "bgp_profile") else { return };
    for (at, peer) in entries(bgp, "peers") {
        if !peer.contains_key("peer_ip") && !peer.contains_key("peer_ip6") {
            let path = format!("bgp_profile.peers[{at}]");
            problems.push(problem(path, "it has no address", "set peer_ip or peer_ip6"));
        }
    }
}

fn neighbours_are_heard_in_time(vrf: &Object, problems: &mut Vec<Problem>) {
    let Some(bgp) = part(vrf, "bgp_profile") else { return };
    let own = ("bgp_profile".to_owned(), bgp);
    let each = entries(bgp, "peers").map(|(at, peer)| (format!("bgp_profile.peers[{at}]"), peer));
    for (path, timers) in std::iter::once(own).chain(each) {
        if let (Some(keepalive), Some(hold)) =
            (number(timers, "keepalive_interval"), number(timers, "hold_time"))
            && keepalive >= hold
        {
            problems.push(problem(
                format!("{path}.keepalive_interval"),
                format!("{keepalive} s is not below hold_time, which is {hold} s"),
                format!("put at most {} there, a third of hold_time", hold / 3),
            ));
        }
    }
}
