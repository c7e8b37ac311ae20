//! JSON written straight into a buffer: no allocation, and no byte of a request that could end a line.

use std::net::{IpAddr, SocketAddr};

/// A field's name as it is written: the comma before it, quotes and colon. Made by [`key!`].
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) &'static str);

/// A field's name; a constant, so that writing it is a few stores.
macro_rules! key {
    ($name:literal) => {
        crate::log::json::Key(concat!(",\"", $name, "\":"))
    };
}
pub(super) use key;

/// Appends fields of one object.
pub(super) struct Object<'b> {
    out: &'b mut Vec<u8>,
    begin: usize,
}

impl<'b> Object<'b> {
    pub(super) fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        let begin = out.len();
        Self { out, begin }
    }

    /// Ends the object and the line.
    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// Ends the object.
    pub(super) fn close(self) {
        self.out.push(b'}');
    }

    /// Writes a field's name; names are ours and need no escaping.
    #[inline(always)]
    pub(super) fn key(&mut self, Key(name): Key) -> &mut Vec<u8> {
        let is_first = self.out.len() == self.begin;
        self.out.extend_from_slice(if is_first { &name.as_bytes()[1..] } else { name.as_bytes() });
        self.out
    }

    #[inline(always)]
    pub(super) fn number(&mut self, name: Key, value: u64) {
        number(self.key(name), value);
    }

    #[inline(always)]
    pub(super) fn flag(&mut self, name: Key, value: bool) {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes bytes from the network.
    #[inline(always)]
    pub(super) fn text(&mut self, name: Key, value: &[u8], bytes_max: usize) {
        text(self.key(name), value, bytes_max);
    }

    /// Writes a word of ours, which needs no escaping.
    #[inline(always)]
    pub(super) fn word(&mut self, name: Key, value: &'static str) {
        let out = self.key(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    #[inline(always)]
    pub(super) fn ip(&mut self, name: Key, value: IpAddr) {
        let out = self.key(name);
        out.push(b'"');
        ip(out, value);
        out.push(b'"');
    }

    /// Writes an address and its port, a field each.
    #[inline(always)]
    pub(super) fn socket(&mut self, ip: Key, port: Key, value: SocketAddr) {
        self.ip(ip, value.ip());
        self.number(port, value.port().into());
    }

    /// Writes what has a text form (an address with its port).
    pub(super) fn address(&mut self, name: Key, value: SocketAddr) {
        let out = self.key(name);
        out.push(b'"');
        write(out, format_args!("{value}"));
        out.push(b'"');
    }

    /// Writes microseconds as milliseconds with three decimals.
    #[inline(always)]
    pub(super) fn millis(&mut self, name: Key, us: u64) {
        let out = self.key(name);
        number(out, us / 1_000);
        let rest = us % 1_000;
        let [tens, units] = two(rest % 100);
        out.extend_from_slice(&[b'.', b'0' + (rest / 100) as u8, tens, units]);
    }
}

/// The two digits of a number below 100.
#[inline(always)]
pub(super) fn two(n: u64) -> [u8; 2] {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[0; 2]; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    PAIRS[n as usize % 100]
}

pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    // Almost all numbers of a line are short, and pieces of a known length are a store or two.
    let digit = |n: u64| b'0' + (n % 10) as u8;
    let [tens, units] = two(value % 100);
    if value < 100 {
        return out.extend_from_slice(&[tens, units]);
    }
    if value < 1_000 {
        return out.extend_from_slice(&[digit(value / 100), tens, units]);
    }
    if value < 10_000 {
        return out.extend_from_slice(&[digit(value / 1_000), digit(value / 100), tens, units]);
    }
    if value < 100_000 {
        let [a, b] = two(value / 1_000);
        return out.extend_from_slice(&[a, b, digit(value / 100), tens, units]);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    while value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&two(value % 100));
        value /= 100;
    }
    if value > 0 {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

fn ip(out: &mut Vec<u8>, value: IpAddr) {
    match value {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            number(out, a.into());
            for part in [b, c, d] {
                out.push(b'.');
                number(out, part.into());
            }
        }
        IpAddr::V6(v6) => write(out, format_args!("{v6}")),
    }
}

fn write(out: &mut Vec<u8>, args: core::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail; an error of the value's own Display leaves what it wrote so far.
    let _ = std::io::Write::write_fmt(out, args);
}

/// Writes bytes from the network as a JSON text; about `bytes_max` bytes are written at most.
///
/// Everything outside printable ASCII is escaped; a byte that is no UTF-8 becomes the character of the same
/// number, as Latin-1 has it. So no request can break the line or what reads it.
//= OBS-LOG-02
pub(super) fn text(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    out.push(b'"');
    // Without a branch for each byte: almost every text is plain.
    let is_special = |b: u8| !(b' '..=b'~').contains(&b) || b == b'"' || b == b'\\';
    if value.len() <= bytes_max && !value.iter().fold(false, |any, b| any | is_special(*b)) {
        out.extend_from_slice(value);
    } else {
        escaped(out, value, bytes_max);
    }
    out.push(b'"');
}

#[cold]
fn escaped(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let end = out.len() + bytes_max;
    for byte in value {
        // The bound holds for what is written: six bytes for an escaped one.
        if out.len() >= end {
            out.extend_from_slice(b"...");
            break;
        }
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let hex = |n: u8| HEX[usize::from(n & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(*byte)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test OBS-LOG-02
    #[test]
    fn no_byte_of_a_request_can_end_the_line_or_the_text() {
        let every: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        text(&mut out, &every, 2_000);
        assert!(out.iter().all(|b| (b' '..=b'~').contains(b)));
        let back: String = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(back.chars().map(|c| c as u32).collect::<Vec<_>>(), (0..256).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut out = Vec::new();
        text(&mut out, b"abcdef", 4);
        assert_eq!(out, b"\"abcd...\"");
    }

    #[test]
    fn numbers_and_milliseconds_are_exact() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.number(key!("n"), u64::MAX);
        object.millis(key!("t"), 1_234_056);
        object.end();
        assert_eq!(out, b"{\"n\":18446744073709551615,\"t\":1234.056}\n");
        for length in 1..20 {
            for value in [10_u64.pow(length) - 1, 10_u64.pow(length), 10_u64.pow(length) + 90] {
                out.clear();
                number(&mut out, value);
                assert_eq!(out, value.to_string().as_bytes());
            }
        }
    }

    #[test]
    fn addresses_read_as_everywhere_else() {
        for address in ["0.0.0.0", "10.20.255.9", "2001:db8::7", "::ffff:192.0.2.1"] {
            let mut out = Vec::new();
            ip(&mut out, address.parse().expect("an address"));
            assert_eq!(out, address.as_bytes());
        }
    }
}
