//! Reproducible random numbers, and keys made from a number instead of kept in memory.

use forebay_core::table::KeyBytes;

/// SplitMix64: one multiplication chain per number, nothing to keep but a counter.
#[inline(always)]
pub fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `n` from a random one.
#[inline(always)]
pub fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}

/// The `i`-th key.
#[inline(always)]
pub fn key(i: u64) -> KeyBytes {
    let (a, b) = (mix(i), mix(i ^ 0x5555_5555_5555_5555));
    KeyBytes((u128::from(a) << 64 | u128::from(b)).to_be_bytes())
}
