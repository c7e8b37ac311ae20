//! Frames by hand, and one end of a connection without its socket.
#![allow(dead_code, reason = "each test program uses its part")]

use forebay_http::h2::{Code, Config, Connection, Event, Inbox, PREFACE, Role};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 0x20;
/// The usual flags of a request without content.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field as a literal that gets into no table.
pub fn line(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        if text.len() < 127 {
            bytes.push(text.len() as u8);
        } else {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push(rest as u8 | 128);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| line(name, value)).collect()
}

/// The pseudo-header fields of a request, and `more`.
pub fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let first = [(":method", method), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];
    [block(&first), block(more)].concat()
}

/// A whole GET on a stream.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &request("GET", &[]))
}

/// The head of a POST with content to come.
pub fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", more))
}

pub fn window_update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub fn reset(stream: u32, code: Code) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &(code as u32).to_be_bytes())
}

pub fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// A frame that the engine wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Sent {
    pub fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn sent(mut bytes: &[u8]) -> Vec<Sent> {
    bytes = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, d, e, f, g, rest @ ..] = bytes {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream = u32::from_be_bytes([*d, *e, *f, *g]);
        frames.push(Sent { kind: *kind, flags: *flags, stream, payload: rest[..len].to_vec() });
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "half a frame was written");
    frames
}

/// What the client says before its first request.
pub fn opening() -> Vec<u8> {
    [&PREFACE[..], &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()
}

/// One end of a connection.
pub struct Peer {
    pub connection: Connection,
    pub inbox: Inbox,
    pub out: Vec<u8>,
    pub now: u64,
    input: Vec<u8>,
    /// The content that came, of all streams.
    pub content: Vec<u8>,
}

impl Peer {
    /// An end that has not heard anything.
    pub fn new(role: Role, config: &Config) -> Peer {
        let mut out = Vec::new();
        let connection = Connection::new(role, config, &mut out);
        let (input, content) = (Vec::new(), Vec::new());
        Peer { connection, inbox: Inbox::default(), out, now: 0, input, content }
    }

    /// A server that has exchanged settings with its client.
    pub fn server(config: &Config) -> Peer {
        let mut peer = Peer::new(Role::Server, config);
        assert_eq!(peer.feed(&opening()), []);
        peer.out.clear();
        peer
    }

    /// A client that has exchanged settings and opened stream 1 with this method.
    pub fn client(config: &Config, method: &str) -> Peer {
        let mut peer = Peer::new(Role::Client, config);
        let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat();
        assert_eq!(peer.feed(&settings), []);
        let head = format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let opened = peer.connection.open(head.as_bytes(), b"https", &[], true, &mut peer.out);
        assert_eq!(opened, Ok(1));
        peer.out.clear();
        peer
    }

    /// Feeds bytes and returns all events.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        self.feed_with(bytes, |_, event| events.push(event));
        events
    }

    /// Feeds bytes and shows each event when it happens.
    pub fn feed_with(&mut self, bytes: &[u8], mut seen: impl FnMut(&mut Peer, Event)) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let step = self.connection.feed(rest, self.now, &mut self.inbox, &mut self.out);
            at += step.consumed;
            match step.event {
                Event::NeedInput => break,
                Event::Over { rule } => {
                    seen(self, Event::Over { rule });
                    break;
                }
                Event::Data { stream, data, end } => {
                    self.content.extend_from_slice(&rest[data.clone()]);
                    seen(self, Event::Data { stream, data, end });
                }
                event => seen(self, event),
            }
        }
        self.input = input[at..].to_vec();
    }

    /// Answers a stream with this status and no content.
    pub fn answer(&mut self, stream: u32, status: u16) {
        let head = format!("HTTP/1.1 {status} X\r\n\r\n");
        self.connection.head(stream, head.as_bytes(), &[], true, &mut self.out).unwrap();
    }

    /// Returns what was written since the last look.
    pub fn sent(&mut self) -> Vec<Sent> {
        sent(&std::mem::take(&mut self.out))
    }
}
