//! Calling members: the lower slot calls the higher one, so that there is one connection between two.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::table::EngineSlot;
use tokio::net::TcpSocket;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::Identity;
use crate::identity::Secured;
use crate::limits::{HANDSHAKE, REDIAL_MAX_MS, REDIAL_MS, REFUSED_MAX_MS, STOOD};
use crate::link::Told;

/// Whom to call, from where, and who one is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub to: EngineSlot,
    pub name: String,
    pub at: SocketAddr,
    pub from: SocketAddr,
    pub identity: Arc<Identity>,
}

/// A member that is called. Nobody calls any more when dropped.
pub(crate) struct Dial {
    call: Arc<Mutex<Call>>,
    moved: Arc<Notify>,
    /// Connections with it that have ended.
    ends: watch::Sender<u64>,
    /// The last one stood: the member said who it is.
    stood: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dial {
    /// Calls until a connection stands, and again whenever none does.
    pub fn start(call: Call, tell: mpsc::Sender<Told>) -> Self {
        let call = Arc::new(Mutex::new(call));
        let moved = Arc::new(Notify::new());
        let (ends, ended) = watch::channel(0);
        let stood = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(keep(Arc::clone(&call), Arc::clone(&moved), Arc::clone(&stood), ended, tell));
        Self { call, moved, ends, stood, task }
    }

    /// It has said who it is: when this connection ends it is called again soon.
    pub fn stands(&self) {
        self.stood.store(true, Ordering::Relaxed);
    }

    /// A connection with it has ended, or was not wanted.
    pub fn over(&self) {
        self.ends.send_modify(|ends| *ends += 1);
    }

    /// From now on it is called so. Where it is somewhere else, it is called there at once, and the connection that stands
    /// goes when the new one stands.
    pub fn change(&self, to: Call) {
        let mut call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = (call.at, call.from) != (to.at, to.from);
        *call = to;
        if elsewhere {
            self.moved.notify_one();
        }
    }
}

async fn keep(
    call: Arc<Mutex<Call>>,
    moved: Arc<Notify>,
    stood: Arc<AtomicBool>,
    mut ended: watch::Receiver<u64>,
    tell: mpsc::Sender<Told>,
) {
    let mut wait = REDIAL_MS;
    loop {
        let before = *ended.borrow_and_update();
        let call = call.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let called = tokio::time::timeout(HANDSHAKE, once(&call)).await;
        let late = || format!("{}: no answer within {} s", call.at, HANDSHAKE.as_secs());
        let told = match called.unwrap_or_else(|_| Err(late())) {
            Ok(stream) => {
                // Whether it lets this engine in is known only once it speaks.
                stood.store(false, Ordering::Relaxed);
                Told::Came { slot: call.to, stream: Box::new(stream), door: None }
            }
            Err(why) => Told::Unreached { slot: call.to, why },
        };
        let stands = matches!(told, Told::Came { .. });
        if tell.send(told).await.is_err() {
            return;
        }
        let mut longest = REDIAL_MAX_MS;
        if stands {
            let since = Instant::now();
            tokio::select! {
                over = ended.wait_for(|ends| *ends > before) => if over.is_err() { return },
                () = moved.notified() => continue,
            }
            if stood.load(Ordering::Relaxed) && since.elapsed() >= STOOD {
                wait = REDIAL_MS;
            }
            longest = REFUSED_MAX_MS;
        }
        let waits = tokio::time::sleep(Duration::from_millis(wait / 2 + jitter(wait / 2)));
        tokio::select! {
            () = waits => {}
            // Whatever it was refused for may be mended.
            () = moved.notified() => wait = REDIAL_MS,
        }
        wait = (wait * 2).min(longest);
    }
}

async fn once(call: &Call) -> Result<Secured, String> {
    let socket = if call.at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| error.to_string())?;
    // Members know one another by the management address.
    socket
        .bind(SocketAddr::new(call.from.ip(), 0))
        .map_err(|error| format!("the management address {} cannot be used: {error}", call.from.ip()))?;
    let stream = socket.connect(call.at).await.map_err(|error| format!("{}: {error}", call.at))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    call.identity.call(stream, &call.name).await
}

/// A number below `limit`, another one each time; nothing depends on who could guess it.
fn jitter(limit: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let drawn = std::hash::RandomState::new().build_hasher().finish();
    drawn % limit.max(1)
}
