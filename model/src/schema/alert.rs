//! Alerts: what raises them, and what then happens.

use super::common::{IP_ADDR, PORT, U32};
use super::infra::{SYSLOG_FORMATS, TLS};
use super::rule::{addresses, part, problem, text as read_text};
use super::system::SNMP_USER;
use crate::Problem;
use crate::field::{Message, Type};
use crate::field::{flag, int, keyed, list, long_text, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The longest script, bytes.
const SCRIPT_BYTES_MAX: usize = 256 * 1024;

const COMPARISONS: &[&str] =
    &["ALERT_OP_LT", "ALERT_OP_LE", "ALERT_OP_EQ", "ALERT_OP_NE", "ALERT_OP_GE", "ALERT_OP_GT"];

static LOG_FILTER: Message =
    Message { name: "AlertFilter", fields: &[text("filter_action"), text("filter_string").required()] };

static THRESHOLD: Message = Message {
    name: "AlertMetricThreshold",
    fields: &[one_of("comparator", COMPARISONS).required().or_text("ALERT_OP_GT"), int("threshold", U32)],
};

static METRIC: Message = Message {
    name: "AlertRuleMetric",
    fields: &[
        int("duration", U32).unit("s"),
        text("metric_id"),
        message("metric_threshold", &THRESHOLD).required(),
    ],
};

static DETAILS: Message = Message {
    name: "EventDetailsFilter",
    fields: &[
        one_of("comparator", COMPARISONS).required().or_text("ALERT_OP_EQ"),
        text("event_details_key").required(),
        text("event_details_value").required(),
    ],
};

static EVENT: Message = Message {
    name: "AlertRuleEvent",
    fields: &[
        list("event_details", &Type::Message(&DETAILS), 64),
        // The ids are those of the events that an engine and the Controller tell of: there are hundreds.
        text("event_id"),
        flag("not_cond").or_false(),
    ],
};

static RULE: Message = Message {
    name: "AlertRule",
    fields: &[
        message("conn_app_log_rule", &LOG_FILTER),
        text("event_match_filter"),
        list("metrics_rule", &Type::Message(&METRIC), 64),
        one_of("operator", &["OPERATOR_AND", "OPERATOR_OR"]).or_text("OPERATOR_AND"),
        list("sys_event_rule", &Type::Message(&EVENT), 64),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&ALERT, &ACTIONS, &EMAIL, &SCRIPT, &SYSLOG, &TRAPS];

/// A rule on records has conditions as searches have them.
//= ALERT-LOGS-01
fn log_conditions(object: &Object, problems: &mut Vec<Problem>) {
    const OPERATORS: [&str; 8] = ["eq", "ne", "co", "sw", "gt", "ge", "lt", "le"];
    const PATH: &str = "alert_rule.conn_app_log_rule.filter_string";
    const FIX: &str = "write conditions as searches of logs have them, with & between them: \
                       ge(response_code,500)&sw(uri_path,/shop); operators are eq, ne, co, sw, gt, ge, lt and le";
    if !matches!(read_text(object, "source"), "APP_LOGS" | "CONN_LOGS") {
        return;
    }
    let Some(rule) = part(object, "alert_rule").and_then(|rule| part(rule, "conn_app_log_rule")) else {
        return;
    };
    let conditions = read_text(rule, "filter_string");
    let is_condition = |one: &str| {
        let one = one.trim();
        let inner = one.strip_prefix("filter=").unwrap_or(one).strip_suffix(')');
        inner
            .and_then(|inner| inner.split_once('('))
            .is_some_and(|(operator, rest)| OPERATORS.contains(&operator.trim()) && rest.contains(','))
    };
    if conditions.is_empty() {
        problems.push(problem(PATH, "an alert on logs looks for records by it", FIX));
    } else if let Some(odd) = conditions.split('&').find(|one| !is_condition(one)) {
        problems.push(problem(PATH, format!("\"{odd:.80}\" is no condition"), FIX));
    }
}

/// What raises an alert.
static ALERT: Kind = Kind {
    path: "alertconfig",
    name: "AlertConfig",
    permission: "PERMISSION_ALERTCONFIG",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[log_conditions],
    fields: &[
        text("name").required(),
        refers("action_group_ref", "actiongroupconfig"),
        message("alert_rule", &RULE).required(),
        flag("autoscale_alert").or_false(),
        one_of("category", &["REALTIME", "ROLLINGWINDOW", "WATERMARK"]).required().or_text("REALTIME"),
        flag("enabled").or_true(),
        int("expiry_time", &[(1, 31_536_000)]).or_int(86_400).unit("s"),
        text("obj_uuid"),
        // Hundreds of names of kinds stand in the published documents, most of them of things that no alert is about.
        text("object_type"),
        text("recommendation"),
        int("rolling_window", &[(1, 31_536_000)]).or_int(300).unit("s"),
        one_of("source", &["CONN_LOGS", "APP_LOGS", "EVENT_LOGS", "METRICS"]).required(),
        text("summary"),
        int("threshold", &[(1, 65_536)]).or_int(1),
        int("throttle", &[(0, 31_536_000)]).or_int(600).unit("s"),
    ],
};

/// What happens when an alert is raised.
static ACTIONS: Kind = Kind {
    path: "actiongroupconfig",
    name: "ActionGroupConfig",
    permission: "PERMISSION_ACTIONGROUPCONFIG",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        refers("action_script_config_ref", "alertscriptconfig"),
        flag("autoscale_trigger_notification").or_false(),
        refers("email_config_ref", "alertemailconfig"),
        flag("external_only").required().or_false(),
        one_of("level", &["ALERT_LOW", "ALERT_MEDIUM", "ALERT_HIGH"]).required().or_text("ALERT_LOW"),
        refers("snmp_trap_profile_ref", "snmptrapprofile"),
        refers("syslog_config_ref", "alertsyslogconfig"),
    ],
};

/// Whom to write to.
static EMAIL: Kind = Kind {
    path: "alertemailconfig",
    name: "AlertEmailConfig",
    permission: "PERMISSION_ALERTEMAILCONFIG",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[text("name").required(), text("cc_emails"), text("to_emails").required()],
};

/// A script that an alert starts.
static SCRIPT: Kind = Kind {
    path: "alertscriptconfig",
    name: "AlertScriptConfig",
    permission: "PERMISSION_ALERTCONFIG",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        long_text("action_script", SCRIPT_BYTES_MAX),
        int("timeout", U32).unit("s"),
        text("user_id"),
    ],
};

static SYSLOG_SERVER: Message = Message {
    name: "AlertSyslogServer",
    fields: &[
        flag("anon_auth").or_false(),
        one_of("format", SYSLOG_FORMATS).or_text("SYSLOG_LEGACY"),
        refers("pkiprofile_ref", "pkiprofile"),
        refers("ssl_key_and_certificate_ref", "sslkeyandcertificate"),
        flag("strict_cert_verify").or_false(),
        text("syslog_server").required(),
        int("syslog_server_port", PORT).or_int(514),
        message("tls_config", &TLS),
        flag("tls_enable").or_false(),
        flag("udp").required().or_true(),
    ],
};

/// Which syslog servers to tell.
static SYSLOG: Kind = Kind {
    path: "alertsyslogconfig",
    name: "AlertSyslogConfig",
    permission: "PERMISSION_ALERTSYSLOGCONFIG",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        text("sender_hostname"),
        keyed("syslog_servers", &Type::Message(&SYSLOG_SERVER), 16, &["syslog_server"]),
    ],
};

static TRAP_SERVER: Message = Message {
    name: "SnmpTrapServer",
    fields: &[
        text("community").secret(),
        message("ip_addr", &IP_ADDR).required(),
        int("port", PORT).or_int(162),
        message("user", &SNMP_USER),
        one_of("version", &["SNMP_VER2", "SNMP_VER3"]).or_text("SNMP_VER2"),
    ],
};

/// Whom to send traps of SNMP.
static TRAPS: Kind = Kind {
    path: "snmptrapprofile",
    name: "SnmpTrapProfile",
    permission: "PERMISSION_SNMPTRAPPROFILE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[addresses],
    fields: &[text("name").required(), keyed("trap_servers", &Type::Message(&TRAP_SERVER), 16, &["ip_addr"])],
};
