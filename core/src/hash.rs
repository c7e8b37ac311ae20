//! The hashes of the product: the same bytes give the same value on every target and in every release.

use core::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};

// Arbitrary and fixed for good: server ids stand in clients' cookies, and all service engines of a virtual
// service must hash a client alike.
const FIXED_KEY: [u8; 16] = *b"forebay fixed 01";

/// Returns the product's fixed 64-bit hash of `bytes`: not secret, equal everywhere.
pub fn fixed64(bytes: &[u8]) -> u64 {
    let mut h = SipHasher13::new_with_key(&FIXED_KEY);
    h.write(bytes);
    h.finish()
}

/// Returns a 128-bit hash of `bytes` under `secret`: for keys that clients choose.
pub fn keyed128(secret: &[u8; 16], bytes: &[u8]) -> [u8; 16] {
    let mut h = SipHasher13x128::new_with_key(secret);
    h.write(bytes);
    h.finish128().as_bytes()
}

/// Mixes `x` so that every bit of the result depends on every bit of `x` (a bijection).
pub const fn mix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Maps `hash` to `0..n` without a division; `n` must not be 0.
pub const fn reduce(hash: u64, n: u32) -> u32 {
    debug_assert!(n != 0);
    (((hash as u128) * (n as u128)) >> 64) as u32
}

/// Random numbers for one decision: a deterministic sequence from the host's seed.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Returns the next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.0)
    }
    /// Returns the next number below `n`; `n` must not be 0.
    pub const fn below(&mut self, n: u32) -> u32 {
        reduce(self.bits(), n)
    }
}
