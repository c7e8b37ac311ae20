//! Byte classes by table, and the search for control bytes eight at a time.

/// `tchar` of RFC 9110 5.6.2.
pub(crate) const TOKEN: u8 = 1;
/// Bytes of a request target: visible ASCII without `"`, `<`, `>` and `#`.
pub(crate) const TARGET: u8 = 2;
/// Bytes of a registered name as Host: letters, digits, `-`, `.`, `_`, `~`.
pub(crate) const HOST: u8 = 4;
/// Hexadecimal digits.
pub(crate) const HEX: u8 = 8;
/// `tchar` without capitals: names of fields in HTTP/2.
pub(crate) const LOWER: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(b, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        if b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'#') {
            class |= TARGET;
        }
        if b.is_ascii_hexdigit() {
            class |= HEX;
        }
        if class & TOKEN != 0 && !b.is_ascii_uppercase() {
            class |= LOWER;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[inline(always)]
pub(crate) fn is(b: u8, class: u8) -> bool {
    CLASS[b as usize] & class != 0
}

/// Returns the first position at or after `from` whose byte is not of `class`, or the length.
#[inline]
pub(crate) fn skip(bytes: &[u8], from: usize, class: u8) -> usize {
    let rest = bytes.get(from..).unwrap_or(&[]);
    from + rest.iter().position(|&b| !is(b, class)).unwrap_or(rest.len())
}

pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&b| is(b, class))
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Says whether the bytes may stand as a field value: no control byte but TAB, no blank at either end.
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    let mut at = 0;
    loop {
        at = find_control(bytes, at);
        match bytes.get(at) {
            None => return trim(bytes).len() == bytes.len(),
            Some(b'\t') => at += 1,
            Some(_) => return false,
        }
    }
}

/// Removes blanks (space, TAB) at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Returns the first of eight bytes that is a control byte.
#[inline(always)]
fn control_of(word: &[u8; 8]) -> Option<usize> {
    let v = u64::from_le_bytes(*word);
    let del = v ^ (ONES * 0x7f);
    // A borrow can only mark bytes above a true hit; the lowest mark is exact.
    let hits = (v.wrapping_sub(ONES * 0x20) & !v | del.wrapping_sub(ONES) & !del) & HIGHS;
    (hits != 0).then(|| (hits.trailing_zeros() / 8) as usize)
}

/// Returns the first position at or after `from` that holds a control byte (below 0x20, or 0x7f), or the length.
#[inline]
pub(crate) fn find_control(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or(&[]);
    let (words, tail) = rest.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        if let Some(at) = control_of(word) {
            return from + i * 8 + at;
        }
    }
    let start = rest.len() - tail.len();
    // The end once more as a word, of which the first bytes are known to be none.
    if let Some(word) = rest.last_chunk::<8>() {
        return from + control_of(word).map_or(rest.len(), |at| rest.len() - 8 + at);
    }
    from + start + tail.iter().position(|&b| b < 0x20 || b == 0x7f).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_offset_is_found_exactly_if_it_is_a_control() {
        for b in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = [0xf0u8; 20];
                bytes[at] = b;
                let expect = if b < 0x20 || b == 0x7f { at } else { 20 };
                assert_eq!(find_control(&bytes, 0), expect, "byte {b:#x} at {at}");
            }
        }
    }
}
