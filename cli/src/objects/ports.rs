//! What has to be open between service engines after a change of their group.

use forebay_model::{Kind as ObjectKind, Object};
use serde_json::Value;

use crate::api::{Api, Failure, escaped};
use crate::objects::kinds;

/// Which TCP port must be open between which addresses, if this change of a service engine group is one of that; empty
/// otherwise.
///
/// # Errors
/// The Controller does not tell which engines there are.
//= CLI-PORTS-01
pub fn to_open(
    api: &mut Api,
    kind: &ObjectKind,
    before: Option<&Object>,
    after: &Object,
) -> Result<String, Failure> {
    if kind.path != "serviceenginegroup" {
        return Ok(String::new());
    }
    let port = |object: &Object| {
        let is_used = object.get("use_objsync").and_then(Value::as_bool).unwrap_or(true);
        object.get("objsync_port").and_then(Value::as_u64).filter(|_| is_used)
    };
    let (old, Some(new)) = (before.and_then(port), port(after)) else { return Ok(String::new()) };
    if old == Some(new) {
        return Ok(String::new());
    }
    let text = |name: &str| after.get(name).and_then(Value::as_str).unwrap_or_default();
    let query = format!("refers_to=serviceenginegroup:{}", escaped(text("uuid")));
    let engines: Vec<String> = api.all(kinds::find("serviceengine")?, &query)?.iter().map(engine).collect();
    let mut said = format!("Object sync of {} uses TCP port {new}", super::show::printable(text("name")));
    if let Some(old) = old {
        said.push_str(&format!(" instead of {old}"));
    }
    said.push_str(". It must be open, in both directions, between ");
    if engines.len() < 2 {
        said.push_str("the management addresses of every two service engines of the group");
        if let [one] = &engines[..] {
            said.push_str(&format!(" (it has one: {one})"));
        }
        said.push_str(".\n");
        return Ok(said);
    }
    said.push_str("every two of:\n");
    for engine in engines {
        said.push_str(&format!("  {engine}\n"));
    }
    Ok(said)
}

/// Name and management address.
fn engine(object: &Object) -> String {
    let name = super::show::name(object);
    let address = object
        .get("mgmt_vnic")
        .and_then(|vnic| vnic.pointer("/vnic_networks/0/ip/ip_addr/addr"))
        .and_then(Value::as_str);
    super::show::printable(&match address {
        Some(address) => format!("{address} ({name})"),
        None => format!("{name} (its management address is not known)"),
    })
}
