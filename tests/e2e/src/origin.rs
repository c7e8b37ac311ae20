//! Servers that a test scripts: they may answer, hang, reset, or speak nonsense.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::system;
use crate::wire::Wire;

/// A listening server whose connections are handled by a closure, each on a thread of its own.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Origin {
    /// Handles each connection with `serve`, which gets the connection and its number from 0.
    ///
    /// # Panics
    /// If it cannot listen there.
    pub fn start(
        address: SocketAddr,
        serve: impl Fn(Wire, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let serve = Arc::new(serve);
        let (count, stopped) = (Arc::clone(&accepted), Arc::clone(&stop));
        let listening = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                let spawned = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                    if let Ok(wire) = Wire::from_stream(stream) {
                        // The peer under test may end the connection whenever it likes.
                        let _ = serve(wire, number);
                    }
                });
                drop(spawned);
            }
        });
        let heads = Arc::new(Mutex::new(Vec::new()));
        Self { address, accepted, heads, stop, listening: Some(listening) }
    }

    /// Answers each request with what `answer` makes of its head (bodies are not read). `None` ends
    /// the connection with a reset. The heads are kept for [`Origin::heads`].
    pub fn answering(
        address: SocketAddr,
        answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let mut origin = Self::start(address, move |mut wire, _| {
            loop {
                let head = wire.head()?;
                let back = answer(&head);
                seen.lock().expect("no holder panics").push(head);
                match back {
                    Some(bytes) => wire.send(bytes)?,
                    None => {
                        wire.reset();
                        return Ok(());
                    }
                }
            }
        });
        origin.heads = heads;
        origin
    }

    /// Answers every request with these bytes.
    pub fn fixed(address: SocketAddr, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::answering(address, move |_| Some(bytes.clone()))
    }

    /// Accepts, reads, and never says anything, without a thread per connection.
    pub fn silent(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (Arc::clone(&accepted), Arc::clone(&stop));
        let listening = std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        });
        Self { address, accepted, heads: Arc::default(), stop, listening: Some(listening) }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        if let Ok(wire) = std::net::TcpStream::connect(self.address) {
            system::linger_zero(std::os::fd::AsRawFd::as_raw_fd(&wire));
        }
        if let Some(thread) = self.listening.take() {
            let _ = thread.join();
        }
    }
}

/// A plain answer with a Content-Length.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
