//! Headers of the PROXY protocol, versions 1 and 2: what a proxy says first on a connection, to name its client.
//!
//! [`parse`] reads one from the first bytes of a connection, [`write()`] makes one. Both are pure and allocate nothing.
//! Whatever breaks a rule is refused: a header that two readers could understand differently lets a client choose its
//! address. The rules have ids in `docs/spec/l4.md` (`PP-*`).
#![no_std]
#![forbid(unsafe_code)]

mod binary;
mod checksum;
mod text;
mod write;

use core::fmt;
use core::net::SocketAddr;

pub use write::{WRITTEN_BYTES_MAX, write, write_own};

/// Bytes of a header that is read at most. The addresses take 232 at most; the rest is for what proxies add, of which a
/// client's certificate is the largest.
//= PP-LENGTH-01
pub const HEADER_BYTES_MAX: usize = 4_096;
/// Bytes of a header of version 1 at most, its line end included, as its specification says.
pub const TEXT_BYTES_MAX: usize = 107;

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// The binary form.
    V2,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its version.
    pub version: Version,
    /// Its bytes: what follows is the client's.
    pub len: usize,
    /// Who is connected to whom; `None` where the proxy speaks for itself or names no stream over IP.
    pub named: Option<Named>,
}

/// The connection that a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// It is not whole. Every byte that is there belongs to it.
    NeedMore,
    /// It is whole.
    Done(Header),
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It begins like neither version.
    Start,
    /// It is longer than may be.
    TooLong,
    /// The line of version 1 has another form.
    Line,
    /// A version or command that there is not.
    Command,
    /// An address family that there is not.
    Family,
    /// No address, or one of the wrong form.
    Address,
    /// No port, or one of the wrong form.
    Port,
    /// What follows the addresses is no list of typed values, or one of them is wrong.
    Values,
    /// The checksum is another one.
    Checksum,
}

impl Malformed {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Malformed::Start => "it begins like no PROXY header",
            Malformed::TooLong => "the PROXY header is too long",
            Malformed::Line => "the PROXY line has another form",
            Malformed::Command => "the PROXY header has no known version or command",
            Malformed::Family => "the PROXY header has no known address family",
            Malformed::Address => "the PROXY header has a wrong address",
            Malformed::Port => "the PROXY header has a wrong port",
            Malformed::Values => "the PROXY header has wrong values behind its addresses",
            Malformed::Checksum => "the PROXY header has another checksum",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//= PP-CUT-01
/// Reads the header that `bytes` begin with. Bytes behind it are not looked at.
///
/// # Errors
/// It breaks a rule, whatever comes: the connection is to be closed.
pub fn parse(bytes: &[u8]) -> Result<Parse, Malformed> {
    let begins = |mark: &[u8]| bytes.iter().zip(mark).all(|(a, b)| a == b);
    match (begins(text::MARK), begins(binary::MARK)) {
        _ if bytes.is_empty() => Ok(Parse::NeedMore),
        (true, _) => text::parse(bytes),
        (false, true) => binary::parse(bytes),
        (false, false) => Err(Malformed::Start),
    }
}
