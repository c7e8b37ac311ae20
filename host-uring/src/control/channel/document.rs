//! The engine's document: what the Controller says, and what the engine says for itself.
//!
//! `[engine]` may be said by both; the engine's own word counts, key by key. Where the document leads files, they are those of
//! the engine's folder. What only a new start can change stays as it is until then.

use std::net::IpAddr;
use std::path::Path;

use forebay_snapshot::{Problem, Snapshot};
use forebay_wire::Sections;
use toml::{Table, Value};

use crate::control::reload::LIVE_SETTINGS;

/// Keys of `[objsync]` that only a new start can change; those of the Redis only while it is the same way of sharing.
const OBJSYNC_FIXED: [&str; 5] = ["redis_address", "redis_password_file", "group", "slot", "secret_file"];

/// What an engine may say for itself in `[objsync]`: where others reach it, and of the Redis beside it.
const OWN_OBJSYNC: [&[&str]; 2] = [&["address", "port"], &["redis_address", "redis_password_file"]];

/// What the engine says for itself, in a file of its own: `[engine]`, and where others reach it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Local {
    engine: Table,
    objsync: Table,
}

/// A document with what it leaves for the next start.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// Its text.
    pub text: String,
    /// Settings that take effect with the next start.
    pub pending: Vec<String>,
}

/// Which parts of a document belong to the engine itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    engine: Table,
    objsync: Table,
}

impl Local {
    /// Reads it from a document's text, which was read and checked as `snapshot`, paths and all.
    ///
    /// # Errors
    /// It says more than an engine may say that is led by a Controller.
    //= CHAN-LOCAL-01
    pub fn of(text: &str, snapshot: &Snapshot) -> Result<Self, Vec<Problem>> {
        // It was read before.
        let mut table: Table = toml::from_str(text).unwrap_or_default();
        let problem = |path: &str, reason: &str, fix: &str| Problem {
            line: None,
            path: path.to_owned(),
            reason: reason.to_owned(),
            fix: fix.to_owned(),
        };
        let mut problems = Vec::new();
        for key in table.keys().filter(|key| !matches!(key.as_str(), "version" | "engine" | "objsync")) {
            problems.push(problem(
                key,
                "the Controller says this",
                "take it out, or start the engine without --controller",
            ));
        }
        let mut part = |name: &str| match table.remove(name) {
            Some(Value::Table(part)) => part,
            _ => Table::new(),
        };
        let (mut engine, objsync) = (part("engine"), part("objsync"));
        let is_own = |key: &str| OWN_OBJSYNC.iter().any(|keys| keys.contains(&key));
        for key in objsync.keys().filter(|key| !is_own(key)) {
            let path = format!("objsync.{key}");
            problems.push(problem(
                &path,
                "the Controller says this",
                "take it out; address, port, redis_address and redis_password_file may stay",
            ));
        }
        if engine.contains_key("user") || engine.contains_key("group") {
            let fix = "start the engine as that user: the folder of --state is that user's, too";
            problems.push(problem(
                "engine.user",
                "an engine that is led by a Controller stays who it is",
                fix,
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // Paths count from the folder of the file where they stand, and that is another one than the document's.
        let settled = &snapshot.engine;
        if engine.contains_key("admin_socket") {
            engine.insert("admin_socket".to_owned(), Value::from(settled.admin_socket.as_str()));
        }
        if let Some(Value::Table(log)) = engine.get_mut("access_log")
            && log.contains_key("path")
        {
            log.insert("path".to_owned(), Value::from(settled.access_log.path.as_str()));
        }
        Ok(Local { engine, objsync })
    }

    /// Where other engines reach it.
    pub fn sync_address(&self) -> Option<IpAddr> {
        self.objsync.get("address")?.as_str()?.parse().ok()
    }

    /// Paths of the Redis count from the folder of this file, as all others do.
    #[must_use]
    pub fn from_folder(mut self, folder: &Path) -> Self {
        for key in OWN_OBJSYNC[1] {
            let path = self
                .objsync
                .get(*key)
                .and_then(Value::as_str)
                .filter(|path| path.contains('/') || *key != "redis_address");
            if let Some(settled) = path.map(|path| folder.join(path).to_string_lossy().into_owned()) {
                self.objsync.insert((*key).to_owned(), Value::from(settled));
            }
        }
        self
    }

    /// The Redis beside it.
    pub fn redis_address(&self) -> Option<String> {
        self.objsync.get("redis_address")?.as_str().map(str::to_owned)
    }

    /// The port for that.
    pub fn sync_port(&self) -> Option<u16> {
        self.objsync.get("port")?.as_integer()?.try_into().ok()
    }
}

/// Makes a document of what came and of what the engine says for itself. `runs`: what it runs by now, which only a new start
/// changes in part; `None`: this is for a start.
///
/// # Errors
/// A part is no TOML.
//= CHAN-LOCAL-01
//= CHAN-LOCAL-02
pub fn made(sections: &Sections, local: &Local, runs: Option<&Own>) -> Result<(Document, Own), String> {
    let mut texts = sections.clone();
    let mut said = Own::default();
    for (key, text) in sections {
        let kind = key.split('/').next().unwrap_or_default();
        let to = match kind {
            "engine" => &mut said.engine,
            "objsync" => &mut said.objsync,
            _ => continue,
        };
        let mut read: Table = toml::from_str(text).map_err(|error| format!("{key}: {error}"))?;
        if let Some(Value::Table(part)) = read.remove(kind) {
            *to = part;
        }
        texts.remove(key);
    }
    said.engine.extend(local.engine.clone());
    if is_on(&said.objsync) {
        let keys = OWN_OBJSYNC[usize::from(is_legacy(&said.objsync))];
        let own = local.objsync.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        said.objsync.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    }
    let mut pending = Vec::new();
    if let Some(runs) = runs {
        stay_engine(&mut said.engine, &runs.engine, &mut pending);
        stay_objsync(&mut said.objsync, &runs.objsync, &mut pending);
    }
    for (kind, part) in [("engine", &said.engine), ("objsync", &said.objsync)] {
        if !part.is_empty() {
            let whole = Table::from_iter([(kind.to_owned(), Value::Table(part.clone()))]);
            let text = toml::to_string(&whole).map_err(|error| format!("{kind}: {error}"))?;
            texts.insert(format!("{kind}/{kind}"), text);
        }
    }
    let has_version = texts.values().next().is_some_and(|text| text.trim_start().starts_with("version"));
    let mut text = if has_version { String::new() } else { "version = 1\n".to_owned() };
    for part in texts.values() {
        text.push_str(part);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok((Document { text, pending }, said))
}

/// Keeps what only a new start can change.
fn stay_engine(said: &mut Table, runs: &Table, pending: &mut Vec<String>) {
    let keys: std::collections::BTreeSet<String> = said.keys().chain(runs.keys()).cloned().collect();
    for key in keys.into_iter().filter(|key| !LIVE_SETTINGS.contains(&key.as_str())) {
        if said.get(&key) == runs.get(&key) {
            continue;
        }
        pending.push(format!("engine.{key}"));
        match runs.get(&key) {
            Some(value) => said.insert(key, value.clone()),
            None => said.remove(&key),
        };
    }
}

/// Tables are shared by way of a Redis.
fn is_legacy(objsync: &Table) -> bool {
    objsync.get("use_objsync").and_then(Value::as_bool) == Some(false)
}

/// Tables are shared.
fn is_on(objsync: &Table) -> bool {
    objsync.contains_key("address") || is_legacy(objsync)
}

/// Keeps all of it if a part of it is one that only a new start can change: it belongs together.
fn stay_objsync(said: &mut Table, runs: &Table, pending: &mut Vec<String>) {
    let switches = is_legacy(said) != is_legacy(runs);
    let differ = |key: &&&str| said.get(**key) != runs.get(**key) && !(switches && key.starts_with("redis_"));
    // To another address members move while the engine runs, and to the other way of sharing; to none they do not.
    let turns = is_on(said) != is_on(runs);
    let keys = turns.then_some(&"address").into_iter().chain(OBJSYNC_FIXED.iter().filter(differ));
    let changed: Vec<String> = keys.map(|key| format!("objsync.{key}")).collect();
    if !changed.is_empty() {
        pending.extend(changed);
        *said = runs.clone();
    }
}

/// What of a document belongs to the engine itself.
pub fn own(path: &Path) -> Own {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut table: Table = toml::from_str(&text).unwrap_or_default();
    let mut part = |name: &str| match table.remove(name) {
        Some(Value::Table(part)) => part,
        _ => Table::new(),
    };
    Own { engine: part("engine"), objsync: part("objsync") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(pairs: &[(&str, &str)]) -> Sections {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    fn local(text: &str) -> Local {
        let text = format!("version = 1\n{text}");
        // What belongs to an address comes from the Controller.
        let alone = text.split("[objsync]").next().unwrap_or_default();
        let snapshot = forebay_snapshot::check(alone).expect("it is right");
        Local::of(&text, &snapshot).expect("it says what it may")
    }

    //= test CHAN-LOCAL-01
    #[test]
    fn the_engines_own_word_counts_key_by_key() {
        let local = local("[engine]\nworkers = 1\naccess_log = { path = \"off\" }\n[objsync]\nport = 9003\n");
        let came = sections(&[
            ("engine/engine", "[engine]\nname = \"a\"\nworkers = 8\n"),
            (
                "objsync/objsync",
                "[objsync]\naddress = \"192.0.2.1\"\nport = 9001\nca_file = \"a\"\ncertificate_file = \"b\"\n\
                 key_file = \"c\"\nsecret_file = \"d\"\nslot = 0\n\
                 [[objsync.members]]\naddress = \"192.0.2.1\"\nport = 9003\nslot = 0\n",
            ),
        ]);
        let (made, own) = made(&came, &local, None).expect("TOML");
        let snapshot = forebay_snapshot::check(&made.text)
            .unwrap_or_else(|problems| panic!("{problems:?} {}", made.text));
        assert_eq!((snapshot.engine.name.as_str(), snapshot.engine.workers), ("a", Some(1)));
        assert_eq!(snapshot.engine.access_log.path, "off");
        assert_eq!(own.objsync.get("port").and_then(Value::as_integer), Some(9003));
        assert!(made.pending.is_empty());
        let nothing = super::made(&sections(&[]), &Local::default(), None).expect("TOML").0;
        assert_eq!(nothing.text, "version = 1\n");
    }

    //= test CHAN-LOCAL-01
    #[test]
    fn an_engine_that_is_led_says_nothing_of_services() {
        let text = "version = 1\n[engine]\nuser = \"nobody\"\n[objsync]\nslot = 3\n[[pool]]\nname = \"p\"\n";
        let snapshot = forebay_snapshot::check("version = 1").expect("it is right");
        let problems = Local::of(text, &snapshot).expect_err("too much");
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["pool", "objsync.slot", "engine.user"]);
    }

    //= test CHAN-LOCAL-02
    #[test]
    fn what_only_a_new_start_changes_stays_until_then_and_is_told() {
        let before = sections(&[
            ("engine/engine", "[engine]\nname = \"a\"\nmemory_gib = 2\n"),
            ("objsync/objsync", "[objsync]\naddress = \"192.0.2.1\"\nslot = 1\n"),
        ]);
        let (_, runs) = made(&before, &Local::default(), None).expect("TOML");
        let after = sections(&[
            ("engine/engine", "[engine]\nname = \"b\"\nmemory_gib = 4\nworkers = 2\n"),
            ("objsync/objsync", "[objsync]\naddress = \"192.0.2.9\"\nslot = 1\n"),
        ]);
        let (document, runs) = made(&after, &Local::default(), Some(&runs)).expect("TOML");
        assert_eq!(document.pending, ["engine.memory_gib", "engine.workers"]);
        assert_eq!(runs.engine.get("name").and_then(Value::as_str), Some("b"), "a name may change");
        assert_eq!(runs.engine.get("memory_gib").and_then(Value::as_integer), Some(2));
        assert!(!runs.engine.contains_key("workers"));
        assert_eq!(
            runs.objsync.get("address").and_then(Value::as_str),
            Some("192.0.2.9"),
            "an address may move"
        );
        let off = sections(&[("engine/engine", "[engine]\nname = \"b\"\nmemory_gib = 2\n")]);
        let (document, runs) = made(&off, &Local::default(), Some(&runs)).expect("TOML");
        assert_eq!(document.pending, ["objsync.address", "objsync.slot"]);
        assert!(runs.objsync.contains_key("slot"), "it belongs together");
        let (start, _) = made(&after, &Local::default(), None).expect("TOML");
        assert!(start.text.contains("memory_gib = 4") && start.pending.is_empty());
    }

    //= test CHAN-LOCAL-01
    //= test CHAN-LOCAL-02
    #[test]
    fn a_redis_of_the_engines_own_is_used_where_the_controller_says_so_and_the_way_may_change() {
        let local = local("[objsync]\naddress = \"192.0.2.1\"\nport = 9003\nredis_address = \"./a.redis\"\n")
            .from_folder(Path::new("/etc/forebay"));
        assert_eq!(local.redis_address().as_deref(), Some("/etc/forebay/./a.redis"));
        let files = "ca_file = \"a\"\ncertificate_file = \"b\"\nkey_file = \"c\"\n";
        let own = "slot = 0\ngroup = \"g\"\nsecret_file = \"d\"\n";
        let speaks = format!("[objsync]\naddress = \"192.0.2.1\"\nport = 9001\n{own}{files}");
        let asks = format!("[objsync]\nuse_objsync = false\nredis_address = \"/somewhere\"\n{own}");
        let [speaks, asks] = [speaks, asks].map(|text| sections(&[("objsync/objsync", &text)]));
        let (first, runs) = made(&speaks, &local, None).expect("TOML");
        let (second, runs) = made(&asks, &local, Some(&runs)).expect("TOML");
        let (third, _) = made(&speaks, &local, Some(&runs)).expect("TOML");
        for (made, is_legacy) in [(first, false), (second, true), (third, false)] {
            assert!(made.pending.is_empty(), "{:?}", made.pending);
            let snapshot = forebay_snapshot::check(&made.text).unwrap_or_else(|why| panic!("{why:?}"));
            let objsync = snapshot.objsync;
            let redis = is_legacy.then(|| "/etc/forebay/./a.redis".to_owned());
            assert_eq!((objsync.is_legacy(), objsync.redis_address), (is_legacy, redis));
        }
    }
}
