//! The servers of a pool: those that it names, and those of its group of addresses.

use std::collections::HashSet;

use forebay_model::Object;
use serde_json::{Value, json};

use super::Catalogue;

/// The port of servers that say none.
pub fn port(pool: &Object) -> u64 {
    pool.get("default_server_port").and_then(Value::as_u64).unwrap_or(80)
}

/// The servers of a pool as it lists them; a group's addresses are behind them, without those that are named already.
//= SCALE-POOL-01
pub fn servers(now: &Catalogue, pool: &Object) -> Vec<Value> {
    let list =
        |object: &Object, name: &str| object.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = list(pool, "servers");
    let group = pool.get("ipaddrgroup_ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
    let Some(group) = group.and_then(|uuid| now.get("ipaddrgroup", uuid)) else { return all };
    let of = |server: &Value| {
        let own = server["port"].as_u64().filter(|port| *port > 0).unwrap_or_else(|| port(pool));
        (server["ip"]["addr"].as_str().unwrap_or_default().to_ascii_lowercase(), own)
    };
    let mut seen: HashSet<(String, u64)> = all.iter().map(of).collect();
    for ip in list(&group.object(), "addrs") {
        let server = json!({"ip": ip, "hostname": ip["addr"], "enabled": true});
        if seen.insert(of(&server)) {
            all.push(server);
        }
    }
    all
}
