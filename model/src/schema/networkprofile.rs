//! How connections are carried.

use super::rule::{belongs, part};
use crate::Problem;
use crate::field::Message;
use crate::field::{count, flag, int, message, one_of, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&NETWORK_PROFILE];

/// The protocols that a service may speak.
pub const PROTOCOLS: &[&str] = &[
    "PROTOCOL_TYPE_TCP_PROXY",
    "PROTOCOL_TYPE_TCP_FAST_PATH",
    "PROTOCOL_TYPE_UDP_FAST_PATH",
    "PROTOCOL_TYPE_UDP_PROXY",
    "PROTOCOL_TYPE_SCTP_PROXY",
    "PROTOCOL_TYPE_SCTP_FAST_PATH",
];

static TCP_PROXY: Message = Message {
    name: "TCPProxyProfile",
    fields: &[
        flag("automatic").or_true(),
        one_of("idle_connection_type", &["KEEP_ALIVE", "CLOSE_IDLE"]).or_text("KEEP_ALIVE"),
        int("idle_connection_timeout", &[(0, 0), (5, 14_400)]).unit("s").or_int(600),
        int("receive_window", &[(2, 65_536)]).unit("KB").or_int(64),
        flag("auto_window_growth").or_true(),
        flag("use_interface_mtu").or_true(),
        // 0: as large as the interface takes.
        int("max_segment_size", &[(0, 0), (512, 9000)]).unit("bytes"),
        int("max_syn_retransmissions", &[(3, 8)]).or_int(8),
        int("max_retransmissions", &[(3, 8)]).or_int(8),
        int("min_rexmt_timeout", &[(50, 5000)]).unit("ms"),
        int("reorder_threshold", &[(1, 100)]),
        count("reassembly_queue_size"),
        one_of("cc_algo", &["CC_ALGO_NEW_RENO", "CC_ALGO_CUBIC", "CC_ALGO_HTCP"]).or_text("CC_ALGO_NEW_RENO"),
        flag("aggressive_congestion_avoidance").or_false(),
        int("slow_start_scaling_factor", &[(0, 8)]).or_int(1),
        int("congestion_recovery_scaling_factor", &[(0, 8)]).or_int(2),
        int("time_wait_delay", &[(0, 0), (500, 2000)]).unit("ms").or_int(2000),
        flag("ignore_time_wait").or_false(),
        flag("nagles_algorithm").or_false(),
        // The largest number of 32 bits: as the client has it.
        int("ip_dscp", &[(0, 63), (i32::MAX as i64, i32::MAX as i64)]),
        flag("keepalive_in_halfclose_state").or_true(),
        flag("ack_on_push"),
        flag("delayed_ack_mode"),
        int("delayed_ack_timer_delay", &[(0, 500)]).unit("ms"),
    ],
};

static TCP_FAST_PATH: Message = Message {
    name: "TCPFastPathProfile",
    fields: &[
        int("session_idle_timeout", &[(0, 0), (5, 14_400)]).unit("s").or_int(300),
        flag("enable_syn_protection").or_false(),
        message("dsr_profile", &DSR),
        message("tcp_fastpath_options", &TCP_OPTIONS),
    ],
};

static TCP_OPTIONS: Message = Message { name: "TCPOptions", fields: &[flag("strip_sack")] };

/// Servers answer clients themselves.
static DSR: Message = Message {
    name: "DsrProfile",
    fields: &[
        one_of("dsr_type", &["DSR_TYPE_L2", "DSR_TYPE_L3"]).required().or_text("DSR_TYPE_L3"),
        one_of("dsr_encap_type", &["ENCAP_IPINIP", "ENCAP_GRE"]).required().or_text("ENCAP_IPINIP"),
    ],
};

static UDP_FAST_PATH: Message = Message {
    name: "UDPFastPathProfile",
    fields: &[
        int("session_idle_timeout", &[(2, 3600)]).unit("s").or_int(10),
        flag("per_pkt_loadbalance").or_false(),
        flag("snat").or_true(),
        message("dsr_profile", &DSR),
    ],
};

static UDP_PROXY: Message = Message {
    name: "UDPProxyProfile",
    fields: &[int("session_idle_timeout", &[(2, 3600)]).unit("s").or_int(10)],
};

/// The longest times of SCTP, seconds.
const SCTP_TIME_MAX: i64 = 247_483_647;

static SCTP_FAST_PATH: Message = Message {
    name: "SCTPFastPathProfile",
    fields: &[
        flag("enable_init_chunk_protection").or_false(),
        int("idle_timeout", &[(0, SCTP_TIME_MAX)]).unit("s"),
    ],
};

static SCTP_PROXY: Message = Message {
    name: "SCTPProxyProfile",
    fields: &[
        int("cookie_expiration_timeout", &[(60, 3600)]).unit("s").or_int(60),
        int("heartbeat_interval", &[(30, SCTP_TIME_MAX)]).unit("s").or_int(30),
        int("idle_timeout", &[(0, SCTP_TIME_MAX)]).unit("s"),
        int("max_retransmissions_association", &[(1, SCTP_TIME_MAX)]).or_int(10),
        int("max_retransmissions_init_chunks", &[(1, SCTP_TIME_MAX)]).or_int(8),
        int("number_of_streams", &[(1, 100)]).or_int(10),
        int("receive_window", &[(2, 65_536)]).unit("KB").or_int(1024),
        int("reset_timeout", &[(0, SCTP_TIME_MAX)]).unit("s"),
    ],
};

static PROFILE: Message = Message {
    name: "NetworkProfileUnion",
    fields: &[
        one_of("type", PROTOCOLS).required().or_text("PROTOCOL_TYPE_TCP_PROXY"),
        message("tcp_proxy_profile", &TCP_PROXY),
        message("tcp_fast_path_profile", &TCP_FAST_PATH),
        message("udp_fast_path_profile", &UDP_FAST_PATH),
        message("udp_proxy_profile", &UDP_PROXY),
        message("sctp_proxy_profile", &SCTP_PROXY),
        message("sctp_fast_path_profile", &SCTP_FAST_PATH),
    ],
};

/// How connections are carried.
static NETWORK_PROFILE: Kind = Kind {
    path: "networkprofile",
    name: "NetworkProfile",
    permission: "PERMISSION_NETWORKPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[part_fits_type],
    fields: &[
        text("name").required(),
        message("profile", &PROFILE).required(),
        flag("connection_mirror").or_false(),
    ],
};

fn part_fits_type(profile: &Object, problems: &mut Vec<Problem>) {
    let parts: &[(&str, &[&str])] = &[
        ("tcp_proxy_profile", &["PROTOCOL_TYPE_TCP_PROXY"]),
        ("tcp_fast_path_profile", &["PROTOCOL_TYPE_TCP_FAST_PATH"]),
        ("udp_fast_path_profile", &["PROTOCOL_TYPE_UDP_FAST_PATH"]),
        ("udp_proxy_profile", &["PROTOCOL_TYPE_UDP_PROXY"]),
        ("sctp_proxy_profile", &["PROTOCOL_TYPE_SCTP_PROXY"]),
        ("sctp_fast_path_profile", &["PROTOCOL_TYPE_SCTP_FAST_PATH"]),
    ];
    if let Some(inner) = part(profile, "profile") {
        belongs(inner, "profile.", "type", parts, problems);
    }
}
