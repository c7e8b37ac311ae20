//! One probe, from its start to what it says about the server.
//!
//! A probe that we could not make for want of something of our own (a descriptor, a port, a free place) says nothing
//! about the server: [`Outcome::NotMade`].

mod command;
mod datagram;
mod grpc;
mod ping;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_health::{End, Evaluator, Failure, Kind, Monitor, Outcome, Verdict};
use forebay_proxy_protocol::Version;
use tokio::sync::{Semaphore, oneshot};

pub use command::can_start;
pub use ping::can_ping;

use crate::limits::{COMMANDS_AT_ONCE_MAX, PROBES_AT_ONCE_MAX};
use crate::tls::ClientProfile;

/// Between two tries to get what we are short of.
const SHORTAGE_LOOK: Duration = Duration::from_millis(100);

/// How many probes run at the same time.
#[derive(Clone)]
pub struct Places {
    sockets: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            sockets: Arc::new(Semaphore::new(PROBES_AT_ONCE_MAX)),
            commands: Arc::new(Semaphore::new(COMMANDS_AT_ONCE_MAX)),
        }
    }
}

/// What one monitor asks one server.
#[derive(Debug, PartialEq)]
pub struct Ask {
    /// Where.
    pub address: SocketAddr,
    /// How a request names the server, where it names it.
    pub host: String,
    /// What is asked, and how the answer is judged.
    pub monitor: Arc<Monitor>,
    /// Over TLS.
    pub secure: Option<Secure>,
}

/// How a probe over TLS is protected.
#[derive(Debug, PartialEq)]
pub struct Secure {
    /// Whom the engine trusts.
    pub trust: Arc<ClientProfile>,
    /// The name that the server is asked for: a host's or an IP address.
    pub name: String,
}

/// What there was when a probe's time was up.
#[derive(Default)]
struct Stage {
    /// Something of ours was wanting.
    short: AtomicBool,
    /// The handshake of TLS was under way.
    shakes_hands: AtomicBool,
}

/// Probes until there is a verdict or `abandon` resolves (the receive time-out passed).
///
/// What the probe opened is closed when this returns; a command that hangs has been sent its end by then. Memory is
/// bounded by the evaluator's window.
//= HM-OWN-01
pub async fn run(
    ask: Arc<Ask>,
    introduces: Option<Version>,
    places: Places,
    mut abandon: oneshot::Receiver<()>,
) -> Outcome {
    let (address, monitor) = (ask.address, &ask.monitor);
    let places = match monitor.kind {
        Kind::External(_) => places.commands,
        _ => places.sockets,
    };
    let place = tokio::select! {
        Ok(place) = places.acquire_owned() => place,
        _ = &mut abandon => return Outcome::NotMade,
    };
    let verdict = match &monitor.kind {
        Kind::External(_) => command::run(address, Arc::clone(monitor), place, abandon).await,
        Kind::Ping => {
            let short = AtomicBool::new(false);
            in_time(ping::talk(address, &short), abandon, &short).await
        }
        Kind::Grpc(grpc) => {
            let short = AtomicBool::new(false);
            in_time(grpc::talk(&ask, grpc, introduces, &short), abandon, &short).await
        }
        _ => talk(&ask, introduces, abandon).await,
    };
    verdict.and_then(Outcome::of).unwrap_or(Outcome::NotMade)
}

/// A probe's verdict, or that its time passed; `None`: something of ours was wanting until then.
async fn in_time(
    talking: impl Future<Output = Verdict>,
    abandon: oneshot::Receiver<()>,
    short: &AtomicBool,
) -> Option<Verdict> {
    tokio::select! {
        verdict = talking => Some(verdict),
        _ = abandon => {
            let late = || Verdict::Fail(Failure::TimedOut(Default::default()));
            (!short.load(Ordering::Relaxed)).then(late)
        }
    }
}

/// Sends bytes and judges what comes; `None`: the probe could not be made.
async fn talk(ask: &Ask, introduces: Option<Version>, abandon: oneshot::Receiver<()>) -> Option<Verdict> {
    let mut evaluator = Evaluator::new(&ask.monitor.kind)?;
    let stage = Stage::default();
    let talking = async {
        match &ask.monitor.kind {
            Kind::Udp(udp) => datagram::talk(ask.address, udp, &mut evaluator, &stage.short).await,
            _ => stream::talk(ask, introduces, &mut evaluator, &stage).await,
        }
    };
    let verdict = tokio::select! {
        verdict = talking => Some(verdict),
        _ = abandon => None,
    };
    verdict.or_else(|| {
        if stage.short.load(Ordering::Relaxed) {
            return None;
        }
        if stage.shakes_hands.load(Ordering::Relaxed) {
            let why = "the handshake did not end within the receive time-out".to_owned();
            return Some(Verdict::Fail(Failure::Tls(why)));
        }
        Some(evaluator.finish(End::TimedOut))
    })
}

/// Says that a probe waits for something of ours, and waits a little.
async fn wait_for_our_own(address: SocketAddr, error: &io::Error, short: &AtomicBool) {
    short.store(true, Ordering::Relaxed);
    tracing::debug!(%address, %error, "a probe waits for a descriptor or port");
    tokio::time::sleep(SHORTAGE_LOOK).await;
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}
