//! Frames: their heads and the small ones (RFC 9113 4, 6).

use alloc::vec::Vec;

use super::error::Code;

/// Bytes of a frame's head.
pub const HEAD: usize = 9;

/// The largest frame that everybody takes.
pub(crate) const SIZE_DEFAULT: usize = 16_384;

/// The largest window.
pub(crate) const WINDOW_MAX: u32 = (1 << 31) - 1;

/// The window of streams and connections before anybody says another.
pub(crate) const WINDOW_DEFAULT: u32 = 65_535;

/// What a client sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Reads a head from the beginning of `input`; none if it is not whole.
    pub(crate) fn read(input: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, rest @ ..] = input.first_chunk::<HEAD>()?;
        Some(Head {
            len: usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c),
            kind: *kind,
            flags: *flags,
            // The first bit is reserved and ignored.
            stream: u32::from_be_bytes(*rest) & WINDOW_MAX,
        })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Returns a frame's head as bytes; `len` is below 2^24.
pub(crate) fn head(len: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

pub(crate) fn put(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&head(payload.len(), kind, flags, stream));
    out.extend_from_slice(payload);
}

pub(crate) fn window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    put(WINDOW_UPDATE, 0, stream, &more.to_be_bytes(), out);
}

pub(crate) fn reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    put(RST_STREAM, 0, stream, &(code as u32).to_be_bytes(), out);
}

pub(crate) fn go_away(last: u32, code: Code, out: &mut Vec<u8>) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
    put(GOAWAY, 0, 0, &payload, out);
}

/// Reads four bytes of a payload, big end first; 0 where they are not there.
pub(crate) fn word(payload: &[u8], at: usize) -> u32 {
    let four = payload.get(at..).and_then(|p| p.first_chunk::<4>());
    four.map_or(0, |four| u32::from_be_bytes(*four))
}
