//! The key of a consistent hash, read from the request.

use super::HashBy;
use crate::id::ip_bytes;
use crate::request::RequestView;

/// A key: borrowed from the request, or composed in a small buffer.
#[derive(Clone, Copy, Debug)]
pub enum HashKey<'r> {
    /// Part of the request.
    Borrowed(&'r [u8]),
    /// Address, or address and port.
    Composed([u8; 18], u8),
}

impl HashKey<'_> {
    /// The key's bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(b) => b,
            Self::Composed(b, n) => &b[..usize::from(*n).min(b.len())],
        }
    }
}

/// Returns the key of `request`. `custom` is the string of a rule or script. A request without the wanted part
/// is hashed by its source address.
//= LB-CH-04
pub fn hash_key<'r, R: RequestView>(by: &HashBy, request: &'r R, custom: Option<&'r [u8]>) -> HashKey<'r> {
    let part = match by {
        HashBy::SourceIp => None,
        HashBy::SourceIpAndPort => return source(request, true),
        HashBy::Uri => Some(request.uri()),
        HashBy::CustomHeader(name) => request.header(name),
        HashBy::CustomString => custom,
        HashBy::CallId => request.header("call-id").or_else(|| request.header("i")),
    };
    match part {
        Some(bytes) if !bytes.is_empty() => HashKey::Borrowed(bytes),
        _ => source(request, false),
    }
}

fn source<'r, R: RequestView>(request: &R, with_port: bool) -> HashKey<'r> {
    let client = request.client();
    let mut bytes = [0u8; 18];
    bytes[..16].copy_from_slice(&ip_bytes(client.ip));
    bytes[16..].copy_from_slice(&client.port.to_le_bytes());
    HashKey::Composed(bytes, if with_port { 18 } else { 16 })
}
