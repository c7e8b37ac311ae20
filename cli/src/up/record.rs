//! What runs in a data folder, for who ends it: kept there as long as it runs.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Running;
use crate::sys::Held;

/// The file, in the data folder.
const FILE: &str = "forebay-up.json";
/// As which it is written.
const NEW: &str = "forebay-up.json.new";
/// Both.
pub const FILES: [&str; 2] = [FILE, NEW];

/// A process that is known by more than its number, which others get as well in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is called.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// When it was started, in the system's own count.
    started: u64,
}

/// What a run has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The system's start in which it was written: numbers and counts are of that.
    boot: String,
    /// `forebay up` itself, and then its children.
    pub processes: Vec<Known>,
    /// Addresses and sockets, each with what it is for.
    pub addresses: Vec<(String, String)>,
}

impl Known {
    /// The process that has this number now.
    fn now(name: &str, pid: u32) -> Option<Self> {
        Some(Known { name: name.to_owned(), pid, started: started(pid)? })
    }

    /// Takes hold of it; `None`: it is not there any more.
    //= CLI-DOWN-03
    pub fn held(&self) -> Option<Held> {
        let held = Held::of(self.pid).ok()?;
        // Looked at while it is held: whose number it is now is not to change in between.
        (started(self.pid) == Some(self.started)).then_some(held)
    }
}

impl Record {
    /// Of a run that begins.
    pub fn beginning() -> Self {
        let processes = Known::now("up", std::process::id()).into_iter().collect();
        Record { boot: boot(), processes, addresses: Vec::new() }
    }

    /// Of a run.
    pub fn of(running: &Running) -> Self {
        let mut record = Record::beginning();
        let mut add = |name: &str, pid: u32| record.processes.extend(Known::now(name, pid));
        for engine in &running.engines {
            add(&engine.seat.name(), engine.process.pid());
        }
        if let Some(controller) = &running.controller {
            add("controller", controller.process.pid());
        }
        for (name, server) in &running.demo {
            add(name, server.pid());
        }
        let mut add = |what: String, address: String| record.addresses.push((what, address));
        for service in &running.plan.services {
            add(format!("service {}", service.name), service.address.to_string());
        }
        add("service https".to_owned(), running.plan.secure.to_string());
        if let Some(controller) = &running.controller {
            add("the Controller's API".to_owned(), controller.at.to_string());
            add("the Controller's door for engines".to_owned(), controller.door.to_string());
        }
        for engine in &running.engines {
            let name = engine.seat.name();
            add(format!("object sync of {name}"), engine.seat.sync.to_string());
            add(format!("metrics of {name}"), engine.seat.metrics.to_string());
            add(format!("commands of {name}"), engine.admin_socket().display().to_string());
        }
        for (name, address) in &running.plan.servers {
            if running.demo.iter().any(|(demo, _)| demo == name) {
                add(name.clone(), address.to_string());
            }
        }
        record
    }

    /// Writes it into a data folder, as a whole or not at all.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let processes: Vec<Value> = self
            .processes
            .iter()
            .map(|one| json!({ "name": one.name, "pid": one.pid, "started": one.started }))
            .collect();
        let addresses: Vec<Value> = self
            .addresses
            .iter()
            .map(|(what, address)| json!({ "what": what, "address": address }))
            .collect();
        let text = json!({ "boot": self.boot, "processes": processes, "addresses": addresses }).to_string();
        let (new, file) = (folder.join(NEW), folder.join(FILE));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// What stands in a data folder; `None`: nothing, or of another start of the system, or what cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Record::parse(&text).filter(|record| record.boot == boot()))
    }

    fn parse(text: &str) -> Option<Self> {
        let told: Value = serde_json::from_str(text).ok()?;
        let text = |of: &Value| of.as_str().map(str::to_owned);
        let process = |one: &Value| {
            let pid = one["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())?;
            Some(Known { name: text(&one["name"])?, pid, started: one["started"].as_u64()? })
        };
        let address = |one: &Value| Some((text(&one["what"])?, text(&one["address"])?));
        Some(Record {
            boot: text(&told["boot"])?,
            processes: told["processes"].as_array()?.iter().map(process).collect::<Option<_>>()?,
            addresses: told["addresses"].as_array()?.iter().map(address).collect::<Option<_>>()?,
        })
    }
}

/// When a process was started, in clock ticks since the system's start; `None`: there is none of this number, or it has ended and
/// only its parent has not looked yet.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may have anything in it, ends with the last bracket; what follows begins with the third field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    (!has_ended).then(|| fields.get(19)?.parse().ok()).flatten()
}

/// Which start of the system this is.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CLI-DOWN-03
    #[test]
    fn a_number_that_is_another_process_now_is_nobodys() {
        let own = Known::now("own", std::process::id()).expect("it is there");
        assert!(own.held().is_some());
        let before = Known { started: own.started - 1, ..own.clone() };
        assert!(before.held().is_none(), "it has the number of one that was started before");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let known = Known::now("child", child.id()).expect("it is there");
        let held = known.held().expect("it is there");
        assert!(!held.has_ended(std::time::Duration::ZERO));
        held.signal(libc::SIGKILL).expect("it is ours");
        assert!(held.has_ended(std::time::Duration::from_secs(20)));
        assert!(known.held().is_none(), "it has ended, though nobody has looked");
        child.wait().expect("it has ended");
        assert!(held.signal(libc::SIGTERM).is_err());
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_one_of_another_start_of_the_system_is_none() {
        let folder = std::env::temp_dir().join(format!("forebay-record-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Record::read(&folder).unwrap(), None);
        let mut record = Record::beginning();
        record.addresses.push(("service plain".to_owned(), "127.0.0.1:8083".to_owned()));
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).unwrap().as_ref(), Some(&record));
        record.boot = "another".to_owned();
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).unwrap(), None);
        fs::write(folder.join(FILE), "{").unwrap();
        assert_eq!(Record::read(&folder).unwrap(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
