//! Output: heads, content in the order of its urgency, ends.

use alloc::vec::Vec;
use core::fmt;

use super::transcode::{self, Sensitive};
use super::{Connection, Phase, Role};
use crate::h1::Upgrade;
use crate::h2::budget::Item;
use crate::h2::error::Code;
use crate::h2::frame::{self, HEAD, WINDOW_MAX};
use crate::h2::stream::Stream;

/// The largest DATA frame that is written, whatever the peer takes: others shall get their turn.
const FRAME_MAX: usize = 16_384;

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream is not open on our side: it was reset, or has ended.
    Closed,
    /// The head is not one that [`h1::write`](crate::h1::write) writes, or comes a second time.
    Head,
    /// More than the windows hold.
    Window,
}

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The peer takes no more for now.
    Busy,
    /// The peer takes no more at all: use another connection.
    Going,
    /// The peer does not take extended CONNECT.
    NoConnect,
    /// The head is not one that [`h1::write`](crate::h1::write) writes.
    Head,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed => "the stream is closed",
            SendError::Head => "this head cannot be sent now",
            SendError::Window => "the window is too small",
        })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Busy => "as many streams are open as the server allows",
            OpenError::Going => "the server takes no more streams on this connection",
            OpenError::NoConnect => "the server does not take extended CONNECT",
            OpenError::Head => "this head cannot be sent",
        })
    }
}

impl core::error::Error for SendError {}
impl core::error::Error for OpenError {}

impl Connection {
    /// Says how many streams may be opened now.
    //= H2-STREAM-08
    pub fn room_for_streams(&self) -> usize {
        let ends = self.gone.is_some() || self.own_next > WINDOW_MAX || matches!(self.phase, Phase::Over(_));
        if ends || self.role == Role::Server {
            return 0;
        }
        (self.peer.streams_max as usize).saturating_sub(self.streams.len())
    }

    /// Opens a stream with a request: `head` as [`h1::write::request`](crate::h1::write::request) writes it. An
    /// upgrade to WebSocket becomes an extended CONNECT. Fields called as in `sensitive` get into no table.
    ///
    /// # Errors
    /// Nothing was written; the reason says whether to wait, to go elsewhere or to give up.
    pub fn open(
        &mut self,
        head: &[u8],
        scheme: &[u8],
        sensitive: Sensitive<'_>,
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<u32, OpenError> {
        if self.room_for_streams() == 0 {
            let ends = self.gone.is_some() || self.own_next > WINDOW_MAX || self.phase_is_over();
            return Err(if ends { OpenError::Going } else { OpenError::Busy });
        }
        let upgrades = memchr::memmem::find(head, b"\r\nUpgrade: websocket\r\n").is_some();
        if upgrades && !self.peer.connect {
            return Err(OpenError::NoConnect);
        }
        let id = self.own_next;
        let start = begin(out);
        let sent = transcode::request(head, scheme, sensitive, &mut self.encoder, out).ok_or(OpenError::Head);
        let sent = sent.inspect_err(|_| out.truncate(start))?;
        self.own_next += 2;
        let end = end && !sent.upgrade;
        self.finish(start, id, end, out);
        let mut stream = self.new_stream(id);
        stream.is_head = sent.head;
        stream.tunnel = sent.upgrade.then_some(Upgrade::WebSocket);
        stream.head_sent = true;
        stream.local_ended = end;
        self.streams.add(stream);
        Ok(id)
    }

    /// Sends a response's head as [`h1::write::response`](crate::h1::write::response) or
    /// [`h1::write::answer`](crate::h1::write::answer) writes it (what stands behind it in `head` is not looked at).
    /// Interim ones may come before. A 101 to an extended CONNECT becomes a 200.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn head(
        &mut self,
        stream: u32,
        head: &[u8],
        sensitive: Sensitive<'_>,
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let entry = self.streams.get(stream).filter(|s| !s.local_ended).ok_or(SendError::Closed)?;
        if entry.head_sent || self.role == Role::Client {
            return Err(SendError::Head);
        }
        let tunnel = entry.tunnel.is_some();
        let start = begin(out);
        let status = transcode::response(head, tunnel, sensitive, &mut self.encoder, &mut self.memo, out);
        let status = status.ok_or(SendError::Head).inspect_err(|_| out.truncate(start))?;
        let end = end && status >= 200;
        self.finish(start, stream, end, out);
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.head_sent = status >= 200;
            entry.local_ended = end;
            // A tunnel that was refused is an ordinary stream.
            if entry.tunnel.is_some() && status >= 300 {
                entry.tunnel = None;
            }
        }
        self.close_if_done(stream);
        Ok(())
    }

    /// Ends a stream with trailers, names in any case.
    ///
    /// # Errors
    /// The stream is closed, or its head was not sent.
    //= H2-CONV-06
    pub fn trailers<'a>(
        &mut self,
        stream: u32,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let entry = self.streams.get_mut(stream).filter(|s| !s.local_ended).ok_or(SendError::Closed)?;
        if !entry.head_sent {
            return Err(SendError::Head);
        }
        entry.local_ended = true;
        entry.ready = false;
        let start = begin(out);
        transcode::trailers(fields, &mut self.encoder, out);
        self.finish(start, stream, true, out);
        self.close_if_done(stream);
        Ok(())
    }

    /// Returns the head of a DATA frame of `len` bytes, which have to follow it.
    ///
    /// # Errors
    /// The stream is closed, its head was not sent, or the windows are smaller.
    //= H2-FLOW-06
    pub fn data(&mut self, stream: u32, len: usize, end: bool) -> Result<[u8; HEAD], SendError> {
        let entry = self.streams.get(stream).filter(|s| !s.local_ended).ok_or(SendError::Closed)?;
        if !entry.head_sent {
            return Err(SendError::Head);
        }
        if len > self.room_of(entry) {
            return Err(SendError::Window);
        }
        self.turn = self.turn.wrapping_add(1);
        // Not more than a window.
        self.send -= len as i64;
        let turn = self.turn;
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.send -= len as i64;
            entry.turn = turn;
            entry.local_ended = end;
            entry.ready &= !end;
        }
        if len > 0 {
            self.accounts.forgive(Item::WindowUpdate, 2);
            // Who gets data may measure how fast it comes.
            self.accounts.forgive(Item::Control, 1);
        }
        let flags = if end { frame::END_STREAM } else { 0 };
        let bytes = frame::head(len, frame::DATA, flags, stream);
        self.close_if_done(stream);
        Ok(bytes)
    }

    /// Says whether there is data to send on the stream: [`Connection::next`] names it then.
    pub fn want(&mut self, stream: u32, ready: bool) {
        if let Some(entry) = self.streams.get_mut(stream) {
            entry.ready = ready && !entry.local_ended;
        }
    }

    /// Returns the stream whose data goes first, and how much of it may go in one frame (at least 1 byte).
    //= H2-PRIO-05
    pub fn next(&self) -> Option<(u32, usize)> {
        if self.send <= 0 {
            return None;
        }
        let able = self.streams.iter().filter(|s| s.ready && s.send > 0);
        let first = able.min_by_key(|s| {
            // Those that share take turns: who waited longest is first. The age survives a wrap of the count.
            (s.rank(), u32::MAX - self.turn.wrapping_sub(s.turn), s.id)
        })?;
        Some((first.id, self.room_of(first)))
    }

    /// Says whether any stream was given a priority: otherwise none goes before another.
    pub fn has_ranks(&self) -> bool {
        self.ranks
    }

    /// Says whether `one` is to send content before `other` whenever it has some, and may send it.
    pub fn outranks(&self, one: u32, other: u32) -> bool {
        let (Some(one), Some(other)) = (self.streams.get(one), self.streams.get(other)) else { return false };
        one.head_sent && !one.local_ended && one.send > 0 && one.rank() < other.rank()
    }

    /// Returns how many bytes of content the connection's window takes now, of all streams together.
    pub fn whole_window(&self) -> usize {
        usize::try_from(self.send).unwrap_or(0)
    }

    /// Returns how many bytes of content a stream's own window takes now, whatever the connection's does; none if it may
    /// send no content.
    pub fn own_window(&self, stream: u32) -> usize {
        let stream = self.streams.get(stream).filter(|s| s.head_sent && !s.local_ended);
        stream.map_or(0, |s| usize::try_from(s.send).unwrap_or(0))
    }

    /// Returns how many bytes of content the stream may send in one frame now.
    pub fn room(&self, stream: u32) -> usize {
        self.streams.get(stream).map_or(0, |s| self.room_of(s))
    }

    /// Returns how many bytes of content the windows take now, in as many frames as that needs.
    pub fn window(&self, stream: u32) -> usize {
        let window = self.streams.get(stream).map_or(0, |stream| self.send.min(stream.send).max(0));
        usize::try_from(window).unwrap_or(usize::MAX)
    }

    /// Returns how many bytes of content the peer takes on a new stream, by its settings.
    pub fn first_window(&self) -> usize {
        self.peer.initial_window as usize
    }

    /// Says whether data waits for the peer to open a window.
    pub fn is_blocked(&self) -> bool {
        self.streams.iter().any(|s| s.ready && self.room_of(s) == 0)
    }

    /// Says whether the stream is open on our side.
    pub fn is_open(&self, stream: u32) -> bool {
        self.streams.get(stream).is_some_and(|s| !s.local_ended)
    }

    /// Ends a stream at once, both ways; does nothing if it has ended.
    pub fn reset(&mut self, stream: u32, code: Code, out: &mut Vec<u8>) {
        if self.drop_stream(stream, true).is_some() {
            frame::reset(stream, code, out);
        }
    }

    fn phase_is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    fn room_of(&self, stream: &Stream) -> usize {
        let window = self.send.min(stream.send).max(0);
        let frame = FRAME_MAX.min(self.peer.frame_max as usize);
        usize::try_from(window).unwrap_or(0).min(frame)
    }

    /// Writes the heads of the frames around the block that begins behind `start`.
    //= H2-FRAME-09
    fn finish(&mut self, start: usize, stream: u32, end: bool, out: &mut Vec<u8>) {
        let len = out.len() - start - HEAD;
        let max = self.peer.frame_max as usize;
        let end = if end { frame::END_STREAM } else { 0 };
        if len <= max {
            let head = frame::head(len, frame::HEADERS, end | frame::END_HEADERS, stream);
            out[start..start + HEAD].copy_from_slice(&head);
            return;
        }
        let block = out.split_off(start + HEAD);
        let head = frame::head(max, frame::HEADERS, end, stream);
        out[start..start + HEAD].copy_from_slice(&head);
        let (first, mut rest) = block.split_at(max);
        out.extend_from_slice(first);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(max));
            let flags = if behind.is_empty() { frame::END_HEADERS } else { 0 };
            frame::put(frame::CONTINUATION, flags, stream, piece, out);
            rest = behind;
        }
    }
}

/// Leaves room for a frame's head.
fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    start
}
