//! Calling members: the lower slot calls the higher one, so that there is one connection between two.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use forebay_core::table::EngineSlot;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::Identity;
use crate::identity::Secured;
use crate::limits::{
    CALL_AGAIN, CALLS_AT_ONCE, CONNECT, HANDSHAKE, REDIAL_HERE_MS, REDIAL_MAX_MS, REDIAL_MS, REFUSED_MAX_MS,
    STOOD,
};
use crate::link::Told;

/// Whom to call, from where, and who one is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub to: EngineSlot,
    pub name: String,
    pub at: SocketAddr,
    pub from: IpAddr,
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
        let late = || Failed { why: no_answer(call.at, HANDSHAKE), here: false };
        let called = called.unwrap_or_else(|_| Err(late()));
        let here = called.as_ref().is_err_and(|failed| failed.here);
        let told = match called {
            Ok(stream) => {
                // Whether it lets this engine in is known only once it speaks.
                stood.store(false, Ordering::Relaxed);
                Told::Came { slot: call.to, stream: Box::new(stream), door: None }
            }
            Err(failed) => Told::Unreached { slot: call.to, why: failed.why },
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
        let next = if here { REDIAL_HERE_MS } else { wait };
        let waits = tokio::time::sleep(Duration::from_millis(next / 2 + jitter(next / 2)));
        tokio::select! {
            () = waits => {}
            // Whatever it was refused for may be mended.
            () = moved.notified() => wait = REDIAL_MS,
        }
        wait = (wait * 2).min(longest);
    }
}

/// A call that came to nothing.
#[derive(Debug)]
struct Failed {
    why: String,
    /// Nothing has left this machine.
    here: bool,
}

fn no_answer(at: SocketAddr, within: Duration) -> String {
    format!("{at}: no answer within {} ms", within.as_millis())
}

fn failed(why: impl FnOnce(&io::Error) -> String) -> impl FnOnce(io::Error) -> Failed {
    let is_here = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown
        )
    };
    move |error| Failed { why: why(&error), here: is_here(&error) }
}

async fn once(call: &Call) -> Result<Secured, Failed> {
    let stream = connect(call.from, call.at).await?;
    call.identity.call(stream, &call.name).await.map_err(|why| Failed { why, here: false })
}

/// A connection, as soon as one of a few first words is answered: of those that nobody has heard nothing comes.
//= SYNC-DIAL-03
async fn connect(from: IpAddr, at: SocketAddr) -> Result<TcpStream, Failed> {
    let all = async {
        let mut words = VecDeque::new();
        loop {
            while words.len() >= CALLS_AT_ONCE {
                words.pop_front();
            }
            words.push_back(Box::pin(connect_once(from, at)?));
            // Whichever comes first; all of them end alike.
            let answered = std::future::poll_fn(|turn| {
                let done = words.iter_mut().find_map(|word| match word.as_mut().poll(turn) {
                    Poll::Ready(done) => Some(done),
                    Poll::Pending => None,
                });
                done.map_or(Poll::Pending, Poll::Ready)
            });
            if let Ok(done) = tokio::time::timeout(CALL_AGAIN, answered).await {
                return done.map_err(failed(|error| format!("{at}: {error}")));
            }
        }
    };
    let late = |_| Failed { why: no_answer(at, CONNECT), here: false };
    let stream = tokio::time::timeout(CONNECT, all).await.map_err(late)??;
    stream.set_nodelay(true).map_err(failed(ToString::to_string))?;
    Ok(stream)
}

/// One first word, and what comes of it.
fn connect_once(from: IpAddr, at: SocketAddr) -> Result<impl Future<Output = io::Result<TcpStream>>, Failed> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed(ToString::to_string))?;
    // Members know one another by the management address.
    let unusable = |error: &io::Error| format!("the management address {from} cannot be used: {error}");
    socket.bind(SocketAddr::new(from, 0)).map_err(failed(unusable))?;
    Ok(socket.connect(at))
}

/// A number below `limit`, another one each time; nothing depends on who could guess it.
fn jitter(limit: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let drawn = std::hash::RandomState::new().build_hasher().finish();
    drawn % limit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    //= test SYNC-DIAL-03
    #[tokio::test]
    async fn who_calls_without_a_link_knows_that_nothing_has_left_and_who_hears_nothing_calls_again_soon() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(here, 0).into()).expect("a port is free");
        let at = socket.local_addr().expect("it is bound").as_socket().expect("an address");
        // An address for documents, which no machine has.
        let failed = connect(IpAddr::from([192, 0, 2, 1]), at).await.expect_err("it has no such address");
        assert!(failed.here && failed.why.contains("192.0.2.1"), "{failed:?}");
        let failed = connect(here, at).await.expect_err("nobody listens");
        assert!(!failed.here && failed.why.contains("refused"), "{failed:?}");
        // Who listens and accepts nobody has room for one or two; the first word of others is lost.
        socket.listen(0).expect("it listens");
        let mut held = Vec::new();
        let failed = loop {
            match connect(here, at).await {
                Ok(stream) => held.push(stream),
                Err(failed) => break failed,
            }
            assert!(held.len() < 8, "there is room for so many");
        };
        assert!(!failed.here && failed.why.contains("no answer within 2000 ms"), "{failed:?}");
        // As soon as there is room the next word is heard, and not only when the system says the first one again.
        let call = tokio::spawn(connect(here, at));
        // Sleep: so that the first words are lost.
        tokio::time::sleep(3 * CALL_AGAIN).await;
        assert!(!call.is_finished());
        let free = Instant::now();
        for _ in 0..held.len() {
            socket.accept().expect("somebody waits");
        }
        call.await.expect("no panic").expect("a connection");
        assert!(free.elapsed() < 4 * CALL_AGAIN, "{:?}", free.elapsed());
    }
}
