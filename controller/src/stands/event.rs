//! An event of how things stand, in the form in which clients read it.

use std::time::Duration;

use forebay_model::Object;
use serde_json::{Value, json};

use super::judged::OfPool;
use crate::access::labels;
use crate::cluster::Neighbour;
use crate::objects::Held;

/// Bytes of a reason: people read it, and the store has ten thousand of them.
const WHY_MAX: usize = 500;

/// What is told of a thing.
struct Telling<'t> {
    /// Its name, as in `VS_DOWN`.
    id: &'static str,
    /// Whom of the Controller's parts it is of, as clients know them.
    module: &'static str,
    /// Where clients show it.
    page: &'static str,
    /// What happened, in a sentence.
    text: String,
    /// The part of `event_details` that has more of it, and its fields.
    details: (&'static str, Value),
    /// Other objects that have to do with it, by their uuids.
    related: Vec<String>,
    /// The object.
    of: &'t Held,
}

impl Telling<'_> {
    /// As it is kept.
    fn event(self) -> Object {
        let held = self.of;
        let name = if held.name.is_empty() { &held.uuid } else { &held.name };
        let (part, details) = self.details;
        let event = json!({
            "event_id": self.id,
            "module": self.module,
            "context": "EVENT_CONTEXT_SYSTEM",
            "internal": "EVENT_EXTERNAL",
            "event_pages": [self.page, "EVENT_PAGE_ALL"],
            "obj_type": held.kind.path.to_uppercase(),
            "obj_uuid": held.uuid,
            "obj_name": name,
            "tenant": held.tenant,
            "labels": labels(&held.object()),
            "related_uuids": self.related,
            "event_description": self.text,
            "event_details": {part: details},
        });
        event.as_object().cloned().unwrap_or_default()
    }
}

/// A reason that is not too long.
fn short(why: &str) -> &str {
    let mut end = why.len().min(WHY_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    &why[..end]
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// That an engine is there, or was not heard for so long.
pub fn of_engine(held: &Held, up: bool, patience: Duration) -> Object {
    let why = match up {
        true => String::new(),
        false => format!("nothing was heard of it for {} s", patience.as_secs()),
    };
    let colon = if up { "" } else { ": " };
    let telling = Telling {
        id: if up { "SE_UP" } else { "SE_DOWN" },
        module: "RESMGR",
        page: "EVENT_PAGE_SE",
        text: format!("service engine {} is {}{colon}{why}", held.name, word(up)),
        details: ("se_details", json!({"name": held.name, "reason": why})),
        related: Vec::new(),
        of: held,
    };
    telling.event()
}

/// That an engine is connected with another one, or is not.
//= EVENT-STATE-03
pub fn of_peer(held: &Held, (peer, name): (&str, &str), is_connected: bool) -> Object {
    let (id, how) = match is_connected {
        true => ("SE_OBJSYNC_PEER_UP", "shares tables with"),
        false => ("SE_OBJSYNC_PEER_DOWN", "does not reach, for their tables,"),
    };
    let telling = Telling {
        id,
        module: "RESMGR",
        page: "EVENT_PAGE_SE",
        text: format!("service engine {} {how} {name}", held.name),
        details: ("se_objsync_peer_down_details", json!({"peer_se_uuids": peer})),
        related: vec![peer.to_owned()],
        of: held,
    };
    telling.event()
}

fn percent(pool: &OfPool) -> String {
    let (up, all) = pool.counts();
    (up * 100).checked_div(all).unwrap_or(0).to_string()
}

/// That a server of a pool is up, or down and why.
pub fn of_server(held: &Held, pool: &OfPool, (address, up, why): (&str, bool, &str)) -> Object {
    let colon = if up || why.is_empty() { "" } else { ": " };
    let why = if up { "" } else { short(why) };
    let (ip, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let ip = ip.trim_matches(['[', ']']);
    let kind = if ip.contains(':') { "V6" } else { "V4" };
    let server = json!({
        "ip": {"addr": ip, "type": kind},
        "port": port.parse::<u16>().unwrap_or(0),
        "description": address,
        "reason": why,
    });
    let telling = Telling {
        id: if up { "SERVER_UP" } else { "SERVER_DOWN" },
        module: "VSMGR",
        page: "EVENT_PAGE_POOL",
        text: format!("server {address} of pool {} is {}{colon}{why}", held.name, word(up)),
        details: (
            "se_hm_pool_details",
            json!({"pool": held.name, "percent_servers_up": percent(pool), "server": server}),
        ),
        related: Vec::new(),
        of: held,
    };
    telling.event()
}

/// That a pool is up, or down.
pub fn of_pool(held: &Held, pool: &OfPool, up: bool, related: Vec<String>) -> Object {
    let (count, all) = pool.counts();
    let why = pool.why();
    let why = match (up, why.as_str()) {
        (true, _) => String::new(),
        (false, "") => ": no server of it is up".to_owned(),
        (false, why) => format!(": no server of it is up: {why}"),
    };
    let telling = Telling {
        id: if up { "POOL_UP" } else { "POOL_DOWN" },
        module: "VSMGR",
        page: "EVENT_PAGE_POOL",
        text: format!("pool {} is {}, {count} of {all} servers are up{why}", held.name, word(up)),
        details: (
            "se_hm_pool_details",
            json!({"pool": held.name, "percent_servers_up": percent(pool), "ha_reason": why.trim_start_matches(": ")}),
        ),
        related,
        of: held,
    };
    telling.event()
}

/// That a virtual service is up, or down and why.
pub fn of_service(held: &Held, up: bool, why: &str, related: Vec<String>) -> Object {
    let why = if up { "" } else { short(why) };
    let colon = if why.is_empty() { "" } else { ": " };
    let telling = Telling {
        id: if up { "VS_UP" } else { "VS_DOWN" },
        module: "VSMGR",
        page: "EVENT_PAGE_VS",
        text: format!("virtual service {} is {}{colon}{why}", held.name, word(up)),
        details: ("se_hm_vs_details", json!({"virtual_service": held.name, "reason": why})),
        related,
        of: held,
    };
    telling.event()
}

/// That another Controller leads.
pub fn of_leader(held: &Held, leader: &str, before: &str) -> Object {
    let telling = Telling {
        id: "CONTROLLER_LEADER_FAILOVER",
        module: "CLUSTER",
        page: "EVENT_PAGE_CNTLR",
        text: format!("Controller {leader} leads, and {before} did before"),
        details: (
            "cluster_leader_failover_details",
            json!({"leader_node": {"name": leader}, "previous_leader_node": {"name": before}}),
        ),
        related: Vec::new(),
        of: held,
    };
    telling.event()
}

/// That a Controller is there, or not any more; `None`: it is none of them.
pub fn of_node(held: &Held, name: &str, node: Option<&Neighbour>, is_there: bool) -> Object {
    let (id, part, how) = match (is_there, node) {
        (true, _) => ("CONTROLLER_NODE_JOINED", "cluster_node_add_details", "is there"),
        (false, Some(_)) => ("CONTROLLER_NODE_LEFT", "cluster_node_remove_details", "is not heard any more"),
        (false, None) => ("CONTROLLER_NODE_LEFT", "cluster_node_remove_details", "is none of them any more"),
    };
    let mut details = json!({"node_name": name});
    if let Some(node) = node {
        let kind = if node.address.is_ipv4() { "V4" } else { "V6" };
        details["ip"] = json!({"addr": node.address.to_string(), "type": kind});
        details["role"] = Value::from(if node.leads { "CLUSTER_LEADER" } else { "CLUSTER_FOLLOWER" });
    }
    let telling = Telling {
        id,
        module: "CLUSTER",
        page: "EVENT_PAGE_CNTLR",
        text: format!("Controller {name} {how}"),
        details: (part, details),
        related: Vec::new(),
        of: held,
    };
    telling.event()
}
