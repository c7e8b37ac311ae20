//! The first message of a client whose TLS is passed on unread.

use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;

use forebay_tls_hello::{HELLO_BYTES_MAX, Hello, Malformed, Peek, peek};

use super::record::End;
use crate::rt::{Now, Stream};

/// Bytes of one read: the longest first message that is usual.
const READ_BYTES: usize = 4 * 1024;
/// The alert `unrecognized_name`, fatal, as a record (RFC 6066, section 3).
const UNKNOWN_NAME: [u8; 7] = [21, 3, 1, 0, 2, 2, 112];

/// What came of a client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It asks for a name of a route.
    Named,
    /// It asks for another name, and goes where all others go.
    Other,
    /// It asks for no name, and goes where all others go.
    Nameless,
    /// It asks for another name, or for none, and is refused.
    Refused,
    /// It was not whole in time.
    Late,
    /// The client left without a byte: a probe of the port, say.
    Unbegun,
    /// The client left in the middle.
    Gone,
    /// What came is no TLS.
    NoTls,
    /// It breaks a rule.
    Malformed,
    /// It is too long.
    TooLong,
}

impl Heard {
    /// Every kind, in the order of [`ServiceMetrics::hellos`](crate::metrics::ServiceMetrics).
    pub const ALL: [Heard; 10] = [
        Heard::Named,
        Heard::Other,
        Heard::Nameless,
        Heard::Refused,
        Heard::Late,
        Heard::Unbegun,
        Heard::Gone,
        Heard::NoTls,
        Heard::Malformed,
        Heard::TooLong,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Heard::Named => "named",
            Heard::Other => "other_name",
            Heard::Nameless => "no_name",
            Heard::Refused => "refused",
            Heard::Late => "late",
            Heard::Unbegun => "unbegun",
            Heard::Gone => "gone",
            Heard::NoTls => "no_tls",
            Heard::Malformed => "malformed",
            Heard::TooLong => "too_long",
        }
    }

    /// How the connection ends by it, if it does.
    pub(super) fn end(self) -> Option<End> {
        match self {
            Heard::Named | Heard::Other | Heard::Nameless => None,
            Heard::Refused => Some(End::NameRefused),
            Heard::Unbegun => Some(End::Unbegun),
            _ => Some(End::Hello),
        }
    }
}

/// A first message that led nowhere, and what the log says of it.
pub(super) struct Unheard {
    pub(super) kind: Heard,
    pub(super) text: &'static str,
}

impl Unheard {
    fn new(kind: Heard, text: &'static str) -> Self {
        Unheard { kind, text }
    }
}

impl From<Malformed> for Unheard {
    fn from(why: Malformed) -> Self {
        let kind = match why {
            Malformed::Start => Heard::NoTls,
            Malformed::TooLong => Heard::TooLong,
            _ => Heard::Malformed,
        };
        Unheard::new(kind, why.as_str())
    }
}

/// Reads a client's first message, by `deadline`; gives also the bytes that were read, which belong to the server. What
/// comes in pieces waits in no more memory than it needs.
//= TLS-PASS-02
//= TLS-PASS-03
pub(super) async fn hear<S: Stream>(stream: &S, deadline: Now) -> Result<(Hello, Vec<u8>), Unheard> {
    let mut bytes = Vec::new();
    loop {
        let left = |bytes: &[u8]| match bytes.is_empty() {
            true => Unheard::new(Heard::Unbegun, "it ended without a byte"),
            false => Unheard::new(Heard::Gone, "it ended before its ClientHello was whole"),
        };
        if let Err(error) = stream.readable(deadline).await {
            return Err(match error.kind() {
                ErrorKind::TimedOut => Unheard::new(Heard::Late, "its ClientHello was not whole in time"),
                _ => left(&bytes),
            });
        }
        match read_some(stream, &mut bytes) {
            Ok(0) => return Err(left(&bytes)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(_) => return Err(left(&bytes)),
        }
        if let Peek::Done(hello) = peek(&bytes)? {
            return Ok((hello, bytes));
        }
    }
}

/// Reads what is there, no more than one message may have.
fn read_some<S: Stream>(stream: &S, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut piece = [0; READ_BYTES];
    let most = READ_BYTES.min(HELLO_BYTES_MAX - bytes.len());
    let count = stream.try_read(&mut piece[..most])?;
    bytes.reserve_exact(count);
    bytes.extend_from_slice(&piece[..count]);
    Ok(count)
}

/// Tells a client that nobody here has the name that it asks for.
//= TLS-PASS-01
pub(super) fn refuse<S: Stream>(stream: &S) {
    // A client that takes nothing sees the end of the connection.
    let _ = stream.try_write(&[IoSlice::new(&UNKNOWN_NAME)]);
    stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_first_message_has_its_own_place_and_word() {
        for (place, kind) in Heard::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(Heard::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1);
        }
    }
}
