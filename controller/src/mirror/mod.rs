//! Mirrors of the tables that engines share: of each group one that only reads, and gives back what all engines have lost.
//!
//! The Controller that leads is a member of each group, in a place that no engine has. It calls the engines, from the address by
//! which each of them knows it, and is waited for by none. What it holds is in memory alone: another leader begins with what
//! the engines have.

mod host;
mod tables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use forebay_core::table::{EngineSlot, GroupMillis, Hasher};
use forebay_model::compile::Member as Reader;
use forebay_model::{member_name, reader_name};
use forebay_objsync::{Bounds, Engine as Sync, Settings as SyncSettings};
use forebay_objsync_tokio::{Command, Driver, Handle, Identity, Member, Secrets, Settings, Status};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::api::App;
use crate::engines::{Engine, group_name, secret};
use crate::hex::sha256_of;
use crate::store::Store;
use host::{Here, Holds};
pub use tables::{ENTRIES_BYTES, TABLES_MAX};

/// The place of a mirror among the engines of its group: the last one, which a group of 64 engines has itself.
pub const SLOT: u8 = 63;
/// Groups that are mirrored: with all their tables full they take half a GiB.
pub const MIRRORS_MAX: usize = 8;
/// How often it is looked whether mirrors stand as they should, and which engines they hear.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a change: engines tell of something all the time.
const REST: Duration = Duration::from_millis(100);
/// A mirror shows another certificate after so long.
const RENEW: Duration = Duration::from_secs(86_400);
/// Percent of a processor that comparing may take, of each mirror.
const CPU_PERCENT: u8 = 15;
/// Milliseconds from one comparison with an engine to the next.
const COMPARE_MS: u64 = 10_000;

/// The mirrors, for those who look.
#[derive(Default)]
pub struct Mirrors {
    shown: RwLock<BTreeMap<String, Shown>>,
}

/// One of them.
#[derive(Clone)]
struct Shown {
    view: forebay_objsync_tokio::View,
    holds: Arc<Mutex<Holds>>,
}

/// A mirror that runs.
struct Mirror {
    handle: Handle<Here>,
    task: JoinHandle<()>,
    members: Vec<Member>,
    holds: Arc<Mutex<Holds>>,
    identified: Instant,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The one that only reads, as an engine is to know it; `None`: there is none for this engine.
//= SYNC-MIRROR-01
pub fn reader(engine: &Engine, group: &[Arc<Engine>]) -> Option<Reader> {
    let door = engine.door.filter(|_| engine.takes_mirror)?;
    let is_free = group.iter().all(|other| other.slot != Some(SLOT));
    // It calls from there, and who is called knows it by that.
    let is_one_family = engine.address.is_some_and(|address| address.is_ipv4() == door.is_ipv4());
    (is_free && is_one_family).then_some(Reader { slot: SLOT, address: door, port: None })
}

/// Where an engine that has taken its mirror is reached, by the configuration that it works by.
fn reached(engine: &Engine) -> Option<SocketAddr> {
    let sections = engine.configured.as_ref()?;
    let text = sections.get("objsync/objsync")?;
    let (own, members) = text.split_once("members").unwrap_or((text, ""));
    if !members.contains("reads = true") {
        return None;
    }
    let port = own.lines().find_map(|line| line.strip_prefix("port = ")?.trim().parse().ok());
    Some(SocketAddr::new(engine.address?, engine.sync_port.or(port)?))
}

/// Keeps mirrors of the groups whose engines know them, until dropped.
pub async fn drive<S: Store>(app: Arc<App<S>>) {
    let mut mirrors: BTreeMap<String, Mirror> = BTreeMap::new();
    let (mut objects, mut engines) = (app.objects.follow(), app.engines.follow());
    loop {
        objects.mark_unchanged();
        engines.mark_unchanged();
        look(&app, &mut mirrors).await;
        let shown =
            |mirror: &Mirror| Shown { view: mirror.handle.view.clone(), holds: Arc::clone(&mirror.holds) };
        *app.mirrors.shown.write().unwrap_or_else(PoisonError::into_inner) =
            mirrors.iter().map(|(group, mirror)| (group.clone(), shown(mirror))).collect();
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

async fn look<S: Store>(app: &App<S>, mirrors: &mut BTreeMap<String, Mirror>) {
    let mut wanted: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for engine in app.engines.all() {
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
    // A group that has lost all its engines has its tables here alone.
    //= SYNC-MIRROR-04
    mirrors.retain(|group, mirror| {
        let stays = wanted.contains_key(group) || is_shared(app, group);
        let is_worn = mirror.holds().is_worn;
        if mirror.task.is_finished() || is_worn || !stays {
            tracing::warn!(
                event = "MIRROR_ENDED",
                group,
                is_worn,
                shares = stays,
                "the tables of a group are not mirrored, or from nothing again"
            );
            return false;
        }
        true
    });
    for (group, members) in &wanted {
        if !mirrors.contains_key(group) {
            if mirrors.len() >= MIRRORS_MAX {
                continue;
            }
            match begin(app, group, members).await {
                Ok(mirror) => {
                    tracing::info!(
                        event = "MIRROR_BEGUN",
                        group,
                        engines = members.len(),
                        "the tables of a group are mirrored"
                    );
                    mirrors.insert(group.clone(), mirror);
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
    for (group, mirror) in mirrors.iter_mut() {
        let members = wanted.remove(group).unwrap_or_default();
        mirror.follow(app, group, members).await;
    }
}

/// The engines of a group speak to one another.
fn is_shared<S: Store>(app: &App<S>, group: &str) -> bool {
    let now = app.objects.now();
    let held = now.get("serviceenginegroup", group);
    held.is_some_and(|held| held.object().get("use_objsync").is_none_or(|on| *on == Value::from(true)))
}

/// Who the mirror is: a certificate of the engines' authority by a name that no engine has.
//= SYNC-MIRROR-01
fn identity<S: Store>(app: &App<S>, group: &str) -> Result<Identity, String> {
    let name = reader_name(&group_name(group), SLOT);
    let files = app.authority.issue_reader(&name)?;
    Identity::read(&name, files.authority.as_bytes(), files.certificate.as_bytes(), files.key.as_bytes())
        .map_err(|unfit| unfit.to_string())
}

fn settings(group: &str, members: &[Member], identity: Identity, me: EngineSlot) -> Settings {
    Settings {
        me,
        reads: true,
        tables_of_its_own: true,
        group: group_name(group),
        // It listens nowhere.
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        members: members.to_vec(),
        identity: Arc::new(identity),
        cpu_percent: CPU_PERCENT,
        compare_ms: COMPARE_MS,
    }
}

async fn begin<S: Store>(app: &App<S>, group: &str, members: &[Member]) -> Result<Mirror, String> {
    let secret =
        secret(&app.store, app.objects.seal(), group).await.map_err(|refusal| refusal.to_string())?;
    let secrets = Secrets::of(secret.as_bytes(), &group_name(group), sha256_of);
    let me = EngineSlot::new(SLOT).ok_or("there is no such place")?;
    let settings = settings(group, members, identity(app, group)?, me);
    let mut boot = [0; 8];
    rand::fill(&mut boot).map_err(|_| "the system gives no random numbers")?;
    let (here, holds) = Here::new(secrets.table, me)?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let engine = Sync::new(
        SyncSettings {
            me,
            boot: u64::from_le_bytes(boot),
            group: secrets.proof,
            sums: Hasher::new(secrets.sums),
            members: settings.mask(),
            readers: settings.readers(),
            wall: GroupMillis(u64::try_from(wall).unwrap_or(u64::MAX)),
            floor: GroupMillis(0),
            bounds: Bounds::default(),
        },
        here.clock(),
    );
    let (driver, handle) = Driver::new(settings, engine, here).map_err(|error| error.to_string())?;
    let span = tracing::info_span!("mirror", group);
    let task = tokio::spawn(driver.run().instrument(span));
    Ok(Mirror { handle, task, members: members.to_vec(), holds, identified: Instant::now() })
}

impl Mirror {
    fn holds(&self) -> Holds {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are its members now.
    async fn follow<S: Store>(&mut self, app: &App<S>, group: &str, members: Vec<Member>) {
        let is_old = self.identified.elapsed() >= RENEW;
        if (self.members != members || is_old)
            && let (Ok(identity), Some(me)) = (identity(app, group), EngineSlot::new(SLOT))
        {
            let (answer, answered) = oneshot::channel();
            let settings = Box::new(settings(group, &members, identity, me));
            let told = self.handle.commands.send(Command::Settings(settings, answer)).await;
            if told.is_ok() && answered.await.is_ok() {
                (self.members, self.identified) = (members, Instant::now());
            }
        }
        let up = connected(&self.handle.view.status());
        let work = move |_: &mut Sync, here: &mut Here, _| {
            here.present(up);
            Vec::new()
        };
        // Where it has ended it is begun anew with the next look.
        let _ = self.handle.commands.send(Command::Work(Box::new(work))).await;
    }
}

/// The engines that it hears, one bit a slot.
fn connected(status: &Status) -> u64 {
    let up = status.peers.iter().filter(|peer| peer.figures.is_some_and(|figures| figures.connected));
    up.fold(0, |bits, peer| bits | 1 << peer.slot.get())
}

impl Mirrors {
    /// What there is of a group, in the form of the API.
    //= SYNC-MIRROR-05
    pub fn show(&self, group: &str) -> Value {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner).get(group).cloned();
        let Some(shown) = shown else { return json!({"mirrored": false}) };
        let holds = *shown.holds.lock().unwrap_or_else(PoisonError::into_inner);
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
            "entries": holds.entries,
            "tables": holds.tables,
            "tables_left_out": holds.left_out,
            "unknown": figures.unknown,
            "refused": figures.refused,
            "group_time_ms": status.group_ms,
            "engines": status.peers.iter().map(engine).collect::<Vec<_>>(),
        })
    }
}
