//! Clients that ask all the while, each from an address of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_e2e::Client;
use forebay_e2e::wait::{eventually, secs};

/// A request that was not answered well.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When it was sent.
    pub sent: Instant,
    /// When that was known.
    pub known: Instant,
    pub why: String,
}

/// What they have seen.
#[derive(Default)]
pub struct Clients {
    is_over: AtomicBool,
    /// Requests that were answered.
    pub answered: AtomicU64,
    failed: Mutex<Vec<Failed>>,
    /// Answers from another server than the client's first one.
    moved: Mutex<Vec<String>>,
}

impl Clients {
    /// One of them, until all may go.
    pub fn ask(&self, from: IpAddr, at: SocketAddr) {
        let mut first = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let sent = Instant::now();
            let got = Client::new(at).from(from).patience(secs(5)).get_once("/");
            let why = match got {
                Ok(answer) if answer.status == 200 => {
                    let server = answer.server().to_owned();
                    let first = first.get_or_insert_with(|| server.clone());
                    if *first != server {
                        self.moved.lock().expect("no panic").push(format!("{from}: {first}, then {server}"));
                    }
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    None
                }
                Ok(answer) => Some(format!("{from}: status {}", answer.status)),
                Err(error) => Some(format!("{from}: {error}")),
            };
            if let Some(why) = why {
                let failed = Failed { sent, known: Instant::now(), why };
                self.failed.lock().expect("no panic").push(failed);
            }
            // Sleep: so many clients would take all of the machine otherwise.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// They go on well: so many more requests are answered.
    pub fn go_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("clients are answered", secs(20), || self.answered.load(Ordering::Relaxed) > before + 50);
    }

    /// No request has failed, but those that were under way between these moments, and nobody has lost their server.
    pub fn are_well(&self, but: Option<(Instant, Instant)>) {
        let moved = self.moved.lock().expect("no panic");
        assert!(moved.is_empty(), "{moved:?}");
        let failed = self.failed.lock().expect("no panic");
        let is_excused = |one: &&Failed| but.is_some_and(|(from, to)| one.known >= from && one.sent <= to);
        let bad: Vec<&str> =
            failed.iter().filter(|one| !is_excused(one)).map(|one| one.why.as_str()).collect();
        assert!(bad.is_empty(), "{} of {}: {bad:?}", bad.len(), self.answered.load(Ordering::Relaxed));
    }

    /// Lets them go when what is returned goes.
    pub fn until_dropped(&self) -> forebay_e2e::lively::Over<'_> {
        forebay_e2e::lively::Over(&self.is_over)
    }
}
