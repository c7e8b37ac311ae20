//! Judges what a probed server sends, byte by byte as it arrives.

pub mod command;
pub mod grpc;
pub mod http;
pub mod tcp;
pub mod udp;

use alloc::{string::String, vec::Vec};
use core::fmt;

pub use command::Exit;

use crate::{
    limits::{EXCERPT_BYTES, WINDOW_BYTES},
    monitor::Kind,
};

/// What is known about a probe after the bytes seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read on.
    NeedMore,
    /// The server does what the monitor wants.
    Pass,
    /// It does not.
    Fail(Failure),
    /// It says that it is in maintenance; the excerpt shows where.
    Maintenance(Excerpt),
}

/// Why no more bytes will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed or reset the connection.
    Closed,
    /// The receive time-out passed.
    TimedOut,
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about; the text is the system's.
    Connect(String),
    /// No protected connection came about: what is wrong with the server's TLS or certificate.
    Tls(String),
    /// The network or the server's system said that nobody is there to answer; the text is the system's.
    Unreachable(String),
    /// The receive time-out passed; the excerpt shows what had arrived.
    TimedOut(Excerpt),
    /// The connection ended before the answer could be judged.
    Closed(Excerpt),
    /// What came is no HTTP status line.
    NotHttp(Excerpt),
    /// An HTTP status that the monitor does not accept.
    Status(u16, Excerpt),
    /// The expected text does not occur where it is looked for.
    NoMatch(Excerpt),
    /// The server's own health service does not say that it serves; the text is what it says.
    Grpc(String),
    /// A command that did not end well; the excerpt shows what it had printed.
    Command(Exit, Excerpt),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Tls(why) => write!(f, "no TLS: {why}"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::TimedOut(seen) if seen.is_empty() => f.write_str("no answer within the receive time-out"),
            Self::TimedOut(seen) => write!(f, "no complete answer within the receive time-out, only {seen}"),
            Self::Closed(seen) if seen.is_empty() => f.write_str("closed without an answer"),
            Self::Closed(seen) => write!(f, "closed in the middle of the answer, after {seen}"),
            Self::NotHttp(seen) => write!(f, "not an HTTP answer: {seen}"),
            Self::Status(status, seen) => write!(f, "status {status} is not expected: {seen}"),
            Self::NoMatch(seen) => write!(f, "the expected text is not in the first 2 KB: {seen}"),
            Self::Grpc(why) => write!(f, "gRPC health check: {why}"),
            Self::Command(exit, seen) if seen.is_empty() => write!(f, "{exit} and printed nothing"),
            Self::Command(exit, seen) => write!(f, "{exit} and printed {seen}"),
        }
    }
}

/// The start of what a server sent, at most [`EXCERPT_BYTES`] long; prints in quotes with escapes, on one line.
//= HM-LOG-01
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt(Vec<u8>);

impl Excerpt {
    /// Copies the start of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.get(..EXCERPT_BYTES).unwrap_or(bytes).to_vec())
    }

    /// Returns the raw bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether nothing was received.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Judges the answer to one probe that sends bytes and gets bytes. Its memory is bounded by [`WINDOW_BYTES`].
///
/// gRPC, ping and commands have no such answer: [`grpc::judge`], [`crate::ping::is_reply`] and [`command::Evaluator`] judge
/// them.
#[derive(Clone, Debug)]
pub enum Evaluator {
    /// For a TCP monitor.
    Tcp(tcp::Evaluator),
    /// For an HTTP monitor.
    Http(http::Evaluator),
    /// For a UDP monitor.
    Udp(udp::Evaluator),
}

impl Evaluator {
    /// Starts for one probe of a monitor of this kind; `None` for the kinds whose answer is no bytes.
    pub fn new(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Tcp(tcp) => Some(Self::Tcp(tcp::Evaluator::new(tcp))),
            Kind::Http(http) => Some(Self::Http(http::Evaluator::new(http))),
            Kind::Udp(udp) => Some(Self::Udp(udp::Evaluator::new(udp))),
            Kind::Grpc(_) | Kind::Ping | Kind::External(_) => None,
        }
    }

    /// Judges after the connection is made and the request is sent: a plain TCP monitor passes here.
    pub fn connected(&mut self) -> Verdict {
        match self {
            Self::Tcp(tcp) => tcp.connected(),
            Self::Http(_) | Self::Udp(_) => Verdict::NeedMore,
        }
    }

    /// Judges with `bytes` more of the answer; for UDP with one more datagram.
    pub fn receive(&mut self, bytes: &[u8]) -> Verdict {
        match self {
            Self::Tcp(tcp) => tcp.receive(bytes),
            Self::Http(http) => http.receive(bytes),
            Self::Udp(udp) => udp.receive(bytes),
        }
    }

    /// Judges finally: no more bytes come. Never [`Verdict::NeedMore`].
    pub fn finish(&mut self, end: End) -> Verdict {
        match self {
            Self::Tcp(tcp) => tcp.finish(end),
            Self::Http(http) => http.finish(end),
            Self::Udp(udp) => udp.finish(end),
        }
    }
}

/// The bytes kept of an answer: its first [`WINDOW_BYTES`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Window(Vec<u8>);

impl Window {
    /// Keeps what still fits.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = WINDOW_BYTES - self.0.len();
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() == WINDOW_BYTES
    }

    pub(crate) fn drop_front(&mut self, len: usize) {
        self.0.drain(..len.min(self.0.len()));
    }

    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        position(&self.0, text).is_some()
    }

    pub(crate) fn excerpt(&self) -> Excerpt {
        Excerpt::of(&self.0)
    }
}

/// Where `text` first occurs in `bytes`; an empty text occurs at 0.
pub(crate) fn position(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    bytes.windows(text.len()).position(|window| window == text)
}

pub(crate) fn ended(end: End, seen: Excerpt) -> Verdict {
    Verdict::Fail(match end {
        End::Closed => Failure::Closed(seen),
        End::TimedOut => Failure::TimedOut(seen),
    })
}
