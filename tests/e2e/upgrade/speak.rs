//! The protocol of an upgrade as a stranger speaks it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use forebay_e2e::Engine;
use forebay_e2e::wait::secs;
use serde_json::{Value, json};

/// Where an engine is asked for what it has.
pub fn door(engine: &Engine) -> PathBuf {
    engine.config.with_extension("sock.upgrade")
}

fn frame(say: &Value) -> Vec<u8> {
    let body = say.to_string();
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.push(0);
    bytes.extend(body.bytes());
    bytes
}

/// One who asks an engine for what it has.
pub struct Speaker {
    stream: UnixStream,
    applied: u64,
}

impl Speaker {
    /// Connects.
    pub fn new(engine: &Engine) -> Self {
        let stream = UnixStream::connect(door(engine)).expect("it listens");
        stream.set_read_timeout(Some(secs(10))).expect("a time-out above zero");
        Self { stream, applied: 0 }
    }

    /// Sends bytes that may be no frame.
    pub fn send(&mut self, bytes: &[u8]) {
        // Who has been refused already hears no more.
        let _ = self.stream.write_all(bytes);
    }

    /// Says something.
    pub fn say(&mut self, say: &Value) {
        self.send(&frame(say));
    }

    /// Whether something cannot be said any more.
    pub fn is_unheard(&mut self, say: &Value) -> bool {
        self.stream.write_all(&frame(say)).is_err()
    }

    /// Greets as a new process of this version does.
    pub fn hello(&mut self) {
        self.say(&json!({ "say": "hello", "protocol": 2, "version": "test" }));
    }

    /// What is said next; frames of entries are passed over, and the files that come are closed. `None`: the end.
    pub fn hears(&mut self) -> Option<Value> {
        loop {
            let (kind, body) = self.frame()?;
            if kind == 0 {
                return Some(serde_json::from_slice(&body).expect("JSON"));
            }
        }
    }

    /// What is said next; a frame of entries is answered after so long.
    pub fn hears_slowly(&mut self, after: Duration) -> Value {
        let (kind, body) = self.frame().expect("no end without a reason");
        if kind == 0 {
            return serde_json::from_slice(&body).expect("JSON");
        }
        // Sleep: a slow process is the subject.
        std::thread::sleep(after);
        self.applied += 1;
        let applied = self.applied;
        self.say(&json!({ "say": "applied", "frame": applied }));
        json!({ "say": "entries" })
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).ok()?;
        let [a, b, c, d, kind] = header;
        let mut body = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// Waits until this is said.
    #[track_caller]
    pub fn waits_for(&mut self, word: &str) -> Value {
        loop {
            let said = self.hears().unwrap_or_else(|| panic!("{word} is never said"));
            if said["say"] == word {
                return said;
            }
        }
    }
}
