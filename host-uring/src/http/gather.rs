//! What goes out in one write: heads from one piece of memory, content from another, nothing copied twice.

use std::io::IoSlice;
use std::ops::Range;

use forebay_http::Reject;
use forebay_http::h1::Framing;
use forebay_http::h1::body::{self, CHUNK_HEAD_MAX, Decoder, State};

use super::limits::{GATHER_COPY_MAX, GATHER_SLICES};

/// Bytes that wait to be written: text of our own, and ranges of the buffer that content came in.
///
/// The loop of a driver: [`Gather::text`] for a head, [`Gather::content`] for what was read, then
/// [`Gather::slices`] and [`Gather::advance`] until [`Gather::is_empty`].
#[derive(Default)]
pub struct Gather {
    own: Vec<u8>,
    segments: Vec<Segment>,
    /// Segments before this one are written.
    first: usize,
    left: usize,
}

enum Segment {
    Own(Range<usize>),
    Content(Range<usize>),
}

impl Segment {
    fn range(&mut self) -> &mut Range<usize> {
        match self {
            Segment::Own(range) | Segment::Content(range) => range,
        }
    }
}

/// What came of one input to [`Gather::content`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the input that belong to the message.
    pub consumed: usize,
    /// Bytes of content among them.
    pub content: u64,
    /// The message is complete.
    pub done: bool,
}

impl Gather {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.own.clear();
        self.segments.clear();
        (self.first, self.left) = (0, 0);
    }

    /// Frees memory beyond what ordinary messages need.
    pub fn shrink(&mut self, bytes_max: usize) {
        self.clear();
        if self.own.capacity() > bytes_max {
            self.own = Vec::with_capacity(bytes_max);
        }
        if self.segments.capacity() > GATHER_SLICES * 4 {
            self.segments = Vec::with_capacity(GATHER_SLICES);
        }
    }

    /// Says whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Appends text that `write` puts behind the vector's end.
    pub fn text<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.own.len();
        let value = write(&mut self.own);
        let end = self.own.len();
        self.push_own(start..end);
        value
    }

    fn push_own(&mut self, range: Range<usize>) {
        self.left += range.len();
        if let Some(Segment::Own(last)) = self.segments.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else if !range.is_empty() {
            self.segments.push(Segment::Own(range));
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        self.push_own(start..self.own.len());
    }

    /// Takes content from `input`, which lies at `offset` of the buffer that [`Gather::slices`] gets, and frames
    /// it for the receiver. `trailers`: the receiver takes them.
    ///
    /// # Errors
    /// The sender broke a rule; what was taken before stays in.
    pub fn content(
        &mut self,
        decoder: &mut Decoder,
        framing: Framing,
        trailers: bool,
        input: &[u8],
        offset: usize,
    ) -> Result<Taken, Reject> {
        let mut at = 0;
        let mut content = 0;
        while !decoder.is_done() && at < input.len() {
            let step = decoder.decode(&input[at..])?;
            if !step.data.is_empty() {
                let data = at + step.data.start..at + step.data.end;
                content += data.len() as u64;
                self.piece(framing, input, data, offset);
            }
            at += step.consumed;
            if step.state == State::NeedInput {
                break;
            }
        }
        if decoder.is_done() {
            self.end(decoder, framing, trailers);
        }
        Ok(Taken { consumed: at, content, done: decoder.is_done() })
    }

    /// Ends the content: the last chunk, if the receiver gets chunks.
    pub fn end(&mut self, decoder: &Decoder, framing: Framing, trailers: bool) {
        if framing == Framing::Chunked {
            self.text(|own| body::last_chunk(decoder, trailers, own));
        }
    }

    fn piece(&mut self, framing: Framing, input: &[u8], data: Range<usize>, offset: usize) {
        let chunked = framing == Framing::Chunked;
        if chunked {
            let mut line = [0; CHUNK_HEAD_MAX];
            let head = body::chunk_head(data.len() as u64, &mut line);
            self.push_bytes(head);
        }
        // Small pieces cost less copied than as a slice of their own.
        if data.len() <= GATHER_COPY_MAX {
            self.push_bytes(&input[data]);
        } else {
            self.left += data.len();
            self.segments.push(Segment::Content(data.start + offset..data.end + offset));
        }
        if chunked {
            self.push_bytes(body::CHUNK_END);
        }
    }

    /// The next bytes to write, as many pieces as one call takes; `buffer` is what content ranges point into.
    pub fn slices<'a>(&'a self, buffer: &'a [u8], slices: &mut [IoSlice<'a>; GATHER_SLICES]) -> usize {
        let mut count = 0;
        for (slot, segment) in slices.iter_mut().zip(&self.segments[self.first..]) {
            *slot = IoSlice::new(match segment {
                Segment::Own(range) => &self.own[range.clone()],
                Segment::Content(range) => &buffer[range.clone()],
            });
            count += 1;
        }
        count
    }

    /// All that waits, if it is one text of our own.
    pub fn single(&self) -> Option<&[u8]> {
        match self.segments.get(self.first..) {
            Some([Segment::Own(range)]) => self.own.get(range.clone()),
            _ => None,
        }
    }

    /// Takes over what still waits in `buffer`, so that the buffer is free while a slow receiver is waited for.
    /// Holds no more memory than waits.
    pub fn hold(&mut self, buffer: &[u8]) {
        let mut own = Vec::with_capacity(self.left);
        for segment in &self.segments[self.first..] {
            own.extend_from_slice(match segment {
                Segment::Own(range) => &self.own[range.clone()],
                Segment::Content(range) => &buffer[range.clone()],
            });
        }
        debug_assert_eq!(own.len(), self.left);
        self.segments.clear();
        self.first = 0;
        self.segments.push(Segment::Own(0..own.len()));
        self.own = own;
    }

    /// Says that `written` bytes of [`Gather::slices`] went out.
    pub fn advance(&mut self, mut written: usize) {
        self.left -= written;
        while let Some(segment) = self.segments.get_mut(self.first) {
            let range = segment.range();
            if written < range.len() {
                range.start += written;
                return;
            }
            written -= range.len();
            self.first += 1;
        }
        debug_assert_eq!(written, 0);
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_http::Limits;

    /// Writes out in steps of `step` bytes, as a slow socket would.
    fn written(gather: &mut Gather, buffer: &[u8], step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !gather.is_empty() {
            let mut slices = [IoSlice::new(&[]); GATHER_SLICES];
            let count = gather.slices(buffer, &mut slices);
            let flat: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let now = step.min(flat.len());
            out.extend_from_slice(&flat[..now]);
            gather.advance(now);
        }
        out
    }

    #[test]
    fn chunks_of_any_size_come_out_as_the_same_content_however_slow_the_socket() {
        for step in [1, 7, 100, 100_000] {
            for size in [1, 63, 64, 65, 5000] {
                let content: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
                let mut input = Vec::new();
                for chunk in content.chunks(size) {
                    input.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
                    input.extend_from_slice(chunk);
                    input.extend_from_slice(b"\r\n");
                }
                input.extend_from_slice(b"0\r\n\r\nnext");
                let limits = Limits { chunk_ext_total_bytes: u32::MAX, ..Limits::default() };
                let mut decoder = Decoder::new(Framing::Chunked, &limits);
                let mut gather = Gather::default();
                gather.text(|own| own.extend_from_slice(b"HEAD"));
                let taken = gather.content(&mut decoder, Framing::Chunked, true, &input, 0).expect("chunks");
                assert!(taken.done);
                assert_eq!(taken.content, 20_000);
                assert_eq!(&input[taken.consumed..], b"next");
                let out = written(&mut gather, &input, step);
                let rest = out.strip_prefix(b"HEAD").expect("the head first");
                let mut again = Decoder::new(Framing::Chunked, &limits);
                let mut flat = Gather::default();
                flat.content(&mut again, Framing::UntilClose, true, rest, 0).expect("our own chunks");
                assert!(again.is_done());
                assert_eq!(written(&mut flat, rest, 1000), content);
            }
        }
    }

    #[test]
    fn content_of_a_known_length_is_not_copied() {
        let input = vec![5_u8; 60_000];
        let mut decoder = Decoder::new(Framing::Length(50_000), &Limits::default());
        let mut gather = Gather::default();
        let taken =
            gather.content(&mut decoder, Framing::Length(50_000), false, &input, 0).expect("any bytes");
        assert_eq!(taken, Taken { consumed: 50_000, content: 50_000, done: true });
        assert_eq!((gather.own.len(), gather.len()), (0, 50_000));
    }
}
