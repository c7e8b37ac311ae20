//! How what is made of other things is: as the best of them.

use serde_json::{Value, json as value};

use super::App;
use super::runtime::{of_pool, state};
use crate::objects::{Catalogue, Held, Tenant};
use crate::store::Store;

/// How a group of pools is: as its best one.
//= SCALE-API-03
pub fn of_pools<S: Store>(app: &App<S>, now: &Catalogue, tenant: &Tenant, held: &Held) -> Value {
    let pools = held.refers.iter().filter(|id| id.kind == "pool").filter_map(|id| now.get(id.kind, &id.uuid));
    let pools = pools.filter(|pool| tenant.sees(pool));
    let found: Vec<Value> = pools.map(|pool| of_pool(app, now, pool)["oper_status"].take()).collect();
    let up = found.iter().filter(|status| status["state"] == "OPER_UP").count();
    let status =
        best(&found).cloned().unwrap_or_else(|| state("OPER_DOWN", &["it has no pools".to_owned()], 0));
    value!({"oper_status": status, "num_pools": found.len(), "num_pools_up": up})
}

/// How addresses are: as the best of the services that have them.
//= SCALE-API-03
pub fn of_vip(services: impl Iterator<Item = Value>) -> Value {
    let found: Vec<Value> = services.map(|mut service| service["oper_status"].take()).collect();
    let none = || state("OPER_UNUSED", &["no service has it".to_owned()], 0);
    value!({"oper_status": best(&found).cloned().unwrap_or_else(none)})
}

/// States from the best one on, as far as more than one thing has them.
const FROM_THE_BEST: [&str; 6] =
    ["OPER_UP", "OPER_CREATING", "OPER_INITIALIZING", "OPER_DOWN", "OPER_RESOURCES", "OPER_UNUSED"];

/// The best one, whatever their order.
fn best(all: &[Value]) -> Option<&Value> {
    let rank = |status: &&Value| {
        let at = FROM_THE_BEST.iter().position(|state| status["state"] == *state);
        at.unwrap_or(FROM_THE_BEST.len())
    };
    all.iter().min_by_key(rank)
}

/// How a cloud is: `/status`. Nothing is asked of what it stands on.
//= SCALE-API-03
pub fn of_cloud(held: &Held) -> Value {
    let object = held.object();
    let kind = object.get("vtype").and_then(Value::as_str).unwrap_or("CLOUD_NONE");
    if kind == "CLOUD_NONE" {
        return value!({"state": "CLOUD_STATE_PLACEMENT_READY", "cc_vtype": kind});
    }
    let why =
        format!("engines and networks of {kind} are not made here: engines join by token, as in CLOUD_NONE");
    value!({"state": "CLOUD_STATE_NOT_CONNECTED", "cc_vtype": kind, "reason": why})
}
