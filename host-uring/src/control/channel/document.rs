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

/// Keys of `[objsync]` that only a new start can change.
const OBJSYNC_FIXED: [&str; 7] =
    ["address", "use_objsync", "redis_address", "redis_password_file", "group", "slot", "secret_file"];

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
        for key in objsync.keys().filter(|key| !matches!(key.as_str(), "address" | "port")) {
            let path = format!("objsync.{key}");
            problems.push(problem(
                &path,
                "the Controller says this",
                "take it out; address and port may stay",
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
    if said.objsync.contains_key("address") {
        said.objsync.extend(local.objsync.clone());
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

/// Keeps all of it if a part of it is one that only a new start can change: it belongs together.
fn stay_objsync(said: &mut Table, runs: &Table, pending: &mut Vec<String>) {
    let differ = |key: &&&str| match (**key, said.get(**key), runs.get(**key)) {
        // To another address members move while the engine runs; to none they do not.
        ("address", said, runs) => said.is_some() != runs.is_some(),
        (_, said, runs) => said != runs,
    };
    let changed: Vec<String> =
        OBJSYNC_FIXED.iter().filter(differ).map(|key| format!("objsync.{key}")).collect();
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
}
