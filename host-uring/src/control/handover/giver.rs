//! The old process: gives what it has, and tells of what ends.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::{MutexGuard, mpsc, oneshot};

use super::Standing;
use super::servers;
use super::talk::{Talk, copy_in_frames};
use super::wire::{Frame, NameSaid, PROTOCOL, Say, What, Wire};
use crate::config::{Override, Transport};
use crate::control::doors::Lent;
use crate::control::reload::Reloader;
use crate::control::sockets::Place;
use crate::control::supervisor::{Order, Orders};
use crate::control::{SeatListener, State};
use crate::limits::{
    HANDOVER_CALLERS_MAX, HANDOVER_HELLO_MS, HANDOVER_LOOK_MS, HANDOVER_NAMES_AT_ONCE_MAX, HANDOVER_PAUSE_MS,
    HANDOVER_PROGRESS_ENTRIES, HANDOVER_READY_S, HANDOVER_SERVERS_MAX, HANDOVER_SETTLE_MS, HANDOVER_STEP_S,
};
use crate::metrics::page::VERSION;
use crate::persist::Store;

/// Who serves in our place.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    /// Its process, as this one's namespace numbers it.
    pub pid: i32,
}

/// What the old process gives from.
pub struct Giver {
    state: Arc<State>,
    orders: Orders,
    reloader: Arc<Reloader>,
    standing: Arc<Standing>,
    given: mpsc::Sender<Successor>,
    lent: Lent,
}

/// Why nothing came of it.
pub(super) struct Failed(pub String);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self("this process stops".to_owned()),
            _ => Self(error.to_string()),
        }
    }
}

/// Answers who wants to take over, until dropped.
pub(in crate::control) async fn serve(listener: UnixListener, giver: Arc<Giver>) {
    let callers = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(stream) = stream.into_std() else { continue };
                let caller = Caller::taken(&callers);
                if caller.before >= HANDOVER_CALLERS_MAX {
                    // A fresh socket has room for it.
                    if let Ok(mut wire) = Wire::new(stream) {
                        refuse(&mut wire, "too many ask at once to take over; ask again".to_owned());
                    }
                    continue;
                }
                let giver = Arc::clone(&giver);
                let thread = std::thread::Builder::new().name("upgrade".to_owned());
                if let Err(error) = thread.spawn(move || giver.answer(stream, caller)) {
                    tracing::warn!(%error, "no thread can be started for who wants to take over");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "who wants to take over is not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One of those who ask; makes place for another when dropped.
struct Caller {
    callers: Arc<AtomicUsize>,
    /// How many others ask.
    before: usize,
}

impl Caller {
    fn taken(callers: &Arc<AtomicUsize>) -> Self {
        Self { before: callers.fetch_add(1, Ordering::AcqRel), callers: Arc::clone(callers) }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

fn in_step() -> Instant {
    Instant::now() + Duration::from_secs(HANDOVER_STEP_S)
}

impl Giver {
    /// Gives to whoever may ask; `given` hears of it once another process serves.
    pub(in crate::control) fn new(
        state: Arc<State>,
        orders: Orders,
        reloader: Arc<Reloader>,
        standing: Arc<Standing>,
        given: mpsc::Sender<Successor>,
    ) -> Self {
        Self { state, orders, reloader, standing, given, lent: Lent::default() }
    }

    /// With the doors that go over as well.
    pub(in crate::control) fn with(self, lent: Lent) -> Self {
        Self { lent, ..self }
    }

    /// Speaks with one who has connected.
    fn answer(&self, stream: UnixStream, caller: Caller) {
        let Ok(mut wire) = Wire::new(stream) else { return };
        // Dropped before the connection is closed, and before a refusal is said: who then comes again finds it free.
        let caller = caller;
        let Ok(peer) = wire.peer() else { return };
        // SAFETY: the call takes nothing and cannot fail.
        let me = unsafe { libc::geteuid() };
        //= UPG-PEER-01
        let greeted = if peer.uid != 0 && peer.uid != me {
            Err(format!("user {} may not take over from this engine; only user {me} and root may", peer.uid))
        } else {
            // Who asks speaks at once; one that is silent holds one of few places.
            let soon = Instant::now() + Duration::from_millis(HANDOVER_HELLO_MS);
            match wire.read(soon, &|| self.standing.stops()) {
                Ok(Frame::Said(Say::Hello { protocol: PROTOCOL, version })) => Ok(version),
                Ok(Frame::Said(Say::Hello { protocol, version })) => Err(format!(
                    "version {version} hands over by protocol {protocol}, this one ({VERSION}) by protocol {PROTOCOL}; stop \
                     this engine and start the other one"
                )),
                // Somebody who looked whether anybody is here.
                Ok(Frame::End) => return,
                Ok(_) => Err("this is no greeting".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        };
        let begun =
            greeted.and_then(|version| self.standing.begin().map(|()| version).map_err(str::to_owned));
        let version = match begun {
            Ok(version) => version,
            Err(reason) => {
                self.state.takeovers.refused();
                tracing::warn!(
                    event = "UPGRADE_REFUSED",
                    uid = peer.uid,
                    pid = peer.pid,
                    reason,
                    "nobody takes over"
                );
                drop(caller);
                refuse(&mut wire, reason);
                return;
            }
        };
        tracing::info!(event = "UPGRADE_BEGUN", pid = peer.pid, version, "another process takes over");
        let began = Instant::now();
        let store = Arc::clone(&self.state.running().store);
        let (mut talk, mut paused) = (Talk::default(), false);
        let held = self.hold_configuration();
        let given = held.and_then(|held| {
            let taken = self.give(&mut wire, &store, &mut talk, &mut paused)?;
            Ok((held, taken))
        });
        match given {
            Ok((_held, taken)) => {
                self.standing.settle();
                tracing::info!(
                    event = "UPGRADE_GIVEN",
                    pid = peer.pid,
                    took_ms = began.elapsed().as_millis() as u64,
                    "another process serves new clients; what is under way here ends within the grace"
                );
                let (done, is_done) = oneshot::channel();
                self.orders.give_from_thread(Order::Yield(taken, done));
                let _ = is_done.blocking_recv();
                // The control thread is gone only when the process ends.
                let _ = self.given.blocking_send(Successor { pid: peer.pid });
                self.report(&mut wire, &store, &mut talk);
            }
            Err(Failed(reason)) => {
                self.state.takeovers.failed();
                store.forget_changes();
                if paused {
                    self.orders.give_from_thread(Order::Accept);
                }
                tracing::error!(
                    event = "UPGRADE_FAILED",
                    pid = peer.pid,
                    reason,
                    "nobody has taken over; this process goes on as before"
                );
                drop(caller);
                refuse(&mut wire, reason);
                self.standing.fail();
            }
        }
    }

    /// Keeps the configuration as it is: sockets and tables are those that were told of.
    fn hold_configuration(&self) -> Result<MutexGuard<'_, impl Sized>, Failed> {
        let until = in_step();
        loop {
            if let Some(held) = self.reloader.hold() {
                return Ok(held);
            }
            if Instant::now() >= until {
                return Err(Failed("a configuration is being loaded".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(HANDOVER_LOOK_MS));
        }
    }

    /// Gives everything, up to the moment when the other process serves. Gives the addresses that it has.
    //= UPG-ORDER-01
    fn give(
        &self,
        wire: &mut Wire,
        store: &Store,
        talk: &mut Talk,
        paused: &mut bool,
    ) -> Result<BTreeSet<Place>, Failed> {
        let stops = || self.standing.stops();
        self.give_sockets(wire, store)?;
        let known = servers::known(&self.state.tree());
        for list in known.chunks(HANDOVER_SERVERS_MAX) {
            wire.say(&Say::Servers { list: list.to_vec() }, &[], in_step(), &stops)?;
        }
        let names: Vec<NameSaid> = self
            .state
            .names
            .known()
            .into_iter()
            .map(|(name, addresses)| NameSaid { name, addresses })
            .collect();
        for list in names.chunks(HANDOVER_NAMES_AT_ONCE_MAX) {
            wire.say(&Say::Names { list: list.to_vec() }, &[], in_step(), &stops)?;
        }
        //= TLS-TICKET-05
        for keys in
            self.state.tree().fronts().map(|front| front.ticket_keys()).filter(|keys| !keys.is_empty())
        {
            wire.hand_keys(&keys, in_step(), &stops)?;
        }
        self.give_tables(wire, store)?;
        let until = Instant::now() + Duration::from_secs(HANDOVER_READY_S);
        while !talk.ready {
            talk.tell_changes(wire, store, Duration::ZERO, until, &stops)?;
            if let Some(frame) = wire.look()? {
                talk.hear(frame)?;
            }
            if stops() {
                return Err(Failed::stops());
            }
            if Instant::now() >= until {
                return Err(Failed(format!("the new process is not ready within {HANDOVER_READY_S} s")));
            }
        }
        *paused = true;
        self.pause();
        // Clients wait from now on.
        //= UPG-ORDER-02
        let until = Instant::now() + Duration::from_millis(HANDOVER_SETTLE_MS);
        store.tell_before_answering();
        // Once is enough: who is bound from now on is not answered before that is told.
        talk.tell_changes(wire, store, Duration::ZERO, until, &stops)?;
        let decided: Vec<_> = servers::known(&self.state.tree())
            .into_iter()
            .filter(|said| said.decided != Override::None as u8)
            .collect();
        for list in decided.chunks(HANDOVER_SERVERS_MAX) {
            wire.say(&Say::Servers { list: list.to_vec() }, &[], until, &stops)?;
        }
        wire.say(&Say::Go {}, &[], until, &stops)?;
        let taken = loop {
            if let Some(taken) = talk.taken.take() {
                break taken;
            }
            talk.tell_changes(wire, store, Duration::ZERO, until, &stops)?;
            if let Some(frame) = wire.look()? {
                talk.hear(frame)?;
            }
            if stops() {
                return Err(Failed::stops());
            }
            if Instant::now() >= until {
                return Err(Failed("the new process does not say that it has all".to_owned()));
            }
        };
        talk.told = true;
        wire.say(&Say::Yours {}, &[], until, &stops)?;
        self.wait_until_it_serves(wire, talk, until)?;
        Ok(taken)
    }

    /// Waits until the other process has said that it serves. If not, it cannot say so any more: exactly one of the two
    /// serves.
    //= UPG-ORDER-01
    fn wait_until_it_serves(&self, wire: &mut Wire, talk: &mut Talk, until: Instant) -> Result<(), Failed> {
        let failed = loop {
            match wire.look().map_err(Failed::from).and_then(|frame| frame.map_or(Ok(()), |f| talk.hear(f))) {
                Ok(()) if talk.serves => return Ok(()),
                Ok(()) if self.standing.stops() => break Failed::stops(),
                Ok(()) if Instant::now() >= until => {
                    break Failed("the new process does not say that it serves".to_owned());
                }
                Ok(()) => {}
                Err(failed) => break failed,
            }
        };
        wire.stop_hearing();
        // It may have said so in this moment, and serves then.
        while let Ok(Some(frame)) = wire.look_now() {
            if talk.hear(frame).is_err() || talk.serves {
                break;
            }
        }
        if talk.serves { Ok(()) } else { Err(failed) }
    }

    //= UPG-SOCKET-01
    fn give_sockets(&self, wire: &mut Wire, store: &Store) -> Result<(), Failed> {
        let stops = || self.standing.stops();
        let (to, lent) = oneshot::channel();
        self.orders.give_from_thread(Order::Lend(to));
        let listeners = lent.blocking_recv().map_err(|_| Failed::stops())??;
        let doors = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sockets: Vec<(What, BorrowedFd<'_>)> = Vec::new();
        let mut claimed = HashSet::new();
        for SeatListener { address, socket, claim, .. } in &listeners {
            let (listens, claims) = match socket.transport() {
                Transport::Stream => (What::Listener(*address), What::Claim(*address)),
                Transport::Datagrams => (What::Datagrams(*address), What::DatagramsClaim(*address)),
            };
            sockets.push((listens, socket.as_fd()));
            if let Some(claim) = claim.as_ref().filter(|_| claimed.insert(claims)) {
                sockets.push((claims, claim.as_fd()));
            }
        }
        sockets.extend(doors.iter().map(|(what, file)| (*what, file.as_fd())));
        let welcome = Say::Welcome {
            protocol: PROTOCOL,
            version: VERSION.to_owned(),
            slot: store.me().get(),
            secret: store.secret(),
            sockets: sockets.len(),
        };
        wire.say(&welcome, &[], in_step(), &stops)?;
        for some in sockets.chunks(super::fds::FILES_AT_ONCE_MAX) {
            let list = some.iter().map(|(what, _)| *what).collect();
            let files: Vec<BorrowedFd<'_>> = some.iter().map(|(_, file)| *file).collect();
            wire.say(&Say::Sockets { list }, &files, in_step(), &stops)?;
        }
        Ok(())
    }

    //= UPG-TABLE-01
    fn give_tables(&self, wire: &mut Wire, store: &Store) -> Result<(), Failed> {
        let stops = || self.standing.stops();
        // Before the copy: whatever changes while it is made is told again.
        store.follow_changes();
        let view = self.state.table_view();
        let (entries, untouched_bytes) = (view.entries, view.bytes.saturating_sub(view.bytes_resident));
        let patience = || Instant::now() + Duration::from_secs(HANDOVER_READY_S);
        let say = Say::Tables { list: store.tables_for_another(), entries, untouched_bytes };
        wire.say(&say, &[], patience(), &stops)?;
        let (mut copied, mut said) = (0_u64, 0_u64);
        copy_in_frames(store, |batch| {
            wire.tell(batch, patience(), &stops)?;
            copied += batch.len() as u64;
            if copied - said >= HANDOVER_PROGRESS_ENTRIES {
                said = copied;
                tracing::info!(copied, entries, "entries of the persistence tables are copied");
            }
            Ok::<_, io::Error>(())
        })?;
        Ok(wire.say(&Say::Copied { entries: copied }, &[], patience(), &stops)?)
    }

    /// Sees to it that no worker accepts. One that stands still accepts nothing either, and finds the message when it goes
    /// on.
    fn pause(&self) {
        let until = Instant::now() + Duration::from_millis(HANDOVER_PAUSE_MS);
        while Instant::now() < until {
            let done = Arc::new(AtomicUsize::new(0));
            let (to, told) = oneshot::channel();
            self.orders.give_from_thread(Order::Pause(Arc::clone(&done), to));
            let Ok(workers) = told.blocking_recv() else { return };
            let is_done = || workers.is_some_and(|workers| done.load(Ordering::Acquire) >= workers);
            while !is_done() && workers.is_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_micros(200));
            }
            if is_done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(HANDOVER_LOOK_MS));
        }
    }

    /// Tells of every client that changes here, until the last connection is closed.
    //= UPG-TABLE-02
    fn report(&self, wire: &mut Wire, store: &Store, talk: &mut Talk) {
        let step = Duration::from_millis(HANDOVER_LOOK_MS);
        let never = || false;
        let reported = loop {
            let is_done = self.standing.is_done();
            if let Err(Failed(reason)) = talk.tell_changes(wire, store, step, in_step(), &never) {
                break Err(reason);
            }
            match wire.look_now() {
                Ok(None) => {}
                Ok(Some(Frame::End)) => break Err("it is gone".to_owned()),
                Ok(Some(_)) => break Err("it says what makes no sense".to_owned()),
                Err(error) => break Err(error.to_string()),
            }
            if is_done {
                let told = talk.tell_changes(wire, store, Duration::ZERO, in_step(), &never);
                break told.map_err(|Failed(reason)| reason);
            }
        };
        let late = store.forget_changes();
        match reported {
            Ok(()) => {
                tracing::info!(frames = talk.sent, late, "the new process knows of every client of this one");
                let _ = wire.say(&Say::Bye {}, &[], in_step(), &|| false);
            }
            Err(reason) => tracing::warn!(
                event = "UPGRADE_REPORT_LOST",
                reason,
                late,
                "the new process is not told of the clients whose connections close here from now on"
            ),
        }
        self.standing.told();
    }
}

impl Failed {
    pub(super) fn stops() -> Self {
        Self("this process stops".to_owned())
    }
}

/// Says why it will not be. Whoever does not listen learns it from the end of the connection.
fn refuse(wire: &mut Wire, reason: String) {
    let soon = Instant::now() + Duration::from_millis(10 * HANDOVER_LOOK_MS);
    let _ = wire.say(&Say::Refused { reason }, &[], soon, &|| false);
}
