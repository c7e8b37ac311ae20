//! Service engines.

use super::common::{IP_ADDR, IP_ADDR_PREFIX, U32};
use super::infra::{ADDRESS_MODES, HYPERVISORS, I31};
use super::rule::addresses;
use crate::field::{Message, Type};
use crate::field::{flag, int, keyed, message, one_of, refers, text};
use crate::kind::{Kind, Scope};

static NETWORK: Message = Message {
    name: "vNICNetwork",
    fields: &[
        flag("ctlr_alloc").or_false(),
        message("ip", &IP_ADDR_PREFIX).required(),
        one_of("mode", ADDRESS_MODES).required(),
    ],
};

static VLAN: Message = Message {
    name: "VlanInterface",
    fields: &[
        flag("dhcp_enabled").or_true(),
        flag("enabled").or_true(),
        text("if_name").required(),
        flag("ip6_autocfg_enabled"),
        flag("is_mgmt"),
        int("vlan_id", &[(0, 4096)]),
        keyed("vnic_networks", &Type::Message(&NETWORK), 64, &["ip"]),
        refers("vrf_ref", "vrfcontext"),
    ],
};

static MEMBER: Message = Message {
    name: "MemberInterface",
    fields: &[flag("active").or_false(), text("if_name").required(), text("mac_address")],
};

static VNIC: Message = Message {
    name: "vNIC",
    fields: &[
        text("adapter"),
        flag("aggregator_chgd"),
        flag("can_se_dp_takeover"),
        flag("connected").or_false(),
        flag("del_pending"),
        flag("delete_vnic"),
        flag("dhcp_enabled").or_true(),
        flag("dp_deletion_done"),
        flag("enabled").or_true(),
        text("if_name"),
        flag("ip6_autocfg_enabled"),
        flag("is_asm"),
        flag("is_avi_internal_network"),
        flag("is_hsm"),
        flag("is_mgmt").or_false(),
        flag("is_portchannel"),
        flag("link_up").or_false(),
        text("linux_name"),
        text("mac_address").required(),
        keyed("members", &Type::Message(&MEMBER), 16, &["if_name"]),
        int("mtu", I31).or_int(1500).unit("bytes"),
        text("network_name"),
        refers("network_ref", "network"),
        int("num_rx_descriptors", U32),
        int("num_tx_descriptors", U32),
        text("pci_id"),
        text("port_uuid"),
        message("tepless_ip", &IP_ADDR),
        int("vlan_id", &[(0, 4096)]),
        keyed("vlan_interfaces", &Type::Message(&VLAN), 256, &["if_name"]),
        keyed("vnic_networks", &Type::Message(&NETWORK), 64, &["ip"]),
        int("vrf_id", U32),
        refers("vrf_ref", "vrfcontext"),
    ],
};

static RESOURCES: Message = Message {
    name: "SeResources",
    fields: &[
        int("cores_per_socket", I31),
        int("disk", I31).required().unit("GB"),
        flag("hyper_threading"),
        flag("hypervisor_mode"),
        int("memory", I31).required().unit("MB"),
        int("num_datapath_processes", U32),
        int("num_vcpus", I31).required(),
        one_of("qat_mode", &["QAT_OFF", "QAT_SW_ACCELERATION", "QAT_HW_OFFLOAD"]),
        one_of("qat_oper_mode", &["QAT_OPER_MODE_LEGACY", "QAT_OPER_MODE_PERF", "QAT_OPER_MODE_UNKNOWN"]),
        int("sockets", I31),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&ENGINE];

/// A program that forwards, and what it runs on.
static ENGINE: Kind = Kind {
    path: "serviceengine",
    name: "ServiceEngine",
    permission: "PERMISSION_SERVICEENGINE",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[addresses],
    fields: &[
        text("name").or_text("VM name unknown"),
        text("availability_zone"),
        refers("cloud_ref", "cloud"),
        flag("container_mode").or_false(),
        one_of(
            "container_type",
            &["CONTAINER_TYPE_BRIDGE", "CONTAINER_TYPE_HOST", "CONTAINER_TYPE_HOST_DPDK"],
        ),
        flag("controller_created").or_false(),
        text("controller_ip"),
        keyed("data_vnics", &Type::Message(&VNIC), 256, &["mac_address"]),
        one_of(
            "enable_state",
            &[
                "SE_STATE_ENABLED",
                "SE_STATE_DISABLED_FOR_PLACEMENT",
                "SE_STATE_DISABLED",
                "SE_STATE_DISABLED_FORCE",
                "SE_STATE_DISABLED_WITH_SCALEIN",
                "SE_STATE_DISABLED_NO_TRAFFIC",
                "SE_STATE_DISABLED_FORCE_WITH_MIGRATE",
            ],
        )
        .or_text("SE_STATE_ENABLED"),
        text("flavor"),
        refers("host_ref", "vimgrhostruntime"),
        one_of("hypervisor", HYPERVISORS),
        message("mgmt_vnic", &VNIC),
        flag("nsxt_no_hotplug"),
        message("resources", &RESOURCES),
        refers("se_group_ref", "serviceenginegroup"),
    ],
};
