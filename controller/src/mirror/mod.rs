//! Mirrors of the tables that engines share: of each group one that only reads, and gives back what all engines have lost.
//!
//! The Controller that leads is a member of each group, in a place that no engine has. It calls the engines, from the address by
//! which each of them knows it, and is waited for by none. What it holds is in memory alone: another leader begins with what
//! the engines have.

mod host;
mod names;
mod running;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use forebay_core::table::EngineSlot;
use forebay_model::compile::Member as Reader;
use forebay_model::member_name;
use forebay_objsync_tokio::Member;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::App;
use crate::aside::Aside;
use crate::engines::{Engine, group_name};
use crate::store::Store;
use host::{Had, Holds};
use running::Mirror;
pub use tables::{ENTRIES_BYTES, TABLES_MAX};

/// The place of a mirror among the engines of its group: the last one, which a group of 64 engines has itself.
pub const SLOT: u8 = 63;
/// Groups that are mirrored: with all their tables full they take half a GiB.
pub const MIRRORS_MAX: usize = 8;
/// How often it is looked whether mirrors stand as they should, and which engines they hear.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a change: engines tell of something all the time.
const REST: Duration = Duration::from_millis(100);
/// From one time that a mirror begins anew because names have run out to the next: that reads all that it has.
const RENEW_PAUSE: Duration = Duration::from_secs(60);
/// Percent of a processor that comparing may take, of all mirrors together.
const CPU_PERCENT: u8 = 15;

/// The mirrors, for those who look.
#[derive(Default)]
pub struct Mirrors {
    shown: RwLock<BTreeMap<String, Shown>>,
    chosen: Mutex<Chosen>,
}

/// The groups that have a mirror, or are to have one.
#[derive(Default)]
struct Chosen {
    groups: BTreeSet<String>,
    /// Those that there was no room for, which was said.
    refused: BTreeSet<String>,
}

/// One of them.
#[derive(Clone)]
struct Shown {
    view: forebay_objsync_tokio::View,
    holds: Arc<Mutex<Holds>>,
}

/// The one that only reads, as an engine is to know it; `None`: there is none for this engine, which waits for none then.
//= SYNC-MIRROR-01
pub fn reader<S: Store>(app: &App<S>, engine: &Engine, group: &[Arc<Engine>]) -> Option<Reader> {
    let reader = reader_of(engine)?;
    let is_free = group.iter().all(|other| other.slot != Some(SLOT));
    // One that was refused may have a place later: documents are looked at anew every minute.
    let is_fit = is_free && is_shared(app, &engine.group) && app.mirrors.has_room_for(&engine.group);
    is_fit.then_some(reader)
}

/// As an engine's document names it: by nothing of the Controller that leads, for each change of leader would be another
/// configuration for all engines then. The engine's own address is one of the right family; who calls shows a certificate.
fn reader_of(engine: &Engine) -> Option<Reader> {
    let door = engine.door.filter(|_| engine.takes_mirror)?;
    let address = engine.address.filter(|address| address.is_ipv4() == door.is_ipv4())?;
    Some(Reader { slot: SLOT, address, port: None })
}

/// Where an engine that has taken its mirror is reached, by the configuration that it works by.
fn reached(engine: &Engine) -> Option<SocketAddr> {
    let sections = engine.configured.as_ref()?;
    let document: toml::Table = sections.get("objsync/objsync")?.parse().ok()?;
    let objsync = document.get("objsync")?.as_table()?;
    let members = objsync.get("members")?.as_array()?;
    let reads = |member: &toml::Value| member.get("reads").and_then(toml::Value::as_bool) == Some(true);
    if !members.iter().any(reads) {
        return None;
    }
    let port = || objsync.get("port")?.as_integer()?.try_into().ok();
    Some(SocketAddr::new(engine.address?, engine.sync_port.or_else(port)?))
}

/// What is kept from look to look.
#[derive(Default)]
struct Running {
    /// Where mirrors work; there is none before there is one.
    aside: Option<Aside>,
    mirrors: BTreeMap<String, Mirror>,
    /// What mirrors had that are to begin anew, once it has been read.
    had: BTreeMap<String, Had>,
    reading: BTreeMap<String, JoinHandle<Option<Had>>>,
    /// When one did last.
    renewed: BTreeMap<String, Instant>,
}

/// Keeps mirrors of the groups whose engines know them, until dropped.
pub async fn drive<S: Store>(app: Arc<App<S>>) {
    let mut running = Running::default();
    let (mut objects, mut engines) = (app.objects.follow(), app.engines.follow());
    loop {
        objects.mark_unchanged();
        engines.mark_unchanged();
        running.look(&app).await;
        let shown = |mirror: &Mirror| Shown { view: mirror.view(), holds: Arc::clone(&mirror.holds) };
        *app.mirrors.shown.write().unwrap_or_else(PoisonError::into_inner) =
            running.mirrors.iter().map(|(group, mirror)| (group.clone(), shown(mirror))).collect();
        let changed = tokio::select! {
            changed = objects.changed() => changed,
            changed = engines.changed() => changed,
            () = tokio::time::sleep(LOOK) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}

impl Running {
    async fn look<S: Store>(&mut self, app: &App<S>) {
        let mut wanted: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        let mut with_engines = BTreeSet::new();
        for engine in app.engines.all() {
            with_engines.insert(engine.group.clone());
            let (Some(slot), Some(at), Some(door)) = (
                engine.slot.filter(|slot| *slot != SLOT).and_then(EngineSlot::new),
                reached(&engine),
                engine.door,
            ) else {
                continue;
            };
            let name = member_name(&group_name(&engine.group), slot.get());
            let member = Member { slot, name, address: at, reads: false, from: Some(door) };
            wanted.entry(engine.group.clone()).or_default().push(member);
        }
        self.retain(app, &wanted);
        self.take_what_was_read().await;
        for (group, members) in &wanted {
            let is_none = !self.mirrors.contains_key(group) && !self.reading.contains_key(group);
            if is_none && app.mirrors.has_room_for(group) {
                self.begin(app, group, members).await;
            }
        }
        let percent = CPU_PERCENT / u8::try_from(self.mirrors.len().clamp(1, 15)).unwrap_or(15);
        for (group, mirror) in &mut self.mirrors {
            let members = wanted.remove(group).unwrap_or_default();
            mirror.follow(app, group, members, percent.max(1)).await;
        }
        app.mirrors.release(|group| {
            let has_entries = || self.mirrors.get(group).is_some_and(|mirror| mirror.holds().entries > 0);
            is_shared(app, group) && (with_engines.contains(group) || has_entries())
        });
    }

    /// Ends those that are none any more, and has those begin anew that have to.
    fn retain<S: Store>(&mut self, app: &App<S>, wanted: &BTreeMap<String, Vec<Member>>) {
        let mut over = Vec::new();
        for (group, mirror) in &self.mirrors {
            // A group that has lost all its engines has its tables here alone.
            //= SYNC-MIRROR-04
            let stays = wanted.contains_key(group) || is_shared(app, group);
            let has_rested = self.renewed.get(group).is_none_or(|at| at.elapsed() >= RENEW_PAUSE);
            let is_worn = mirror.holds().is_worn && has_rested;
            if mirror.is_finished() || is_worn || !stays {
                over.push((group.clone(), is_worn && stays && !mirror.is_finished()));
            }
        }
        for (group, is_worn) in over {
            let Some(mirror) = self.mirrors.remove(&group) else { continue };
            tracing::warn!(
                event = "MIRROR_ENDED",
                group,
                keeps_entries = is_worn,
                "the tables of a group are not mirrored any more, or the mirror begins anew"
            );
            if is_worn {
                self.renewed.insert(group.clone(), Instant::now());
                self.reading.insert(group, tokio::spawn(async move { mirror.had().await }));
            }
        }
        let is_known = |group: &String| wanted.contains_key(group) || is_shared(app, group);
        self.had.retain(|group, _| is_known(group));
        self.renewed.retain(|group, _| is_known(group));
    }

    /// Mirrors that begin anew do with what those before them had.
    async fn take_what_was_read(&mut self) {
        let over: Vec<_> = self.reading.extract_if(.., |_, reading| reading.is_finished()).collect();
        for (group, read) in over {
            if let Ok(Some(had)) = read.await {
                self.had.insert(group, had);
            }
        }
    }

    async fn begin<S: Store>(&mut self, app: &App<S>, group: &str, members: &[Member]) {
        let begun = async {
            let aside = match &mut self.aside {
                Some(aside) => aside,
                none => none.insert(Aside::start("mirrors")?),
            };
            Mirror::begin(app, aside, group, members, self.had.remove(group)).await
        };
        match begun.await {
            Ok(mirror) => {
                let engines = members.len();
                tracing::info!(event = "MIRROR_BEGUN", group, engines, "the tables of a group are mirrored");
                self.mirrors.insert(group.to_owned(), mirror);
            }
            Err(why) => {
                tracing::warn!(
                    event = "MIRROR_FAILED",
                    group,
                    why,
                    "the tables of a group cannot be mirrored"
                );
            }
        }
    }
}

/// The engines of a group speak to one another.
fn is_shared<S: Store>(app: &App<S>, group: &str) -> bool {
    let now = app.objects.now();
    let held = now.get("serviceenginegroup", group);
    held.is_some_and(|held| held.object().get("use_objsync").is_none_or(|on| on.as_bool() == Some(true)))
}

impl Mirrors {
    fn chosen(&self) -> MutexGuard<'_, Chosen> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a group has a mirror, or may have one: the first ones that ask have, and stay.
    //= SYNC-MIRROR-02
    fn has_room_for(&self, group: &str) -> bool {
        let mut chosen = self.chosen();
        if chosen.groups.contains(group) {
            return true;
        }
        if chosen.groups.len() < MIRRORS_MAX {
            chosen.refused.remove(group);
            return chosen.groups.insert(group.to_owned());
        }
        if chosen.refused.insert(group.to_owned()) {
            tracing::warn!(
                event = "MIRROR_FAILED",
                group,
                why = format!("{MIRRORS_MAX} groups are mirrored, which is as many as there may be"),
                "the tables of a group cannot be mirrored"
            );
        }
        false
    }

    /// Groups that are not to stay make room for others.
    fn release(&self, stays: impl Fn(&str) -> bool) {
        let mut chosen = self.chosen();
        chosen.groups.retain(|group| stays(group));
        chosen.refused.retain(|group| stays(group));
    }

    /// What there is of a group, in the form of the API.
    //= SYNC-MIRROR-05
    pub fn show(&self, group: &str) -> Value {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned();
        let Some(shown) = shown else { return json!({"mirrored": false}) };
        let Holds { entries, count, .. } = *shown.holds.lock().unwrap_or_else(PoisonError::into_inner);
        let status = shown.view.status();
        let engine = |peer: &forebay_objsync_tokio::PeerStatus| {
            let figures = peer.figures.unwrap_or_default();
            json!({
                "slot": peer.slot.get(), "address": peer.address, "connected": figures.connected,
                "synced": figures.synced, "cells_differ": figures.differing, "applied": figures.applied,
                "bytes_in": figures.bytes_in, "bytes_out": figures.bytes_out, "connections": peer.connections,
                "trouble": peer.trouble,
            })
        };
        let figures = status.figures;
        json!({
            "mirrored": true,
            "slot": SLOT,
            "entries": entries,
            "entries_bytes_max": ENTRIES_BYTES,
            "tables": count.tables,
            "tables_left_out": count.tables_left_out,
            "servers": count.servers,
            "servers_left_out": count.servers_left_out,
            "unknown": figures.unknown,
            "refused": figures.refused,
            "group_time_ms": status.group_ms,
            "engines": status.peers.iter().map(engine).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod giving_tests;
#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-MIRROR-01
    #[test]
    fn another_leader_is_no_other_configuration() {
        let of = |door: &str| {
            let at = |text: &str| Some(text.parse().expect("an address"));
            reader_of(&Engine {
                address: at("192.0.2.1"),
                door: at(door),
                takes_mirror: true,
                ..Engine::default()
            })
        };
        assert!(of("198.51.100.1").is_some());
        assert_eq!(of("198.51.100.1"), of("198.51.100.2"));
        assert_eq!(of("2001:db8::1"), None, "it could not call");
    }

    //= test SYNC-MIRROR-02
    #[test]
    fn the_ninth_group_has_none_until_one_goes() {
        let mirrors = Mirrors::default();
        let name = |n: usize| format!("serviceenginegroup-{n}");
        assert!((0..MIRRORS_MAX).all(|n| mirrors.has_room_for(&name(n))));
        assert!(!mirrors.has_room_for(&name(MIRRORS_MAX)) && mirrors.has_room_for(&name(0)));
        mirrors.release(|group| group != name(3));
        assert!(mirrors.has_room_for(&name(MIRRORS_MAX)) && !mirrors.has_room_for(&name(3)));
    }
}
