//! Content: where it ends, chunk by chunk, without copying it.

use alloc::vec::Vec;
use core::ops::Range;

use super::fields::{FieldBounds, FieldScan, Fields, Scanned};
use super::framing::Framing;
use crate::{Limits, Reject, RuleId, bytes};

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The end of chunked content without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The longest chunk size line that [`chunk_head`] writes.
pub const CHUNK_HEAD_MAX: usize = 18;

/// Writes the size line of a chunk of `len` bytes into `line` and returns it.
///
/// `len` must not be 0: that would end the content.
//= H1-CHUNK-08
pub fn chunk_head(len: u64, line: &mut [u8; CHUNK_HEAD_MAX]) -> &[u8] {
    debug_assert!(len > 0);
    let digits = (16 - len.leading_zeros() as usize / 4).max(1);
    for (i, slot) in line[..digits].iter_mut().enumerate() {
        let nibble = (len >> (4 * (digits - 1 - i))) & 15;
        *slot = b"0123456789abcdef"[nibble as usize];
    }
    line[digits..digits + 2].copy_from_slice(CHUNK_END);
    &line[..digits + 2]
}

/// Writes the end of chunked content, with the trailers that may be forwarded if `trailers` says that the receiver
/// takes them ([`RequestHead::te_trailers`](super::RequestHead::te_trailers) for a client; servers always).
//= H1-TRAILER-02
pub fn last_chunk(decoder: &Decoder, trailers: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if trailers {
        for (name, value) in decoder.trailers() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What one call of [`Decoder::decode`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with; never see them again.
    pub consumed: usize,
    /// Content among them, as a range of the input; may be empty.
    pub data: Range<usize>,
    /// What to do next.
    pub state: State,
}

/// What to do after a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Call again with the rest of the input.
    More,
    /// All input was taken; call again when more arrived.
    NeedInput,
    /// The message is complete; what follows `consumed` is not part of it.
    Done,
}

/// Finds content and its end; reuse it ([`Decoder::reset`]) to keep its memory.
///
/// Everything that [`Decoder::decode`] takes is remembered here, so the driver may drop consumed bytes at once.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    part: Part,
    /// Bytes left of the content or chunk; while a size line is read, the size so far.
    left: u64,
    /// Content bytes that may still come.
    budget: u64,
    /// Digits of the size line so far.
    digits: u8,
    extension: u32,
    extensions: u32,
    bounds: Bounds,
    trailer: Vec<u8>,
    trailer_scan: FieldScan,
    trailers: Fields,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    extension: u32,
    extensions: u32,
    trailer: u32,
    trailers: u32,
    trailer_line: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Done,
    Length,
    UntilClose,
    Size,
    /// Blanks between size and extension.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
}

/// Digits of a chunk size: as many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;

/// The largest chunk: what a signed 64-bit number holds, since many parsers use one.
const SIZE_MAX: u64 = i64::MAX as u64;

impl Decoder {
    /// Prepares for content framed so. Allocates nothing unless trailers come.
    pub fn new(framing: Framing, limits: &Limits) -> Decoder {
        let mut decoder = Decoder::default();
        decoder.reset(framing, limits);
        decoder
    }

    /// Prepares for the next message and keeps the memory.
    pub fn reset(&mut self, framing: Framing, limits: &Limits) {
        let mut trailer = core::mem::take(&mut self.trailer);
        trailer.clear();
        let mut list = core::mem::take(&mut self.trailers.list);
        list.clear();
        let (part, left) = match framing {
            Framing::None | Framing::Length(0) => (Part::Done, 0),
            Framing::Length(n) => (Part::Length, n),
            Framing::Chunked => (Part::Size, 0),
            Framing::UntilClose => (Part::UntilClose, 0),
        };
        *self = Decoder {
            part,
            left,
            budget: limits.body_bytes,
            digits: 0,
            extension: 0,
            extensions: 0,
            bounds: Bounds {
                extension: limits.chunk_ext_bytes,
                extensions: limits.chunk_ext_total_bytes,
                trailer: limits.trailer_bytes,
                trailers: limits.trailer_fields,
                trailer_line: limits.field_bytes,
            },
            trailer,
            trailer_scan: FieldScan::start(0),
            trailers: Fields { list },
        };
    }

    /// Says whether the message is complete. True from the start if there is no content.
    pub fn is_done(&self) -> bool {
        self.part == Part::Done
    }

    /// Returns the bytes that are still to come, if their number is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.part {
            Part::Done => Some(0),
            Part::Length => Some(self.left),
            _ => None,
        }
    }

    /// Bytes of content that come next without anything between them, as far as that is known: a driver may pass so many
    /// on without looking at them, and says so by [`Decoder::skip`].
    pub fn run(&self) -> u64 {
        match self.part {
            Part::Length | Part::Data => self.left,
            Part::UntilClose => self.budget,
            _ => 0,
        }
    }

    /// Takes the next `bytes` of content for passed on; more than [`Decoder::run`] are not taken.
    pub fn skip(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.run());
        self.count(bytes.min(self.run()));
    }

    /// Takes input until the next piece of content, or its end, or the end of the input.
    ///
    /// # Errors
    /// The rule that the sender broke, with a request's status ([`Reject::status`]); a driver that reads from a
    /// server closes the connection, as it does with a client. Content handed out before stays handed out: the
    /// receiver must learn of the failure by a closed connection, never by a last chunk.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Reject> {
        self.step(input).map_err(Reject::request)
    }

    /// Tells that the sender closed its side.
    ///
    /// # Errors
    /// The message was not complete. Content until close is complete then.
    //= H1-CHUNK-07
    pub fn end_of_input(&mut self) -> Result<(), Reject> {
        match self.part {
            Part::Done => Ok(()),
            Part::UntilClose => {
                self.part = Part::Done;
                Ok(())
            }
            _ => Err(Reject::request(RuleId::Truncated)),
        }
    }

    /// Returns the trailers that may be forwarded, as name and value, once the message is complete.
    //= H1-TRAILER-01
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let kept = self.trailers.iter().filter(|f| !f.drop && !f.known.is_forbidden_trailer());
        kept.map(|f| (f.name.of(&self.trailer), f.value.of(&self.trailer)))
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, RuleId> {
        let mut at = 0;
        loop {
            match self.part {
                Part::Done => return Ok(step(at, at..at, State::Done)),
                Part::Length | Part::Data | Part::UntilClose => {
                    if at == input.len() {
                        return Ok(step(at, at..at, State::NeedInput));
                    }
                    return self.take_data(at, input.len());
                }
                Part::Trailer => return self.take_trailer(input, at),
                _ => {
                    let Some(&b) = input.get(at) else { return Ok(step(at, at..at, State::NeedInput)) };
                    self.take_line_byte(b)?;
                    at += 1;
                }
            }
        }
    }

    fn take_data(&mut self, at: usize, len: usize) -> Result<Step, RuleId> {
        let bound = if self.part == Part::UntilClose { self.budget } else { self.left };
        if bound == 0 {
            return Err(RuleId::BodyLength);
        }
        let taken = bound.min((len - at) as u64);
        self.count(taken);
        // Not more than `len`, which is a usize.
        let end = at + taken as usize;
        let state = match self.part {
            Part::Done => State::Done,
            _ if end == len => State::NeedInput,
            _ => State::More,
        };
        Ok(step(end, at..end, state))
    }

    /// Counts bytes of content.
    fn count(&mut self, taken: u64) {
        self.left = self.left.saturating_sub(taken);
        self.budget = self.budget.saturating_sub(taken);
        match (self.part, self.left) {
            (Part::Length, 0) => self.part = Part::Done,
            (Part::Data, 0) => self.part = Part::DataCr,
            _ => {}
        }
    }

    //= H1-CHUNK-01
    //= H1-CHUNK-02
    //= H1-CHUNK-03
    //= H1-CHUNK-04
    //= H1-CHUNK-05
    fn take_line_byte(&mut self, b: u8) -> Result<(), RuleId> {
        match (self.part, b) {
            (Part::Size, _) if bytes::is(b, bytes::HEX) => {
                if self.digits == SIZE_DIGITS_MAX {
                    return Err(RuleId::ChunkSize);
                }
                self.digits += 1;
                self.left = self.left << 4 | u64::from(hex(b));
                if self.left > SIZE_MAX {
                    return Err(RuleId::ChunkSize);
                }
            }
            (Part::Size, _) if self.digits == 0 => return Err(RuleId::ChunkSize),
            (Part::Size | Part::Blank, b';') => {
                self.part = Part::Extension;
                self.extension = 0;
            }
            (Part::Size | Part::Extension, b'\r') => self.part = Part::SizeLf,
            (Part::Size, b' ' | b'\t') => self.part = Part::Blank,
            (Part::Blank, b' ' | b'\t') => self.count_extension()?,
            (Part::Size | Part::Extension, b'\n') => return Err(RuleId::ChunkLine),
            (Part::Size | Part::Blank, _) => return Err(RuleId::ChunkSize),
            (Part::Extension, b' '..=b'~' | b'\t') => self.count_extension()?,
            (Part::Extension, _) => return Err(RuleId::ChunkExtension),
            (Part::SizeLf, b'\n') => self.begin_chunk()?,
            (Part::SizeLf, _) => return Err(RuleId::ChunkLine),
            (Part::DataCr, b'\r') => self.part = Part::DataLf,
            (Part::DataLf, b'\n') => {
                self.part = Part::Size;
                self.digits = 0;
                self.left = 0;
            }
            (Part::DataCr | Part::DataLf, _) => return Err(RuleId::ChunkData),
            (Part::Done | Part::Length | Part::UntilClose | Part::Data | Part::Trailer, _) => {
                debug_assert!(false, "not a part of a chunk line");
            }
        }
        Ok(())
    }

    fn count_extension(&mut self) -> Result<(), RuleId> {
        self.extension += 1;
        self.extensions += 1;
        if self.extension > self.bounds.extension || self.extensions > self.bounds.extensions {
            return Err(RuleId::ChunkExtensionLength);
        }
        Ok(())
    }

    fn begin_chunk(&mut self) -> Result<(), RuleId> {
        self.extension = 0;
        if self.left > self.budget {
            return Err(RuleId::BodyLength);
        }
        self.part = if self.left == 0 { Part::Trailer } else { Part::Data };
        Ok(())
    }

    //= H1-CHUNK-06
    fn take_trailer(&mut self, input: &[u8], at: usize) -> Result<Step, RuleId> {
        let held = self.trailer.len();
        let rest = &input[at..];
        // The usual end: no trailers, both bytes here.
        if held == 0 && rest.starts_with(b"\r\n") {
            self.part = Part::Done;
            return Ok(step(at + 2, at..at, State::Done));
        }
        let room = (self.bounds.trailer as usize).saturating_sub(held);
        let taken = rest.len().min(room);
        self.trailer.extend_from_slice(&rest[..taken]);
        let bounds = FieldBounds {
            field_bytes: self.bounds.trailer_line as usize,
            fields: self.bounds.trailers as usize,
        };
        match self.trailer_scan.run(&self.trailer, bounds, &mut self.trailers)? {
            Scanned::End(end) => {
                self.part = Part::Done;
                let consumed = at + end - held;
                Ok(step(consumed, at..at, State::Done))
            }
            Scanned::NeedMore if self.trailer.len() >= self.bounds.trailer as usize => {
                Err(RuleId::TrailerLength)
            }
            Scanned::NeedMore => Ok(step(input.len(), at..at, State::NeedInput)),
        }
    }
}

fn step(consumed: usize, data: Range<usize>, state: State) -> Step {
    Step { consumed, data, state }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
