//! The distributor between the Redises of engines that do not speak to one another.

use std::collections::BTreeSet;
use std::path::Path;

use forebay_core::table::EngineSlot;
use forebay_host_uring::sync::redis::{Place, Relay, password, relay};
use forebay_snapshot::engine::ProcessLog;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, exit, process_log};

/// `forebay-se distribute`
//= LEGACY-DISTRIBUTE-01
pub fn run(group: &str, engines: &[(u8, String)], password_file: Option<&Path>) -> Result<(), Failure> {
    let usage = |reason: String, fix: &str| Failure::new(exit::USAGE, reason, fix);
    if let Some(why) = forebay_snapshot::group_problem(group) {
        return Err(usage(format!("--group {group}: {why}"), "write it as in objsync.group of the engines"));
    }
    let secret = match password_file {
        None => None,
        Some(file) => {
            let read = password(&file.to_string_lossy());
            Some(read.map_err(|why| usage(format!("--password-file {}: {why}", file.display()), ""))?)
        }
    };
    let mut slots = BTreeSet::new();
    let mut places = Vec::new();
    for (slot, redis) in engines {
        let place: Place =
            redis.parse().map_err(|why| usage(format!("--engine {slot}={redis}: {why}"), ""))?;
        let place = secret.as_ref().map_or(place.clone(), |password| place.with_password(password));
        if !slots.insert(*slot) {
            return Err(usage(
                format!("--engine {slot}: the slot stands there twice"),
                "give each engine its own",
            ));
        }
        places.extend(EngineSlot::new(*slot).map(|slot| (slot, place)));
    }
    process_log(&ProcessLog::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            () = relay(Relay { group: group.to_owned(), engines: places }) => {}
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
