//! A cable between two engines that the test has in its hands: what goes in comes out later, or never.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use forebay_e2e::system;

/// Between two looks at whether a stuffed cable is free again.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Who calls there reaches who listens at its other end.
pub struct Cable {
    inner: Arc<Inner>,
    at: SocketAddr,
}

struct Inner {
    /// Who calls seems to call from there.
    from: IpAddr,
    to: SocketAddr,
    delay_us: AtomicU64,
    unplugged: AtomicBool,
    stuffed: AtomicBool,
    over: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// From `at`, where calls are taken, to `to`.
    pub fn lay(at: SocketAddr, from: IpAddr, to: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind(at).expect("nobody has that address");
        let flag = || AtomicBool::new(false);
        let inner = Inner {
            from,
            to,
            delay_us: AtomicU64::new(micros(delay)),
            unplugged: flag(),
            stuffed: flag(),
            over: flag(),
            ends: Mutex::default(),
        };
        let inner = Arc::new(inner);
        let held = Arc::clone(&inner);
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if held.over.load(Ordering::SeqCst) {
                    return;
                }
                held.carry(caller);
            }
        });
        Self { inner, at }
    }

    /// From now on what goes in comes out after so long.
    pub fn takes(&self, delay: Duration) {
        self.inner.delay_us.store(micros(delay), Ordering::SeqCst);
    }

    /// From now on what is in it and what goes in is lost, and neither end is told.
    pub fn unplug(&self) {
        self.inner.unplugged.store(true, Ordering::SeqCst);
    }

    /// Whoever calls from now on is heard; connections of before are over.
    pub fn plug_in(&self) {
        self.inner.end_all();
        self.inner.unplugged.store(false, Ordering::SeqCst);
    }

    /// From now on nothing is taken from the one who is called; what the caller says arrives.
    pub fn stuff(&self) {
        self.inner.stuffed.store(true, Ordering::SeqCst);
    }
}

fn micros(delay: Duration) -> u64 {
    delay.as_micros() as u64
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::SeqCst);
        self.inner.end_all();
        // Whoever waits for calls wakes up.
        let _ = TcpStream::connect(self.at);
    }
}

impl Inner {
    fn end_all(&self) {
        for end in self.ends.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may have ended.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn carry(self: &Arc<Self>, caller: TcpStream) {
        if self.unplugged.load(Ordering::SeqCst) {
            return;
        }
        let Ok(called) = system::connect_from(SocketAddr::new(self.from, 0), self.to) else { return };
        for end in [&caller, &called] {
            end.set_nodelay(true).expect("a socket");
            let end = end.try_clone().expect("a file is free");
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        }
        let clone = |end: &TcpStream| end.try_clone().expect("a file is free");
        self.pump(clone(&caller), clone(&called), false);
        self.pump(called, caller, true);
    }

    /// Carries bytes one way. `back`: from the one who is called.
    fn pump(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, back: bool) {
        let (send, queue) = mpsc::channel::<(Instant, Vec<u8>)>();
        let (reads, writes) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || {
            let mut piece = vec![0; 16 * 1024];
            loop {
                while back && reads.stuffed.load(Ordering::SeqCst) && !reads.over.load(Ordering::SeqCst) {
                    std::thread::sleep(LOOK_EVERY);
                }
                match from.read(&mut piece) {
                    Ok(got @ 1..) => {
                        let due =
                            Instant::now() + Duration::from_micros(reads.delay_us.load(Ordering::SeqCst));
                        if send.send((due, piece[..got].to_vec())).is_err() {
                            return;
                        }
                    }
                    Ok(0) | Err(_) => return,
                }
            }
        });
        std::thread::spawn(move || {
            for (due, piece) in queue {
                // Sleep: how long a cable takes is what it is for.
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if !writes.unplugged.load(Ordering::SeqCst) && to.write_all(&piece).is_err() {
                    break;
                }
            }
            // Whoever listens there hears that the other one is gone, unless nothing is heard.
            if !writes.unplugged.load(Ordering::SeqCst) {
                let _ = to.shutdown(Shutdown::Write);
            }
        });
    }
}
