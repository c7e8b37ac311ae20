//! A second decoder of chunked content, written for clearness: all input at once, no state, no bounds but the
//! grammar's.

/// How an input reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// Content, and what follows the message.
    Whole(Vec<u8>, &'a [u8]),
    /// More input could complete it.
    Incomplete,
    /// No input could complete it.
    Malformed,
}

/// Reads `input` by RFC 9112 7.1, with our choices for extensions and trailers (H1-CHUNK-04, H1-FIELD-*).
pub fn read(mut input: &[u8]) -> Read<'_> {
    let mut content = Vec::new();
    loop {
        let Some(end) = input.windows(2).position(|w| w == b"\r\n") else {
            return if may_become_size_line(input) { Read::Incomplete } else { Read::Malformed };
        };
        let Some(size) = size(&input[..end]) else { return Read::Malformed };
        input = &input[end + 2..];
        if size == 0 {
            return trailers(content, input);
        }
        let available = (input.len() as u64).min(size) as usize;
        content.extend_from_slice(&input[..available]);
        input = &input[available..];
        if (available as u64) < size {
            return Read::Incomplete;
        }
        match input {
            [] | [b'\r'] => return Read::Incomplete,
            [b'\r', b'\n', rest @ ..] => input = rest,
            _ => return Read::Malformed,
        }
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    let blanks = extension.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let well_formed = extension.is_empty() || extension.get(blanks) == Some(&b';');
    if digits == 0 || digits > 16 || !well_formed || !extension.iter().all(|&b| is_extension(b)) {
        return None;
    }
    let text = std::str::from_utf8(&line[..digits]).ok()?;
    u64::from_str_radix(text, 16).ok().filter(|&n| n <= i64::MAX as u64)
}

fn is_extension(b: u8) -> bool {
    matches!(b, b' '..=b'~' | b'\t')
}

/// A cut line is judged by its bytes so far: completed in the kindest way, it has to be a size line.
fn may_become_size_line(cut: &[u8]) -> bool {
    match cut.strip_suffix(b"\r") {
        Some(line) => size(line).is_some(),
        None => [&b""[..], b"0", b";"].iter().any(|kind| size(&[cut, kind].concat()).is_some()),
    }
}

fn trailers(content: Vec<u8>, input: &[u8]) -> Read<'_> {
    let mut rest = input;
    loop {
        match rest {
            [b'\r', b'\n', after @ ..] => return Read::Whole(content, after),
            [] | [b'\r'] => return Read::Incomplete,
            _ => {}
        }
        let end = rest.windows(2).position(|w| w == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        let line = if end.is_none() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        let name = line.split(|&b| b == b':').next().unwrap_or(line);
        let value = line.get(name.len() + 1..);
        let complete = end.is_some();
        let name_good =
            name.iter().all(|&b| is_token(b)) && !(name.is_empty() && (complete || value.is_some()));
        let value_good = match value {
            Some(value) => value.iter().all(|&b| b == b'\t' || (b >= 0x20 && b != 0x7f)),
            // A cut name that ends with CR can become no field.
            None => !complete && line.len() == rest.len(),
        };
        if !name_good || !value_good {
            return Read::Malformed;
        }
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => return Read::Incomplete,
        }
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
