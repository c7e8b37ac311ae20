//! The new process: asks for what the old one has, and goes on with it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use forebay_core::table::{EngineSlot, TableId};
use tokio::sync::mpsc;

use super::fds::{self, Peer};
use super::servers;
use super::wire::{Frame, NameSaid, PROTOCOL, Say, ServerSaid, What, Wire};
use crate::config::{Transport, Tree};
use crate::control::alone::Claim;
use crate::control::sockets::{Handed, Place};
use crate::control::supervisor::{Order, Orders};
use crate::control::{ListenSocket, ShutdownStage, State};
use crate::limits::{
    HANDOVER_END_S, HANDOVER_KEYS_MAX, HANDOVER_NAMES_MAX, HANDOVER_READY_S, HANDOVER_SOCKETS_MAX,
    HANDOVER_STEP_S,
};
use crate::metrics::page::VERSION;
use crate::persist::Store;
use crate::persist::moving::{Arrived, Told};
use crate::rt::clock;
use crate::tls::HandedKey;

/// What the tables of the new process begin with.
#[derive(Clone, Copy)]
pub struct Legacy {
    /// What keys are made with, unless the configuration says.
    pub secret: [u8; 16],
    /// The place of the process among those that hold entries.
    pub slot: EngineSlot,
}

/// What the control thread hears of a take-over.
#[derive(Debug)]
pub enum Came {
    /// This process serves from now on.
    Open,
    /// Nothing came of it, for this reason.
    Failed(String),
}

/// What was handed over, and the connection to who did it.
pub struct Heir {
    wire: Wire,
    old: Peer,
    legacy: Legacy,
    /// Sockets by where they listen.
    pub listeners: BTreeMap<Place, Handed>,
    /// What says that nobody else may listen there.
    pub claims: BTreeMap<Place, Claim>,
    /// The metrics address.
    pub metrics: Option<(SocketAddr, TcpListener)>,
    /// The admin socket.
    pub admin: Option<UnixListener>,
    /// Where the next upgrade is asked for.
    pub upgrade: Option<UnixListener>,
    /// The lock on the state folder.
    pub lock: Option<OwnedFd>,
    servers: Vec<ServerSaid>,
    keys: Vec<HandedKey>,
    names: Vec<NameSaid>,
    tables: Vec<(u64, String)>,
    /// Bytes that the tables of the other process may yet take.
    untouched_bytes: u64,
    alike: bool,
    /// When it was asked, and entries that it has told since.
    asked: Instant,
    entries: u64,
    /// Its last word has come: nobody holds entries but this process.
    over: Arc<AtomicBool>,
    choice: Choice,
}

/// Whether this process serves or stops: whoever chooses first has chosen.
#[derive(Clone, Default)]
pub(in crate::control) struct Choice(Arc<AtomicBool>);

impl Choice {
    /// Chooses; `false`: it was chosen before.
    pub(in crate::control) fn choose(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

fn never() -> bool {
    false
}

fn in_step() -> Instant {
    Instant::now() + Duration::from_secs(HANDOVER_STEP_S)
}

/// Asks the engine that serves by this configuration for its sockets, and for what it knows. `user`: whom this process
/// becomes later, as which the other one may run.
///
/// # Errors
/// Nobody is there, or he may not or will not give.
pub(in crate::control) fn ask(tree: &Tree, user: Option<u32>) -> anyhow::Result<Heir> {
    let path = super::path(&tree.engine.admin_socket);
    let shown = path.display().to_string();
    let heir = ask_at(&path, user).with_context(|| format!("--take-over: {shown}"))?;
    tracing::info!(
        event = "UPGRADE_BEGUN",
        pid = heir.old.pid,
        addresses = heir.listeners.len(),
        "this process takes over from another one"
    );
    Ok(heir)
}

fn ask_at(path: &Path, user: Option<u32>) -> anyhow::Result<Heir> {
    let stream = UnixStream::connect(path)
        .context("no engine can be taken over there; start this one without --take-over")?;
    let mut wire = Wire::new(stream)?;
    let old = wire.peer()?;
    // SAFETY: the call takes nothing and cannot fail.
    let me = unsafe { libc::geteuid() };
    //= UPG-PEER-01
    if old.uid != 0 && old.uid != me && Some(old.uid) != user {
        bail!("the engine there is one of user {}, which is not trusted", old.uid);
    }
    let hello = Say::Hello { protocol: PROTOCOL, version: VERSION.to_owned() };
    let said = wire.say(&hello, &[], in_step(), &never);
    let (secret, slot, sockets) = match wire.read(in_step(), &never)? {
        Frame::Said(Say::Welcome { protocol: PROTOCOL, secret, slot, sockets, .. }) => {
            (secret, slot, sockets)
        }
        Frame::Said(Say::Refused { reason }) => bail!("the engine there refuses: {reason}"),
        // Who refuses may do so without listening.
        Frame::End => {
            bail!("the engine there ends{}", said.err().map(|error| format!(": {error}")).unwrap_or_default())
        }
        _ => bail!("what is there is no engine that can be taken over"),
    };
    if sockets > HANDOVER_SOCKETS_MAX {
        bail!("the engine there announces {sockets} sockets");
    }
    let slot = EngineSlot::new((slot + 1) % 64).ok_or_else(|| anyhow!("the engine there has no place"))?;
    let mut heir = Heir {
        wire,
        old,
        legacy: Legacy { secret, slot },
        listeners: BTreeMap::new(),
        claims: BTreeMap::new(),
        metrics: None,
        admin: None,
        upgrade: None,
        lock: None,
        servers: Vec::new(),
        keys: Vec::new(),
        names: Vec::new(),
        tables: Vec::new(),
        untouched_bytes: 0,
        alike: true,
        asked: Instant::now(),
        entries: 0,
        over: Arc::default(),
        choice: Choice::default(),
    };
    heir.read_sockets(sockets)?;
    heir.read_servers()?;
    Ok(heir)
}

impl Heir {
    /// What the tables begin with.
    pub(in crate::control) fn legacy(&self) -> Legacy {
        self.legacy
    }

    /// Says when the other process has no client any more.
    pub(in crate::control) fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.over)
    }

    /// Where names of servers led when the other process was asked.
    pub(in crate::control) fn names(&mut self) -> impl Iterator<Item = (String, Vec<IpAddr>)> + use<> {
        std::mem::take(&mut self.names).into_iter().map(|said| (said.name, said.addresses))
    }

    /// To be asked before this process stops while it is not settled yet that it serves.
    pub(in crate::control) fn choice(&self) -> Choice {
        self.choice.clone()
    }

    fn next(&mut self, patience_s: u64) -> anyhow::Result<Frame> {
        let until = Instant::now() + Duration::from_secs(patience_s);
        match self.wire.read(until, &never)? {
            Frame::Said(Say::Refused { reason }) => bail!("the engine there gives up: {reason}"),
            Frame::End => bail!("the engine there has ended in the middle of it"),
            frame => Ok(frame),
        }
    }

    //= UPG-SOCKET-01
    fn read_sockets(&mut self, mut left: usize) -> anyhow::Result<()> {
        while left > 0 {
            let Frame::Said(Say::Sockets { list }) = self.next(HANDOVER_STEP_S)? else {
                bail!("sockets were announced, and something else came");
            };
            if list.is_empty() || list.len() > left {
                bail!("{} sockets came where {left} were announced", list.len());
            }
            left -= list.len();
            let files = self.wire.take_files(list.len())?;
            for (what, file) in list.into_iter().zip(files) {
                self.take(what, file)
                    .with_context(|| format!("a socket is not what it should be: {what:?}"))?;
            }
        }
        Ok(())
    }

    //= UPG-PROTOCOL-01
    fn take(&mut self, what: What, file: OwnedFd) -> anyhow::Result<()> {
        if what == What::Lock {
            // Whether it is that file is seen when it is held.
            self.lock = Some(file);
            return Ok(());
        }
        let is = |option, value: libc::c_int| {
            Ok::<_, io::Error>(fds::option_of(file.as_fd(), option)? == value as u64)
        };
        let listens = is(libc::SO_ACCEPTCONN, 1)? && is(libc::SO_TYPE, libc::SOCK_STREAM)?;
        match what {
            What::Claim(address) => {
                let claim = Claim::handed(file, address, Transport::Stream)?;
                self.claims.insert((address, Transport::Stream), claim);
            }
            What::DatagramsClaim(address) => {
                let claim = Claim::handed(file, address, Transport::Datagrams)?;
                self.claims.insert((address, Transport::Datagrams), claim);
            }
            What::Datagrams(address) => {
                if !is(libc::SO_TYPE, libc::SOCK_DGRAM)? {
                    bail!("it takes no datagrams");
                }
                let socket = UdpSocket::from(file);
                if socket.local_addr()? != address {
                    bail!("it listens elsewhere");
                }
                let socket = ListenSocket::Datagrams(socket);
                self.listeners.entry((address, Transport::Datagrams)).or_default().add(socket);
            }
            _ if !listens => bail!("it does not listen"),
            What::Listener(address) => {
                let socket = TcpListener::from(file);
                if socket.local_addr()? != address {
                    bail!("it listens elsewhere");
                }
                let socket = ListenSocket::Stream(socket);
                self.listeners.entry((address, Transport::Stream)).or_default().add(socket);
            }
            What::Metrics(address) => {
                let socket = TcpListener::from(file);
                if socket.local_addr()? != address {
                    bail!("it listens elsewhere");
                }
                self.metrics = Some((address, socket));
            }
            What::Admin | What::Upgrade if !is(libc::SO_DOMAIN, libc::AF_UNIX)? => {
                bail!("it is no unix socket")
            }
            What::Admin => self.admin = Some(file.into()),
            What::Upgrade | What::Lock => self.upgrade = Some(file.into()),
        }
        Ok(())
    }

    fn read_servers(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next(HANDOVER_READY_S)? {
                Frame::Said(Say::Servers { list }) => self.servers.extend(list),
                Frame::Said(Say::Names { list }) if self.names.len() < HANDOVER_NAMES_MAX => {
                    self.names.extend(list);
                }
                Frame::Keys(list) if self.keys.len() < HANDOVER_KEYS_MAX => self.keys.extend(list),
                Frame::Said(Say::Tables { list, untouched_bytes, .. }) => {
                    (self.tables, self.untouched_bytes) = (list, untouched_bytes);
                    return Ok(());
                }
                _ => bail!("the engine there says what makes no sense"),
            }
        }
    }

    /// Gives up, and lets the other process know why: it is heard out until it has noticed.
    pub(in crate::control) fn refuse(&mut self, reason: &str) {
        let say = Say::Refused { reason: reason.to_owned() };
        if self.wire.say(&say, &[], in_step(), &never).is_ok() {
            while self.next(HANDOVER_STEP_S).is_ok() {}
        }
    }

    /// Bytes that the tables of the other process may yet take.
    pub(in crate::control) fn untouched_bytes(&self) -> u64 {
        self.untouched_bytes
    }

    /// Begins with what the other process knows: states of servers, entries of tables.
    ///
    /// # Errors
    /// The other process has ended or given up.
    pub(in crate::control) fn inherit(&mut self, tree: &Tree, store: &Store) -> anyhow::Result<()> {
        servers::inherit(tree, &std::mem::take(&mut self.servers));
        let keys = std::mem::take(&mut self.keys);
        tree.fronts().for_each(|front| front.inherit_ticket_keys(&keys));
        self.alike = store.secret() == self.legacy.secret;
        if !self.alike && self.tables.iter().any(|(_, kind)| kind == "app_cookie") {
            tracing::warn!(
                "engine.table_secret is another one than before: clients known by a cookie of their application are not taken over"
            );
        }
        let places = store.places(&self.tables, self.alike);
        let (began, mut arrived) = (Instant::now(), Arrived::default());
        loop {
            match self.next(HANDOVER_READY_S)? {
                Frame::Entries(told) => {
                    self.entries += told.len() as u64;
                    arrived.add(store.arrive(&told, &places, clock::now()));
                }
                Frame::Said(Say::Copied { entries }) => {
                    tracing::info!(
                        event = "UPGRADE_TABLES",
                        entries,
                        taken = arrived.taken,
                        unknown = arrived.unknown,
                        refused = arrived.refused,
                        took_ms = began.elapsed().as_millis() as u64,
                        "the persistence tables are taken over"
                    );
                    return Ok(());
                }
                _ => bail!("the engine there says what makes no sense"),
            }
        }
    }

    /// Goes on with the other process until its last word, in a thread of its own. `told` hears once whether this process
    /// serves.
    ///
    /// # Errors
    /// No thread can be started.
    pub(in crate::control) fn follow(
        self,
        state: Arc<State>,
        orders: Orders,
        told: mpsc::Sender<Came>,
    ) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("take-over".to_owned());
        let mut following = Following { heir: self, state, orders, told, places: (0, Vec::new()), frames: 0 };
        thread.spawn(move || following.run()).map(|_| ())
    }
}

/// The new process while the old one lives.
struct Following {
    heir: Heir,
    state: Arc<State>,
    orders: Orders,
    told: mpsc::Sender<Came>,
    /// Our tables at the places of their list, by the configuration of this number.
    places: (u64, Vec<Option<TableId>>),
    frames: u64,
}

impl Following {
    fn run(&mut self) {
        match self.until_open() {
            Ok(()) => {}
            Err(reason) => {
                let soon = in_step();
                let _ = self.heir.wire.say(&Say::Refused { reason: reason.clone() }, &[], soon, &never);
                let _ = self.told.blocking_send(Came::Failed(reason));
                self.heir.over.store(true, Ordering::Release);
                return;
            }
        }
        let reason = self.until_over();
        let settled = self.state.running().store.settle(clock::now());
        tracing::info!(event = "UPGRADE_OVER", settled, reason, "the other process has no client any more");
        self.heir.over.store(true, Ordering::Release);
    }

    /// Up to the moment when this process serves.
    //= UPG-ORDER-01
    fn until_open(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(HANDOVER_READY_S);
        let stops = || "the new process was told to stop".to_owned();
        let mut decided = Vec::new();
        let (mut ready, mut chosen) = (false, false);
        loop {
            if !ready && self.state.is_ready() {
                self.say(&Say::Ready {}).map_err(|e| e.to_string())?;
                ready = true;
            }
            if self.state.shutdown.stage() != ShutdownStage::Running {
                return Err(stops());
            }
            match self.heir.wire.look() {
                Ok(None) => {}
                Ok(Some(Frame::Entries(told))) => self.apply(&told).map_err(|e| e.to_string())?,
                Ok(Some(Frame::Said(Say::Servers { list }))) => decided.extend(list),
                Ok(Some(Frame::Said(Say::Go {}))) if ready => {
                    servers::decide(&self.state.tree(), &decided);
                    let tree = self.state.tree();
                    let at = |transport| {
                        let there = tree.listeners.iter().filter(|one| one.transport == transport);
                        there.map(|one| one.address).collect()
                    };
                    let (listeners, datagrams) = (at(Transport::Stream), at(Transport::Datagrams));
                    self.say(&Say::Taken { listeners, datagrams }).map_err(|e| e.to_string())?;
                }
                Ok(Some(Frame::Said(Say::Yours {}))) if ready && !chosen => {
                    if !self.heir.choice.choose() {
                        return Err(stops());
                    }
                    chosen = true;
                    // Who cannot say so does not serve: the old one has taken it back, or is gone, as the next look tells.
                    if self.say(&Say::Serving {}).map_err(|e| e.to_string())? {
                        self.open();
                        return Ok(());
                    }
                }
                Ok(Some(Frame::Said(Say::Refused { reason }))) => return Err(reason),
                Ok(Some(Frame::End)) | Err(_) if self.old_is_gone() => {
                    if !chosen && !self.heir.choice.choose() {
                        return Err(stops());
                    }
                    tracing::warn!(
                        event = "UPGRADE_ALONE",
                        pid = self.heir.old.pid,
                        "the other process has died in the middle of the upgrade; this one goes on with its sockets"
                    );
                    self.open();
                    return Ok(());
                }
                Ok(Some(Frame::End)) => return Err("the other process has given it up".to_owned()),
                Ok(Some(_)) => return Err("the other process says what makes no sense".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            if Instant::now() >= until {
                return Err(format!("the new process is not ready within {HANDOVER_READY_S} s"));
            }
        }
    }

    /// Takes what the old process tells until it has ended; gives how it did.
    //= UPG-TABLE-02
    fn until_over(&mut self) -> String {
        loop {
            match self.heir.wire.look() {
                Ok(None) => {}
                Ok(Some(Frame::Entries(told))) => {
                    if let Err(error) = self.apply(&told) {
                        return error.to_string();
                    }
                }
                Ok(Some(Frame::Said(Say::Bye {}))) => return "all is told".to_owned(),
                Ok(Some(Frame::Said(Say::Refused { reason }))) => return reason,
                Ok(Some(Frame::End)) => return "it ended without a last word".to_owned(),
                Ok(Some(_)) => return "it says what makes no sense".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    fn open(&self) {
        self.state.takeovers.done(self.heir.asked.elapsed(), self.heir.entries);
        self.orders.give_from_thread(Order::PoolsChanged);
        self.orders.give_from_thread(Order::Accept);
        let _ = self.told.blocking_send(Came::Open);
    }

    fn apply(&mut self, told: &[Told]) -> io::Result<()> {
        let running = self.state.running();
        if self.places.0 != running.number {
            self.places = (running.number, running.store.places(&self.heir.tables, self.heir.alike));
        }
        let arrived = running.store.arrive(told, &self.places.1, clock::now());
        if arrived.refused > 0 {
            tracing::warn!(
                refused = arrived.refused,
                "the persistence table has no room for clients of the other process"
            );
        }
        self.frames += 1;
        self.heir.entries += told.len() as u64;
        self.say(&Say::Applied { frame: self.frames }).map(|_| ())
    }

    /// Says something. `false`: the other process does not listen any more; what it has said last is still to be read.
    ///
    /// # Errors
    /// It listens, and takes nothing.
    fn say(&mut self, say: &Say) -> io::Result<bool> {
        match self.heir.wire.say(say, &[], in_step(), &never) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                tracing::debug!(%error, ?say, "the other process does not hear it");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    //= UPG-ALONE-01
    /// Whether the old process has died, which takes a moment longer than its files are closed.
    fn old_is_gone(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(HANDOVER_END_S);
        loop {
            match is_gone(self.heir.old.pid) {
                Some(true) => return true,
                None => return false,
                Some(false) if Instant::now() >= until => return false,
                Some(false) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Whether a process has ended, be it waited for or not; `None` if that cannot be known.
fn is_gone(pid: i32) -> Option<bool> {
    if pid <= 0 {
        return None;
    }
    is_end(std::fs::read_to_string(format!("/proc/{pid}/stat")))
}

/// What the kernel says of a process, read as its end, or not.
fn is_end(stat: io::Result<String>) -> Option<bool> {
    match stat {
        // The state follows the name, which may have any byte in it.
        Ok(stat) => stat
            .rsplit_once(')')
            .map(|(_, rest)| matches!(rest.trim_start().as_bytes().first(), Some(b'Z' | b'X'))),
        // The second one: it went between the opening of the file and the read.
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
            Some(true)
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;

    //= test UPG-ALONE-01
    #[test]
    fn a_process_that_ends_while_it_is_looked_at_is_gone() {
        let mut child = Command::new("sleep").arg("100").spawn().expect("a process");
        let pid = child.id().cast_signed();
        assert_eq!(is_gone(pid), Some(false));
        let mut stat = std::fs::File::open(format!("/proc/{pid}/stat")).expect("it lives");
        child.kill().expect("it lives");
        assert!(!child.wait().expect("ours").success());
        let mut text = String::new();
        assert_eq!(is_end(stat.read_to_string(&mut text).map(|_| text)), Some(true));
        assert_eq!(is_gone(pid), Some(true));
    }
}
