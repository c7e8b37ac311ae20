//! Finds cookies in `Cookie` and `Set-Cookie` field values.

/// Returns the values of all cookies called `name` in one `Cookie` field value, in order.
///
/// Names are compared byte for byte. Values are returned as they stand, without white space around them.
//= PERS-FIND-02
pub fn values<'r, 'n>(line: &'r [u8], name: &'n [u8]) -> Values<'r, 'n> {
    Values { rest: line, name }
}

/// The iterator of [`values`].
#[derive(Clone, Debug)]
pub struct Values<'r, 'n> {
    rest: &'r [u8],
    name: &'n [u8],
}

impl<'r> Iterator for Values<'r, '_> {
    type Item = &'r [u8];

    #[inline]
    fn next(&mut self) -> Option<&'r [u8]> {
        while !self.rest.is_empty() {
            let start = self.rest.iter().position(|b| *b != b' ' && *b != b'\t')?;
            let pair = &self.rest[start..];
            let end = find(pair, b';');
            let (pair, rest) = (&pair[..end], pair.get(end + 1..).unwrap_or(&[]));
            self.rest = rest;
            if pair.len() > self.name.len() && pair.starts_with(self.name) {
                let after = trim(&pair[self.name.len()..]);
                if let Some((b'=', value)) = after.split_first() {
                    return Some(trim(value));
                }
            }
        }
        None
    }
}

/// Splits `name=value; attribute; …` into name, value and the rest after the first `;`.
pub fn set_cookie(value: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = find(value, b';');
    let (pair, attributes) = (&value[..end], value.get(end + 1..).unwrap_or(&[]));
    let equals = find(pair, b'=');
    if equals == pair.len() {
        return None;
    }
    Some((trim(&pair[..equals]), trim(&pair[equals + 1..]), attributes))
}

/// Returns the index of the first `needle`, or the length: eight bytes at a time.
#[inline]
pub(crate) fn find(hay: &[u8], needle: u8) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let pattern = LOW.wrapping_mul(needle as u64);
    let (words, tail) = hay.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let x = u64::from_le_bytes(*word) ^ pattern;
        // The lowest set bit is exact: a borrow can only reach bytes above the first zero byte.
        let zero = x.wrapping_sub(LOW) & !x & HIGH;
        if zero != 0 {
            return i * 8 + (zero.trailing_zeros() / 8) as usize;
        }
    }
    let start = hay.len() - tail.len();
    tail.iter().position(|b| *b == needle).map_or(hay.len(), |i| start + i)
}

/// Removes spaces and tabs at both ends.
#[inline]
pub(crate) fn trim(mut s: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = s {
        s = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = s {
        s = rest;
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn all<'a>(line: &'a [u8], name: &str) -> Vec<&'a [u8]> {
        values(line, name.as_bytes()).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_only() {
        assert_eq!(all(b"ab=1; b=2; xb=3; b=4", "b"), [b"2", b"4"]);
        assert!(all(b"session_id=1", "session").is_empty());
        assert!(all(b"session", "session").is_empty());
        assert_eq!(all(b" session = 7 ;;", "session"), [b"7"]);
        assert_eq!(all(b"s=", "s"), [b""]);
    }

    #[test]
    fn find_agrees_with_a_plain_search_at_every_length() {
        let hay: Vec<u8> = (0..64u8).map(|i| if i % 11 == 10 { b';' } else { i | 0x80 }).collect();
        for from in 0..hay.len() {
            for to in from..=hay.len() {
                let s = &hay[from..to];
                let plain = s.iter().position(|b| *b == b';').unwrap_or(s.len());
                assert_eq!(find(s, b';'), plain);
            }
        }
    }

    #[test]
    fn set_cookie_is_split_at_the_first_semicolon_and_equals() {
        assert_eq!(set_cookie(b"a=b=c; Path=/"), Some((&b"a"[..], &b"b=c"[..], &b" Path=/"[..])));
        assert_eq!(set_cookie(b"nonsense"), None);
    }
}
