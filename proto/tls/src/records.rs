//! A message that comes in records: one, or as many as its sender likes.

use crate::{HELLO_BYTES_MAX, Malformed};

/// The kind of records that a handshake comes in.
const HANDSHAKE: u8 = 22;
/// The first half of every version since SSL 3.
const MAJOR: u8 = 3;
/// The kind of the first message.
const CLIENT_HELLO: u8 = 1;
/// Bytes before a record's content.
const RECORD_HEAD: usize = 5;
/// Bytes before a message's content.
const MESSAGE_HEAD: usize = 4;
/// The most bytes in a record that is not encrypted.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// The content of a whole message, wherever its records cut it.
pub(crate) struct Message<'b> {
    /// From the current record's content on.
    bytes: &'b [u8],
    /// Bytes of the current record that are left.
    in_record: usize,
    /// Bytes of the message that are left.
    left: usize,
    /// Bytes of all records that it came in.
    pub(crate) len: usize,
}

/// The kind and length of a record; `None`: its head is not whole.
fn record_head(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    // What is there of it is judged at once: a client of another protocol waits for an answer.
    let is = |at: usize, want: u8| bytes.get(at).is_none_or(|byte| *byte == want);
    if !is(0, HANDSHAKE) || !is(1, MAJOR) {
        return Err(Malformed::Record);
    }
    let Some(&[high, low]) = bytes.get(3..RECORD_HEAD) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len == 0 || len > RECORD_BYTES_MAX { Err(Malformed::Record) } else { Ok(Some(len)) }
}

/// The message that `bytes` begin with; `None`: it is not whole.
//= TLS-HELLO-RECORD-01
pub(crate) fn message(bytes: &[u8]) -> Result<Option<Message<'_>>, Malformed> {
    let mut head = [0; MESSAGE_HEAD];
    // Bytes of the message that were seen, its head included, and how many there are in all.
    let (mut seen, mut all) = (0, None);
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = record_head(rest).map_err(|why| if at == 0 { first(rest, why) } else { why })?;
        let Some(length) = length else { return Ok(None) };
        let content = rest.get(RECORD_HEAD..).unwrap_or_default();
        let there = content.get(..length).unwrap_or(content);
        for (slot, byte) in head.iter_mut().skip(seen).zip(there) {
            *slot = *byte;
        }
        seen += there.len();
        if seen > 0 && head.first() != Some(&CLIENT_HELLO) {
            return Err(Malformed::Kind);
        }
        if seen >= MESSAGE_HEAD && all.is_none() {
            let [_, high, middle, low] = head;
            let len = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
            if len > HELLO_BYTES_MAX {
                return Err(Malformed::TooLong);
            }
            all = Some(len + MESSAGE_HEAD);
        }
        if let Some(all) = all.filter(|all| seen >= *all) {
            // The last record may hold more than the message.
            let len = at + RECORD_HEAD + there.len() - (seen - all);
            return Ok(Some(Message::new(bytes, all, len)));
        }
        if there.len() < length {
            return Ok(None);
        }
        at += RECORD_HEAD + length;
    }
}

/// What is wrong with the first bytes of all.
fn first(bytes: &[u8], why: Malformed) -> Malformed {
    let begins = bytes.first() == Some(&HANDSHAKE) && bytes.get(1).is_none_or(|byte| *byte == MAJOR);
    if begins { why } else { Malformed::Start }
}

impl<'b> Message<'b> {
    /// A message of so many bytes, its head included, whose records are sound.
    fn new(bytes: &'b [u8], all: usize, len: usize) -> Self {
        let mut message = Message { bytes, in_record: 0, left: all, len };
        for _ in 0..MESSAGE_HEAD {
            let _ = message.byte();
        }
        message
    }

    /// Bytes that are left of it.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Goes to the next record where this one is over.
    fn enter(&mut self) -> Option<()> {
        while self.in_record == 0 {
            self.in_record = record_head(self.bytes).ok()??;
            self.bytes = self.bytes.get(RECORD_HEAD..)?;
        }
        Some(())
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        self.enter()?;
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        self.in_record -= 1;
        Some(*byte)
    }

    /// The next two bytes, as a number.
    pub(crate) fn number(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])))
    }

    /// Passes over `count` bytes.
    pub(crate) fn skip(&mut self, mut count: usize) -> Option<()> {
        self.left = self.left.checked_sub(count)?;
        while count > 0 {
            self.enter()?;
            let step = count.min(self.in_record);
            self.bytes = self.bytes.get(step..)?;
            self.in_record -= step;
            count -= step;
        }
        Some(())
    }
}
