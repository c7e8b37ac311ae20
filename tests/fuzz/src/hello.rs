//! First messages of TLS clients, read by a second reader that puts the message together first.

use forebay_tls_hello::{HELLO_BYTES_MAX, Malformed, NAME_BYTES_MAX, Peek, peek};

/// The bytes that a connection begins with.
pub fn client_hello(input: &[u8]) {
    let whole = peek(input);
    // As they come one by one: nothing is said twice, and nothing else.
    let first = (0..=input.len()).map(|end| peek(&input[..end])).find(|read| *read != Ok(Peek::NeedMore));
    assert_eq!(first.unwrap_or(Ok(Peek::NeedMore)), whole);
    match (&whole, message(input)) {
        (Ok(Peek::Done(hello)), Some((content, len))) => {
            assert_eq!(hello.len, len);
            let name = name(&content).expect("the second reader finds it sound");
            assert_eq!(hello.name.as_ref().map(|name| name.as_str().as_bytes().to_vec()), name);
        }
        (Err(Malformed::Parts | Malformed::Name), Some((content, _))) => assert_eq!(name(&content), None),
        (Ok(Peek::NeedMore) | Err(_), None) => {}
        other => panic!("{other:?}"),
    }
}

/// The content of the first message, put together, and the bytes that it took; `None`: it is not whole, or no ClientHello.
fn message(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut message = Vec::new();
    let mut at = 0;
    loop {
        let rest = &input[at..];
        let sound = rest.len() >= 5 && rest[0] == 22 && rest[1] == 3;
        let len = sound.then(|| usize::from(rest[3]) << 8 | usize::from(rest[4]))?;
        if len == 0 || len > 16_384 {
            return None;
        }
        for byte in rest[5..].iter().take(len) {
            message.push(*byte);
            let said = message
                .get(1..4)
                .map(|l| usize::from(l[0]) << 16 | usize::from(l[1]) << 8 | usize::from(l[2]));
            let bytes = at + 5 + message.len() - taken(input, at);
            if message[0] != 1 || said.is_some_and(|said| said > HELLO_BYTES_MAX) || bytes > HELLO_BYTES_MAX {
                return None;
            }
            if said.is_some_and(|said| message.len() == said + 4) {
                return Some((message.split_off(4), bytes));
            }
        }
        if rest.len() < 5 + len {
            return None;
        }
        at += 5 + len;
    }
}

/// Bytes of content in the records before `at`.
fn taken(input: &[u8], at: usize) -> usize {
    let (mut from, mut sum) = (0, 0);
    while from < at {
        let len = usize::from(input[from + 3]) << 8 | usize::from(input[from + 4]);
        from += 5 + len;
        sum += len;
    }
    sum
}

/// The next `count` bytes of a list.
fn take<'l>(list: &mut &'l [u8], count: usize) -> Option<&'l [u8]> {
    let (one, rest) = list.split_at_checked(count)?;
    *list = rest;
    Some(one)
}

/// A list with its length before it, in as many bytes as `width` says.
fn listed<'l>(list: &mut &'l [u8], width: usize) -> Option<&'l [u8]> {
    let len = take(list, width)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    take(list, len)
}

/// The name of a ClientHello's content; outer `None`: it is not sound.
fn name(content: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut rest = content;
    take(&mut rest, 34)?;
    let id = listed(&mut rest, 1)?;
    let suites = listed(&mut rest, 2)?;
    let compressions = listed(&mut rest, 1)?;
    if id.len() > 32 || suites.is_empty() || suites.len() % 2 == 1 || compressions.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some(None);
    }
    let mut extensions = listed(&mut rest, 2)?;
    if !rest.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut data = listed(&mut extensions, 2)?;
        if kind == [0, 0] {
            let mut list = listed(&mut data, 2)?;
            let is_host = take(&mut list, 1)? == [0];
            let name = listed(&mut list, 2)?;
            let is_good = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
            if !is_host || !is_good || !list.is_empty() || !data.is_empty() {
                return None;
            }
            names.push(name.to_ascii_lowercase());
        }
    }
    if names.len() > 1 { None } else { Some(names.pop()) }
}
