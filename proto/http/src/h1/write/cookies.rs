//! Cookies that concern us and not the server.

use alloc::vec::Vec;

use crate::bytes;

/// Writes a `Cookie` value without the cookies called `names`; writes nothing if none is left.
///
/// Returns whether something was written. Pairs are taken over as they are: no server agrees with another on what
/// a cookie's value may hold.
//= H1-COOKIE-01
pub(super) fn without(value: &[u8], names: &[&[u8]], out: &mut Vec<u8>) -> bool {
    let mut written = false;
    for pair in value.split(|&b| b == b';').map(bytes::trim).filter(|p| !p.is_empty() && !is_named(p, names))
    {
        out.extend_from_slice(if written { b"; " } else { b"Cookie: " });
        out.extend_from_slice(pair);
        written = true;
    }
    if written {
        out.extend_from_slice(b"\r\n");
    }
    written
}

/// Says whether a `Cookie` value holds a cookie of these names.
pub(super) fn holds(value: &[u8], names: &[&[u8]]) -> bool {
    value.split(|&b| b == b';').map(bytes::trim).any(|p| is_named(p, names))
}

fn is_named(pair: &[u8], names: &[&[u8]]) -> bool {
    let name_len = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    let name = bytes::trim(&pair[..name_len]);
    names.contains(&name)
}
