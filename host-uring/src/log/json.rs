//! JSON written straight into a buffer: no allocation, and no byte of a request that could end a line.

/// Appends fields of one object.
pub(super) struct Object<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> Object<'b> {
    pub(super) fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out }
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
    pub(super) fn key(&mut self, name: &'static str) -> &mut Vec<u8> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        number(self.key(name), value);
    }

    pub(super) fn flag(&mut self, name: &'static str, value: bool) {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn text(&mut self, name: &'static str, value: &[u8], bytes_max: usize) {
        text(self.key(name), value, bytes_max);
    }

    /// Writes what has a text form (an address).
    pub(super) fn shown(&mut self, name: &'static str, value: impl core::fmt::Display) {
        let out = self.key(name);
        out.push(b'"');
        write(out, format_args!("{value}"));
        out.push(b'"');
    }

    /// Writes microseconds as milliseconds with three decimals.
    pub(super) fn millis(&mut self, name: &'static str, us: u64) {
        let out = self.key(name);
        number(out, us / 1_000);
        let rest = us % 1_000;
        out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

fn digit(n: u64) -> u8 {
    b'0' + (n % 10) as u8
}

pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(super) fn write(out: &mut Vec<u8>, args: core::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail; an error of the value's own Display leaves what it wrote so far.
    let _ = std::io::Write::write_fmt(out, args);
}

/// Writes bytes from the network as a JSON text; about `bytes_max` bytes are written at most.
///
/// Everything outside printable ASCII is escaped; a byte that is no UTF-8 becomes the character of the same
/// number, as Latin-1 has it. So no request can break the line or what reads it.
//= OBS-LOG-02
pub(super) fn text(out: &mut Vec<u8>, value: &[u8], bytes_max: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
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
    out.push(b'"');
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
        object.number("n", u64::MAX);
        object.millis("t", 1_234_056);
        object.end();
        assert_eq!(out, b"{\"n\":18446744073709551615,\"t\":1234.056}\n");
    }
}
