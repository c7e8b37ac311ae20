//! Tables that are shared by way of a Redis beside each engine and a distributor between these: the thread that speaks to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use forebay_core::table::EngineSlot;
use forebay_objsync::Event;
use forebay_objsync_tokio::legacy::{Mirror, MirrorHandle, MirrorOrder, MirrorSettings, MirrorView};
pub use forebay_objsync_tokio::legacy::{MirrorStatus, Place, Relay, relay};
use forebay_snapshot::Objsync;

use super::thread::{Here, ends_well, incarnation};
use crate::persist::{SharedTables, Store};
use crate::rt::clock;
use crate::tls;

/// The engine's Redis, with its password.
///
/// # Errors
/// The file of the password cannot be used, with the remedy.
pub fn redis(objsync: &Objsync) -> Result<Option<Place>, Vec<String>> {
    if !objsync.is_legacy() {
        return Ok(None);
    }
    let address = objsync.redis_address.as_deref().unwrap_or_default();
    let place: Place = address.parse().map_err(|why| vec![format!("objsync.redis_address: {why}")])?;
    let mut problems: Vec<String> = super::secrets(objsync).err().into_iter().collect();
    let password = objsync.redis_password_file.as_deref().map(|file| {
        let read = password(file);
        read.map_err(|why| format!("objsync.redis_password_file: {file}: {why}"))
    });
    match password.transpose() {
        Ok(_) if !problems.is_empty() => Err(problems),
        Ok(Some(password)) => Ok(Some(place.with_password(&password))),
        Ok(None) => Ok(Some(place)),
        Err(why) => {
            problems.push(why);
            Err(problems)
        }
    }
}

/// A password: the first line of a file that not everybody may read.
///
/// # Errors
/// The file cannot be used, with the remedy.
pub fn password(file: &str) -> Result<tls::Bytes, String> {
    let mut bytes = tls::read_private(file)?;
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(bytes.len());
    bytes.truncate(end);
    if bytes.is_empty() {
        return Err("its first line is empty; write the password there".to_owned());
    }
    Ok(bytes)
}

/// A Redis beside this engine, while it is written and read.
pub struct Redis {
    handle: MirrorHandle<Here>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread has panicked.
    failed: Arc<AtomicBool>,
    /// What is made of the group's secret.
    proof: u64,
}

/// Begins to share the tables by way of a Redis. `anew`: no process before this one had them, so they begin with what stands
/// in Redis; `hear` is called on that thread for what happens.
///
/// # Errors
/// The group's secret cannot be read, or there can be no more threads.
pub fn start(
    objsync: &Objsync,
    redis: Place,
    anew: bool,
    store: Arc<Store>,
    hear: Arc<dyn Fn(Event) + Send + Sync>,
) -> anyhow::Result<Redis> {
    let proof = super::secrets(objsync).map_err(|why| anyhow!(why))?.proof;
    let settings = MirrorSettings {
        me: EngineSlot::new(objsync.slot).unwrap_or_default(),
        group: objsync.group.clone(),
        boot: incarnation(),
        redis,
        load: anew,
    };
    let feed = Arc::clone(&store);
    let tables = SharedTables::of(store).context("the tables were made for this engine alone")?;
    let (alone, heard) = (Arc::clone(&feed), Arc::clone(&hear));
    let (mirror, handle) = Mirror::new(settings, Here { tables, hear });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow!("the runtime of object sync cannot be made: {error}"))?;
    let failed = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&failed);
    let body = move || {
        if !ends_well(|| runtime.block_on(mirror.run()), &mark) {
            // What was waited for does not come any more.
            alone.stand_alone(clock::now);
            heard(Event::Joined { complete: false });
        }
    };
    let thread = std::thread::Builder::new()
        .name("forebay-sync".to_owned())
        .spawn(body)
        .context("the thread of object sync cannot be started")?;
    feed.share_changes(Arc::clone(&handle.waker));
    (handle.waker)();
    Ok(Redis { handle, thread: Mutex::new(Some(thread)), failed, proof })
}

impl Redis {
    /// What is known of it.
    pub fn status(&self) -> MirrorStatus {
        let mut status = self.view().status();
        if self.failed.load(Ordering::Acquire) {
            // The engine serves by its own tables since then.
            (status.connected, status.joined) = (false, true);
            status.trouble = Some("object sync has panicked; start the engine anew".to_owned());
        }
        status
    }

    /// What was made of the group's secret at the start.
    pub fn proof(&self) -> u64 {
        self.proof
    }

    /// What may be looked at.
    pub fn view(&self) -> &MirrorView {
        &self.handle.view
    }

    /// The tables are those of another configuration now.
    pub async fn follow(&self, store: Arc<Store>) {
        let Some(tables) = SharedTables::of(store) else { return };
        let work = move |here: &mut Here| here.tables = tables;
        // Where the thread has ended there is nothing to follow.
        let _ = self.handle.orders.send(MirrorOrder::Work(Box::new(work))).await;
    }

    /// Ends, within `limit`; what waits is written if there is a limit.
    pub fn stop(&self, limit: Duration) {
        let _ = self.handle.orders.try_send(MirrorOrder::Stop(!limit.is_zero()));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let until = Instant::now() + limit;
        if let Some(thread) = thread {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}
