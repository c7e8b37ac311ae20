//! Loading the configuration again while the engine runs.
//!
//! Nothing that serves is touched before all of the new configuration stands: the file is read and checked, settings
//! that need a new start are looked for, new addresses are bound, tables are made. Then it is published at once, and
//! each worker takes it with its next turn. Whatever fails before that leaves everything as it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_snapshot::{Engine, Objsync, Snapshot};
use serde_json::{Value, json};

use super::refused::{Code, Refused};
use super::sharing::switch;
use super::sockets::When;
use super::supervisor::{Order, Orders};
use super::{Running, SeatListener, State, names, resident, sockets};
use crate::config::{Listener, Transport, Tree};
use crate::fault::{Fault, in_words as told_all};
use crate::health::events::say_reload;
use crate::health::{unable, unix_s};
use crate::limits::{RELOAD_WAIT_S, WATCH_LOOK_MS};
use crate::metrics::WorkerMetrics;
use crate::metrics::page::ReloadView;
use crate::rt::clock;
use crate::sync::{self, Sharing};

/// Settings of the engine that a reload may change; all others belong to its start.
pub(super) const LIVE_SETTINGS: [&str; 5] = ["dns", "name", "stop_grace_s", "stuck_worker_s", "watch_config"];

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Makes what stands in the file independent of the folder that the engine runs in.
    pub settle: fn(&Path, &mut Snapshot),
}

/// What became of attempts to load a configuration.
pub struct Reloads {
    loaded: AtomicU64,
    refused: AtomicU64,
    unchanged: AtomicU64,
    /// When the last one was, in seconds since 1970, and what was wrong with it.
    last: Mutex<(u64, Vec<String>)>,
}

impl Reloads {
    /// None yet but the start, at `unix_s`.
    pub fn new(unix_s: u64) -> Self {
        let count = AtomicU64::default;
        Self { loaded: count(), refused: count(), unchanged: count(), last: Mutex::new((unix_s, Vec::new())) }
    }

    fn note(&self, count: &AtomicU64, problems: Vec<String>) {
        count.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (unix_s(), problems);
    }

    /// What the metrics page shows.
    pub fn view(&self, generation: u64, workers: &[Arc<WorkerMetrics>]) -> ReloadView {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let live = workers.iter().map(|worker| worker.generations.load(Ordering::Relaxed)).max();
        ReloadView {
            generation,
            live: live.unwrap_or(0),
            loaded: self.loaded.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            last_ok: last.1.is_empty(),
            last_unix_s: last.0,
        }
    }

    /// What was wrong with the last one.
    pub fn problems(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// Loads the configuration again.
pub struct Reloader {
    state: Arc<State>,
    orders: Orders,
    source: Option<Source>,
    /// What the file said when it was loaded last. Held over a whole load: one at a time.
    loaded: tokio::sync::Mutex<Snapshot>,
}

/// How a tree comes by its certificates, beside the tree that runs.
type Certificates = fn(&Tree, &Tree) -> Result<(), Vec<Fault>>;

/// A configuration that is ready to take the place of the one before, with sockets for its new addresses.
type Ready = (Running, Vec<Vec<SeatListener>>);

impl Reloader {
    /// For an engine that runs by `snapshot`; without a source there is nothing to load again.
    pub fn new(state: Arc<State>, orders: Orders, source: Option<Source>, snapshot: Snapshot) -> Self {
        Self { state, orders, source, loaded: tokio::sync::Mutex::new(snapshot) }
    }

    /// Keeps the configuration as it is for as long as the answer lives; `None` while one is being loaded.
    pub fn hold(&self) -> Option<tokio::sync::MutexGuard<'_, Snapshot>> {
        self.loaded.try_lock().ok()
    }

    /// Loads the file again; `cause` says in the log who wanted it. Gives what has changed, once every worker has it.
    ///
    /// # Errors
    /// All that is wrong with the file; nothing has changed then.
    //= RELOAD-BROKEN-01
    pub async fn load(&self, cause: &'static str) -> Result<Value, Refused> {
        self.load_source(self.source()?, cause).await
    }

    /// As [`Reloader::load`], from another file, which lies where the engine's own one does. What is wrong with it is told by
    /// whoever asks, with [`Reloader::refuse`] if that is the end of it.
    ///
    /// # Errors
    /// All that is wrong with the file; nothing has changed then.
    pub async fn try_from(&self, path: &Path, cause: &'static str) -> Result<Value, Vec<Fault>> {
        let as_faults = |refused: Refused| vec![Fault::from(refused.reason)];
        let source = Source { path: path.to_owned(), ..self.source().map_err(as_faults)? };
        let loaded = self.ours().await.map_err(as_faults)?;
        self.attempt(loaded, source, cause).await
    }

    /// Tells why a file was not loaded.
    pub fn refuse(&self, path: &Path, cause: &'static str, faults: &[Fault]) -> Refused {
        let problems = told_all(faults);
        let reason = format!("{}: {}", path.display(), problems.join("\n"));
        tracing::error!(
            event = "CONFIG_REFUSED",
            cause,
            problems = problems.len(),
            "the configuration is not loaded, nothing has changed: {reason}"
        );
        let reloads = &self.state.reloads;
        reloads.note(&reloads.refused, problems);
        Refused::new(Code::Failed, reason, "nothing has changed; repair it and load it again")
    }

    fn source(&self) -> Result<Source, Refused> {
        let none = || Refused::new(Code::Failed, "this engine was started without a file", "start it anew");
        self.source.clone().ok_or_else(none)
    }

    async fn load_source(&self, source: Source, cause: &'static str) -> Result<Value, Refused> {
        let loaded = self.ours().await?;
        let path = source.path.clone();
        let done = self.attempt(loaded, source, cause).await;
        done.map_err(|faults| self.refuse(&path, cause, &faults))
    }

    /// Loads a file, or says all that is wrong with it.
    async fn attempt(
        &self,
        mut loaded: tokio::sync::MutexGuard<'_, Snapshot>,
        source: Source,
        cause: &'static str,
    ) -> Result<Value, Vec<Fault>> {
        let reloads = &self.state.reloads;
        let before = loaded.clone();
        // Reading, binding and making tables wait for disks and locks; this thread has others to serve.
        let running = self.state.tree();
        let found = off_this_thread(move || read(&source, &before, &running)).await;
        let ready = match found {
            Ok(Some(snapshot)) => {
                //= NAME-RELOAD-01
                self.state.names.follow_too(&snapshot);
                self.state.names.first().await;
                self.prepared_with_members(snapshot).await
            }
            Ok(None) => {
                // Its certificate may be another one all the same.
                let objsync = loaded.objsync.clone();
                if let Err(faults) = self.members(objsync).await {
                    let problems = told_all(&faults).join("; ");
                    tracing::error!(problems, "object sync goes on as it was");
                }
                reloads.note(&reloads.unchanged, Vec::new());
                let generation = self.state.running().number;
                tracing::info!(
                    event = "CONFIG_UNCHANGED",
                    cause,
                    generation,
                    "the configuration is what it was"
                );
                return Ok(json!({ "outcome": "unchanged", "generation": generation }));
            }
            Err(faults) => Err(faults),
        };
        let (snapshot, ready) = match ready {
            Ok(ready) => ready,
            Err(faults) => {
                self.state.names.follow(&loaded);
                return Err(faults);
            }
        };
        self.state.names.follow(&snapshot);
        *loaded = snapshot;
        let generation = ready.0.number;
        let (changes, late) = self.publish(ready).await;
        reloads.note(&reloads.loaded, Vec::new());
        tracing::info!(
            event = "CONFIG_LOADED",
            cause,
            generation,
            late_workers = late.len(),
            changes = in_words(&changes),
            "the configuration is loaded"
        );
        Ok(json!({ "outcome": "loaded", "generation": generation, "changes": changes, "late_workers": late }))
    }

    /// The configuration, once nobody else loads one and as long as it is this process that serves.
    //= UPG-DOOR-01
    async fn ours(&self) -> Result<tokio::sync::MutexGuard<'_, Snapshot>, Refused> {
        let _waits = self.state.wait_for_successor();
        tokio::select! {
            biased;
            pid = self.state.until_given() => Err(Refused::new(
                Code::Moved,
                format!("nothing is loaded here: process {pid} serves in this one's place"),
                "ask again, which asks that one",
            )),
            loaded = self.loaded.lock() => Ok(loaded),
        }
    }

    /// Makes the configuration that was loaded last anew, with the addresses that the servers' names have now.
    //= NAME-CHANGE-01
    pub async fn readdress(&self) {
        let loaded = self.loaded.lock().await;
        match self.prepared(loaded.clone(), Tree::keep_certificates).await {
            Ok((_, ready)) => {
                let generation = ready.0.number;
                let (changes, late) = self.publish(ready).await;
                tracing::info!(
                    event = "NAMES_APPLIED",
                    generation,
                    late_workers = late.len(),
                    changes = in_words(&changes),
                    "servers come and go as their names say"
                );
            }
            Err(faults) => tracing::error!(
                event = "NAMES_NOT_APPLIED",
                problems = told_all(&faults).join("; "),
                "the servers stay as they were: what their names say now cannot be followed"
            ),
        }
    }

    /// As [`Reloader::prepared`], and object sync follows: the last step that may fail.
    //= SYNC-RELOAD-01
    async fn prepared_with_members(&self, snapshot: Snapshot) -> Result<(Snapshot, Ready), Vec<Fault>> {
        let objsync = snapshot.objsync.clone();
        let ready = self.prepared(snapshot, |tree, before| tree.read_certificates(Some(before))).await?;
        self.members(objsync).await?;
        Ok(ready)
    }

    /// From now on the members are these, or the tables are shared the other way, and the files are read anew.
    async fn members(&self, objsync: Objsync) -> Result<(), Vec<Fault>> {
        let Some(sharing) = self.state.sharing() else { return Ok(()) };
        let before = self.state.tree().objsync.clone();
        let stays = before.is_legacy() == objsync.is_legacy();
        let sync = match &sharing {
            Sharing::Members(sync) => Some(sync).filter(|sync| !sync.has_failed()),
            Sharing::Redis(_) => None,
        };
        if stays && sync.is_none() {
            return Ok(());
        }
        let proof = sharing.proof();
        let read = move || {
            let way = sync::way(&objsync).map_err(no_part)?;
            if way.is_some() {
                sync::Sync::has_secret_of(&objsync, proof).map_err(|why| vec![why.into()])?;
            }
            Ok((objsync, way))
        };
        match (off_this_thread(read).await?, sync) {
            ((_, Some(sync::Way::Members(mut settings))), Some(sync)) => {
                settings.tables_of_its_own = self.state.is_led();
                sync.change(settings).await.map_err(|why| vec![why.into()])
            }
            ((objsync, Some(way)), _) if !stays => {
                switch(&self.state, &before, &objsync, way).await.map_err(no_part)
            }
            _ => Ok(()),
        }
    }

    /// A configuration made of a snapshot, and the snapshot; `certificates`: how it comes by them.
    async fn prepared(
        &self,
        snapshot: Snapshot,
        certificates: Certificates,
    ) -> Result<(Snapshot, Ready), Vec<Fault>> {
        let state = Arc::clone(&self.state);
        off_this_thread(move || prepare(&state, &snapshot, certificates).map(|ready| (snapshot, ready))).await
    }

    /// Lets a configuration take the place of the one before: what has changed, and the workers that have not taken it
    /// in time.
    async fn publish(&self, (running, added): Ready) -> (Value, Vec<usize>) {
        let running = Arc::new(running);
        let store = Arc::clone(&running.store);
        let adopted = off_this_thread(move || {
            store.adopt(clock::now());
            Ok(())
        });
        if let Err(faults) = adopted.await {
            // A mistake of ours: those that it came to have their tables, and others refuse what is written to new ones.
            tracing::error!(
                event = "TABLES_FAILED",
                problems = told_all(&faults).join("; "),
                "tables were not made"
            );
        }
        running.tree.bound_sessions(self.state.sizes.session_bytes);
        let before = self.state.tree();
        let changes = changes(&before, &running.tree);
        names::say_left_out(Some(&before), &running.tree);
        say_reload(&before, &running.tree);
        let had_tables = self.state.running().store.partitions() > 0;
        self.state.set_running(Arc::clone(&running));
        if let Some(sync) = self.state.sync() {
            sync.follow(Arc::clone(&running.store)).await;
            if self.state.is_led() {
                sync.bring().await;
            }
        }
        if let Some(redis) = self.state.redis() {
            redis.follow(Arc::clone(&running.store)).await;
        }
        self.orders.give_surely(Order::Configure(Arc::clone(&running), added)).await;
        if !had_tables && running.store.partitions() > 0 {
            resident::start(self.state.tables(), Arc::clone(&self.state));
        }
        (changes, self.taken(running.number).await)
    }

    /// Waits until the workers have taken a configuration, and gives those that have not in time.
    async fn taken(&self, number: u64) -> Vec<usize> {
        let until = Instant::now() + Duration::from_secs(RELOAD_WAIT_S);
        loop {
            let has = |worker: &WorkerMetrics| worker.generation.load(Ordering::Acquire) >= number;
            let workers = self.state.workers.iter().enumerate();
            let late: Vec<usize> =
                workers.filter(|(_, worker)| !has(worker)).map(|(index, _)| index).collect();
            let stuck: Vec<bool> = self.state.supervised().iter().map(|seen| seen.is_stuck).collect();
            if late.iter().all(|worker| stuck[*worker]) || Instant::now() >= until {
                return late;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Loads the file whenever it has changed, where the configuration says so; runs until dropped.
    //= RELOAD-WATCH-01
    pub async fn watch(&self) {
        let Some(source) = &self.source else { return };
        let mut loaded = signature(&source.path);
        let mut before = (loaded, Vec::new());
        let mut tried = Vec::new();
        loop {
            tokio::time::sleep(Duration::from_millis(WATCH_LOOK_MS)).await;
            if !self.state.tree().engine.watch_config {
                continue;
            }
            let now = (signature(&source.path), self.state.tree().changed_certificates());
            let is_new = now.0 != loaded || (!now.1.is_empty() && now.1 != tried);
            // Whoever writes it may be in the middle of it.
            if now.0.is_some() && now == before && is_new {
                (loaded, tried) = now.clone();
                // Told in the log.
                let _ = self.load("the file has changed").await;
            }
            before = now;
        }
    }
}

/// What tells a file from what it was: size, time of the last change, inode.
fn signature(path: &Path) -> Option<(u64, i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

/// Does what waits on a thread of its own; one that panics has a problem.
async fn off_this_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Vec<Fault>> + Send + 'static,
) -> Result<T, Vec<Fault>> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(vec![panic.to_string().into()]))
}

/// What is wrong with no part alone.
fn no_part(problems: Vec<String>) -> Vec<Fault> {
    problems.into_iter().map(Fault::from).collect()
}

/// What the file says; `None`: what it said before, as the files do that it names.
fn read(source: &Source, before: &Snapshot, running: &Tree) -> Result<Option<Snapshot>, Vec<Fault>> {
    let text = std::fs::read_to_string(&source.path)
        .map_err(|error| vec![format!("it cannot be read: {error}").into()])?;
    let mut snapshot = forebay_snapshot::check(&text)
        .map_err(|problems| problems.iter().map(Fault::from).collect::<Vec<_>>())?;
    (source.settle)(&source.path, &mut snapshot);
    if snapshot == *before && running.changed_certificates().is_empty() {
        return Ok(None);
    }
    let mut fixed = need_a_start(&before.engine, &snapshot.engine);
    fixed.extend(sync::need_a_start(&before.objsync, &snapshot.objsync));
    if fixed.is_empty() { Ok(Some(snapshot)) } else { Err(no_part(fixed)) }
}

/// Makes all that may fail of a configuration that comes after the current one.
fn prepare(state: &State, snapshot: &Snapshot, certificates: Certificates) -> Result<Ready, Vec<Fault>> {
    let old = state.running();
    let tree = Arc::new(Tree::after(snapshot.clone(), &state.living(), &state.names.addresses()));
    let mut unable = unable(&tree, Some(&old.tree));
    unable.extend(certificates(&tree, &old.tree).err().into_iter().flatten());
    if !unable.is_empty() {
        return Err(unable);
    }
    let place = |listener: &Listener| (listener.address, listener.transport);
    let had: BTreeSet<_> = old.tree.listeners.iter().map(place).collect();
    let when = if state.has_joined() { When::Now } else { When::Later };
    //= RELOAD-LISTEN-01
    let added =
        sockets::bind_new(&tree, state.workers.len(), when, |listener| !had.contains(&place(listener)))
            .map_err(|problems| problems.iter().map(Fault::from).collect::<Vec<_>>())?;
    let store = old.store.next(&tree, clock::now()).map_err(|problem| vec![problem.to_string().into()])?;
    Ok((Running { number: old.number + 1, tree, store: Arc::new(store) }, added))
}

/// Settings that differ and that only a new start can change.
//= RELOAD-START-01
fn need_a_start(before: &Engine, after: &Engine) -> Vec<String> {
    let list = |engine: &Engine| match serde_json::to_value(engine) {
        Ok(Value::Object(list)) => list,
        _ => serde_json::Map::new(),
    };
    let (mut was, mut is) = (list(before), list(after));
    // Secrets do not show what they are.
    was.insert("table_secret".to_owned(), Value::Bool(true));
    is.insert("table_secret".to_owned(), Value::Bool(before.table_secret == after.table_secret));
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differ = keys.into_iter().filter(|key| was.get(*key) != is.get(*key));
    differ
        .filter(|key| !LIVE_SETTINGS.contains(&key.as_str()))
        .map(|key| {
            format!("engine.{key}: it cannot change while the engine runs; write it as it was, or start the engine anew")
        })
        .collect()
}

/// Changes as the log tells them.
fn in_words(changes: &Value) -> String {
    let mut words = Vec::new();
    for (kind, change) in changes.as_object().into_iter().flatten() {
        for word in ["added", "removed"] {
            let names = change[word].as_array().map_or(&[][..], Vec::as_slice);
            if !names.is_empty() {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                words.push(format!("{} {word}: {}", kind.replace('_', " "), names.join(" ")));
            }
        }
    }
    if words.is_empty() { "settings only".to_owned() } else { words.join("; ") }
}

/// What comes and goes from one configuration to another.
fn changes(before: &Tree, after: &Tree) -> Value {
    fn named<T: Ord + ToString>(was: BTreeSet<T>, is: &BTreeSet<T>) -> Value {
        let list = |of: Vec<&T>| of.into_iter().take(100).map(ToString::to_string).collect::<Vec<_>>();
        json!({ "added": list(is.difference(&was).collect()), "removed": list(was.difference(is).collect()) })
    }
    let services = |tree: &Tree| tree.services.iter().map(|s| s.name.clone()).collect::<BTreeSet<_>>();
    let pools = |tree: &Tree| tree.pools.iter().map(|p| p.name.clone()).collect::<BTreeSet<_>>();
    let listeners = |tree: &Tree| {
        let shown = |l: &Listener| match l.transport {
            Transport::Stream => l.address.to_string(),
            Transport::Datagrams => format!("udp/{}", l.address),
        };
        tree.listeners.iter().map(shown).collect::<BTreeSet<_>>()
    };
    let servers = |tree: &Tree| {
        tree.servers().map(|(p, s)| format!("{}/{}", p.name, s.address)).collect::<BTreeSet<_>>()
    };
    json!({
        "virtual_services": named(services(before), &services(after)),
        "pools": named(pools(before), &pools(after)),
        "servers": named(servers(before), &servers(after)),
        "addresses": named(listeners(before), &listeners(after)),
    })
}
