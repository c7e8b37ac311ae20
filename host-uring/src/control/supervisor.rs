//! Starts the workers, starts them anew when they panic, and sees when one stands still.
//!
//! The listening sockets stay here, so neither a panic nor a stall closes one: what the kernel has queued
//! for a worker waits until it is back, or until another one accepts in its place.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::closing;
use super::mailbox::{Cuts, Mailbox, Message, mailbox};
use super::sockets::{Place, begin, duplicate};
use super::stand_in::{Change, Peer, StandIns};
use super::{Running, SeatListener, ShutdownStage, State, WorkerSeat};
use crate::limits::{LEAVE_ACCEPT_MS, RESTART_DELAY_MS, STOP_ACCEPT_MS, SUPERVISOR_LOOK_MS, TOLD_RING_BYTES};
use crate::log;

/// What a worker's thread runs.
pub type Body = Arc<dyn Fn(WorkerSeat) + Send + Sync>;

/// The workers and their sockets.
pub struct Supervisor {
    state: Arc<State>,
    /// The configuration that the seats' sockets belong to.
    running: Arc<Running>,
    body: Body,
    seats: Vec<Seat>,
    ends: mpsc::Sender<End>,
    ended: mpsc::Receiver<End>,
    /// When listening may end, once the engine stops.
    close_at: Option<Instant>,
    /// Nobody accepts: another process has the same sockets, and it is not settled which of the two goes on.
    paused: bool,
}

struct Seat {
    listeners: Vec<SeatListener>,
    /// Sockets of addresses that are gone, until nobody waits in their queues or time is up.
    leaving: Vec<(SeatListener, Instant)>,
    /// Number of the configuration that the worker was told last.
    told: u64,
    mailbox: Option<Mailbox>,
    thread: Option<JoinHandle<()>>,
    started: Instant,
    restart_at: Option<Instant>,
    ticks: u64,
    moved: Instant,
    /// How often it was started.
    life: u64,
    /// Who accepts in its place.
    stand_ins: StandIns,
    /// That nobody does was said.
    told_nobody: bool,
}

/// A worker's end.
struct End {
    worker: usize,
    panicked: bool,
}

/// Speaks to the workers from elsewhere on the control thread.
#[derive(Clone)]
pub struct Orders(mpsc::Sender<Order>);

/// What the supervisor is told.
#[derive(Debug)]
pub enum Order {
    /// Server states have changed: wake the workers.
    PoolsChanged,
    /// Another configuration, with the sockets of its new addresses, one list for each worker.
    Configure(Arc<Running>, Vec<Vec<SeatListener>>),
    /// Stop: the workers look at the shutdown flag.
    Shutdown,
    /// A message for one worker (planted faults).
    Tell(usize, Message),
    /// Give duplicates of all sockets, for another process.
    Lend(oneshot::Sender<std::io::Result<Vec<SeatListener>>>),
    /// Accept nothing for now, and count up each worker that does not; gives how many there are, or nothing if one has no
    /// room for the message.
    Pause(Arc<AtomicUsize>, oneshot::Sender<Option<usize>>),
    /// End what is under way for clients of some services; gives how many workers will say that they have done it.
    CutServices(Arc<Cuts>, oneshot::Sender<usize>),
    /// Accept, again or at last.
    Accept,
    /// Listen and accept: the tables are complete.
    Begin,
    /// Another process accepts at these addresses from now on: forget their sockets, and touch them in no way.
    Yield(BTreeSet<Place>, oneshot::Sender<()>),
}

impl Orders {
    /// Makes the sending end and what [`Supervisor::run`] takes.
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// Gives an order; a full channel holds wake-ups enough already.
    pub fn give(&self, order: Order) {
        if let Err(error) = self.0.try_send(order) {
            tracing::debug!(%error, "the supervisor has orders enough");
        }
    }

    /// Gives an order from a thread that may wait.
    pub fn give_from_thread(&self, order: Order) {
        // The supervisor is gone only when the process ends.
        let _ = self.0.blocking_send(order);
    }

    /// Gives an order and waits for room.
    pub async fn give_surely(&self, order: Order) {
        // The supervisor is gone only when the process ends.
        let _ = self.0.send(order).await;
    }
}

impl Supervisor {
    /// Takes the sockets, one list for each worker.
    pub fn new(state: Arc<State>, body: Body, sockets: Vec<Vec<SeatListener>>) -> Self {
        let (ends, ended) = mpsc::channel(sockets.len().max(1));
        let now = Instant::now();
        let seats = sockets
            .into_iter()
            .map(|listeners| Seat {
                listeners,
                leaving: Vec::new(),
                told: 0,
                mailbox: None,
                thread: None,
                started: now,
                restart_at: Some(now),
                ticks: 0,
                moved: now,
                life: 0,
                stand_ins: StandIns::default(),
                told_nobody: false,
            })
            .collect();
        let running = state.running();
        Self { state, running, body, seats, ends, ended, close_at: None, paused: false }
    }

    /// Its workers accept nothing before [`Order::Accept`].
    pub fn paused(self) -> Self {
        Self { paused: true, ..self }
    }

    /// Runs the workers until all have ended after a stop.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut look = tokio::time::interval(Duration::from_millis(SUPERVISOR_LOOK_MS));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.start_due();
        loop {
            tokio::select! {
                Some(end) = self.ended.recv() => {
                    self.take_end(&end);
                    if self.state.shutdown.stage() != ShutdownStage::Running
                        && self.seats.iter().all(|seat| seat.thread.is_none())
                    {
                        return;
                    }
                }
                Some(order) = orders.recv() => self.obey(order),
                _ = look.tick() => self.look(),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::PoolsChanged => self.tell_all(|| Message::PoolsChanged),
            Order::Configure(running, added) => self.configure(running, added),
            Order::Tell(worker, message) => {
                if let Some(mailbox) = self.seats.get(worker).and_then(|seat| seat.mailbox.as_ref()) {
                    let told = mailbox.send(message);
                    tracing::warn!(worker, told = told.is_ok(), "a fault is planted in a worker");
                }
            }
            Order::Lend(to) => {
                let all =
                    self.seats.iter().map(|seat| duplicate(&seat.listeners)).collect::<Result<Vec<_>, _>>();
                // Who asked may be gone; then its duplicates go as well.
                let _ = to.send(all.map(|lists| lists.into_iter().flatten().collect()));
            }
            Order::Pause(done, to) => {
                let _ = to.send(self.pause(&done));
            }
            Order::CutServices(cuts, to) => {
                let boxes = self.seats.iter().filter_map(|seat| seat.mailbox.as_ref());
                let told =
                    boxes.filter(|to| to.send(Message::CutServices(Arc::clone(&cuts))).is_ok()).count();
                let _ = to.send(told);
            }
            Order::Accept => self.accept(),
            Order::Begin => self.begin(),
            Order::Yield(addresses, to) => {
                for seat in &mut self.seats {
                    let at = |one: &SeatListener| (one.address, one.socket.transport());
                    seat.listeners.retain(|listener| !addresses.contains(&at(listener)));
                }
                // What is left is this process's alone, and closed as at any stop.
                self.accept();
                let _ = to.send(());
            }
            Order::Shutdown => {
                self.begin_to_close();
                self.tell_all(|| Message::Shutdown);
                if self.seats.iter().all(|seat| seat.thread.is_none()) {
                    // Nobody is left to report an end: report one, so that the loop sees it.
                    let _ = self.ends.try_send(End { worker: 0, panicked: false });
                }
            }
        }
    }

    /// Lets the workers accept on the sockets that they have.
    fn accept(&mut self) {
        self.paused = false;
        for seat in &mut self.seats {
            seat.told = 0;
        }
        self.tell_configuration();
    }

    /// Listens on sockets that were only bound, and lets the workers accept.
    //= SYNC-JOIN-02
    fn begin(&mut self) {
        if self.close_at.is_some() {
            return;
        }
        for seat in &self.seats {
            if let Err(error) = begin(&seat.listeners) {
                tracing::error!(%error, "an address cannot be listened on: another process has taken it");
            }
        }
        self.accept();
    }

    /// Sees to it that nobody accepts; gives how many workers are told, if all are.
    //= UPG-ORDER-02
    fn pause(&mut self, done: &Arc<AtomicUsize>) -> Option<usize> {
        self.paused = true;
        for worker in 0..self.seats.len() {
            self.drive_stand_ins(worker, false);
        }
        let boxes: Vec<&Mailbox> = self.seats.iter().filter_map(|seat| seat.mailbox.as_ref()).collect();
        let told = |to: &&Mailbox| to.send(Message::StopAccept(Arc::clone(done))).is_ok();
        boxes.iter().all(told).then_some(boxes.len())
    }

    /// From now on nobody new is let in; what the kernel has let in already is still accepted.
    //= OBS-STOP-01
    fn begin_to_close(&mut self) {
        for seat in &mut self.seats {
            seat.restart_at = None;
        }
        if self.close_at.is_none() {
            self.close_at = Some(Instant::now() + Duration::from_millis(STOP_ACCEPT_MS));
            for (leaving, _) in self.seats.iter_mut().flat_map(|seat| seat.leaving.drain(..)) {
                closing::close(&leaving.socket);
            }
            if self.paused {
                // They are another process's as well, which goes on.
                for seat in &mut self.seats {
                    seat.listeners.clear();
                }
            }
            for listener in self.seats.iter().flat_map(|seat| &seat.listeners) {
                if let Err(error) = closing::take_no_new(&listener.socket) {
                    tracing::debug!(%error, "no filter for new connections: the last to come may be reset");
                }
            }
        }
        self.close_when_empty();
    }

    /// Takes another configuration: sockets come and go, and every worker is told.
    //= RELOAD-LISTEN-01
    //= SYNC-JOIN-02
    fn configure(&mut self, running: Arc<Running>, added: Vec<Vec<SeatListener>>) {
        let until = Instant::now() + Duration::from_millis(LEAVE_ACCEPT_MS);
        for (seat, added) in self.seats.iter_mut().zip(added) {
            for mut listener in std::mem::take(&mut seat.listeners) {
                let here = (listener.address, listener.socket.transport());
                match running.tree.listeners.iter().find(|now| (now.address, now.transport) == here) {
                    Some(now) => {
                        listener.service = now.service;
                        seat.listeners.push(listener);
                    }
                    // Who sends a datagram waits in no queue: it is gone with the socket.
                    None if listener.socket.stream().is_none() => {}
                    None => {
                        if let Err(error) = closing::take_no_new(&listener.socket) {
                            tracing::debug!(%error, "no filter for new connections: the last to come may be reset");
                        }
                        seat.leaving.push((listener, until));
                    }
                }
            }
            // They were made before the tables were complete, and the order to begin may have overtaken them.
            if !self.paused
                && self.close_at.is_none()
                && let Err(error) = begin(&added)
            {
                tracing::error!(%error, "an address cannot be listened on: another process has taken it");
            }
            seat.listeners.extend(added);
        }
        self.running = running;
        // Who accepts for another one has the sockets of before.
        for worker in 0..self.seats.len() {
            self.drive_stand_ins(worker, false);
        }
        self.tell_configuration();
    }

    /// Tells the workers of the configuration that they do not have yet; one whose box is full is told with the next look.
    fn tell_configuration(&mut self) {
        if self.paused {
            return;
        }
        for seat in self.seats.iter_mut().filter(|seat| seat.told != self.running.number) {
            let (Some(mailbox), Ok(listeners)) = (&seat.mailbox, duplicate(&seat.listeners)) else {
                continue;
            };
            let running = Arc::clone(&self.running);
            if mailbox.send(Message::Configure { running, listeners }).is_ok() {
                seat.told = self.running.number;
            }
        }
    }

    /// Closes sockets of addresses that are gone.
    fn close_leaving(&mut self) {
        let now = Instant::now();
        for seat in &mut self.seats {
            seat.leaving.retain(|(listener, until)| {
                let stays = now < *until && closing::waiting(&listener.socket) > 0;
                if !stays {
                    closing::close(&listener.socket);
                }
                stays
            });
        }
    }

    /// Closes the sockets once nobody waits in any queue, or time is up. All at once: until then every worker is there to
    /// accept for one that stands still.
    fn close_when_empty(&mut self) {
        if self.paused {
            // They are another process's as well, whatever becomes of this one.
            return;
        }
        let is_over = self.state.shutdown.stage() == ShutdownStage::Now;
        if !is_over && self.close_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let mut listeners = self.seats.iter().flat_map(|seat| &seat.listeners);
        if is_over || listeners.all(|listener| closing::waiting(&listener.socket) == 0) {
            for seat in &mut self.seats {
                // The kernel shares datagrams out among the sockets that there are: those of workers that are done stay, so
                // that the others' flows do not wander.
                //= L4-UDP-06
                let is_done = |listener: &mut SeatListener| listener.socket.stream().is_some();
                for listener in seat.listeners.extract_if(.., is_done) {
                    closing::close(&listener.socket);
                }
            }
        }
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for mailbox in self.seats.iter().filter_map(|seat| seat.mailbox.as_ref()) {
            // A full box has wake-ups enough: the worker looks at generations and flags whatever the message.
            let _ = mailbox.send(message());
        }
    }

    //= OBS-WORKER-01
    fn take_end(&mut self, end: &End) {
        let running = self.state.shutdown.stage() == ShutdownStage::Running;
        let seat = &mut self.seats[end.worker];
        seat.mailbox = None;
        if let Some(thread) = seat.thread.take() {
            // The thread has sent its end as its last act; its panic was caught before.
            let _ = thread.join();
            self.state.settle_after_panic(end.worker);
        }
        if end.panicked {
            self.state.supervised()[end.worker].panics += 1;
        }
        if !running {
            return;
        }
        let lived = seat.started.elapsed();
        let delay = Duration::from_millis(if lived.as_secs() >= 1 { 0 } else { RESTART_DELAY_MS });
        seat.restart_at = Some(Instant::now() + delay);
        tracing::error!(
            event = "SE_WORKER_ENDED",
            worker = end.worker,
            panicked = end.panicked,
            lived_ms = lived.as_millis() as u64,
            "a worker ended; its connections are lost, it is started anew with its sockets"
        );
        self.start_due();
    }

    fn look(&mut self) {
        self.start_due();
        let now = Instant::now();
        let patience = Duration::from_secs(self.state.tree().engine.stuck_worker_s.into());
        for worker in 0..self.seats.len() {
            let ticks = self.state.workers[worker].ticks.load(Ordering::Relaxed);
            let seat = &mut self.seats[worker];
            if seat.ticks != ticks {
                (seat.ticks, seat.moved) = (ticks, now);
                if self.state.supervised()[worker].is_stuck {
                    self.goes_on(worker);
                }
            } else if seat.thread.is_some()
                && now.duration_since(seat.moved) >= patience
                && !self.state.supervised()[worker].is_stuck
            {
                self.stands_still(worker);
            }
        }
        self.tell_configuration();
        self.stand_in();
        self.close_leaving();
        self.close_when_empty();
        if self.seats.iter().all(|seat| seat.ticks > 0) && self.state.health_is_known() {
            self.state.set_ready();
        }
    }

    //= OBS-WORKER-02
    fn stands_still(&mut self, worker: usize) {
        {
            let mut supervised = self.state.supervised();
            supervised[worker].is_stuck = true;
            supervised[worker].stuck += 1;
        }
        let silent_ms = self.seats[worker].moved.elapsed().as_millis() as u64;
        tracing::error!(event = "SE_WORKER_STUCK", worker, silent_ms, "a worker stands still");
    }

    fn goes_on(&mut self, worker: usize) {
        self.state.supervised()[worker].is_stuck = false;
        self.seats[worker].told_nobody = false;
        tracing::warn!(event = "SE_WORKER_RECOVERED", worker, "a worker that stood still goes on");
    }

    /// Sees to it that somebody accepts for each worker that stands still, and nobody for one that goes on.
    fn stand_in(&mut self) {
        let stuck: Vec<bool> = self.state.supervised().iter().map(|seen| seen.is_stuck).collect();
        let stops = self.close_at.is_some();
        for (worker, is_stuck) in stuck.into_iter().enumerate() {
            // Who has panicked is not started anew for a stop, and clients may wait in the queues of its sockets.
            let is_away = !self.paused && (is_stuck || stops && self.seats[worker].thread.is_none());
            let change = self.drive_stand_ins(worker, is_away);
            let seat = &mut self.seats[worker];
            match change {
                Change::Nothing => continue,
                Change::By(stand_in) => {
                    tracing::warn!(
                        event = "SE_WORKER_STAND_IN",
                        worker,
                        stand_in,
                        "another worker accepts in place of the one that stands still"
                    );
                    seat.told_nobody = false;
                }
                // Tried again with every look, and said once.
                Change::Nobody if !seat.told_nobody => {
                    tracing::error!(
                        worker,
                        "no other worker can accept in place of the one that stands still"
                    );
                    seat.told_nobody = true;
                }
                Change::Shortage(error) if !seat.told_nobody => {
                    tracing::error!(worker, %error, "no file descriptor is left to accept for the stuck worker");
                    seat.told_nobody = true;
                }
                Change::Nobody | Change::Shortage(_) => {}
            }
        }
    }

    /// Sees to it that somebody accepts for a worker that is away, and nobody for one that is not.
    fn drive_stand_ins(&mut self, worker: usize, is_away: bool) -> Change {
        let stuck: Vec<bool> = self.state.supervised().iter().map(|seen| seen.is_stuck).collect();
        let mut stand_ins = std::mem::take(&mut self.seats[worker].stand_ins);
        let peer = |(seat, stuck): (&'_ Seat, &bool)| (seat.mailbox.clone(), seat.life, *stuck);
        let peers: Vec<_> = self.seats.iter().zip(&stuck).map(peer).collect();
        let peers: Vec<Peer<'_>> = peers
            .iter()
            .map(|(mailbox, life, is_stuck)| Peer {
                mailbox: mailbox.as_ref(),
                life: *life,
                is_stuck: *is_stuck,
            })
            .collect();
        let change = stand_ins.drive(worker, is_away, &peers, &self.seats[worker].listeners);
        self.seats[worker].stand_ins = stand_ins;
        change
    }

    fn start_due(&mut self) {
        for worker in 0..self.seats.len() {
            if self.seats[worker].restart_at.is_some_and(|at| at <= Instant::now()) {
                self.seats[worker].restart_at = None;
                if let Err(error) = self.start(worker) {
                    tracing::error!(worker, %error, "a worker cannot be started; tried again in half a second");
                    let again = Instant::now() + Duration::from_millis(RESTART_DELAY_MS);
                    self.seats[worker].restart_at = Some(again);
                }
            }
        }
    }

    fn start(&mut self, worker: usize) -> std::io::Result<()> {
        let state = &self.state;
        let (mail, receiver) = mailbox()?;
        let ring_bytes = state.tree().engine.access_log.ring_kib as usize * 1_024;
        let (mut sink, drain) = log::ring(ring_bytes, state.log.is_some());
        if let Some(telling) = &state.telling {
            telling.add(sink.also_tell(TOLD_RING_BYTES));
        }
        let seat = WorkerSeat {
            index: worker,
            running: Arc::clone(&self.running),
            listeners: if self.paused { Vec::new() } else { duplicate(&self.seats[worker].listeners)? },
            metrics: Arc::clone(&state.workers[worker]),
            log: sink,
            mailbox: receiver,
            shutdown: Arc::clone(&state.shutdown),
            connections_max: state.sizes.connections_per_worker,
            descriptors_max: state.sizes.descriptors_per_worker,
        };
        if let Some(log) = &state.log {
            log.add(drain);
        }
        let (body, ends) = (Arc::clone(&self.body), self.ends.clone());
        let thread = std::thread::Builder::new().name(format!("worker-{worker}")).spawn(move || {
            // What the body shares with others (tables behind locks, counters) is kept whole by its owners.
            let panicked = catch_unwind(AssertUnwindSafe(|| body(seat))).is_err();
            // The supervisor is gone only when the process ends.
            let _ = ends.blocking_send(End { worker, panicked });
        })?;
        let now = Instant::now();
        let seat = &mut self.seats[worker];
        (seat.thread, seat.mailbox, seat.started, seat.moved) = (Some(thread), Some(mail), now, now);
        seat.life += 1;
        seat.told = self.running.number;
        Ok(())
    }
}
