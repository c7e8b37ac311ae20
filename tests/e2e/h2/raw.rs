//! A client of HTTP/2 that says whatever it is told to, frame by frame.

use std::io;
use std::net::SocketAddr;

use forebay_e2e::Wire;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
/// Of DATA and HEADERS: the stream's end. Of SETTINGS and PING: an answer.
pub const END: u8 = 1;
/// The header block is whole.
pub const WHOLE: u8 = 4;

/// What came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Four bytes of its content as a number: of RST_STREAM the code, of GOAWAY the last stream and the code.
    pub fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn is(&self, kind: u8, stream: u32) -> bool {
        self.kind == kind && self.stream == stream
    }
}

/// A frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block without tables, names in lower case.
pub fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in all {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a longer one needs another length");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A request's header block.
pub fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "a.example"), (":path", path)];
    fields(&[&pseudo, more].concat())
}

/// A request without content.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END | WHOLE, stream, &block("GET", path, &[]))
}

/// A connection whose client has said its preface and its settings.
pub struct Raw {
    pub wire: Wire,
}

impl Raw {
    /// `settings`: numbers and values.
    pub fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> io::Result<Raw> {
        Raw::begin(Wire::connect(to)?, settings)
    }

    /// Says preface and settings over a connection.
    pub fn begin(mut wire: Wire, settings: &[(u16, u32)]) -> io::Result<Raw> {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        wire.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat())?;
        Ok(Raw { wire })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes)
    }

    /// The next frame.
    pub fn next(&mut self) -> io::Result<Frame> {
        let head = self.wire.exactly(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & (u32::MAX >> 1);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload: self.wire.exactly(len)? })
    }

    /// The next frame of which `fits` is true; what comes before it is thrown away.
    pub fn find(&mut self, fits: impl Fn(&Frame) -> bool) -> io::Result<Frame> {
        loop {
            let frame = self.next()?;
            if fits(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Sends a PING and reads up to its answer: all that was said before has been heard then. Gives what came before.
    pub fn heard(&mut self) -> io::Result<Vec<Frame>> {
        self.send(frame(PING, 0, 0, b"heard???"))?;
        let mut before = Vec::new();
        loop {
            let frame = self.next()?;
            if frame.kind == PING && frame.payload == b"heard???" {
                return Ok(before);
            }
            before.push(frame);
        }
    }
}
