//! A careless reader of messages, in the ways that servers are careless: it takes bare line ends, folded lines,
//! blanks before colons, the first or last of repeated lengths, anything that contains "chunked".
//!
//! What we write must leave it no choice: however careless it is, it reads the same messages.

use forebay_http::h1::body::{Decoder, State};
use forebay_http::h1::{self, Framing, Parse, RequestContext, RequestHead, ResponseHead, Upgrade};
use forebay_http::{Known, Limits};

/// The ways to be careless.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// `Transfer-Encoding` is not known at all.
    pub ignores_encoding: bool,
    /// Of repeated fields the last counts.
    pub last_counts: bool,
    /// `_` in a name is read as `-`.
    pub reads_underscores: bool,
}

/// All combinations that a server of HTTP/1.1 can have.
pub const HABITS: [Habit; 4] = [
    Habit { ignores_encoding: false, last_counts: false, reads_underscores: false },
    Habit { ignores_encoding: false, last_counts: true, reads_underscores: true },
    Habit { ignores_encoding: true, last_counts: false, reads_underscores: true },
    Habit { ignores_encoding: true, last_counts: true, reads_underscores: false },
];

/// One message as the careless reader takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The start line.
    pub start: Vec<u8>,
    /// What the reader takes for its host.
    pub host: Option<Vec<u8>>,
    /// The content length that it believes; none without one.
    pub length: Option<u64>,
    /// It takes the content for chunked.
    pub chunked: bool,
    /// Bytes of the head.
    pub len: usize,
}

/// Reads one head; none if it has no end.
pub fn head(bytes: &[u8], habit: Habit) -> Option<Message> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    loop {
        let end = at + bytes[at..].iter().position(|&b| b == b'\n')?;
        let line = bytes[at..end].strip_suffix(b"\r").unwrap_or(&bytes[at..end]);
        at = end + 1;
        match (line, lines.last_mut()) {
            ([], None) => {}
            ([], Some(_)) => break,
            ([b' ' | b'\t', ..], Some(last)) => last.extend_from_slice(line),
            _ => lines.push(line.to_vec()),
        }
    }
    let mut message = Message { start: lines.remove(0), host: None, length: None, chunked: false, len: at };
    for line in &lines {
        let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
        let mut name = line[..colon].trim_ascii().to_ascii_lowercase();
        if habit.reads_underscores {
            name.iter_mut().filter(|b| **b == b'_').for_each(|b| *b = b'-');
        }
        let value = line.get(colon + 1..).unwrap_or(&[]).trim_ascii();
        match &name[..] {
            b"host" if message.host.is_none() || habit.last_counts => message.host = Some(value.to_vec()),
            b"content-length" if message.length.is_none() || habit.last_counts => {
                let digits = value.iter().take_while(|b| b.is_ascii_digit());
                message.length =
                    Some(digits.fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))));
            }
            b"transfer-encoding" if !habit.ignores_encoding => {
                message.chunked |= value.to_ascii_lowercase().windows(7).any(|w| w == b"chunked");
            }
            _ => {}
        }
    }
    Some(message)
}

/// Asserts that the careless reader takes `written`, which holds `messages` heads, for the same messages as we do.
///
/// `whole` says that the last message's content is there too; `is_response` which kind they are.
pub fn assert_reads_the_same(written: &[u8], messages: u32, whole: bool, is_response: bool) {
    let limits =
        Limits { head_bytes: u32::MAX, field_bytes: u32::MAX, fields: u32::MAX, ..Limits::default() };
    let mut rest = written;
    for message in 1..=messages {
        let (len, framing, host) = match is_response {
            true => response_head(rest, &limits),
            false => request_head(rest, &limits),
        };
        for habit in HABITS {
            let read = head(rest, habit).expect("a head that was written ends");
            assert_eq!(read.len, len, "{habit:?}");
            assert!(rest.starts_with(&read.start), "{habit:?}");
            // Host means nothing in a response.
            assert!(is_response || read.host == host, "{habit:?}: {:?}", read.host);
            let (length, chunked) = match framing {
                Framing::Length(n) => (Some(n), false),
                Framing::Chunked => (None, !habit.ignores_encoding),
                Framing::None | Framing::UntilClose => (None, false),
            };
            // A length in an answer without content is information.
            let informs = is_response && framing == Framing::None;
            assert!(informs || read.length == length, "{habit:?}: {:?} for {framing:?}", read.length);
            assert_eq!(read.chunked, chunked, "{habit:?}");
        }
        rest = &rest[len..];
        if message == messages && !whole {
            return;
        }
        let mut decoder = Decoder::new(framing, &Limits::default());
        while !decoder.is_done() && framing != Framing::UntilClose {
            let step = decoder.decode(rest).expect("content that was written is well-formed");
            assert!(step.consumed > 0 || step.state == State::Done, "content that was written is complete");
            rest = &rest[step.consumed..];
        }
        if framing == Framing::UntilClose {
            return;
        }
    }
    assert_eq!(rest, b"", "nothing is written between messages");
}

fn request_head(bytes: &[u8], limits: &Limits) -> (usize, Framing, Option<Vec<u8>>) {
    let mut head = RequestHead::default();
    let Ok(Parse::Done { len }) = h1::parse_request(bytes, limits, &mut head) else {
        panic!("a request that was written is well-formed")
    };
    assert_eq!(head.fields.known(bytes, Known::Host).count(), 1);
    (len, head.framing, head.authority.map(|a| a.whole.of(bytes).to_vec()))
}

fn response_head(bytes: &[u8], limits: &Limits) -> (usize, Framing, Option<Vec<u8>>) {
    let mut head = ResponseHead::default();
    let context = RequestContext { upgrade: Some(Upgrade::WebSocket), ..RequestContext::default() };
    let Ok(Parse::Done { len }) = h1::parse_response(bytes, &context, limits, &mut head) else {
        panic!("a response that was written is well-formed")
    };
    (len, head.framing, None)
}
