//! Groups of service engines.
//!
//! Left out: settings of clouds and of products that this one does not work with (`gcp_config`, `vip_asg`,
//! `reserved_configuration`, the NSX-T lists of `vcenters`), of the cache for bot detection
//! (`user_agent_cache_config`).

use super::common::{IP_ADDR, IP_ADDR_PREFIX, KEY_VALUE, PERCENT, PORT_OR_0, PORT_RANGE, U32};
use super::infra::{
    CUSTOM_TAG, DOS_PROFILE, HYPERVISORS, I31, LICENSE_TIERS, LICENSE_TYPES, METRICS_THRESHOLD,
};
use super::rule::{addresses, in_order};
use super::vsparts::REALTIME;
use crate::Problem;
use crate::field::{Message, TEXT, Type};
use crate::field::{flag, int, keyed, list, message, number, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The sizes that a value of a table may have.
const VALUE_SIZES: &[(i64, i64)] =
    &[(128, 128), (256, 256), (512, 512), (1024, 1024), (2048, 2048), (4096, 4096), (8192, 8192)];
/// Counts of dispatchers or queues.
const POWERS: &[(i64, i64)] = &[(0, 2), (4, 4), (8, 8), (16, 16)];

const HA_MODES: &[&str] = &["HA_MODE_SHARED_PAIR", "HA_MODE_SHARED", "HA_MODE_LEGACY_ACTIVE_STANDBY"];
const INGRESS: &[&str] = &["SG_INGRESS_ACCESS_NONE", "SG_INGRESS_ACCESS_ALL", "SG_INGRESS_ACCESS_VPC"];
const BANDWIDTHS: &[&str] = &[
    "SE_BANDWIDTH_UNLIMITED",
    "SE_BANDWIDTH_25M",
    "SE_BANDWIDTH_200M",
    "SE_BANDWIDTH_1000M",
    "SE_BANDWIDTH_10000M",
];
const AUDITS: &[&str] = &["SE_TT_AUDIT_OFF", "SE_TT_AUDIT_ON", "SE_TT_AUDIT_ON_WITH_EVENT"];
const HYPERTHREADS: &[&str] = &[
    "SE_CPU_HT_AUTO",
    "SE_CPU_HT_SPARSE_DISPATCHER_PRIORITY",
    "SE_CPU_HT_SPARSE_PROXY_PRIORITY",
    "SE_CPU_HT_PACKED_CORES",
];
const DATASTORES: &[&str] = &["VCENTER_DATASTORE_ANY", "VCENTER_DATASTORE_LOCAL", "VCENTER_DATASTORE_SHARED"];

static REBALANCE_BY: Type = Type::Enum(&[
    "SE_AUTO_REBALANCE_CPU",
    "SE_AUTO_REBALANCE_PPS",
    "SE_AUTO_REBALANCE_MBPS",
    "SE_AUTO_REBALANCE_OPEN_CONNS",
    "SE_AUTO_REBALANCE_CPS",
]);

static META: Message =
    Message { name: "CloudMeta", fields: &[text("key").required(), text("value").required()] };

/// The size of a machine in a cloud.
pub static FLAVOR: Message = Message {
    name: "CloudFlavor",
    fields: &[
        text("cost"),
        int("disk_gb", I31).unit("GB"),
        flag("enhanced_nw"),
        text("id").required(),
        flag("is_recommended"),
        int("max_ip6s_per_nic", I31),
        int("max_ips_per_nic", I31),
        int("max_nics", I31),
        keyed("meta", &Type::Message(&META), 64, &["key"]),
        text("name").required(),
        flag("public"),
        int("ram_mb", I31).unit("MB"),
        int("vcpus", I31),
    ],
};

static IPTABLES_RULE: Message = Message {
    name: "IptableRule",
    fields: &[
        one_of("action", &["ACCEPT", "DROP", "REJECT", "DNAT", "MASQUERADE"]).required(),
        message("dnat_ip", &IP_ADDR),
        message("dst_ip", &IP_ADDR_PREFIX),
        message("dst_port", &PORT_RANGE),
        text("input_interface"),
        text("output_interface"),
        one_of("proto", &["PROTO_TCP", "PROTO_UDP", "PROTO_ICMP", "PROTO_ALL"]),
        message("src_ip", &IP_ADDR_PREFIX),
        message("src_port", &PORT_RANGE),
        text("tag"),
    ],
};

static IPTABLES: Message = Message {
    name: "IptableRuleSet",
    fields: &[
        text("chain").required(),
        list("rules", &Type::Message(&IPTABLES_RULE), 128),
        text("table").required(),
    ],
};

static KNI_PORTS: Message = Message {
    name: "KniPortRange",
    fields: &[
        one_of("protocol", &["KNI_PROTO_TCP", "KNI_PROTO_UDP"]).required(),
        message("range", &PORT_RANGE).required(),
    ],
};

static OBJSYNC: Message = Message {
    name: "ObjSyncConfig",
    fields: &[
        int("objsync_cpu_limit", &[(15, 80)]).or_int(30).unit("%"),
        int("objsync_hub_elect_interval", &[(30, 300)]).or_int(60).unit("s"),
        int("objsync_reconcile_interval", &[(1, 120)]).or_int(10).unit("s"),
    ],
};

static ANALYTICS: Message = Message {
    name: "SeGroupAnalyticsPolicy",
    fields: &[keyed(
        "metrics_event_thresholds",
        &Type::Message(&METRICS_THRESHOLD),
        16,
        &["metrics_event_threshold_type"],
    )],
};

static RATE_LIMITERS: Message = Message {
    name: "RateLimiterProperties",
    fields: &[int("msf_num_stages", &[(1, 2)]), int("msf_stage_size", &[(0, i64::MAX)])],
};

static TIME_TRACKER: Message = Message {
    name: "SETimeTrackerProperties",
    fields: &[
        one_of("egress_audit_mode", AUDITS),
        int("egress_threshold", U32).unit("ms"),
        int("event_gen_window", U32).unit("s"),
        one_of("ingress_audit_mode", AUDITS),
        int("ingress_threshold", U32).unit("ms"),
    ],
};

static CLUSTERS: Message = Message {
    name: "VcenterClusters",
    fields: &[list("cluster_refs", &Type::Ref("vimgrclusterruntime"), 256), flag("include").or_false()],
};

static HOSTS: Message = Message {
    name: "VcenterHosts",
    fields: &[list("host_refs", &Type::Ref("vimgrhostruntime"), 4096), flag("include").or_false()],
};

static DATASTORE: Message =
    Message { name: "VcenterDatastore", fields: &[text("datastore_name").required()] };

static VCENTER_SCOPE: Message = Message {
    name: "PlacementScopeConfig",
    fields: &[text("vcenter_folder"), refers("vcenter_ref", "vcenterserver").required()],
};

static STORAGE_POLICY: Message = Message {
    name: "VsphereStoragePolicy",
    fields: &[refers("vcenter_ref", "vcenterserver"), text("vsphere_storage_policy_id")],
};

static VSS_PLACEMENT: Message = Message {
    name: "VssPlacement",
    fields: &[int("core_nonaffinity", &[(1, 256)]).or_int(2), int("num_subcores", &[(1, 128)]).or_int(4)],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&GROUP];

/// Engines of one size, and how services are placed on them.
static GROUP: Kind = Kind {
    path: "serviceenginegroup",
    name: "ServiceEngineGroup",
    permission: "PERMISSION_SERVICEENGINEGROUP",
    scope: Scope::Cloud,
    dropped: &[],
    rules: &[bounds_stand_in_order, addresses],
    fields: &[
        text("name").required(),
        flag("accelerated_networking"),
        flag("active_standby").or_false(),
        flag("aggressive_failure_detection").or_false(),
        one_of("algo", &["PLACEMENT_ALGO_PACKED", "PLACEMENT_ALGO_DISTRIBUTED"])
            .or_text("PLACEMENT_ALGO_PACKED"),
        flag("allow_burst"),
        int("app_cache_percent", PERCENT).or_int(10).unit("%"),
        int("app_cache_threshold", U32).or_int(5).unit("GB"),
        int("app_learning_memory_percent", &[(0, 10)]).or_int(0).unit("%"),
        int("archive_shm_limit", U32).or_int(8).unit("GB"),
        int("arp_cache_timeout", &[(0, 86_400)]).unit("s"),
        flag("async_ssl").or_false(),
        int("async_ssl_threads", &[(1, 16)]).or_int(1),
        flag("auto_rebalance").or_false(),
        list("auto_rebalance_capacity_per_se", &Type::Int(&[(0, i64::MAX)]), 5),
        int("auto_rebalance_cool_down_time", U32).unit("min"),
        list("auto_rebalance_criteria", &REBALANCE_BY, 5),
        flag("auto_rebalance_dry_run_enabled"),
        int("auto_rebalance_interval", I31).or_int(300).unit("s"),
        flag("auto_rebalance_raise_events_for_actions"),
        flag("auto_redistribute_active_standby_load").or_false(),
        list("availability_zone_refs", &Type::Ref("availabilityzone"), 64),
        flag("baremetal_dispatcher_handles_flows").or_false(),
        flag("bgp_peer_monitor_failover_enabled").or_false(),
        int("bgp_state_update_interval", &[(5, 100)]).or_int(60).unit("s"),
        int("buffer_se", I31).or_int(1),
        refers("cloud_ref", "cloud"),
        flag("compress_ip_rules_for_each_ns_subnet").or_true(),
        flag("config_debugs_on_all_cores").or_false(),
        int("connection_memory_percentage", &[(10, 90)]).or_int(50).unit("%"),
        flag("core_shm_app_cache").or_false(),
        flag("core_shm_app_learning").or_false(),
        flag("cpu_reserve").or_false(),
        flag("cpu_socket_affinity").or_false(),
        list("custom_securitygroups_data", &TEXT, 64),
        list("custom_securitygroups_mgmt", &TEXT, 64),
        keyed("custom_tag", &Type::Message(&CUSTOM_TAG), 64, &["tag_key"]),
        text("data_network_id"),
        int("datascript_timeout", &[(0, 100_000_000)]).or_int(1_000_000),
        flag("deactivate_ipv6_discovery"),
        flag("deactivate_kni_filtering_at_dispatcher"),
        flag("dedicated_dispatcher_core").or_false(),
        flag("disable_avi_securitygroups").or_false(),
        flag("disable_csum_offloads").or_false(),
        flag("disable_flow_probes").or_false(),
        flag("disable_gro"),
        flag("disable_qat_bulk_crypto"),
        flag("disable_se_memory_check").or_false(),
        flag("disable_tso").or_false(),
        int("disk_per_se", I31).or_int(15).unit("GB"),
        flag("distribute_load_active_standby").or_false(),
        flag("distribute_queues").or_false(),
        flag("distribute_vnics").or_false(),
        int("downstream_send_timeout", U32).or_int(3_600_000).unit("ms"),
        int("dp_aggressive_deq_interval_msec", &[(1, 1000)]).or_int(1).unit("ms"),
        int("dp_aggressive_enq_interval_msec", &[(1, 1000)]).or_int(1).unit("ms"),
        int("dp_aggressive_hb_frequency", U32).or_int(100).unit("ms"),
        int("dp_aggressive_hb_timeout_count", U32).or_int(10),
        int("dp_deq_interval_msec", &[(1, 1000)]).or_int(20).unit("ms"),
        int("dp_enq_interval_msec", &[(1, 1000)]).or_int(20).unit("ms"),
        int("dp_hb_frequency", U32).or_int(100).unit("ms"),
        int("dp_hb_timeout_count", U32).or_int(10),
        int("dpdk_gro_timeout_interval", &[(0, 900)]).or_int(50).unit("us"),
        flag("enable_gratarp_permanent").or_false(),
        flag("enable_hsm_log").or_false(),
        flag("enable_hsm_priming").or_false(),
        flag("enable_multi_lb").or_false(),
        flag("enable_pcap_tx_ring"),
        flag("enable_qat"),
        flag("enable_quantum_entropy"),
        int("ephemeral_portrange_end", U32),
        int("ephemeral_portrange_start", U32),
        number("extra_config_multiplier"),
        int("extra_shared_config_memory", U32).or_int(0).unit("MB"),
        int("flow_table_new_syn_max_entries", U32).or_int(0),
        int("free_list_size", U32).or_int(1024),
        int("gratarp_permanent_periodicity", &[(5, 30)]).or_int(10).unit("min"),
        int("grpc_channel_connect_timeout", &[(5, 45)]).or_int(15).unit("s"),
        flag("gve_enabled"),
        one_of("ha_mode", HA_MODES).or_text("HA_MODE_SHARED"),
        flag("handle_per_pkt_attack").or_true(),
        refers("hardwaresecuritymodulegroup_ref", "hardwaresecuritymodulegroup"),
        int("heap_minimum_config_memory", &[(0, 100)]).or_int(8).unit("MB"),
        flag("hm_on_standby").or_true(),
        text("host_attribute_key"),
        text("host_attribute_value"),
        flag("host_gateway_monitor").or_false(),
        flag("http_rum_console_log").or_false(),
        int("http_rum_min_content_length", U32).or_int(64),
        flag("hybrid_rss_mode").or_false(),
        one_of("hypervisor", HYPERVISORS),
        flag("ignore_docker_mac_change").or_true(),
        int("ignore_rtt_threshold", U32).or_int(5000).unit("ms"),
        one_of("ingress_access_data", INGRESS).or_text("SG_INGRESS_ACCESS_ALL"),
        one_of("ingress_access_mgmt", INGRESS).or_text("SG_INGRESS_ACCESS_ALL"),
        text("instance_flavor"),
        message("instance_flavor_info", &FLAVOR),
        list("iptables", &Type::Message(&IPTABLES), 128),
        list("kni_allowed_server_ports", &Type::Message(&KNI_PORTS), 64),
        int("kv_val_max_len", VALUE_SIZES),
        int("l7_conns_per_core", U32).or_int(16_384),
        int("l7_resvd_listen_conns_per_core", U32).or_int(256),
        keyed("labels", &Type::Message(&KEY_VALUE), 1, &["key"]),
        int("lbaction_num_requests_to_dispatch", U32).or_int(4),
        int("lbaction_rq_per_request_max_retries", U32).or_int(22),
        flag("least_load_core_selection").or_true(),
        one_of("license_tier", LICENSE_TIERS),
        one_of("license_type", LICENSE_TYPES),
        flag("log_agent_compress_logs").or_true(),
        flag("log_agent_debug_enabled").or_false(),
        int("log_agent_file_sz_appl", U32).or_int(4),
        int("log_agent_file_sz_conn", U32).or_int(4),
        int("log_agent_file_sz_debug", U32).or_int(4),
        int("log_agent_file_sz_event", U32).or_int(4),
        int("log_agent_log_storage_min_sz", U32).or_int(1024).unit("MB"),
        int("log_agent_max_concurrent_rsync", U32).or_int(1024),
        int("log_agent_max_storage_excess_percent", U32).or_int(110).unit("%"),
        number("log_agent_max_storage_ignore_percent").unit("%"),
        int("log_agent_min_storage_per_vs", U32).or_int(10),
        int("log_agent_sleep_interval", U32).or_int(10).unit("ms"),
        flag("log_agent_trace_enabled").or_true(),
        int("log_agent_unknown_vs_timer", U32).or_int(1800).unit("s"),
        int("log_disksz", U32).or_int(10_000).unit("MB"),
        flag("log_malloc_failure").or_true(),
        int("log_message_max_file_list_size", U32).or_int(64),
        int("max_concurrent_external_hm", U32),
        int("max_cpu_load_adaptive_sampling", &[(1, 100)]).unit("%"),
        int("max_cpu_usage", &[(40, 90)]).or_int(80).unit("%"),
        int("max_memory_per_mempool", U32).or_int(64).unit("MB"),
        int("max_num_http_sessions_to_store", &[(1, 2_000_000)]),
        int("max_num_se_dps", &[(1, 128)]),
        int("max_public_ips_per_lb", U32).or_int(30),
        int("max_queues_per_vnic", POWERS).or_int(1),
        int("max_rules_per_lb", U32).or_int(150),
        int("max_scaleout_per_vs", &[(1, 64)]).or_int(4),
        int("max_se", &[(0, 1000)]).or_int(10),
        int("max_skb_frags", &[(1, 17)]).or_int(17),
        int("max_vs_per_se", &[(1, 1000)]).or_int(10),
        flag("mem_reserve").or_true(),
        int("memory_for_config_update", PERCENT).or_int(15).unit("%"),
        int("memory_per_se", &[(2048, 262_144)]).or_int(2048).unit("MB"),
        int("metrics_collection_mode", &[(0, 1), (9, 9)]).or_int(1),
        refers("mgmt_network_ref", "network"),
        message("mgmt_subnet", &IP_ADDR_PREFIX),
        int("min_cpu_usage", &[(20, 60)]).or_int(30).unit("%"),
        int("min_scaleout_per_vs", &[(1, 64)]).or_int(1),
        int("min_se", &[(0, 1000)]).or_int(1),
        int("minimum_connection_memory", PERCENT).or_int(20).unit("%"),
        flag("multicast_enable"),
        int("n_log_streaming_threads", &[(1, 100)]).or_int(1),
        int("nd6_cache_timeout", &[(0, 86_400)]).unit("s"),
        int("netlink_poller_threads", &[(1, 32)]).or_int(2),
        int("netlink_sock_buf_size", &[(1, 128)]).or_int(4).unit("MB"),
        flag("ngx_free_connection_stack").or_false(),
        int("non_significant_log_throttle", U32).or_int(100).unit("/s"),
        int("ns_helper_deq_interval_msec", &[(1, 1000)]).or_int(20).unit("ms"),
        flag("ntp_sync_fail_event").or_false(),
        int("ntp_sync_status_interval", &[(0, 0), (120, 900)]).or_int(0).unit("s"),
        int("num_dispatcher_cores", POWERS).or_int(0),
        int("num_dispatcher_queues", &[(1, 2)]).or_int(1),
        int("num_flow_cores_sum_changes_to_ignore", U32).or_int(8),
        message("objsync_config", &OBJSYNC),
        one_of("objsync_mode", &["OBJSYNC_DISABLED", "OBJSYNC_ENABLED", "OBJSYNC_AUTO"]),
        // Published documents say 4001 from 30.2.1 on; engines of this product listen on 9001 at every version.
        int("objsync_port", &[(1024, 65_535)]).or_int(9001),
        list("openstack_availability_zones", &TEXT, 5),
        text("openstack_mgmt_network_name"),
        text("openstack_mgmt_network_uuid"),
        int("os_reserved_memory", U32).or_int(0).unit("MB"),
        flag("path_mtu_discovery_v4").or_true(),
        flag("path_mtu_discovery_v6").or_true(),
        one_of("pcap_tx_mode", &["PCAP_TX_AUTO", "PCAP_TX_SOCKET", "PCAP_TX_RING"]).or_text("PCAP_TX_AUTO"),
        int("pcap_tx_ring_rd_balancing_factor", &[(10, 100)]).or_int(10).unit("%"),
        flag("per_app").or_false(),
        flag("per_vs_admission_control").or_false(),
        one_of("placement_mode", &["PLACEMENT_MODE_AUTO"]).or_text("PLACEMENT_MODE_AUTO"),
        int("pre_upgrade_se_available_mem_threshold", U32).unit("MB"),
        message("realtime_se_metrics", &REALTIME),
        flag("reboot_on_panic").or_true(),
        int("replay_vrf_routes_interval", &[(0, 3000)]).or_int(1000).unit("ms"),
        int("resync_time_interval", &[(8, 600_000)]).or_int(65_536).unit("ms"),
        int("sdb_flush_interval", &[(1, 10_000)]).or_int(100).unit("ms"),
        int("sdb_key_timeout", &[(60, 600)]).unit("s"),
        int("sdb_pipeline_size", &[(1, 10_000)]).or_int(100),
        int("sdb_scan_count", &[(1, 1000)]).or_int(1000),
        one_of("se_bandwidth_type", BANDWIDTHS),
        int("se_debug_trace_sz", &[(1, 2), (4, 4), (8, 8), (255, 255)]),
        flag("se_delayed_flow_delete").or_true(),
        int("se_deprovision_delay", &[(0, 0), (1, 525_600)]).or_int(120).unit("min"),
        message("se_dos_profile", &DOS_PROFILE),
        int("se_dp_hm_drops", I31).or_int(0),
        int("se_dp_if_state_poll_interval", U32).or_int(10),
        flag("se_dp_isolation").or_false(),
        int("se_dp_isolation_num_non_dp_cpus", &[(0, 0), (1, 8)]).or_int(0),
        int("se_dp_log_nf_enqueue_percent", U32).or_int(70).unit("%"),
        int("se_dp_log_udf_enqueue_percent", U32).or_int(90).unit("%"),
        int("se_dp_max_hb_version", &[(1, 3)]).or_int(3),
        int("se_dp_vnic_queue_stall_event_sleep", U32).or_int(0).unit("s"),
        int("se_dp_vnic_queue_stall_threshold", U32).or_int(2000),
        int("se_dp_vnic_queue_stall_timeout", U32).or_int(10_000).unit("ms"),
        int("se_dp_vnic_restart_on_queue_stall_count", U32).or_int(3),
        int("se_dp_vnic_stall_se_restart_window", U32).or_int(3600).unit("s"),
        int("se_dpdk_pmd", &[(0, 2)]).or_int(0),
        flag("se_dump_core_on_assert").or_false(),
        int("se_emulated_cores", U32).or_int(0),
        int("se_flow_probe_retries", &[(0, 5)]).or_int(2),
        int("se_flow_probe_retry_timer", &[(20, 50)]).or_int(40).unit("ms"),
        message("se_group_analytics_policy", &ANALYTICS),
        one_of("se_hyperthreaded_mode", HYPERTHREADS).or_text("SE_CPU_HT_AUTO"),
        int("se_ip_encap_ipc", U32).or_int(0),
        int("se_kni_burst_factor", &[(0, 3)]).or_int(0),
        int("se_l3_encap_ipc", U32).or_int(0),
        flag("se_log_buffer_app_blocking_dequeue").or_false(),
        flag("se_log_buffer_conn_blocking_dequeue").or_false(),
        flag("se_log_buffer_events_blocking_dequeue").or_true(),
        flag("se_lro"),
        int("se_mp_ring_retry_count", U32).or_int(500),
        int("se_mtu", &[(512, 9000)]).unit("bytes"),
        text("se_name_prefix").or_text("Avi"),
        int("se_packet_buffer_max", U32).or_int(0),
        flag("se_pcap_lookahead").or_false(),
        int("se_pcap_pkt_count", U32).or_int(0),
        int("se_pcap_pkt_sz", U32).or_int(69_632).unit("bytes"),
        flag("se_pcap_qdisc_bypass").or_true(),
        int("se_pcap_reinit_frequency", &[(0, 0), (900, 43_200)]).or_int(0).unit("s"),
        int("se_pcap_reinit_threshold", U32).or_int(0),
        int("se_probe_port", U32).or_int(7),
        message("se_rl_prop", &RATE_LIMITERS),
        int("se_rum_sampling_nav_interval", U32).or_int(1).unit("s"),
        int("se_rum_sampling_nav_percent", U32).or_int(1).unit("%"),
        int("se_rum_sampling_res_interval", U32).or_int(2).unit("s"),
        int("se_rum_sampling_res_percent", U32).or_int(100).unit("%"),
        flag("se_sb_dedicated_core").or_false(),
        int("se_sb_threads", &[(1, 128)]).or_int(1),
        int("se_thread_multiplier", &[(1, 10)]).or_int(1),
        message("se_time_tracker_props", &TIME_TRACKER),
        message("se_tracert_port_range", &PORT_RANGE),
        int("se_tunnel_mode", &[(0, 2)]).or_int(0),
        int("se_tunnel_udp_port", U32).or_int(1550),
        int("se_tx_batch_size", U32).or_int(64),
        int("se_txq_threshold", &[(512, 32_768)]).or_int(2048),
        int("se_udp_encap_ipc", &[(0, 1)]).or_int(0),
        int("se_use_dpdk", &[(0, 2)]).or_int(0),
        int("se_vnic_tx_sw_queue_flush_frequency", &[(0, 0), (50, 500)]).or_int(0).unit("ms"),
        int("se_vnic_tx_sw_queue_size", &[(128, 2048)]).or_int(256),
        int("se_vs_hb_max_pkts_in_batch", &[(1, 256)]).or_int(64),
        int("se_vs_hb_max_vs_in_pkt", &[(1, 1024)]).or_int(256),
        flag("self_se_election").or_false(),
        int("send_se_ready_timeout", &[(10, 600)]).or_int(300).unit("s"),
        list("service_ip6_subnets", &Type::Message(&IP_ADDR_PREFIX), 128),
        list("service_ip_subnets", &Type::Message(&IP_ADDR_PREFIX), 128),
        int("shm_minimum_config_memory", &[(0, 100)]).or_int(4).unit("MB"),
        int("significant_log_throttle", U32).or_int(100).unit("/s"),
        flag("ssl_preprocess_sni_hostname").or_true(),
        int("ssl_sess_cache_per_vs", U32).or_int(4096),
        int("transient_shared_memory_max", PERCENT).or_int(30).unit("%"),
        int("udf_log_throttle", U32).or_int(100).unit("/s"),
        int("upstream_connect_timeout", U32).or_int(3_600_000).unit("ms"),
        flag("upstream_connpool_enable").or_true(),
        int("upstream_read_timeout", U32).or_int(3_600_000).unit("ms"),
        int("upstream_send_timeout", U32).or_int(3_600_000).unit("ms"),
        flag("use_dp_util_for_scaleout").or_false(),
        flag("use_hyperthreaded_cores").or_true(),
        flag("use_legacy_netlink").or_false(),
        flag("use_objsync").or_true(),
        flag("use_standard_alb"),
        int("user_defined_metric_age", U32).or_int(60).unit("s"),
        message("vcenter_clusters", &CLUSTERS),
        one_of("vcenter_datastore_mode", DATASTORES).or_text("VCENTER_DATASTORE_ANY"),
        keyed("vcenter_datastores", &Type::Message(&DATASTORE), 256, &["datastore_name"]),
        flag("vcenter_datastores_include").or_false(),
        text("vcenter_folder").or_text("AviSeFolder"),
        message("vcenter_hosts", &HOSTS),
        text("vcenter_parking_vnic_pg"),
        keyed("vcenters", &Type::Message(&VCENTER_SCOPE), 64, &["vcenter_ref"]),
        int("vcpus_per_se", I31).or_int(1),
        int("vnic_dhcp_ip_check_interval", &[(1, 1000)]).or_int(6).unit("s"),
        int("vnic_dhcp_ip_max_retries", U32).or_int(10),
        int("vnic_ip_delete_interval", U32).or_int(5).unit("s"),
        int("vnic_probe_interval", U32).or_int(5).unit("s"),
        int("vnic_rpc_retry_interval", U32).or_int(5).unit("s"),
        int("vnicdb_cmd_history_size", PORT_OR_0).or_int(256),
        flag("vs_host_redundancy").or_true(),
        int("vs_scalein_timeout", U32).or_int(30).unit("s"),
        int("vs_scalein_timeout_for_upgrade", U32).or_int(30).unit("s"),
        int("vs_scaleout_timeout", U32).or_int(600).unit("s"),
        int("vs_se_primary_switchover_additional_wait_time", &[(0, 300)]).or_int(0).unit("s"),
        int("vs_se_scalein_additional_wait_time", &[(0, 300)]).or_int(0).unit("s"),
        int("vs_se_scaleout_additional_wait_time", &[(0, 300)]).or_int(0).unit("s"),
        int("vs_se_scaleout_ready_timeout", &[(0, 90)]).or_int(60).unit("s"),
        int("vs_switchover_timeout", U32).or_int(300).unit("s"),
        list("vsphere_storage_policies", &Type::Message(&STORAGE_POLICY), 64),
        message("vss_placement", &VSS_PLACEMENT),
        flag("vss_placement_enabled").or_false(),
        flag("waf_mempool").or_true(),
        int("waf_mempool_size", U32).or_int(64).unit("KB"),
        flag("waf_use_jit_for_pcre"),
    ],
};

fn bounds_stand_in_order(group: &Object, problems: &mut Vec<Problem>) {
    in_order(group, "min_scaleout_per_vs", "max_scaleout_per_vs", problems);
    in_order(group, "min_cpu_usage", "max_cpu_usage", problems);
    in_order(group, "ephemeral_portrange_start", "ephemeral_portrange_end", problems);
}
