//! The one loop: what has happened goes to the engine, and what it wants is done.

mod asking;
mod giving;
mod showing;
mod verifying;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::table::EngineSlot;
use forebay_core::units::{Micros, Now};
use forebay_objsync::{Engine, Event, Input, Output, wire};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::dial::{Call, Dial};
use crate::door::{self, Rules};
use crate::limits::{
    GATHER, IN_VAIN_MAX, LEAVE, LOOKS_AT_ONCE, PIECES_MAX, QUEUED_BYTES_MAX, QUEUED_UNSUSPICIOUS, VIEW,
    WINDOWS_BYTES,
};
use crate::link::{Link, Told};
use crate::peer::Peer;
use crate::rest::rest;
use crate::words::{cannot_listen, in_words};
use crate::{Catalogue, Command, Differences, Handle, Host, Settings, Table, View};
use crate::{given, tables};
use asking::Asking;
use giving::Giving;
use verifying::Verifying;

/// A listening socket.
struct Door {
    number: u64,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How often changes of workers were found in a millisecond: a worker that wakes this thread pays for it.
#[derive(Default)]
struct Looks {
    millisecond: u64,
    found: u32,
}

impl Looks {
    /// Changes were found. `false`: so often in this millisecond that the next ones had better gather.
    fn may_go_on(&mut self, now: Now) -> bool {
        let millisecond = now.0 / 1_000;
        if self.millisecond != millisecond {
            *self = Self { millisecond, found: 0 };
        }
        self.found += 1;
        self.found <= LOOKS_AT_ONCE
    }
}

/// Sockets, timers and queues around one engine.
pub struct Driver<H: Host> {
    settings: Arc<Settings>,
    engine: Engine,
    host: H,
    view: View,
    rules: Arc<Rules>,
    doors: Vec<Door>,
    peers: BTreeMap<u8, Peer>,
    tell: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    commands: mpsc::Receiver<Command<H>>,
    wake: Arc<Notify>,
    /// Numbers of doors and connections that were given.
    numbers: u64,
    complete: bool,
    /// What is kept in which tables, as members were told.
    kept: Vec<Table>,
    /// What those that only read were told of tables and servers.
    catalogue: Catalogue,
    /// They may have to be told of others; and when they were told last.
    readers_due: bool,
    readers_told: Option<Instant>,
    /// The tables that this engine says it keeps, where each has its own: not before it has their entries.
    has: Option<BTreeSet<u64>>,
    asking: Option<Asking>,
    giving: VecDeque<Giving>,
    verifying: Vec<Verifying>,
    shown: Option<Instant>,
    /// How often it has rested since something came of a step.
    in_vain: u32,
}

impl<H: Host> Driver<H> {
    /// A driver that listens already. It runs in the runtime in which it was made.
    ///
    /// # Errors
    /// The management address cannot be listened on.
    pub fn new(settings: Settings, engine: Engine, host: H) -> io::Result<(Self, Handle<H>)> {
        let (tell, told) = mpsc::channel(PIECES_MAX);
        let (order, commands) = mpsc::channel(16);
        let (view, wake) = (View::default(), Arc::new(Notify::new()));
        let settings = Arc::new(settings);
        let rules = Arc::new(Rules::new(Arc::clone(&settings), Arc::clone(&view.refusals)));
        let waker = Arc::clone(&wake);
        let handle =
            Handle { commands: order, waker: Arc::new(move || waker.notify_one()), view: view.clone() };
        let mut driver = Self {
            settings: Arc::clone(&settings),
            engine,
            host,
            view,
            rules,
            doors: Vec::new(),
            peers: BTreeMap::new(),
            tell,
            told,
            commands,
            wake,
            numbers: 0,
            complete: false,
            kept: Vec::new(),
            catalogue: Catalogue::default(),
            readers_due: false,
            readers_told: None,
            has: None,
            asking: None,
            giving: VecDeque::new(),
            verifying: Vec::new(),
            shown: None,
            in_vain: 0,
        };
        driver.bound_engine();
        driver.has = settings.tables_of_its_own.then(BTreeSet::new);
        if !settings.reads {
            driver.open(door::listen_soon(settings.listen)?)?;
        }
        Ok((driver, handle))
    }

    /// Tells the engine what it may take.
    //= SYNC-QUEUE-01
    fn bound_engine(&mut self) {
        self.engine.limit_cpu(self.settings.cpu_percent);
        self.engine.compare_every(self.settings.compare_ms);
        self.engine.limit_window(WINDOWS_BYTES / self.settings.members.len().max(1));
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        self.follow();
        self.kept = self.keeps();
        self.catalogue = self.tells_readers();
        let mut changed = Vec::new();
        let mut looks = Looks::default();
        loop {
            if self.give_way().await {
                return self.leave().await;
            }
            self.host.changes(&mut changed);
            let found = !changed.is_empty();
            // A change costs next to nothing, and is told whatever it costs: nothing is measured, and one look at the clock is
            // enough for all of them.
            let now = self.host.now();
            for (table, key, ticket) in changed.drain(..) {
                let changed = Input::Changed(table, key, ticket);
                let outputs = self.engine.handle(changed, self.host.tables(), now);
                if !outputs.is_empty() {
                    self.carry_out(outputs);
                }
            }
            if self.engine.wake() <= self.host.now() {
                self.handle(Input::Tick);
            }
            self.end_asking();
            self.tell_readers_in_time();
            let gives = self.give();
            self.show();
            let gather = found && !looks.may_go_on(self.host.now());
            let may_wait = if gather { self.host.gather() } else { self.host.wake_me() };
            if !may_wait {
                continue;
            }
            self.answer_verifying();
            let mut wait = Duration::from_micros(self.engine.wake().since(self.host.now()).0).min(VIEW);
            if gather {
                wait = wait.min(GATHER);
            }
            if gives {
                (wait, self.in_vain) = (Duration::ZERO, 0);
            }
            tokio::select! {
                biased;
                command = self.commands.recv() => if self.obey(command) {
                    return self.leave().await;
                },
                Some(told) = self.told.recv() => self.take(told),
                () = self.wake.notified() => {}
                () = rest(wait, self.in_vain < IN_VAIN_MAX) => {
                    self.in_vain = self.in_vain.saturating_add(1);
                }
            }
        }
    }

    /// Does as it is told; `true`: it is to end.
    fn obey(&mut self, command: Option<Command<H>>) -> bool {
        match command {
            Some(Command::Settings(settings, answer)) => {
                let changed = self.change(*settings);
                let _ = answer.send(changed);
            }
            Some(Command::Work(work)) => {
                let now = self.host.now();
                let outputs = work(&mut self.engine, &mut self.host, now);
                self.carry_out(outputs);
                self.tell_what_is_kept();
            }
            Some(Command::Bring(begun)) => {
                self.bring();
                // Who asked may have gone.
                let _ = begun.send(());
            }
            Some(Command::Verify(answer)) => self.verify(answer),
            Some(Command::Stop) | None => return true,
        }
        false
    }

    /// The last word, to everybody, and until it has gone.
    async fn leave(&mut self) {
        let mut changed = Vec::new();
        self.host.changes(&mut changed);
        for (table, key, ticket) in changed {
            self.handle(Input::Changed(table, key, ticket));
        }
        self.handle(Input::Leave);
        let until = tokio::time::Instant::now() + LEAVE;
        let waits =
            |driver: &Self| driver.peers.values().filter_map(|peer| peer.link.as_ref()).any(Link::waits);
        while waits(self) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.host.now();
        let before = self.host.cpu_us();
        let outputs = self.engine.handle(input, self.host.tables(), now);
        self.engine.spent(Micros(self.host.cpu_us().saturating_sub(before)), self.host.now());
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        // Before that the engine may not know it.
        if self.engine.joined() {
            let now = self.host.now();
            self.host.group_time(self.engine.group_time(now), now);
        }
        if !outputs.is_empty() {
            self.in_vain = 0;
        }
        let mut is_much = false;
        for output in outputs {
            match output {
                Output::Send(slot, bytes) => {
                    if let Some(link) = self.peers.get(&slot.get()).and_then(|peer| peer.link.as_ref()) {
                        link.send(bytes);
                        is_much |= link.queued() > QUEUED_UNSUSPICIOUS;
                    }
                }
                Output::Close(slot, why) => {
                    self.drop_link(slot, &in_words(why));
                }
                Output::Acknowledged { ticket, by } => self.host.acknowledged(ticket, by),
                Output::Verified(slot) => {
                    for verifying in &mut self.verifying {
                        verifying.open.remove(&slot);
                    }
                }
                Output::Event(event) => {
                    if let Event::Joined { complete } = event {
                        self.complete = complete;
                        self.shown = None;
                        self.has_joined(event);
                    } else {
                        self.host.event(event);
                    }
                }
            }
        }
        if is_much {
            self.shed();
        }
    }

    /// Where too much waits for all members together, the connection with the one for which most waits is ended: who does not
    /// read costs the others nothing, and is compared with when it is back.
    //= SYNC-QUEUE-01
    fn shed(&mut self) {
        let queued = |peer: &Peer| peer.link.as_ref().map_or(0, Link::queued);
        while self.peers.values().map(queued).sum::<usize>() > QUEUED_BYTES_MAX {
            let Some((slot, peer)) = self.peers.iter_mut().max_by_key(|(_, peer)| queued(peer)) else {
                return;
            };
            let Some(slot) = EngineSlot::new(*slot) else { return };
            peer.too_slow += 1;
            self.lose(slot, "it is so slow that too much waits for it");
        }
    }

    /// Ends a connection, and tells the engine.
    fn lose(&mut self, slot: EngineSlot, why: &str) {
        if self.drop_link(slot, why) {
            self.handle(Input::Down(slot));
        }
    }

    fn drop_link(&mut self, slot: EngineSlot, why: &str) -> bool {
        let Some(peer) = self.peers.get_mut(&slot.get()) else { return false };
        if peer.link.take().is_none() {
            return false;
        }
        if let Some(dial) = &peer.dial {
            dial.over();
        }
        if !std::mem::take(&mut peer.is_up) {
            peer.is_not_reached(slot, why.to_owned());
            return true;
        }
        peer.trouble = Some(why.to_owned());
        tracing::warn!(
            event = "SE_OBJSYNC_PEER_DOWN",
            slot = slot.get(),
            "the connection with a member is lost: {why}"
        );
        self.count_connected();
        true
    }

    /// A member whose certificate was good and that was let in is there: it has said who it is.
    //= SYNC-DIAL-01
    fn greet(&mut self, slot: EngineSlot) {
        let Some(peer) = self.peers.get_mut(&slot.get()) else { return };
        if peer.is_up || !self.engine.peer(slot).is_some_and(|figures| figures.connected) {
            return;
        }
        (peer.is_up, peer.trouble, peer.away) = (true, None, None);
        peer.up_since = Some(Instant::now());
        peer.said.clear();
        peer.connections += 1;
        if let Some(link) = &peer.link
            && !self.settings.reads
            && !self.settings.is_reader(slot)
        {
            link.send(tables::frame(&self.kept));
        }
        if let Some(dial) = &peer.dial {
            dial.stands();
        }
        tracing::info!(event = "SE_OBJSYNC_PEER_UP", slot = slot.get(), "a member is connected");
        self.count_connected();
        self.ask_readers();
    }

    /// Where other tables are kept than before, every member is told.
    //= SYNC-TABLES-01
    fn tell_what_is_kept(&mut self) {
        self.tell_readers();
        let kept = self.keeps();
        if self.settings.reads || kept == self.kept {
            return;
        }
        self.kept = kept;
        let frame = tables::frame(&self.kept);
        let members =
            self.peers.iter().filter(|(slot, peer)| peer.is_up && self.settings.mask() >> **slot & 1 == 1);
        for link in members.filter_map(|(_, peer)| peer.link.as_ref()) {
            link.send(frame.clone());
        }
        self.shed();
        let slots: Vec<EngineSlot> = self.peers.keys().filter_map(|slot| EngineSlot::new(*slot)).collect();
        slots.into_iter().for_each(|slot| self.compare_kept(slot));
    }

    fn compare_kept(&mut self, slot: EngineSlot) {
        let Some(peer) = self.peers.get_mut(&slot.get()) else { return };
        let Some(theirs) = &peer.kept else { return };
        self.engine.offer_again(slot);
        let mut differs = Differences::between(&self.kept, theirs);
        if self.settings.tables_of_its_own {
            differs.of_both_alone();
        }
        if differs != peer.differs {
            self.host.differ(slot, &differs);
            peer.differs = differs;
        }
    }

    fn count_connected(&mut self) {
        // One that only reads is nobody to wait for.
        let members = self.settings.mask();
        let is_up =
            |(slot, peer): &(&u8, &Peer)| peer.is_up && peer.link.is_some() && members >> **slot & 1 == 1;
        self.host.connected(self.peers.iter().filter(is_up).count());
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Came { slot, stream, door } => {
                if !self.settings.members.iter().any(|member| member.slot == slot) {
                    return;
                }
                let number = self.number();
                let peer = self.peers.entry(slot.get()).or_default();
                (peer.is_up, peer.asked) = (false, false);
                let traffic = Arc::clone(&peer.traffic);
                let link = Link::start(slot, number, door, *stream, traffic, self.tell.clone());
                // Before any entry.
                if self.settings.is_reader(slot) {
                    link.send(given::catalogue(&self.catalogue));
                }
                peer.link = Some(link);
                self.count_connected();
                self.handle(Input::Up(slot));
                self.close_old_doors();
            }
            Told::Frames { slot, link, bytes } => {
                if self.is_current(slot, link) {
                    self.frames(slot, link, &bytes);
                }
            }
            Told::Gone { slot, link, why } => {
                if self.is_current(slot, link) {
                    self.lose(slot, &why);
                }
            }
            Told::Unreached { slot, why } => {
                if let Some(peer) = self.peers.get_mut(&slot.get())
                    && peer.link.is_none()
                {
                    peer.is_not_reached(slot, why);
                }
            }
        }
    }

    fn frames(&mut self, slot: EngineSlot, link: u64, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&slot.get()) {
            peer.heard = Some(Instant::now());
        }
        let mut rest = bytes;
        // The reader has cut them already, so there are only whole ones.
        while let Ok(Some((frame, length))) = wire::split(rest) {
            match (tables::read(frame), given::read(frame)) {
                (Some(kept), _) => {
                    let peer = self.peers.get_mut(&slot.get()).filter(|_| !self.settings.reads);
                    if let Some(peer) = peer {
                        if peer.kept.is_none() {
                            let theirs = kept.clone();
                            peer.kept = Some(kept);
                            self.has_come_with(&theirs);
                        } else {
                            peer.kept = Some(kept);
                        }
                    }
                    self.compare_kept(slot);
                }
                (None, Some(said)) => self.hear_of_gifts(slot, said),
                (None, None) => self.handle(Input::Frame(slot, frame)),
            }
            rest = &rest[length..];
            if !self.is_current(slot, link) {
                return;
            }
        }
        self.greet(slot);
    }

    fn is_current(&self, slot: EngineSlot, link: u64) -> bool {
        let current = self.peers.get(&slot.get()).and_then(|peer| peer.link.as_ref());
        current.is_some_and(|current| current.number == link)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn open(&mut self, listener: TcpListener) -> io::Result<()> {
        let address = listener.local_addr()?;
        let number = self.number();
        let task = tokio::spawn(door::accept(listener, number, Arc::clone(&self.rules), self.tell.clone()));
        self.doors.push(Door { number, address, task });
        Ok(())
    }

    /// Old addresses are listened on until everybody who calls has come by the new one.
    //= SYNC-DOOR-03
    fn close_old_doors(&mut self) {
        let Some(newest) = self.doors.last().map(|door| door.number).filter(|_| self.doors.len() > 1) else {
            return;
        };
        let moved = |slot: EngineSlot| {
            let link = self.peers.get(&slot.get()).and_then(|peer| peer.link.as_ref());
            link.is_some_and(|link| link.door == Some(newest))
        };
        // One that only reads is nobody to wait for.
        let callers =
            self.settings.members.iter().filter(|member| !member.reads && !self.settings.calls(member));
        if callers.map(|member| member.slot).all(moved) {
            self.doors.retain(|door| door.number == newest);
            tracing::info!(
                event = "OBJSYNC_MOVED",
                "every member has come by the new address; the old one is closed"
            );
        }
    }

    fn change(&mut self, settings: Settings) -> Result<(), String> {
        if !settings.reads && self.doors.last().is_none_or(|door| door.address != settings.listen) {
            let listen = settings.listen;
            match self.doors.iter().position(|door| door.address == listen) {
                // It was left a moment ago, and is taken up again.
                Some(place) => {
                    let door = self.doors.remove(place);
                    self.doors.push(door);
                }
                None => door::listen(listen)
                    .and_then(|at| self.open(at))
                    .map_err(|error| cannot_listen(listen, &error))?,
            }
        }
        let (mask, readers) = (settings.mask(), settings.readers());
        let stays = |was: &crate::Member| {
            settings.members.iter().any(|is| is.slot == was.slot && is.reads == was.reads)
        };
        let gone: Vec<EngineSlot> =
            self.settings.members.iter().filter(|was| !stays(was)).map(|member| member.slot).collect();
        self.settings = Arc::new(settings);
        self.rules.replace(Arc::clone(&self.settings));
        self.bound_engine();
        for slot in gone {
            self.lose(slot, "it is no member any more");
            self.peers.remove(&slot.get());
        }
        self.handle(Input::Readers(readers));
        self.handle(Input::Members(mask));
        self.follow();
        // There may be one that only reads now.
        self.tell_readers();
        self.close_old_doors();
        Ok(())
    }

    /// Calls those that are to be called, and as they are to be called now.
    fn follow(&mut self) {
        for member in &self.settings.members {
            let peer = self.peers.entry(member.slot.get()).or_default();
            if !self.settings.calls(member) {
                peer.dial = None;
                continue;
            }
            let call = Call {
                to: member.slot,
                name: member.name.clone(),
                at: member.address,
                from: member.from.unwrap_or(self.settings.listen.ip()),
                identity: Arc::clone(&self.settings.identity),
            };
            match &peer.dial {
                Some(dial) => dial.change(call),
                None => peer.dial = Some(Dial::start(call, self.tell.clone())),
            }
        }
    }
}
