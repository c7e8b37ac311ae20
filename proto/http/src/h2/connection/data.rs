//! DATA coming in: windows, lengths, padding. All that a frame costs is settled when its head is here, so that
//! where the bytes were cut makes no difference.

use alloc::vec::Vec;

use super::receive::Taken;
use super::{Connection, Event};
use crate::h2::budget::{Item, SMALL};
use crate::h2::error::Rule;
use crate::h2::frame::{self, HEAD, Head};
use crate::h2::stream::{Closed, UNKNOWN};

/// A DATA frame of which a part is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    stream: u32,
    /// Content that is to come.
    data: usize,
    /// What is thrown away behind it.
    padding: usize,
    /// The stream ends with it, and that was not told yet.
    end: bool,
}

impl Connection {
    /// Hands out what is there of a frame's content.
    pub(super) fn continue_data(&mut self, rest: &[u8], at: usize) -> Taken {
        let Some(mut frame) = self.data else { return Taken::NeedInput };
        let data = frame.data.min(rest.len());
        let padding = frame.padding.min(rest.len() - data);
        if data + padding == 0 && frame.data + frame.padding > 0 {
            return Taken::NeedInput;
        }
        frame.data -= data;
        frame.padding -= padding;
        let ends = frame.end && frame.data == 0;
        let event =
            (data > 0 || ends).then(|| Event::Data { stream: frame.stream, data: at..at + data, end: ends });
        frame.end &= !ends;
        self.data = (frame.data + frame.padding > 0).then_some(frame);
        if ends {
            self.close_if_done(frame.stream);
        }
        Taken::Bytes(data + padding, event)
    }

    //= H2-FRAME-03
    //= H2-FLOW-01
    pub(super) fn begin_data(
        &mut self,
        head: &Head,
        rest: &[u8],
        at: usize,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Taken, Rule> {
        if head.stream == 0 {
            return Err(Rule::StreamZero);
        }
        let (before, padding) = if !head.has(frame::PADDED) {
            (0, 0)
        } else if head.len == 0 {
            return Err(Rule::Padding);
        } else {
            match rest.get(HEAD) {
                None => return Ok(Taken::NeedInput),
                Some(&n) => (1, usize::from(n)),
            }
        };
        let data = head.len.checked_sub(before + padding).ok_or(Rule::Padding)?;
        if self.is_idle(head.stream) {
            return Err(Rule::StreamIdle);
        }
        let whole = head.len as u32;
        self.receive -= i64::from(whole);
        if self.receive < 0 {
            return Err(Rule::WindowExceeded);
        }
        let end = head.has(frame::END_STREAM);
        if !end && data < SMALL {
            let item = if data == 0 { Item::EmptyData } else { Item::SmallData };
            self.charge(item, now)?;
        }
        let taken = HEAD + before;
        match self.judge_data(head.stream, whole, data, end, now)? {
            Judged::Good => {
                // What is no content is released at once.
                self.release_some(head.stream, whole - data as u32, out);
                self.data = Some(Incoming { stream: head.stream, data, padding, end });
                match self.continue_data(rest.get(taken..).unwrap_or(&[]), at + taken) {
                    Taken::Bytes(len, event) => Ok(Taken::Bytes(taken + len, event)),
                    Taken::NeedInput => Ok(Taken::Bytes(taken, None)),
                }
            }
            Judged::Ignored => {
                self.throw_away(data + padding);
                self.release_connection(whole, out);
                Ok(Taken::Bytes(taken, None))
            }
            Judged::Broken(rule) => {
                self.throw_away(data + padding);
                self.release_connection(whole, out);
                let event = self.break_stream(head.stream, rule, now, out)?;
                Ok(Taken::Bytes(taken, event))
            }
        }
    }

    fn throw_away(&mut self, bytes: usize) {
        self.data = (bytes > 0).then_some(Incoming { stream: 0, data: 0, padding: bytes, end: false });
    }

    //= H2-BODY-02
    //= H2-BODY-03
    //= H2-RESP-05
    //= H2-STREAM-03
    //= H2-STREAM-04
    fn judge_data(&mut self, id: u32, whole: u32, data: usize, end: bool, now: u64) -> Result<Judged, Rule> {
        let Some(stream) = self.streams.get_mut(id) else {
            return match self.streams.closed(id) {
                // Sent before the peer knew that we had reset it.
                Closed::ResetByUs => Ok(Judged::Ignored),
                Closed::Ended | Closed::Forgotten => {
                    self.charge(Item::Control, now)?;
                    Ok(Judged::Broken(Rule::StreamClosed))
                }
            };
        };
        if stream.remote_ended {
            return Ok(Judged::Broken(Rule::StreamEnded));
        }
        stream.receive -= i64::from(whole);
        if stream.receive < 0 {
            return Ok(Judged::Broken(Rule::WindowExceeded));
        }
        if stream.ignored {
            stream.remote_ended = end;
            self.close_if_done(id);
            return Ok(Judged::Ignored);
        }
        if !stream.head_seen {
            return Ok(Judged::Broken(Rule::DataFirst));
        }
        if stream.left != UNKNOWN {
            let rule = if stream.left == 0 && stream.is_head { Rule::NoContent } else { Rule::LengthData };
            match stream.left.checked_sub(data as u64) {
                None => return Ok(Judged::Broken(rule)),
                Some(1..) if end => return Ok(Judged::Broken(Rule::LengthData)),
                Some(left) => stream.left = left,
            }
        }
        stream.unreleased += whole;
        stream.remote_ended = end;
        Ok(Judged::Good)
    }

    /// Tells that so many bytes of a stream's content are gone: the peer may send as many again. Streams that have
    /// ended count for the connection's window all the same.
    pub fn release(&mut self, stream: u32, bytes: usize, out: &mut Vec<u8>) {
        self.release_some(stream, u32::try_from(bytes).unwrap_or(u32::MAX), out);
    }

    /// Lets the peer send so many bytes more on a stream than its window says, from the next update on; does nothing once the
    /// stream's content is whole.
    //= H2-FLOW-07
    pub fn widen(&mut self, stream: u32, bytes: u32) {
        if let Some(stream) = self.streams.get_mut(stream).filter(|stream| !stream.remote_ended) {
            let most =
                i64::from(frame::WINDOW_MAX) - stream.receive - i64::from(stream.credit + stream.unreleased);
            stream.credit += u32::try_from(i64::from(bytes).min(most)).unwrap_or(0);
        }
    }

    /// Window updates are collected: one for half a window, not one for each piece.
    //= H2-FLOW-04
    fn release_some(&mut self, id: u32, bytes: u32, out: &mut Vec<u8>) {
        if bytes == 0 {
            return;
        }
        let half = (self.config.stream_window / 2).max(1);
        if let Some(stream) = self.streams.get_mut(id) {
            let bytes = bytes.min(stream.unreleased);
            stream.unreleased -= bytes;
            stream.credit += bytes;
            if stream.credit >= half && !stream.remote_ended {
                stream.receive += i64::from(stream.credit);
                frame::window_update(id, core::mem::take(&mut stream.credit), out);
            }
        }
        self.release_connection(bytes, out);
    }

    fn release_connection(&mut self, bytes: u32, out: &mut Vec<u8>) {
        let window = self.config.connection_window.max(frame::WINDOW_DEFAULT);
        let missing = i64::from(window) - self.receive - i64::from(self.credit);
        // Never more than was taken, whatever a driver says.
        self.credit += i64::from(bytes).min(missing).max(0) as u32;
        // Where some streams hold most of it the others go on with what is left.
        if self.credit > 0 && (self.credit >= window / 2 || i64::from(self.credit) >= self.receive) {
            self.receive += i64::from(self.credit);
            frame::window_update(0, core::mem::take(&mut self.credit), out);
        }
    }
}

enum Judged {
    Good,
    Ignored,
    Broken(Rule),
}
