//! The Huffman code of RFC 7541 appendix B. It is canonical, so the lengths of its codes say all of it.

use alloc::vec::Vec;

/// Bits of the code of each byte, and of the end of string (256).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LONGEST: usize = 30;
const EOS: u16 = 256;

/// Codes of up to this many bits are found with one look; longer ones are rare in text.
const QUICK_BITS: u32 = 10;

struct Code {
    /// The code of each symbol, right-aligned.
    codes: [u32; 257],
    /// The first code of each length, its place in `sorted`, and how many there are.
    first: [u32; LONGEST + 1],
    place: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
    /// Symbols by length, then by value.
    sorted: [u16; 257],
    /// By the next bits: length in the upper byte, symbol in the lower; 0 for longer codes.
    quick: [u16; 1 << QUICK_BITS],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut c = Code {
        codes: [0; 257],
        first: [0; LONGEST + 1],
        place: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        sorted: [0; 257],
        quick: [0; 1 << QUICK_BITS],
    };
    let (mut next, mut at, mut bits) = (0u32, 0usize, 1usize);
    while bits <= LONGEST {
        next <<= 1;
        c.first[bits] = next;
        c.place[bits] = at as u16;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == bits {
                c.codes[symbol] = next;
                c.sorted[at] = symbol as u16;
                if bits as u32 <= QUICK_BITS {
                    let spare = QUICK_BITS - bits as u32;
                    let mut fill = 0;
                    while fill < 1 << spare {
                        c.quick[((next << spare) | fill) as usize] = ((bits as u16) << 8) | symbol as u16;
                        fill += 1;
                    }
                }
                next += 1;
                at += 1;
            }
            symbol += 1;
        }
        c.count[bits] = at as u16 - c.place[bits];
        bits += 1;
    }
    c
}

/// A string that no encoder writes: an end of string in it, or padding that is long or not all ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadString;

/// Appends what `input` stands for. A byte of input gives at most 8/5 bytes.
//= H2-HPACK-02
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), BadString> {
    let mut rest = input;
    // The next bits, from the top; `have` of them are real.
    let (mut acc, mut have) = (0u64, 0u32);
    loop {
        while have <= 32 {
            if let Some((four, behind)) = rest.split_first_chunk::<4>() {
                acc |= u64::from(u32::from_be_bytes(*four)) << (32 - have);
                have += 32;
                rest = behind;
            } else if let Some((&one, behind)) = rest.split_first() {
                acc |= u64::from(one) << (56 - have);
                have += 8;
                rest = behind;
            } else {
                return finish(acc, have, out);
            }
        }
        while have >= LONGEST as u32 {
            let (symbol, bits) = symbol(acc);
            if symbol == EOS {
                return Err(BadString);
            }
            out.push(symbol as u8);
            acc <<= bits;
            have -= bits;
        }
    }
}

/// Reads what is left when no input is; at most 32 bits.
fn finish(mut acc: u64, mut have: u32, out: &mut Vec<u8>) -> Result<(), BadString> {
    loop {
        let ones = acc | (u64::MAX >> have);
        // No code of fewer than 8 bits is all ones: these can be padding only.
        if have < 8 && ones == u64::MAX {
            return Ok(());
        }
        let (symbol, bits) = symbol(ones);
        if symbol == EOS || bits > have {
            return Err(BadString);
        }
        out.push(symbol as u8);
        acc <<= bits;
        have -= bits;
    }
}

#[inline(always)]
fn symbol(acc: u64) -> (u16, u32) {
    let quick = CODE.quick[(acc >> (64 - QUICK_BITS)) as usize];
    if quick != 0 {
        return (quick & 0xff, u32::from(quick >> 8));
    }
    slow(acc)
}

#[cold]
fn slow(acc: u64) -> (u16, u32) {
    for bits in QUICK_BITS as usize + 1..=LONGEST {
        let nth = ((acc >> (64 - bits)) as u32).wrapping_sub(CODE.first[bits]);
        if nth < u32::from(CODE.count[bits]) {
            return (CODE.sorted[usize::from(CODE.place[bits]) + nth as usize], bits as u32);
        }
    }
    // The code is complete: all ones of 30 bits is the end of string, everything else was found.
    (EOS, LONGEST as u32)
}

/// Returns the bytes that [`encode`] writes.
pub(crate) fn encoded_len(bytes: &[u8]) -> usize {
    bytes.iter().map(|&b| usize::from(LENGTHS[usize::from(b)])).sum::<usize>().div_ceil(8)
}

/// Appends the code of `bytes`, padded with ones.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut acc, mut have) = (0u64, 0u32);
    for &b in bytes {
        let bits = u32::from(LENGTHS[usize::from(b)]);
        acc = acc << bits | u64::from(CODE.codes[usize::from(b)]);
        have += bits;
        if have >= 32 {
            have -= 32;
            out.extend_from_slice(&((acc >> have) as u32).to_be_bytes());
        }
    }
    while have >= 8 {
        have -= 8;
        out.push((acc >> have) as u8);
    }
    if have > 0 {
        out.push((acc << (8 - have)) as u8 | (0xff >> have));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_byte_comes_back_alone_and_between_others() {
        for b in 0..=255u8 {
            for text in [vec![b], vec![b; 7], vec![b'a', b, b'0', b, b, b'~', b]] {
                let mut code = Vec::new();
                encode(&text, &mut code);
                assert_eq!(code.len(), encoded_len(&text));
                let mut back = Vec::new();
                assert_eq!(decode(&code, &mut back), Ok(()), "{text:?}");
                assert_eq!(back, text);
            }
        }
    }

    //= test H2-HPACK-02
    #[test]
    fn padding_that_is_long_or_not_all_ones_and_the_end_of_string_are_refused() {
        let bad: [&[u8]; 7] = [
            &[0xff],                                // eight bits of padding
            &[0xff, 0xff, 0xff, 0xff],              // the end of string itself
            &[0b0001_1000],                         // `a`, then zeros
            &[0b0001_1110],                         // `a`, then 110
            &[0b0001_1111, 0xff],                   // `a`, then eleven ones
            &[0xff, 0xff, 0xff, 0xfc],              // the end of string, then zeros
            &[0b0001_1111, 0xff, 0xff, 0xff, 0xe7], // the end of string in the middle
        ];
        for code in bad {
            let mut out = Vec::new();
            assert_eq!(decode(code, &mut out), Err(BadString), "{code:x?} gave {out:x?}");
        }
        let mut out = Vec::new();
        assert_eq!(decode(&[0b0001_1111], &mut out), Ok(()));
        assert_eq!(out, b"a");
    }
}
