//! Positions in the caller's buffer.

/// A range of bytes in the buffer that was parsed: offsets, so that a head has no lifetime and is reusable.
///
/// Valid only for the very bytes that were parsed; a driver that moves bytes inside its buffer parses anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span { start: start as u32, end: end as u32 }
    }

    /// Returns the bytes; empty if `buf` is shorter than what was parsed.
    #[inline]
    pub fn of<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Says whether no byte is covered.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
