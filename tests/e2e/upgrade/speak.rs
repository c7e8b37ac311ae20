//! The protocol of an upgrade as a stranger speaks it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

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
pub struct Speaker(UnixStream);

impl Speaker {
    /// Connects.
    pub fn new(engine: &Engine) -> Self {
        let stream = UnixStream::connect(door(engine)).expect("it listens");
        stream.set_read_timeout(Some(secs(10))).expect("a time-out above zero");
        Self(stream)
    }

    /// Sends bytes that may be no frame.
    pub fn send(&mut self, bytes: &[u8]) {
        // Who has been refused already hears no more.
        let _ = self.0.write_all(bytes);
    }

    /// Says something.
    pub fn say(&mut self, say: &Value) {
        self.send(&frame(say));
    }

    /// Whether something cannot be said any more.
    pub fn is_unheard(&mut self, say: &Value) -> bool {
        self.0.write_all(&frame(say)).is_err()
    }

    /// Greets as a new process of this version does.
    pub fn hello(&mut self) {
        self.say(&json!({ "say": "hello", "protocol": 1, "version": "test" }));
    }

    /// What is said next; frames of entries are passed over, and the files that come are closed. `None`: the end.
    pub fn hears(&mut self) -> Option<Value> {
        loop {
            let mut header = [0; 5];
            self.0.read_exact(&mut header).ok()?;
            let [a, b, c, d, kind] = header;
            let mut body = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
            self.0.read_exact(&mut body).ok()?;
            if kind == 0 {
                return Some(serde_json::from_slice(&body).expect("JSON"));
            }
        }
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
