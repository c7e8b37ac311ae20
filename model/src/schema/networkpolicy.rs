//! What is done with connections that match.

use super::common::{PORT, PORT_RANGE};
use super::matching::{IP_ADDR_MATCH, NETWORK_MATCH_TARGET};
use super::rule::{addresses, entries, once, part, problem, text as read};
use crate::Problem;
use crate::field::{Field, Message, Type};
use crate::field::{count, flag, int, keyed, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&NETWORK_SECURITY_POLICY, &L4_POLICY_SET];

/// The most rules of one policy.
const RULES_MAX: usize = 4096;

static SECURITY_RULE: Message = Message {
    name: "NetworkSecurityRule",
    fields: &[
        count("index").required(),
        text("name").required(),
        flag("enable").required(),
        message("match", &NETWORK_MATCH_TARGET).required(),
        one_of(
            "action",
            &[
                "NETWORK_SECURITY_POLICY_ACTION_TYPE_ALLOW",
                "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY",
                "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT",
            ],
        )
        .required(),
        message("rl_param", &SECURITY_RATE),
        // 0: for ever.
        count("age").unit("min"),
        flag("log").or_false(),
        text("created_by"),
    ],
};

static SECURITY_RATE: Message = Message {
    name: "NetworkSecurityPolicyActionRLParam",
    fields: &[int("max_rate", &[(1, u32::MAX as i64)]).required(), count("burst_size").required()],
};

/// Who may connect, and how often.
static NETWORK_SECURITY_POLICY: Kind = Kind {
    path: "networksecuritypolicy",
    name: "NetworkSecurityPolicy",
    permission: "PERMISSION_NETWORKSECURITYPOLICY",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[security_rules_have_their_turn, rates_are_given, addresses],
    fields: &[
        text("name"),
        keyed("rules", &Type::Message(&SECURITY_RULE), RULES_MAX, &["index"]),
        flag("internal").or_false(),
        refers("geo_db_ref", "geodb"),
        refers("ip_reputation_db_ref", "ipreputationdb"),
        text("cloud_config_cksum"),
    ],
};

fn security_rules_have_their_turn(policy: &Object, problems: &mut Vec<Problem>) {
    once(policy, "", "rules", "index", problems);
}

fn rates_are_given(policy: &Object, problems: &mut Vec<Problem>) {
    for (at, rule) in entries(policy, "rules") {
        if read(rule, "action") == "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT"
            && !rule.contains_key("rl_param")
        {
            problems.push(problem(
                format!("rules[{at}].rl_param"),
                "it is missing, and the rule limits a rate",
                "give max_rate and burst_size",
            ));
        }
    }
}

const fn is_in() -> Field {
    one_of("match_criteria", &["IS_IN", "IS_NOT_IN"]).required()
}

static CONNECTION_POLICY: Message = Message {
    name: "L4ConnectionPolicy",
    fields: &[keyed("rules", &Type::Message(&L4_RULE), RULES_MAX, &["index"])],
};

static L4_RULE: Message = Message {
    name: "L4Rule",
    fields: &[
        count("index").required(),
        text("name").required(),
        flag("enable").or_true(),
        message("match", &L4_MATCH),
        message("action", &L4_ACTION),
    ],
};

static L4_MATCH: Message = Message {
    name: "L4RuleMatchTarget",
    fields: &[
        message("client_ip", &IP_ADDR_MATCH),
        message("port", &L4_PORT),
        message("protocol", &L4_PROTOCOL),
    ],
};

static L4_PORT: Message = Message {
    name: "L4RulePortMatch",
    fields: &[
        is_in(),
        list("ports", &Type::Int(PORT), 1024),
        list("port_ranges", &Type::Message(&PORT_RANGE), 1024),
    ],
};

static L4_PROTOCOL: Message = Message {
    name: "L4RuleProtocolMatch",
    fields: &[
        is_in(),
        one_of("protocol", &["PROTOCOL_ICMP", "PROTOCOL_TCP", "PROTOCOL_UDP", "PROTOCOL_SCTP"]).required(),
    ],
};

static L4_ACTION: Message = Message { name: "L4RuleAction", fields: &[message("select_pool", &SELECT_POOL)] };

static SELECT_POOL: Message = Message {
    name: "L4RuleActionSelectPool",
    fields: &[
        one_of("action_type", &["L4_RULE_ACTION_SELECT_POOL", "L4_RULE_ACTION_SELECT_POOLGROUP"]).required(),
        refers("pool_ref", "pool"),
        refers("pool_group_ref", "poolgroup"),
    ],
};

/// Which pool takes a connection.
static L4_POLICY_SET: Kind = Kind {
    path: "l4policyset",
    name: "L4PolicySet",
    permission: "PERMISSION_L4POLICYSET",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[l4_rules_have_their_turn, pools_are_named, addresses],
    fields: &[
        text("name").required(),
        message("l4_connection_policy", &CONNECTION_POLICY),
        flag("is_internal_policy").or_false(),
    ],
};

fn l4_rules_have_their_turn(set: &Object, problems: &mut Vec<Problem>) {
    if let Some(policy) = part(set, "l4_connection_policy") {
        once(policy, "l4_connection_policy.", "rules", "index", problems);
    }
}

fn pools_are_named(set: &Object, problems: &mut Vec<Problem>) {
    let Some(policy) = part(set, "l4_connection_policy") else { return };
    for (at, rule) in entries(policy, "rules") {
        let Some(select) = part(rule, "action").and_then(|action| part(action, "select_pool")) else {
            continue;
        };
        let wanted = match read(select, "action_type") {
            "L4_RULE_ACTION_SELECT_POOLGROUP" => "pool_group_ref",
            _ => "pool_ref",
        };
        if !select.contains_key(wanted) {
            problems.push(problem(
                format!("l4_connection_policy.rules[{at}].action.select_pool.{wanted}"),
                "it is missing, and the rule leads nowhere",
                "name what takes the connections",
            ));
        }
    }
}
