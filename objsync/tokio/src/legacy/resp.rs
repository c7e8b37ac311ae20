//! The protocol of Redis (RESP 2), as much of it as is spoken here.

use super::limits::REPLY_BYTES_MAX;

/// How deep lists stand in lists: entries of streams have four levels.
const DEPTH_MAX: u32 = 8;

/// What Redis says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing.
    Nil,
    /// It was done.
    Word(Vec<u8>),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<Self>),
    /// It was not done: why.
    Refused(String),
}

impl Reply {
    /// The bytes; nothing if it is anything else.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) | Self::Word(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The list; empty if it is anything else.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// The number; `None` if it is anything else.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Why it was not done, anywhere in it.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused(why) => Some(why),
            Self::List(list) => list.iter().find_map(Self::refusal),
            _ => None,
        }
    }
}

/// Adds a command.
pub(super) fn command(into: &mut Vec<u8>, words: &[&[u8]]) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// The first reply, and how many bytes it takes; `None` if it is not whole.
///
/// # Errors
/// It is no reply of Redis, or longer than is taken.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    // What is not whole is measured only: a long reply comes in many pieces.
    match measure(bytes, 0, DEPTH_MAX)? {
        Some(end) => Ok(Some((read(bytes, &mut 0), end))),
        None if bytes.len() > REPLY_BYTES_MAX => {
            Err(format!("it answers with more than {REPLY_BYTES_MAX} bytes"))
        }
        None => Ok(None),
    }
}

fn no_reply() -> String {
    "it answers as no Redis does".to_owned()
}

/// A line: its kind, its text, and where the next one begins.
type Line<'b> = (u8, &'b [u8], usize);

/// The line at `at`.
fn line(bytes: &[u8], at: usize) -> Result<Option<Line<'_>>, String> {
    let Some((kind, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    match rest.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Ok(Some((*kind, &rest[..end], at + end + 3))),
        None if rest.len() > 64 * 1024 => Err(no_reply()),
        None => Ok(None),
    }
}

fn number(text: &[u8]) -> Result<i64, String> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(no_reply)
}

/// Where the reply at `at` ends.
fn measure(bytes: &[u8], at: usize, depth: u32) -> Result<Option<usize>, String> {
    let Some((kind, text, mut next)) = line(bytes, at)? else { return Ok(None) };
    match kind {
        b'+' | b'-' => Ok(Some(next)),
        b':' => number(text).map(|_| Some(next)),
        b'$' => {
            let Ok(length) = usize::try_from(number(text)?) else { return Ok(Some(next)) };
            if length > REPLY_BYTES_MAX {
                return Err(format!("it answers with {length} bytes: {REPLY_BYTES_MAX} are taken"));
            }
            let end = next + length + 2;
            Ok((bytes.len() >= end).then_some(end))
        }
        b'*' if depth > 0 => {
            let length = number(text)?;
            for _ in 0..length {
                let Some(end) = measure(bytes, next, depth - 1)? else { return Ok(None) };
                next = end;
            }
            Ok(Some(next))
        }
        _ => Err(no_reply()),
    }
}

/// Reads what [`measure`] has found whole.
fn read(bytes: &[u8], at: &mut usize) -> Reply {
    let Ok(Some((kind, text, next))) = line(bytes, *at) else { return Reply::Nil };
    *at = next;
    let count = || number(text).unwrap_or(0);
    match kind {
        b'+' => Reply::Word(text.to_vec()),
        b'-' => Reply::Refused(String::from_utf8_lossy(text).into_owned()),
        b':' => Reply::Number(count()),
        b'$' => {
            let Ok(length) = usize::try_from(count()) else { return Reply::Nil };
            *at = next + length + 2;
            Reply::Bytes(bytes.get(next..next + length).unwrap_or_default().to_vec())
        }
        _ if count() < 0 => Reply::Nil,
        _ => Reply::List((0..count()).map(|_| read(bytes, at)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &[u8] =
        b"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\nm\r\n$4\r\na\r\nb\r\n";

    #[test]
    fn a_reply_is_read_once_it_is_whole() {
        for end in 0..ENTRIES.len() {
            assert_eq!(reply(&ENTRIES[..end]), Ok(None), "{end}");
        }
        let two = [ENTRIES, b"+OK\r\n"].concat();
        let (read, length) = reply(&two).expect("a reply").expect("whole");
        assert_eq!(length, ENTRIES.len());
        let note = &read.list()[0].list()[1].list()[0];
        assert_eq!(note.list()[0].bytes(), Some(&b"5-0"[..]));
        assert_eq!(note.list()[1].list()[1].bytes(), Some(&b"a\r\nb"[..]));
        let one = |bytes: &[u8]| reply(bytes).expect("a reply").expect("whole").0;
        assert_eq!(one(b"$-1\r\n"), Reply::Nil);
        assert_eq!(one(b"*-1\r\n"), Reply::Nil);
        assert_eq!(one(b":-7\r\n").number(), Some(-7));
        assert_eq!(one(b"*1\r\n-OOM no room\r\n").refusal(), Some("OOM no room"));
    }

    #[test]
    fn what_no_redis_says_is_refused_and_costs_little() {
        assert!(reply(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(reply(b"$99999999999\r\n").is_err());
        assert!(reply(&b"*1\r\n".repeat(100)).is_err());
        assert_eq!(reply(b"*99999999999\r\n"), Ok(None), "nothing is reserved for it");
        let mut written = Vec::new();
        command(&mut written, &[b"SET", b"k", b"\r\n"]);
        assert_eq!(written, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n");
    }
}
