//! The control thread from start to stop.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use forebay_core::table::GroupMillis;
use forebay_snapshot::Snapshot;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::admin::Hall;
use super::beside::{self, Beside};
use super::doors::{Doors, Open};
use super::handover::{self, Came, Giver, Heir, Legacy, Standing, Successor};
use super::names::{self, Book};
use super::notify::{self, Manager};
use super::refused::Code;
use super::reload::{Reloader, Source};
use super::sharing::{begin_once_joined, share};
use super::successor::Program;
use super::supervisor::{Body, Order, Orders, Supervisor};
use super::{Running, ShutdownStage, State, channel, full, identity, resident, sharing, sockets, trim, web};
use crate::config::Tree;
use crate::fault::{Fault, Unfit};
use crate::health::{self, Driver};
use crate::limits::sizes::{self, Needs, Sizes};
use crate::limits::{HANDOVER_END_S, HANDOVER_LOOK_MS, STOP_NOW_S, cgroup};
use crate::log::{Target, Writer};
use crate::persist::Store;
use crate::sync;

/// What runs on the workers' side, made once the configuration is known.
pub struct Workers {
    /// What each worker's thread runs; again after a panic.
    pub body: Body,
    /// Cookie keys and persistence tables.
    pub store: Arc<Store>,
}

/// How the engine is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Where the configuration can be read again; `None`: it cannot change while the engine runs.
    pub source: Option<Source>,
    /// Whether faults may be planted through the admin socket. Only for tests.
    pub allow_faults: bool,
    /// The latest protocol of object sync that it speaks, if that is not to be the latest that there is. Only for tests.
    pub objsync_protocol_max: Option<u16>,
    /// How the process was started, for the one that takes over from it.
    pub program: Option<Program>,
    /// Whether it takes over from the engine that serves by the same configuration.
    pub take_over: bool,
    /// The Controller on which it hangs; `None`: it goes by its file.
    pub controller: Option<Arc<channel::Settings>>,
}

/// How the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Client connections that were cut because they had not ended when the grace was over.
    pub connections_cut: u64,
}

/// Runs an engine until it is told to stop (SIGTERM, SIGINT; a second one stops at once; SIGHUP opens the access
/// log anew and loads the configuration again; SIGUSR2 lets the program, started anew, take over).
///
/// # Errors
/// What keeps it from starting, with what to do about it.
//= OBS-START-01
pub fn run(
    snapshot: Snapshot,
    start: Start,
    make: impl FnOnce(&Arc<Tree>, &Sizes, Option<Legacy>) -> anyhow::Result<Workers>,
) -> anyhow::Result<Ended> {
    ignore_file_size_signal();
    keep_files_to_ourselves();
    report_panics();
    let manager = Arc::new(Manager::from_environment(start.take_over));
    let identity = identity::wanted(&snapshot.engine)?;
    let tree = Arc::new(Tree::build(snapshot.clone()));
    let workers = worker_count(&tree);
    let sizes = sizes_of(&tree, workers)?;
    let user = identity.as_ref().map(identity::Identity::user);
    let mut heir = start.take_over.then(|| handover::ask(&tree, user)).transpose()?;
    let seats = match &mut heir {
        None if tree.objsync.is_on() => sockets::bind_for_later(&tree, workers),
        None => sockets::bind(&tree, workers),
        Some(heir) => {
            let (listeners, claims) = (std::mem::take(&mut heir.listeners), std::mem::take(&mut heir.claims));
            sockets::take_over(&tree, workers, listeners, claims)
        }
    };
    let seats = seats.map_err(|problems| Unfit(problems.iter().map(Fault::from).collect()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the control thread's runtime cannot be made")?;
    let handed = heir.as_mut().and_then(|heir| heir.metrics.take());
    let web = tree
        .engine
        .metrics_listen
        .map(|address| runtime.block_on(listen_for_metrics(address, handed)))
        .transpose()?;
    // There is no other thread yet, and from here on nothing needs rights.
    if let Some(identity) = &identity {
        identity::become_one(identity).with_context(|| {
            format!(
                "engine.user: the engine cannot become {:?}",
                tree.engine.user.as_deref().unwrap_or_default()
            )
        })?;
    }
    let names = Arc::new(Book::default());
    let tree = runtime.block_on(resolved(tree, &snapshot, &names, heir.as_mut().map(Heir::names)));
    let mut problems = health::unable(&tree, None);
    problems.extend(tree.read_certificates(None).err().into_iter().flatten());
    let shared = sync::way(&tree.objsync).unwrap_or_else(|unfit| {
        problems.extend(unfit.into_iter().map(Fault::from));
        None
    });
    if !problems.is_empty() {
        return Err(Unfit(problems).into());
    }
    tree.bound_sessions(sizes.session_bytes);
    let made = make(&tree, &sizes, heir.as_ref().map(Heir::legacy))?;
    if let Some(heir) = &mut heir {
        // Reserved, and not touched yet.
        let need = Beside {
            workers: workers as u64,
            table_bytes: made.store.table_bytes().0,
            theirs_bytes: heir.untouched_bytes(),
        };
        beside::fits(need, cgroup::memory_room()).map_err(|reason| {
            heir.refuse(&reason);
            anyhow!("--take-over: {reason}; the engine that serves goes on")
        })?;
        heir.inherit(&tree, &made.store)?;
    }
    let log = open_log(&tree)?.map(Arc::new);
    let metrics = (0..workers).map(|_| Arc::default()).collect();
    let state = State::new(Running { number: 1, tree, store: made.store }, metrics, sizes, log, names);
    let state = Arc::new(if start.controller.is_some() { state.that_tells() } else { state });
    state.set_protocol_max(start.objsync_protocol_max);
    let open = Opened { seats, web, manager, heir, shared };
    let result = runtime.block_on(control(&state, start, snapshot, made.body, open));
    // Whatever still runs on the runtime holds only clones; the log's writer ends with what is left in the rings.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(log) = &state.log {
        log.stop(Duration::from_secs(STOP_NOW_S));
    }
    result
}

/// What was opened with the rights of who started the engine.
struct Opened {
    seats: Vec<Vec<super::SeatListener>>,
    web: Option<TcpListener>,
    manager: Arc<Manager>,
    heir: Option<Heir>,
    shared: Option<sync::Way>,
}

/// The tree with the addresses that the servers' names have now, as far as they are known within a few seconds.
//= NAME-START-01
async fn resolved(
    tree: Arc<Tree>,
    snapshot: &Snapshot,
    names: &Arc<Book>,
    known: Option<impl Iterator<Item = (String, Vec<IpAddr>)>>,
) -> Arc<Tree> {
    names.follow(snapshot);
    names.inherit(known.into_iter().flatten());
    if forebay_snapshot::host_names(snapshot).next().is_none() {
        return tree;
    }
    names.first().await;
    let tree = Arc::new(Tree::after(snapshot.clone(), &[], &names.addresses()));
    names::say_left_out(None, &tree);
    tree
}

/// The metrics address: the socket of the process that is taken over from, if it has that address, else a new one.
async fn listen_for_metrics(
    address: SocketAddr,
    handed: Option<(SocketAddr, std::net::TcpListener)>,
) -> anyhow::Result<TcpListener> {
    if let Some((_, socket)) = handed.filter(|(at, _)| *at == address) {
        return TcpListener::from_std(socket)
            .context("engine.metrics_listen: the socket that was handed over");
    }
    web::bind(address).await.map_err(|error| {
        anyhow!("engine.metrics_listen: cannot listen on {address}: {error}; change the port or stop who listens there")
    })
}

async fn control(
    state: &Arc<State>,
    start: Start,
    snapshot: Snapshot,
    body: Body,
    open: Opened,
) -> anyhow::Result<Ended> {
    let Opened { seats, web, manager, heir, mut shared } = open;
    let mut stop = Stop::new()?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be awaited")?;
    let mut user = (
        signal(SignalKind::user_defined1()).context("SIGUSR1 cannot be awaited")?,
        signal(SignalKind::user_defined2()).context("SIGUSR2 cannot be awaited")?,
    );
    let tree = state.tree();
    let engine = &tree.engine;
    tokio::spawn(full::watch(Arc::clone(state)));
    tokio::spawn(trim::watch(Arc::clone(state)));
    let (orders, taken) = Orders::new();
    let reloader = Arc::new(Reloader::new(Arc::clone(state), orders.clone(), start.source.clone(), snapshot));
    let watching = Arc::clone(&reloader);
    tokio::spawn(async move { watching.watch().await });
    let (book, following) = (Arc::clone(&state.names), Arc::clone(&reloader));
    tokio::spawn(names::keep(book, move || {
        let reloader = Arc::clone(&following);
        async move { reloader.readdress().await }
    }));
    let wake = orders.clone();
    let driver = Driver::new(state.tree(), Box::new(move || wake.give(Order::PoolsChanged)));
    let monitors = tokio::spawn(driver.run(state.follow()));
    let supervisor = Supervisor::new(Arc::clone(state), body, seats);
    let (say, mut given) = mpsc::channel(1);
    let standing: Arc<Standing> = Arc::default();
    let giver = || {
        let (state, orders) = (Arc::clone(state), orders.clone());
        Giver::new(state, orders, Arc::clone(&reloader), Arc::clone(&standing), say.clone())
    };
    let metering = channel::Metering::new();
    let open = |doors: Doors| {
        say_start(state);
        channel::start(start.controller.as_ref(), &metering, state, || Hall {
            state: Arc::clone(state),
            reloader: Arc::clone(&reloader),
            orders: orders.clone(),
            allow_faults: false,
            program: start.program.clone(),
        });
        tokio::spawn(notify::keep_telling(Arc::clone(&manager), Arc::clone(state)));
        doors.open(state, &reloader, &orders, (start.allow_faults, start.program.clone()), giver())
    };
    let (tell, mut came) = mpsc::channel(1);
    // Another process has the same sockets: none of them may go by a change of the configuration before that is settled.
    let mut held = heir.as_ref().and_then(|_| reloader.hold());
    let choice = heir.as_ref().map(Heir::choice).unwrap_or_default();
    let (supervisor, mut waiting, mut doors, before) = match heir {
        None => {
            let doors = open(Doors::bind(engine, web)?)?;
            let supervisor = match shared.take() {
                None => supervisor,
                Some(way) => {
                    let places = sync::place_of_snapshots(&state.tree().objsync);
                    let floor = places.map_or(GroupMillis(0), |place| place.read(&state.running().store));
                    share(state, way, floor, true)?;
                    begin_once_joined(state, &orders);
                    supervisor.paused()
                }
            };
            (supervisor, None, Some(doors), Arc::new(AtomicBool::new(true)))
        }
        Some(mut heir) => {
            let (before, waiting) = (heir.over(), Doors::take_over(engine, web, &mut heir)?);
            heir.follow(Arc::clone(state), orders.clone(), tell)
                .context("the upgrade's thread cannot be started")?;
            // Its tables are those of the process before it.
            state.set_joined();
            (supervisor.paused(), Some(waiting), None, before)
        }
    };
    let supervisor = tokio::spawn(supervisor.run(taken));
    resident::start(state.tables(), Arc::clone(state));
    loop {
        tokio::select! {
            name = stop.wait() => {
                if waiting.is_some() {
                    let mut reason = choice.choose().then(|| format!("{name} came before it was done"));
                    if reason.is_none() && let Some(Came::Failed(why)) = came.recv().await {
                        reason = Some(why);
                    }
                    if let Some(reason) = reason {
                        return Err(not_taken_over(state, &orders, supervisor, &reason).await);
                    }
                    // It was settled in this moment that this process serves: it stops like any other engine.
                    drop(held.take());
                }
                standing.stop();
                while standing.is_busy() {
                    tokio::time::sleep(Duration::from_millis(HANDOVER_LOOK_MS)).await;
                }
                if standing.is_given() && let Some(successor) = given.recv().await {
                    give_up(state, doors.as_mut(), &manager, successor);
                    break;
                }
                manager.tell("STOPPING=1");
                tracing::info!(event = "SE_STOPPING", signal = name, grace_s = engine.stop_grace_s, "stopping: no new connections, requests under way end");
                break;
            }
            Some(successor) = given.recv() => {
                give_up(state, doors.as_mut(), &manager, successor);
                break;
            }
            Some(came) = came.recv() => match came {
                Came::Open => {
                    drop(held.take());
                    if let Some(way) = shared.take() {
                        // The process before has given up its place among the members.
                        //= SYNC-UPGRADE-01
                        if let Err(error) = share(state, way, GroupMillis(0), false) {
                            tracing::error!("the engine serves, and shares its tables with nobody: {error:#}");
                        }
                    }
                    if let Some(waiting) = waiting.take() {
                        manager.tell(&format!("MAINPID={}", std::process::id()));
                        // Clients are served whether or not anybody can ask how.
                        doors = open(waiting)
                            .inspect_err(|error| tracing::error!("the engine serves, and cannot be asked: {error:#}"))
                            .ok();
                    }
                }
                Came::Failed(reason) => return Err(not_taken_over(state, &orders, supervisor, &reason).await),
            },
            _ = hangup.recv() => {
                manager.reloading();
                if let Some(log) = &state.log {
                    log.reopen();
                }
                tracing::info!("the access log is opened anew");
                //= RELOAD-LOG-01
                let (reloader, manager) = (Arc::clone(&reloader), Arc::clone(&manager));
                tokio::spawn(async move {
                    // What came of it is told in the log and in the metrics, but for this.
                    if let Err(refused) = reloader.load("SIGHUP").await
                        && refused.code == Code::Moved
                    {
                        tracing::warn!("SIGHUP: {}; send it to that one", refused.reason);
                    }
                    manager.ready();
                });
            }
            _ = user.0.recv() => say_ignored("SIGUSR1"),
            _ = user.1.recv() => {
                let (state, program) = (Arc::clone(state), start.program.clone());
                let serves = waiting.is_none();
                tokio::spawn(async move { upgrade_by_signal(&state, program.as_ref(), serves).await });
            }
        }
    }
    let ended = end(state, &orders, supervisor, &mut stop, standing.is_given().then_some(&*before)).await;
    channel::farewell(state, &metering).await;
    standing.finish();
    let until = Instant::now() + Duration::from_secs(HANDOVER_END_S);
    while (!standing.is_told() || state.is_waited_for()) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(HANDOVER_LOOK_MS)).await;
    }
    sharing::end(state);
    monitors.abort();
    drop(doors);
    Ok(ended)
}

/// Ends a process that was to take over, without touching what the other one has as well.
//= UPG-ORDER-01
async fn not_taken_over(
    state: &State,
    orders: &Orders,
    supervisor: tokio::task::JoinHandle<()>,
    reason: &str,
) -> anyhow::Error {
    state.shutdown.raise(ShutdownStage::Now);
    orders.give_surely(Order::Shutdown).await;
    // A worker that does not end now ends with the process.
    let _ = tokio::time::timeout(Duration::from_secs(STOP_NOW_S), supervisor).await;
    anyhow!("--take-over: {reason}; the engine that serves goes on")
}

/// Lets another process serve: this one answers at no door any more.
//= UPG-DOOR-01
fn give_up(state: &State, doors: Option<&mut Open>, manager: &Manager, successor: Successor) {
    state.set_given(successor.pid);
    //= SYNC-UPGRADE-01
    sharing::give_up(state);
    if let Some(doors) = doors {
        doors.give_up();
    }
    //= UPG-NOTIFY-01
    if successor.pid > 0 {
        manager.tell(&format!("MAINPID={}", successor.pid));
    }
    let grace_s = state.tree().engine.stop_grace_s;
    tracing::info!(
        event = "SE_STOPPING",
        successor = successor.pid,
        grace_s,
        "another process serves: requests under way end"
    );
}

/// Stops in two steps: let requests end within the grace, then end everything.
//= OBS-STOP-01
async fn end(
    state: &State,
    orders: &Orders,
    mut supervisor: tokio::task::JoinHandle<()>,
    stop: &mut Stop,
    before: Option<&AtomicBool>,
) -> Ended {
    state.shutdown.raise(ShutdownStage::Draining);
    orders.give_surely(Order::Shutdown).await;
    let grace = Duration::from_secs(state.tree().engine.stop_grace_s.into());
    let all_end = async {
        let _ = (&mut supervisor).await;
        // Who serves in our place hears of the clients of the process before this one through us. Without anybody there
        // is nothing to wait for: that process ends by itself.
        while before.is_some_and(|over| !over.load(Ordering::Acquire)) {
            tokio::time::sleep(Duration::from_millis(HANDOVER_LOOK_MS)).await;
        }
    };
    tokio::select! {
        () = all_end => {
            tracing::info!(event = "SE_STOPPED", connections_cut = 0, "stopped: every request ended");
            return Ended { connections_cut: 0 };
        }
        () = tokio::time::sleep(grace) => tracing::warn!(grace_s = grace.as_secs(), "the grace is over; what is still open is cut"),
        name = stop.wait() => tracing::warn!(signal = name, "told again; what is still open is cut"),
    }
    let connections_cut =
        state.workers.iter().map(|worker| worker.connections.now() + worker.flows.now()).sum();
    state.shutdown.raise(ShutdownStage::Now);
    orders.give_surely(Order::Shutdown).await;
    let all_ended = supervisor.is_finished();
    if !all_ended && tokio::time::timeout(Duration::from_secs(STOP_NOW_S), supervisor).await.is_err() {
        // A worker that does not even end now ends with the process.
        tracing::error!(event = "SE_WORKER_STUCK", "a worker did not end; the process ends without it");
    }
    tracing::warn!(event = "SE_STOPPED", connections_cut, "stopped");
    Ended { connections_cut }
}

struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?,
        })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How many workers the engine has: as configured, else one for each core.
pub(crate) fn worker_count(tree: &Tree) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tree.engine.workers.map_or(cores, usize::from)
}

fn sizes_of(tree: &Tree, workers: usize) -> anyhow::Result<Sizes> {
    let files = sizes::raise_file_limit().context("the limit of file descriptors cannot be read")?;
    let probes = tree.pools.iter().map(|p| p.servers.len() * p.config.health_monitors.len()).sum::<usize>();
    let needs = Needs {
        workers: workers as u64,
        listeners: tree.listeners.len() as u64,
        probes: probes as u64,
        group_bytes: cgroup::memory_limit(),
    };
    let sizes = sizes::derive(&tree.engine, files, needs).map_err(|needed| {
        anyhow!(
            "{files} file descriptors are allowed and {needed} are needed: raise the limit (ulimit -n {needed}), \
             or use fewer workers or addresses"
        )
    })?;
    tracing::info!(
        workers,
        connections_max = sizes.connections_max,
        bound_by = sizes.bound_by.word(),
        file_limit = files,
        table_mib = sizes.table_bytes >> 20,
        memory_gib = tree.engine.memory_gib,
        "sizes follow from the memory and the file limit"
    );
    Ok(sizes)
}

fn open_log(tree: &Tree) -> anyhow::Result<Option<Writer>> {
    let target = match tree.engine.access_log.path.as_str() {
        "off" => return Ok(None),
        "-" => Target::Stdout,
        path => Target::File(PathBuf::from(path)),
    };
    //= OBS-LOG-08
    target.try_open().map_err(|error| {
        let path = &tree.engine.access_log.path;
        anyhow!(
            "engine.access_log.path: {path} cannot be opened: {error}; make its folder, give the engine's user the \
             right to write there, name another path, or write \"off\""
        )
    })?;
    let writer = Writer::start(target).context("the access log's thread cannot be started")?;
    Ok(Some(writer))
}

/// Without a handler these signals end a process at once; other programs open their logs anew at one of them.
//= OBS-SIGNAL-01
fn say_ignored(signal: &'static str) {
    tracing::warn!(
        signal,
        "a signal that means nothing here; SIGHUP loads the configuration and opens the access log anew, SIGUSR2 \
         upgrades, SIGTERM stops"
    );
}

/// As `forebay-se upgrade`, for those who are used to a signal; what came of it stands in the log.
//= UPG-COMMAND-01
async fn upgrade_by_signal(state: &State, program: Option<&Program>, serves: bool) {
    let done = match serves {
        true => super::successor::start(state, program).await.map(|_| ()).map_err(|refused| refused.reason),
        false => Err("this process does not serve yet".to_owned()),
    };
    if let Err(reason) = done {
        tracing::error!(
            event = "UPGRADE_NOT_DONE",
            reason,
            "SIGUSR2: no other process serves; nothing has changed"
        );
    }
}

fn say_start(state: &State) {
    let tree = state.tree();
    for listener in &tree.listeners {
        let service = &tree.service(listener.service).name;
        tracing::info!(event = "VS_LISTENING", virtual_service = %service, address = %listener.address, "listening");
    }
    let engine = &tree.engine;
    let metrics = engine.metrics_listen.map(|address| format!("http://{address}/"));
    tracing::info!(event = "SE_UP", engine = engine.name, admin = engine.admin_socket, metrics, "started");
}

/// A file limit reached must be an error of the write, not the end of the process.
fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal installs no handler and touches no memory of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// What the engine was started with open is not for the commands of its monitors.
//= HM-EXTERNAL-03
fn keep_files_to_ourselves() {
    // SAFETY: a system call without memory; it closes nothing now. An old kernel refuses it, and nothing is lost.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Panics go to the log with their place; the supervisor decides what follows.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let said = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(event = "SE_PANIC", thread = thread.name(), place, said, "a thread panicked");
    }));
}
