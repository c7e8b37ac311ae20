//! Integers with a prefix (RFC 7541 5.1).

use alloc::vec::Vec;

/// The largest number that is read: more than any index, length or table size that we could take.
const LARGEST: u64 = 1 << 28;

/// Reads a number whose first byte, at `*at`, has `prefix` bits of it. None: cut short, or larger than we take.
//= H2-HPACK-01
pub(crate) fn decode(block: &[u8], at: &mut usize, prefix: u32) -> Option<usize> {
    let mask = (1u32 << prefix) - 1;
    let first = u32::from(*block.get(*at)?) & mask;
    *at += 1;
    if first < mask {
        return Some(first as usize);
    }
    let (mut value, mut shift) = (u64::from(mask), 0);
    loop {
        let b = *block.get(*at)?;
        *at += 1;
        // Five bytes are 35 bits; zeros in front of nothing are no reason to read on.
        if shift > 28 {
            return None;
        }
        value += u64::from(b & 0x7f) << shift;
        if value > LARGEST {
            return None;
        }
        if b & 0x80 == 0 {
            return Some(value as usize);
        }
        shift += 7;
    }
}

/// Appends a number behind the bits of `pattern`.
pub(crate) fn encode(value: usize, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test H2-HPACK-01
    #[test]
    fn numbers_come_back_and_endless_ones_are_refused() {
        for prefix in 1..=8 {
            for value in [0, 1, 30, 31, 32, 126, 127, 128, 254, 255, 256, 1337, 65_535, 1 << 28] {
                let mut out = Vec::new();
                encode(value, prefix, 0, &mut out);
                let mut at = 0;
                assert_eq!(decode(&out, &mut at, prefix), Some(value), "prefix {prefix}");
                assert_eq!(at, out.len());
                for cut in 0..out.len() {
                    assert_eq!(decode(&out[..cut], &mut 0, prefix), None);
                }
            }
        }
        let endless: [&[u8]; 3] = [
            &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ];
        for bytes in endless {
            assert_eq!(decode(bytes, &mut 0, 5), None, "{bytes:x?}");
        }
    }

    #[test]
    fn the_numbers_of_the_rfc_are_written_as_there() {
        for (value, prefix, bytes) in [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            let mut out = Vec::new();
            encode(value, prefix, 0, &mut out);
            assert_eq!(out, bytes);
        }
    }
}
