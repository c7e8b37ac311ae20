//! The first message of a TLS client (ClientHello), as far as it says where the client wants to go.
//!
//! [`peek`] reads it from the first bytes of a connection whose TLS is somebody else's: nothing is answered, nothing is
//! changed. It is pure and allocates nothing. What could be read in two ways is refused: where we read one name and the
//! server another one, a client would choose its server past us. The rules have ids in `docs/spec/tls-pass.md`
//! (`TLS-HELLO-*`).
#![no_std]
#![forbid(unsafe_code)]

mod hello;
mod records;

use core::fmt;

/// Bytes of a first message that are read at most, headers of records included: ten times the longest one that is usual
/// (keys that withstand quantum computers, a ticket, a hidden inner message).
//= TLS-HELLO-LENGTH-01
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a name: a host name has at most 253.
pub const NAME_BYTES_MAX: usize = 255;

/// What came of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for a connection, and lives for a moment")]
pub enum Peek {
    /// It is not whole.
    NeedMore,
    /// It is whole.
    Done(Hello),
}

/// A whole first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The host that the client asks for, in lower case. Of a client that hides it (encrypted client hello) the public
    /// name; `None`: it names none.
    pub name: Option<Name>,
    /// Bytes of the records that it came in: what follows is not looked at.
    pub len: usize,
}

/// The name of a host, in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        // Nothing but ASCII was taken in.
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why a first message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It begins like no TLS: other protocols, and what came before SSL 3.
    Start,
    /// A record is empty, too long, or of another kind.
    Record,
    /// The first message is another one.
    Kind,
    /// It is longer than is read.
    TooLong,
    /// Its parts do not fit into each other.
    Parts,
    /// The name is given twice, in another form, or with characters that no name has.
    Name,
}

impl Malformed {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Start => "what it sent is no TLS",
            Malformed::Record => "its first TLS records break a rule",
            Malformed::Kind => "its first TLS message is no ClientHello",
            Malformed::TooLong => "its ClientHello is too long",
            Malformed::Parts => "its ClientHello is garbled",
            Malformed::Name => "the name in its ClientHello is garbled",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the first message that `bytes` begin with.
///
/// # Errors
/// It breaks a rule, whatever comes: the connection is to be closed.
//= TLS-HELLO-CUT-01
pub fn peek(bytes: &[u8]) -> Result<Peek, Malformed> {
    let seen = bytes.get(..HELLO_BYTES_MAX).unwrap_or(bytes);
    match records::message(seen)? {
        Some(message) => hello::read(message).map(Peek::Done),
        //= TLS-HELLO-LENGTH-01
        None if seen.len() == HELLO_BYTES_MAX => Err(Malformed::TooLong),
        None => Ok(Peek::NeedMore),
    }
}
