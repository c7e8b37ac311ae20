//! Who is let in: members, each from its own address, a few times a second.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use forebay_core::table::EngineSlot;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::limits::{GIVEN_UP, HANDSHAKE, HANDSHAKES_MAX, STRANGERS_MAX, TOLD, TRIES_PER_SECOND};
use crate::link::Told;
use crate::{Refusals, Settings};

/// What doors judge by; replaced as a whole when the configuration changes.
pub(crate) struct Rules {
    settings: Mutex<Arc<Settings>>,
    tries: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    handshakes: Arc<Semaphore>,
    /// The same of those who come from where no member is.
    strangers: Arc<Semaphore>,
    refusals: Arc<Refusals>,
    told: Mutex<Option<Instant>>,
}

/// Listens, and nobody else does: two engines at one address would each hear a part of what members say. A process that
/// gives up its place may take a moment to close its socket.
//= SYNC-DOOR-04
pub(crate) fn listen_soon(address: SocketAddr) -> io::Result<TcpListener> {
    let until = Instant::now() + GIVEN_UP;
    loop {
        match listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(GIVEN_UP / 100);
            }
            done => return done,
        }
    }
}

/// Listens, if nobody else does.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

impl Rules {
    pub fn new(settings: Arc<Settings>, refusals: Arc<Refusals>) -> Self {
        Self {
            settings: Mutex::new(settings),
            tries: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            refusals,
            told: Mutex::default(),
        }
    }

    /// From now on others are members.
    pub fn replace(&self, settings: Arc<Settings>) {
        self.tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|ip, _| settings.at(*ip).next().is_some());
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether an address may try once more in this second. Only members' addresses are asked for, so there are few.
    //= SYNC-DOOR-02
    fn may_try(&self, address: IpAddr) -> bool {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (since, count) = tries.entry(address).or_insert((now, 0));
        if now.duration_since(*since).as_secs() >= 1 {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= TRIES_PER_SECOND
    }

    /// Counts one that was refused, and says so now and then.
    fn refuse(&self, count: &AtomicU64, from: SocketAddr, why: &str) {
        count.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TOLD) {
            *told = Some(Instant::now());
            let refused: u64 = self.refusals.counts().iter().map(|(_, count)| count).sum();
            tracing::warn!(
                event = "OBJSYNC_REFUSED",
                from = %from.ip(),
                refused,
                "a connection to the object sync port is refused: {why}"
            );
        }
    }
}

/// Accepts until it is dropped.
pub(crate) async fn accept(listener: TcpListener, door: u64, rules: Arc<Rules>, tell: mpsc::Sender<Told>) {
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => come_in(tcp, from, door, &rules, &tell),
            Err(error) => {
                // No file descriptor is left, or the like: time helps.
                tracing::debug!(%error, "the object sync port accepts nobody");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

//= SYNC-DOOR-01
fn come_in(tcp: TcpStream, from: SocketAddr, door: u64, rules: &Arc<Rules>, tell: &mpsc::Sender<Told>) {
    let settings = rules.settings();
    let ip = from.ip().to_canonical();
    let callers: Vec<(EngineSlot, String)> = settings
        .at(ip)
        .filter(|member| !settings.calls(member))
        .map(|member| (member.slot, member.name.clone()))
        .collect();
    if callers.is_empty() {
        return rules.refuse(&rules.refusals.address, from, "no member calls from this address");
    }
    // Who comes from nowhere that is known may be a mirror: all of them together are one caller, and take no member's place.
    let is_known = settings.members.iter().any(|member| member.address.ip() == ip);
    let counts_as = if is_known { ip } else { Ipv4Addr::UNSPECIFIED.into() };
    if !rules.may_try(counts_as) {
        return rules.refuse(&rules.refusals.rate, from, "it tries more often than ten times a second");
    }
    let places = if is_known { &rules.handshakes } else { &rules.strangers };
    let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
        return rules.refuse(&rules.refusals.busy, from, "too many handshakes are under way");
    };
    let (rules, tell) = (Arc::clone(rules), tell.clone());
    tokio::spawn(async move {
        let _permit = permit;
        let _ = tcp.set_nodelay(true);
        let answered = tokio::time::timeout(HANDSHAKE, settings.identity.answer(tcp, &callers)).await;
        match answered.unwrap_or_else(|_| Err("its handshake takes too long".to_owned())) {
            Ok((slot, stream)) => {
                let _ = tell.send(Told::Came { slot, stream: Box::new(stream), door: Some(door) }).await;
            }
            Err(why) => rules.refuse(&rules.refusals.handshake, from, &why),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-DOOR-04
    #[tokio::test]
    async fn an_address_that_somebody_listens_on_is_nobody_elses_until_it_is_given_up() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen(here).expect("a port is free");
        let at = first.local_addr().expect("it listens");
        let taken = listen_soon(at).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(crate::cannot_listen(at, &taken).contains("another process listens there"));
        // A connection that was accepted there is in nobody's way.
        let caller = TcpStream::connect(at).await.expect("it listens");
        let accepted = first.accept().await.expect("it calls");
        let waits = tokio::task::spawn_blocking({
            let runtime = tokio::runtime::Handle::current();
            move || {
                let _inside = runtime.enter();
                listen_soon(at).map(drop)
            }
        });
        drop(first);
        waits.await.expect("it ends").expect("it is free");
        drop((caller, accepted));
    }
}
