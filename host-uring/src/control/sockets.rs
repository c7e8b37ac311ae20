//! Sockets that clients come in by, of TCP and of UDP: one for each worker and address, held by the supervisor.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::alone::{self, Claim};
use super::{ListenSocket, SeatListener};
use crate::config::{Listener, Transport, Tree};
use crate::fault::{At, Fault};
use crate::limits::{BIND_ASK_MS, BIND_LOOK_MS, BIND_WAIT_MS, LISTEN_BACKLOG};

/// An address that could not be listened on.
#[derive(Debug)]
pub struct BindProblem {
    /// The address.
    pub address: SocketAddr,
    /// What was to come there.
    pub transport: Transport,
    /// The service that wants it.
    pub service: String,
    /// What the system said.
    pub error: io::Error,
    /// Nobody listens there: something else has the port.
    pub is_unheard: bool,
}

impl fmt::Display for BindProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, service, error, is_unheard } = self;
        let (udp, kind) = match transport {
            Transport::Stream => ("", 't'),
            Transport::Datagrams => (" for datagrams", 'u'),
        };
        write!(f, "virtual_service \"{service}\": cannot listen on {address}{udp}: ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse if *is_unheard => write!(
                f,
                "nobody listens there, but a connection of this machine has the port (ss -tanp 'sport = :{0}' names it); \
                 wait for its end, change the port, or keep it from outgoing connections \
                 (sysctl net.ipv4.ip_local_reserved_ports={0})",
                address.port()
            ),
            io::ErrorKind::AddrInUse => write!(
                f,
                "another process listens there; stop it (ss -l{kind}np 'sport = :{}' names it), change the port, or set \
                 shared_listener = true for both if it is an engine of the same user",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "the address is not one of this machine; add it to an interface or change it")
            }
            io::ErrorKind::PermissionDenied => write!(
                f,
                "ports below 1024 need a permission; give it (setcap cap_net_bind_service=+ep) or use a higher port"
            ),
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                write!(
                    f,
                    "no file descriptor is left; raise the limit (ulimit -n) or use fewer workers or addresses"
                )
            }
            _ => write!(f, "{error}"),
        }
    }
}

impl From<&BindProblem> for Fault {
    /// Addresses come and go, and so do other programs.
    fn from(problem: &BindProblem) -> Self {
        let at = At::Listen(problem.service.clone(), problem.address.to_string());
        Fault { at, ..Fault::from(problem.to_string()) }.that_may_mend()
    }
}

/// Binds every address of `tree` once for each worker.
///
/// # Errors
/// All addresses that cannot be had, at once.
pub fn bind(tree: &Tree, workers: usize) -> Result<Vec<Vec<SeatListener>>, Vec<BindProblem>> {
    bind_new(tree, workers, When::Now, |_| true)
}

/// When an address takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as it is had.
    Now,
    /// Once [`begin`] is called for its sockets.
    Later,
}

/// As [`bind`], and nobody can connect before [`begin`]. Datagrams wait in the sockets.
///
/// # Errors
/// As [`bind`].
//= SYNC-JOIN-02
pub fn bind_for_later(tree: &Tree, workers: usize) -> Result<Vec<Vec<SeatListener>>, Vec<BindProblem>> {
    bind_new(tree, workers, When::Later, |_| true)
}

/// From now on connections come.
///
/// # Errors
/// Another process has taken the address.
pub fn begin(listeners: &[SeatListener]) -> io::Result<()> {
    for socket in listeners.iter().filter_map(|listener| listener.socket.stream()) {
        SockRef::from(socket).listen(LISTEN_BACKLOG)?;
    }
    Ok(())
}

/// Binds those addresses of `tree` that `is_new` says, once for each worker. It may wait for an address that is being
/// given up.
///
/// # Errors
/// All addresses that cannot be had, at once; none is bound then.
pub fn bind_new(
    tree: &Tree,
    workers: usize,
    when: When,
    is_new: impl Fn(&Listener) -> bool,
) -> Result<Vec<Vec<SeatListener>>, Vec<BindProblem>> {
    let mut seats: Vec<Vec<SeatListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut problems = Vec::new();
    let give_up = Instant::now() + Duration::from_millis(BIND_WAIT_MS);
    for listener in tree.listeners.iter().filter(|listener| is_new(listener)) {
        let shared = tree.service(listener.service).shared_listener;
        match sockets_at(*listener, shared, workers, when, give_up) {
            Ok((sockets, claim)) => {
                for (seat, socket) in seats.iter_mut().zip(sockets) {
                    let (address, service) = (listener.address, listener.service);
                    seat.push(SeatListener { address, service, socket, claim: claim.clone() });
                }
            }
            Err(error) => problems.push(BindProblem {
                address: listener.address,
                transport: listener.transport,
                service: tree.service(listener.service).name.clone(),
                is_unheard: error.kind() == io::ErrorKind::AddrInUse && is_unheard(*listener),
                error,
            }),
        }
    }
    if problems.is_empty() { Ok(seats) } else { Err(problems) }
}

/// One socket for each worker, and the claim of an address that nobody else may have. Who claims does so before it looks
/// for others, who shares looks for claims after it listens: whoever comes second, one of the two sees the other.
//= OBS-BIND-02
fn sockets_at(
    Listener { address, transport, .. }: Listener,
    shared: bool,
    workers: usize,
    when: When,
    give_up: Instant,
) -> io::Result<(Vec<ListenSocket>, Option<Claim>)> {
    let listen = || match transport {
        Transport::Stream => listen(address, when).map(ListenSocket::Stream),
        Transport::Datagrams => datagrams(address, true).map(ListenSocket::Datagrams),
    };
    let listen_all = || (0..workers).map(|_| listen()).collect::<io::Result<Vec<_>>>();
    if shared {
        let sockets = listen_all()?;
        alone::nobody_claims(address, transport)?;
        return Ok((sockets, None));
    }
    let claim = soon(give_up, || alone::claim(address, transport))?;
    soon(give_up, || match transport {
        Transport::Stream => nobody_listens(address),
        // Who shares the port with nobody gets it only if nobody has it.
        Transport::Datagrams => datagrams(address, false).map(drop),
    })?;
    Ok((listen_all()?, Some(claim)))
}

/// Fails if the address is still taken at `give_up`.
fn soon<T>(give_up: Instant, have: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match have() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(BIND_LOOK_MS));
            }
            tried => return tried,
        }
    }
}

/// Fails if somebody listens there. SO_REUSEPORT alone would share the port with another engine of the same
/// user, and each would get half of the clients.
//= OBS-BIND-01
fn nobody_listens(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    if address.is_ipv6() {
        probe.set_only_v6(true)?;
    }
    probe.bind(&address.into())?;
    probe.listen(1)
}

/// Says whether nobody listens there for sure. Of datagrams that cannot be told: nobody has to answer.
fn is_unheard(Listener { address, transport, .. }: Listener) -> bool {
    if transport == Transport::Datagrams {
        return false;
    }
    let tried = TcpStream::connect_timeout(&address, Duration::from_millis(BIND_ASK_MS));
    tried.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn listen(address: SocketAddr, when: When) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    if when == When::Now {
        socket.listen(LISTEN_BACKLOG)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn datagrams(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What tells a socket from all others of this machine, whichever duplicate of it one has.
pub fn identity(socket: &impl AsFd) -> u64 {
    // It fails only for what is no socket.
    super::handover::socket_cookie(socket.as_fd()).unwrap_or(0)
}

/// Deals the sockets that another process has handed over out to this one's workers: every one is listened on, and every
/// worker has one to accept from. Where there are more sockets than workers, a worker has several; where there are fewer,
/// several share one, but for datagrams: those of one client are for one worker. None is closed and none is opened: what
/// is closed resets who waits in its queue, and what is opened before this process is sure to serve gets clients that
/// nobody else can accept.
//= UPG-SOCKET-02
fn deal(
    listener: &Listener,
    seats: &mut [Vec<SeatListener>],
    handed: Handed,
    claim: Option<Claim>,
) -> io::Result<()> {
    let (address, service) = (listener.address, listener.service);
    let workers = seats.len();
    let count = handed.0.len();
    if listener.transport == Transport::Stream {
        for (n, seat) in seats.iter_mut().enumerate().skip(count) {
            let socket = handed.0[n % count].try_clone()?;
            seat.push(SeatListener { address, service, socket, claim: claim.clone() });
        }
    }
    for (n, socket) in handed.0.into_iter().enumerate() {
        seats[n % workers].push(SeatListener { address, service, socket, claim: claim.clone() });
    }
    Ok(())
}

/// An address, and what comes there.
pub type Place = (SocketAddr, Transport);

/// The sockets that listen at one place, of another process; no two are duplicates of one.
#[derive(Debug, Default)]
pub struct Handed(Vec<ListenSocket>);

impl Handed {
    /// Adds one that is not there yet.
    pub fn add(&mut self, socket: ListenSocket) {
        let is = identity(&socket);
        if !self.0.iter().any(|other| identity(other) == is) {
            self.0.push(socket);
        }
    }
}

/// As [`bind`], with sockets and claims of another process where it has them; those that are not needed are closed, which
/// ends nothing there.
///
/// # Errors
/// As [`bind`].
//= UPG-SOCKET-03
pub fn take_over(
    tree: &Tree,
    workers: usize,
    mut handed: BTreeMap<Place, Handed>,
    mut claims: BTreeMap<Place, Claim>,
) -> Result<Vec<Vec<SeatListener>>, Vec<BindProblem>> {
    let mut seats =
        bind_new(tree, workers, When::Now, |one| !handed.contains_key(&(one.address, one.transport)))?;
    let mut problems = Vec::new();
    for listener in &tree.listeners {
        let place = (listener.address, listener.transport);
        let Some(sockets) = handed.remove(&place) else { continue };
        let service = tree.service(listener.service);
        let claim = match claims.remove(&place) {
            _ if service.shared_listener => Ok(None),
            Some(claim) => Ok(Some(claim)),
            None => alone::claim(listener.address, listener.transport).map(Some),
        };
        if let Err(error) = claim.and_then(|claim| deal(listener, &mut seats, sockets, claim)) {
            problems.push(BindProblem {
                address: listener.address,
                transport: listener.transport,
                service: service.name.clone(),
                is_unheard: false,
                error,
            });
        }
    }
    if problems.is_empty() { Ok(seats) } else { Err(problems) }
}

/// Duplicates a seat's sockets, for the worker that sits there or for one that helps out.
///
/// # Errors
/// No file descriptor is left.
pub fn duplicate(listeners: &[SeatListener]) -> io::Result<Vec<SeatListener>> {
    listeners
        .iter()
        .map(|l| {
            let socket = l.socket.try_clone()?;
            Ok(SeatListener { address: l.address, service: l.service, socket, claim: l.claim.clone() })
        })
        .collect()
}
