//! The engine itself: its sizes, and how it shares tables.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::Value;

use super::table::Part;
use super::view::View;
use super::{Input, Member};
use crate::Problem;
use crate::kind::{Object, kind};

/// MiB of a GiB.
const MIB_PER_GIB: i64 = 1024;
/// The least and the most memory of an engine, GiB.
const MEMORY_GIB: (i64, i64) = (1, 128);

/// The parts of the engine itself.
pub(super) fn sections(input: &Input<'_>) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let engine = &input.engine;
    let none = Object::new();
    let group = input.objects.get("serviceenginegroup", &engine.group);
    let group = match kind("serviceenginegroup") {
        Some(kind) => View::of(kind, group.as_ref().unwrap_or(&none)),
        None => return Ok(BTreeMap::new()),
    };
    let mut sections = BTreeMap::new();
    let mut part = Part::default();
    if !engine.name.is_empty() {
        part.set("name", engine.name.as_str());
    }
    // What is as it is by default is not said: an engine that runs takes no other sizes than those of its start.
    let memory = group.int("memory_per_se").unwrap_or(2048) / MIB_PER_GIB;
    let memory = memory.clamp(MEMORY_GIB.0, MEMORY_GIB.1);
    part.set_some("memory_gib", Some(memory).filter(|gib| *gib != 2));
    let share = group.int("connection_memory_percentage");
    part.set_some("connection_memory_percentage", share.filter(|share| *share != 50));
    let properties = input.objects.named("seproperties", "");
    if let (Some((_, properties)), Some(kind)) = (&properties, kind("seproperties")) {
        let most = View::of(kind, properties).part("se_runtime_properties").int("persistence_mem_max");
        part.set_some("persistence_mem_max_bytes", most.filter(|bytes| *bytes != 0));
    }
    sections.insert("engine/engine".to_owned(), part.alone("engine"));
    if let Some(objsync) = objsync(input, group) {
        sections.insert("objsync/objsync".to_owned(), objsync.alone("objsync"));
    }
    Ok(sections)
}

/// How the engine shares its tables; `None`: with nobody.
//= COMPILE-OBJSYNC-01
fn objsync(input: &Input<'_>, group: View<'_>) -> Option<Part> {
    let (engine, identity) = (&input.engine, &input.engine.identity);
    let mut part = Part::default();
    if !group.is_on("use_objsync") {
        let redis = engine.redis_address.as_deref()?;
        let own = engine.member.as_ref()?;
        return Some(
            part.with("use_objsync", false)
                .with("redis_address", redis)
                .with("slot", i64::from(own.slot))
                .with("group", identity.group.as_str())
                .with("secret_file", identity.secret_file.as_str()),
        );
    }
    let own = engine.member.as_ref()?;
    let port = group.int("objsync_port").unwrap_or(9001);
    part.set("address", own.address.to_string());
    part.set("port", own.port.map_or(port, i64::from));
    part.set("slot", i64::from(own.slot));
    part.set("group", identity.group.as_str());
    for (key, file) in [
        ("ca_file", &identity.ca_file),
        ("certificate_file", &identity.certificate_file),
        ("key_file", &identity.key_file),
        ("secret_file", &identity.secret_file),
    ] {
        part.set(key, file.as_str());
    }
    let settings = group.part("objsync_config");
    part.set_some("cpu_limit_percentage", settings.int("objsync_cpu_limit"));
    part.set_some("reconcile_interval_s", settings.int("objsync_reconcile_interval"));
    let mut peers: Vec<&Member> = engine.peers.iter().collect();
    peers.sort_by_key(|peer| peer.slot);
    let member = |peer: &&Member| {
        let port = peer.port.map_or(port, i64::from);
        Part::default()
            .with("slot", i64::from(peer.slot))
            .with("address", peer.address.to_string())
            .with("port", port)
    };
    let mut members: Vec<Value> = peers.iter().map(member).map(Value::from).collect();
    if let Some(reader) = &engine.reader {
        let reader = Part::default()
            .with("slot", i64::from(reader.slot))
            .with("address", reader.address.to_string())
            .with("reads", true);
        members.push(Value::from(reader));
    }
    part.set_list("members", members);
    Some(part)
}

/// The keys of session tickets.
pub(super) fn ticket_keys(input: &Input<'_>) -> BTreeMap<String, String> {
    // The one that seals stands first in the document, and so does its key here.
    let keys = input.ticket_keys.iter().enumerate().map(|(at, key)| {
        let part = Part::named(&key.name).with("key", STANDARD.encode(key.key));
        (format!("ticket_key/{at:02}-{}", key.name), part.one_of("ticket_key"))
    });
    keys.collect()
}
