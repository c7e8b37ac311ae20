//! Messages that several kinds of clouds, engines and the system itself use.

use super::common::{IP_ADDR, IP_ADDR_PREFIX, KEY_VALUE, PERCENT, PORT};
use crate::field::{Message, Type};
use crate::field::{flag, int, keyed, list, message, number, one_of, refers, text};

/// What a signed number of 32 bits holds from 0 on.
pub const I31: &[(i64, i64)] = &[(0, i32::MAX as i64)];

/// What runs a virtual machine.
pub const HYPERVISORS: &[&str] = &["DEFAULT", "VMWARE_ESX", "KVM", "VMWARE_VSAN", "XEN"];

/// The licence tiers that clients know; nothing here depends on them.
pub const LICENSE_TIERS: &[&str] = &[
    "ENTERPRISE_16",
    "ENTERPRISE",
    "ENTERPRISE_18",
    "BASIC",
    "ESSENTIALS",
    "ENTERPRISE_WITH_CLOUD_SERVICES",
];

/// The units of licences that clients know; nothing here depends on them.
pub const LICENSE_TYPES: &[&str] = &[
    "LIC_BACKEND_SERVERS",
    "LIC_SOCKETS",
    "LIC_CORES",
    "LIC_HOSTS",
    "LIC_SE_BANDWIDTH",
    "LIC_METERED_SE_BANDWIDTH",
];

/// How a line to a syslog server looks.
pub const SYSLOG_FORMATS: &[&str] =
    &["SYSLOG_LEGACY", "SYSLOG_RFC5424", "SYSLOG_JSON", "SYSLOG_RFC5425_ENHANCED"];

/// How an interface gets its addresses.
pub const ADDRESS_MODES: &[&str] = &["DHCP", "STATIC", "VIP", "DOCKER_HOST", "MODE_MANUAL"];

/// A tag that a cloud puts on what is made in it.
pub static CUSTOM_TAG: Message =
    Message { name: "CustomTag", fields: &[text("tag_key").required(), text("tag_val")] };

/// When an event about a metric is raised.
pub static METRICS_THRESHOLD: Message = Message {
    name: "MetricsEventThreshold",
    fields: &[
        one_of(
            "metrics_event_threshold_type",
            &[
                "THRESHOLD_TYPE_STATIC",
                "SE_CPU_THRESHOLD",
                "SE_MEM_THRESHOLD",
                "SE_DISK_THRESHOLD",
                "CONTROLLER_CPU_THRESHOLD",
                "CONTROLLER_MEM_THRESHOLD",
                "CONTROLLER_DISK_THRESHOLD",
            ],
        )
        .required(),
        number("reset_threshold"),
        list("watermark_thresholds", &Type::Int(PERCENT), 16),
    ],
};

/// A route that stands for good.
pub static STATIC_ROUTE: Message = Message {
    name: "StaticRoute",
    fields: &[
        flag("disable_gateway_monitor").or_false(),
        text("if_name"),
        keyed("labels", &Type::Message(&KEY_VALUE), 1, &["key"]),
        message("next_hop", &IP_ADDR).required(),
        message("prefix", &IP_ADDR_PREFIX).required(),
        text("route_id").required(),
    ],
};

/// A proxy on the way out.
pub static PROXY: Message = Message {
    name: "ProxyConfiguration",
    fields: &[
        text("host").required(),
        text("password").secret(),
        int("port", PORT).required(),
        text("username"),
    ],
};

static NTP_KEY: Message = Message {
    name: "NTPAuthenticationKey",
    fields: &[
        one_of(
            "algorithm",
            &["NTP_AUTH_ALGORITHM_MD5", "NTP_AUTH_ALGORITHM_SHA1", "NTP_AUTH_ALGORITHM_SHA256"],
        )
        .or_text("NTP_AUTH_ALGORITHM_MD5"),
        text("key").required().secret(),
        int("key_number", &[(1, 65_534)]).required(),
    ],
};

static NTP_SERVER: Message = Message {
    name: "NTPServer",
    fields: &[int("key_number", &[(1, 65_534)]), message("server", &IP_ADDR).required()],
};

/// Whence the time comes.
pub static NTP: Message = Message {
    name: "NTPConfiguration",
    fields: &[
        keyed("ntp_authentication_keys", &Type::Message(&NTP_KEY), 64, &["key_number"]),
        list("ntp_server_list", &Type::Message(&IP_ADDR), 16),
        keyed("ntp_servers", &Type::Message(&NTP_SERVER), 16, &["server"]),
    ],
};

static DOS_THRESHOLD: Message = Message {
    name: "DosThreshold",
    fields: &[
        one_of(
            "attack",
            &[
                "LAND",
                "SMURF",
                "ICMP_PING_FLOOD",
                "UNKOWN_PROTOCOL",
                "TEARDROP",
                "IP_FRAG_OVERRUN",
                "IP_FRAG_TOOSMALL",
                "IP_FRAG_FULL",
                "IP_FRAG_INCOMPLETE",
                "PORT_SCAN",
                "TCP_NON_SYN_FLOOD_OLD",
                "SYN_FLOOD",
                "BAD_RST_FLOOD",
                "MALFORMED_FLOOD",
                "FAKE_SESSION",
                "ZERO_WINDOW_STRESS",
                "SMALL_WINDOW_STRESS",
                "DOS_HTTP_TIMEOUT",
                "DOS_HTTP_ERROR",
                "DOS_HTTP_ABORT",
                "DOS_SSL_ERROR",
                "DOS_APP_ERROR",
                "DOS_REQ_IP_RL_DROP",
                "DOS_REQ_URI_RL_DROP",
                "DOS_REQ_URI_SCAN_BAD_RL_DROP",
                "DOS_REQ_URI_SCAN_UNKNOWN_RL_DROP",
                "DOS_REQ_IP_URI_RL_DROP",
                "DOS_CONN_IP_RL_DROP",
                "DOS_SLOW_URL",
                "TCP_NON_SYN_FLOOD",
                "DOS_REQ_CIP_SCAN_BAD_RL_DROP",
                "DOS_REQ_CIP_SCAN_UNKNOWN_RL_DROP",
                "DOS_REQ_IP_RL_DROP_BAD",
                "DOS_REQ_URI_RL_DROP_BAD",
                "DOS_REQ_IP_URI_RL_DROP_BAD",
                "POLICY_DROPS",
                "DOS_CONN_RL_DROP",
                "DOS_REQ_RL_DROP",
                "DOS_REQ_HDR_RL_DROP",
                "DOS_REQ_CUSTOM_RL_DROP",
                "DNS_ATTACK_REFLECTION",
                "DNS_ATTACK_AMPLIFICATION_EGRESS",
                "TCP_SLOW_AND_LOW",
                "DNS_ATTACK_NXDOMAIN",
            ],
        )
        .required(),
        int("min_value", I31).required(),
        int("max_value", I31).required(),
    ],
};

/// How a connection to a helper of the system is secured.
pub static TLS: Message = Message {
    name: "TlsConfig",
    fields: &[
        refers("client_cert_ref", "sslkeyandcertificate"),
        one_of(
            "tls_mode",
            &["TLS_MODE_NO_VERIFY", "TLS_MODE_TLS", "TLS_MODE_MTLS", "TLS_MODE_SKIP_HOSTNAME_VERIFY"],
        ),
    ],
};

/// What counts as an attack.
pub static DOS_PROFILE: Message = Message {
    name: "DosThresholdProfile",
    fields: &[
        keyed("thresh_info", &Type::Message(&DOS_THRESHOLD), 64, &["attack"]),
        int("thresh_period", I31).required().unit("s").or_int(5),
    ],
};
