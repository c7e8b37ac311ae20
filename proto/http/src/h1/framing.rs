//! Where a message ends.

use crate::{RuleId, bytes};

/// How the end of a message's content is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No content.
    #[default]
    None,
    /// As many bytes as `Content-Length` says; 0 is written as such.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the server closes; responses only.
    UntilClose,
}

impl Framing {
    /// Says whether bytes follow the head.
    pub fn has_content(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }
}

/// What the framing fields of a head say, collected line by line.
#[derive(Default)]
pub(crate) struct FramingFields {
    length: Option<u64>,
    chunked: bool,
}

impl FramingFields {
    /// Takes a `Content-Length` line.
    //= H1-FRAME-02
    //= H1-FRAME-03
    pub(crate) fn length(&mut self, value: &[u8]) -> Result<(), RuleId> {
        if self.length.is_some() {
            return Err(RuleId::LengthRepeated);
        }
        self.length = Some(decimal(value).ok_or(RuleId::LengthInvalid)?);
        Ok(())
    }

    /// Takes a `Transfer-Encoding` line.
    //= H1-FRAME-04
    //= H1-FRAME-05
    pub(crate) fn encoding(&mut self, value: &[u8]) -> Result<(), RuleId> {
        if self.chunked {
            return Err(RuleId::EncodingMalformed);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(unacceptable_encoding(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// Returns what was announced, or that nothing was.
    //= H1-FRAME-01
    //= H1-FRAME-06
    pub(crate) fn announced(&self, http_1_0: bool) -> Result<Option<Framing>, RuleId> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(RuleId::LengthWithEncoding),
            (true, None) if http_1_0 => Err(RuleId::EncodingVersion),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }
}

/// Tells a coding we do not have (501) from what cannot be read at all (400).
fn unacceptable_encoding(value: &[u8]) -> RuleId {
    let mut codings = value.split(|&b| b == b',').map(bytes::trim).rev();
    let last_is_chunked = codings.next().is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
    let others_are_other = codings.all(|c| bytes::is_token(c) && !c.eq_ignore_ascii_case(b"chunked"));
    if last_is_chunked && others_are_other { RuleId::EncodingUnknown } else { RuleId::EncodingMalformed }
}

/// Reads digits and nothing else, up to 2^63-1.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // 19 digits cannot exceed 64 bits.
    let number = value.iter().fold(0u64, |n, &b| n * 10 + u64::from(b - b'0'));
    (number <= i64::MAX as u64).then_some(number)
}
