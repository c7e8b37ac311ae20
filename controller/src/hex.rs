//! Bytes as text.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of all parts, one after another.
pub fn sha256_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    parts.iter().for_each(|part| hash.update(part));
    let mut made = [0; 32];
    made.copy_from_slice(hash.finish().as_ref());
    made
}

/// The SHA-256 of bytes, as 64 digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}
