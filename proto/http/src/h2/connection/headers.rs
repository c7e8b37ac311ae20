//! Header blocks: their frames put together, and what they mean for their stream.

use alloc::vec::Vec;

use super::{Connection, Event, Role};
use crate::Reject;
use crate::h1::{Framing, Method};
use crate::h2::budget::Item;
use crate::h2::error::{Code, Rule};
use crate::h2::frame::{self, Head, WINDOW_MAX};
use crate::h2::head::{self, Inbox, Verdict};
use crate::h2::priority::Priority;
use crate::h2::stream::{Closed, UNKNOWN};

/// A header block of which frames are still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub stream: u32,
    end: bool,
    self_dependent: bool,
    frames: u32,
}

/// Frames of one block. Everybody fills them: 16 KiB each are far above any bound of the head.
const FRAMES_MAX: u32 = 16;

/// The block of a head that is refused for its size may be this many times as long; beyond it nobody reads on.
const BLOCK_TIMES_MAX: usize = 2;

impl Connection {
    //= H2-FRAME-03
    pub(super) fn headers(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let mut fragment = payload;
        if head.has(frame::PADDED) {
            let (&padding, rest) = fragment.split_first().ok_or(Rule::Padding)?;
            let len = rest.len().checked_sub(usize::from(padding)).ok_or(Rule::Padding)?;
            fragment = rest.get(..len).ok_or(Rule::Padding)?;
        }
        let mut self_dependent = false;
        if head.has(frame::WITH_PRIORITY) {
            self_dependent = frame::word(fragment, 0) & WINDOW_MAX == head.stream;
            fragment = fragment.get(5..).ok_or(Rule::FixedLength)?;
        }
        let block =
            Block { stream: head.stream, end: head.has(frame::END_STREAM), self_dependent, frames: 1 };
        if head.has(frame::END_HEADERS) {
            return self.block(block, fragment, now, inbox, out);
        }
        self.fragments.clear();
        self.fragments.reserve_exact(fragment.len());
        self.fragments.extend_from_slice(fragment);
        self.block = Some(block);
        Ok(None)
    }

    //= H2-ABUSE-01
    pub(super) fn continuation(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let Some(block) = &mut self.block else { return Err(Rule::ContinuationAlone) };
        block.frames += 1;
        let bound = self.config.limits.head_bytes as usize * BLOCK_TIMES_MAX;
        if block.frames > FRAMES_MAX || self.fragments.len() + payload.len() > bound {
            return Err(Rule::BlockLength);
        }
        // A vector left to itself doubles.
        self.fragments.reserve_exact(payload.len());
        self.fragments.extend_from_slice(payload);
        if !head.has(frame::END_HEADERS) {
            return Ok(None);
        }
        let block = *block;
        self.block = None;
        // Given back afterwards: rare, and not kept by a connection that may be idle for long.
        let fragments = core::mem::take(&mut self.fragments);
        self.block(block, &fragments, now, inbox, out)
    }

    fn block(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        match (self.role, self.streams.place(block.stream)) {
            (Role::Server, Some(_)) => self.trailing(block, bytes, now, inbox, out),
            (Role::Server, None) => self.request(block, bytes, now, inbox, out),
            (Role::Client, Some(_)) => self.response(block, bytes, now, inbox, out),
            (Role::Client, None) => {
                if self.is_idle(block.stream) {
                    return Err(Rule::StreamIdle);
                }
                self.late(block, bytes, now, inbox).map(|()| None)
            }
        }
    }

    /// A block for a stream that is closed: read for the table's sake if it was sent before the peer knew.
    //= H2-STREAM-01
    //= H2-STREAM-03
    fn late(&mut self, block: Block, bytes: &[u8], now: u64, inbox: &mut Inbox) -> Result<(), Rule> {
        self.charge(Item::Control, now)?;
        match self.streams.closed(block.stream) {
            Closed::ResetByUs => self.discard(bytes, inbox),
            Closed::Ended => Err(Rule::StreamClosed),
            // Either never used, and numbers do not go back, or closed long ago.
            Closed::Forgotten => Err(Rule::StreamNumber),
        }
    }

    fn discard(&mut self, bytes: &[u8], inbox: &mut Inbox) -> Result<(), Rule> {
        head::discard(bytes, &mut self.decoder, &self.config.limits, &mut inbox.bytes)
    }

    //= H2-STREAM-01
    //= H2-STREAM-05
    //= H2-STREAM-06
    //= H2-STREAM-07
    fn request(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let id = block.stream;
        if !self.is_peers(id) {
            return Err(Rule::StreamNumber);
        }
        if id <= self.peer_last {
            return self.late(block, bytes, now, inbox).map(|()| None);
        }
        self.peer_last = id;
        if self.going.is_some_and(|last| id > last) {
            // The peer learns from GOAWAY that nobody looked at it; it may have been under way.
            self.discard(bytes, inbox)?;
            self.charge(Item::PeerReset, now)?;
            let (rule, code) = (Rule::NewerThanGoAway, Rule::NewerThanGoAway.code());
            frame::reset(id, code, out);
            self.streams.remember(id, true);
            return Ok(Some(Event::Reset { stream: id, code, rule: Some(rule) }));
        }
        if self.streams.len() >= self.config.streams_max as usize {
            self.discard(bytes, inbox)?;
            return self.break_stream(id, Rule::StreamCount, now, out);
        }
        if block.self_dependent {
            self.discard(bytes, inbox)?;
            return self.break_stream(id, Rule::SelfDependency, now, out);
        }
        let about = head::About { end: block.end, extended: self.config.extended_connect };
        let verdict = head::request(bytes, &mut self.decoder, &self.config.limits, about, inbox)?;
        if let Verdict::Malformed(rule) = verdict {
            return self.break_stream(id, rule, now, out);
        }
        let mut stream = self.new_stream(id);
        stream.remote_ended = block.end;
        stream.head_seen = true;
        let early = self.early_priority(id);
        //= H2-REQ-07
        if let Verdict::Refused(rule) = verdict {
            stream.ignored = true;
            self.streams.add(stream);
            let reject = Reject { status: rule.status(), rule, close: false };
            return Ok(Some(Event::Refused { stream: id, reject }));
        }
        let request = &inbox.request;
        stream.is_head = request.method == Method::Head;
        stream.tunnel = request.upgrade;
        if let Framing::Length(n) = request.framing {
            stream.left = n;
        }
        let said = request.fields.named(&inbox.bytes, b"priority").next().map(Priority::read);
        if let Some(priority) = early.or(said) {
            stream.priority = priority;
            self.ranks = true;
        }
        self.streams.add(stream);
        Ok(Some(Event::Request { stream: id, end: block.end }))
    }

    //= H2-RESP-04
    fn response(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let id = block.stream;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        if stream.head_seen || stream.remote_ended {
            return self.trailing(block, bytes, now, inbox, out);
        }
        let context = head::Context { end: block.end, head: stream.is_head, tunnel: stream.tunnel };
        match head::response(bytes, &mut self.decoder, &self.config.limits, context, inbox)? {
            Verdict::Malformed(rule) => return self.break_stream(id, rule, now, out),
            Verdict::Refused(_) => return self.break_with(id, Rule::ListLength, Code::Cancel, now, out),
            Verdict::Good => {}
        }
        let response = &inbox.response;
        if response.is_interim() {
            stream.interims = stream.interims.saturating_add(1);
            if u32::from(stream.interims) > self.config.limits.interim_responses {
                return self.break_stream(id, Rule::InterimFlood, now, out);
            }
            return Ok(Some(Event::Response { stream: id, end: false }));
        }
        stream.head_seen = true;
        stream.remote_ended = block.end;
        stream.left = match response.framing {
            Framing::Length(n) => n,
            Framing::None if response.upgrade.is_none() => 0,
            _ => UNKNOWN,
        };
        self.close_if_done(id);
        Ok(Some(Event::Response { stream: id, end: block.end }))
    }

    //= H2-BODY-02
    //= H2-BODY-04
    //= H2-STREAM-04
    fn trailing(
        &mut self,
        block: Block,
        bytes: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let id = block.stream;
        let verdict = head::trailers(bytes, &mut self.decoder, &self.config.limits, inbox)?;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        let broken = match verdict {
            _ if stream.remote_ended => Some(Rule::StreamEnded),
            _ if !block.end => Some(Rule::TrailersOpen),
            _ if block.self_dependent => Some(Rule::SelfDependency),
            Verdict::Malformed(rule) => Some(rule),
            _ if stream.left != UNKNOWN && stream.left > 0 && !stream.ignored => Some(Rule::LengthData),
            Verdict::Refused(_) | Verdict::Good => None,
        };
        if let Some(rule) = broken {
            return self.break_stream(id, rule, now, out);
        }
        if verdict != Verdict::Good {
            return self.break_with(id, Rule::ListLength, Code::Cancel, now, out);
        }
        stream.remote_ended = true;
        let ignored = stream.ignored;
        self.close_if_done(id);
        Ok((!ignored).then_some(Event::Trailers { stream: id }))
    }
}
