//! Input: which frame is it, and may it come now.

use alloc::vec::Vec;

use super::{Connection, Event, Phase, Role, Step};
use crate::h2::budget::Item;
use crate::h2::error::Rule;
use crate::h2::frame::{self, HEAD, Head, PREFACE};
use crate::h2::head::Inbox;

/// What became of a frame, or of its beginning.
pub(super) enum Taken {
    /// So many bytes, and perhaps something to tell.
    Bytes(usize, Option<Event>),
    /// There must be more of it first.
    NeedInput,
}

impl Connection {
    /// Takes input until something happened or more is needed. `now` is in milliseconds.
    ///
    /// After [`Event::Over`] every call returns it again and takes everything.
    pub fn feed(&mut self, input: &[u8], now: u64, inbox: &mut Inbox, out: &mut Vec<u8>) -> Step {
        if let Phase::Over(rule) = self.phase {
            return Step { consumed: input.len(), event: Event::Over { rule } };
        }
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or(&[]);
            match self.take(rest, at, now, inbox, out) {
                Ok(Taken::NeedInput) => return Step { consumed: at, event: Event::NeedInput },
                Ok(Taken::Bytes(len, event)) => {
                    at += len;
                    if let Some(event) = event {
                        return Step { consumed: at, event };
                    }
                }
                Err(rule) => {
                    self.end(rule, out);
                    return Step { consumed: input.len(), event: Event::Over { rule } };
                }
            }
        }
    }

    /// Ends the connection for what the peer did.
    //= H2-CONN-03
    pub(super) fn end(&mut self, rule: Rule, out: &mut Vec<u8>) {
        let last = self.going.map_or(self.peer_last, |last| last.min(self.peer_last));
        frame::go_away(last, rule.code(), out);
        self.phase = Phase::Over(rule);
        self.block = None;
        self.fragments = Vec::new();
    }

    /// Takes one frame, or the next part of a DATA frame. `at` is where `rest` begins in the input.
    fn take(
        &mut self,
        rest: &[u8],
        at: usize,
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Taken, Rule> {
        if self.phase == Phase::Preface {
            return self.preface(rest);
        }
        if self.data.is_some() {
            return Ok(self.continue_data(rest, at));
        }
        let Some(head) = Head::read(rest) else { return Ok(Taken::NeedInput) };
        self.admit(&head)?;
        if head.kind == frame::DATA {
            return self.begin_data(&head, rest, at, now, out);
        }
        let Some(payload) = rest.get(HEAD..HEAD + head.len) else { return Ok(Taken::NeedInput) };
        let event = self.frame(&head, payload, now, inbox, out)?;
        Ok(Taken::Bytes(HEAD + head.len, event))
    }

    //= H2-CONN-01
    fn preface(&mut self, rest: &[u8]) -> Result<Taken, Rule> {
        let have = rest.len().min(PREFACE.len());
        if rest.get(..have) != PREFACE.get(..have) {
            return Err(Rule::Preface);
        }
        if have < PREFACE.len() {
            return Ok(Taken::NeedInput);
        }
        self.phase = Phase::FirstSettings;
        Ok(Taken::Bytes(PREFACE.len(), None))
    }

    /// Says by its head whether a frame may come now.
    //= H2-CONN-02
    //= H2-FRAME-01
    //= H2-FRAME-06
    //= H2-FRAME-07
    fn admit(&self, head: &Head) -> Result<(), Rule> {
        if self.phase == Phase::FirstSettings && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(Rule::FirstFrame);
        }
        if head.len > self.config.frame_bytes as usize {
            return Err(Rule::FrameLength);
        }
        match &self.block {
            Some(block) if head.kind != frame::CONTINUATION || head.stream != block.stream => {
                Err(Rule::Interleaved)
            }
            None if head.kind == frame::CONTINUATION => Err(Rule::ContinuationAlone),
            _ => Ok(()),
        }
    }

    //= H2-FRAME-04
    //= H2-FRAME-05
    //= H2-FRAME-08
    fn frame(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let on_stream = match head.kind {
            frame::HEADERS
            | frame::PRIORITY
            | frame::RST_STREAM
            | frame::PUSH_PROMISE
            | frame::CONTINUATION => Some(true),
            frame::SETTINGS | frame::PING | frame::GOAWAY | frame::PRIORITY_UPDATE => Some(false),
            _ => None,
        };
        if on_stream.is_some_and(|on| on != (head.stream != 0)) {
            return Err(Rule::StreamZero);
        }
        match head.kind {
            frame::HEADERS => self.headers(head, payload, now, inbox, out),
            frame::CONTINUATION => self.continuation(head, payload, now, inbox, out),
            frame::PRIORITY => self.old_priority(head, payload, now, out),
            frame::RST_STREAM => self.reset_by_peer(head, payload, now),
            frame::SETTINGS => self.settings(head, payload, now, out),
            frame::PUSH_PROMISE => Err(Rule::Pushed),
            frame::PING => self.pinged(head, payload, now, out),
            frame::GOAWAY => self.go_away_by_peer(payload, now),
            frame::WINDOW_UPDATE => self.window_update(head, payload, now, out),
            frame::PRIORITY_UPDATE if self.role == Role::Server => self.priority_update(payload, now),
            frame::PRIORITY_UPDATE => Err(Rule::PriorityField),
            _ => {
                self.charge(Item::Control, now)?;
                Ok(None)
            }
        }
    }
}
