//! The keyed hash: SipHash-1-3 over whole words.
//!
//! Clients choose keys (a client with an IPv6 prefix has 2^64 of them), so bucket numbers and digests must
//! not be predictable; service engines compare buckets, so all engines of a group use one secret and the
//! result must not depend on the target. The words are taken as numbers: a 32-bit or big-endian target
//! computes the same.

/// A keyed hash of whole 64-bit words; 64 or 128 bits.
#[derive(Clone)]
pub struct Hasher {
    k0: u64,
    k1: u64,
}

impl core::fmt::Debug for Hasher {
    /// The secret stays out of logs.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hasher(secret)")
    }
}

struct State(u64, u64, u64, u64);

impl State {
    #[inline(always)]
    fn round(&mut self) {
        let State(v0, v1, v2, v3) = self;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.3 ^= word;
        self.round();
        self.0 ^= word;
    }

    #[inline(always)]
    fn squeeze(&mut self) -> u64 {
        self.round();
        self.round();
        self.round();
        self.0 ^ self.1 ^ self.2 ^ self.3
    }
}

impl Hasher {
    /// Takes the group's secret: 16 bytes that no client knows and all engines of the group share.
    pub fn new(secret: [u8; 16]) -> Self {
        let s = u128::from_le_bytes(secret);
        Self { k0: s as u64, k1: (s >> 64) as u64 }
    }

    /// Derives an independent hash for the purpose `label`.
    pub(super) fn derive(&self, label: u64) -> Self {
        let d = self.hash128(&[label, 0x0066_6f72_6562_6179]);
        Self { k0: d as u64, k1: (d >> 64) as u64 }
    }

    #[inline(always)]
    fn start(&self, wide: u64) -> State {
        State(
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d ^ wide,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        )
    }

    #[inline(always)]
    fn finish(&self, mut s: State, bytes: usize, last: u64, wide: u64) -> (State, u64) {
        s.absorb(((bytes as u64 & 0xff) << 56) | last);
        s.2 ^= 0xff ^ wide;
        let h = s.squeeze();
        (s, h)
    }

    /// Returns the 64-bit hash of the words (SipHash-1-3 of their little-endian bytes).
    #[inline(always)]
    pub fn hash64<const N: usize>(&self, words: &[u64; N]) -> u64 {
        let mut s = self.start(0);
        for w in words {
            s.absorb(*w);
        }
        self.finish(s, N * 8, 0, 0).1
    }

    /// Returns the 128-bit hash of the words.
    #[inline(always)]
    pub fn hash128<const N: usize>(&self, words: &[u64; N]) -> u128 {
        let mut s = self.start(0xee);
        for w in words {
            s.absorb(*w);
        }
        let (s, low) = self.finish(s, N * 8, 0, 0x11);
        Self::wide(s, low)
    }

    /// Returns the 128-bit hash of bytes of any length.
    pub fn hash128_bytes(&self, bytes: &[u8]) -> u128 {
        let mut s = self.start(0xee);
        let (words, rest) = bytes.as_chunks::<8>();
        for w in words {
            s.absorb(u64::from_le_bytes(*w));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let (s, low) = self.finish(s, bytes.len(), u64::from_le_bytes(last), 0x11);
        Self::wide(s, low)
    }

    #[inline(always)]
    fn wide(mut s: State, low: u64) -> u128 {
        s.1 ^= 0xdd;
        u128::from(low) | (u128::from(s.squeeze()) << 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher as _;
    use siphasher::sip::SipHasher13;
    use siphasher::sip128;

    const SECRET: [u8; 16] = *b"0123456789abcdef";

    #[test]
    fn the_hash_is_siphash_1_3_as_others_compute_it() {
        let h = Hasher::new(SECRET);
        let bytes: [u8; 16] = *b"sixteen bytes ok";
        let w = [0, 8].map(|i| u64::from_le_bytes(bytes[i..i + 8].try_into().unwrap()));
        let mut s = SipHasher13::new_with_key(&SECRET);
        s.write(&bytes);
        assert_eq!(h.hash64(&w), s.finish());
        let mut s = sip128::SipHasher13::new_with_key(&SECRET);
        s.write(&bytes);
        let want = sip128::Hasher128::finish128(&s).as_u128();
        assert_eq!(h.hash128(&w), want);
        assert_eq!(h.hash128_bytes(&bytes), want);
    }

    #[test]
    fn bytes_of_every_length_hash_as_others_compute_it() {
        let h = Hasher::new(SECRET);
        let bytes: [u8; 70] = core::array::from_fn(|i| (i * 7) as u8);
        for n in 0..=bytes.len() {
            let mut s = sip128::SipHasher13::new_with_key(&SECRET);
            s.write(&bytes[..n]);
            assert_eq!(h.hash128_bytes(&bytes[..n]), sip128::Hasher128::finish128(&s).as_u128(), "{n} bytes");
        }
    }

    #[test]
    fn another_secret_gives_another_hash() {
        let (a, b) = (Hasher::new(SECRET), Hasher::new(*b"0123456789abcdeg"));
        assert_ne!(a.hash64(&[1, 2]), b.hash64(&[1, 2]));
        assert_ne!(a.derive(1).hash64(&[1, 2]), a.derive(2).hash64(&[1, 2]));
    }
}
