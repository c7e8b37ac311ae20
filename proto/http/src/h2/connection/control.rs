//! The small frames: settings, ping, windows, resets, priorities, going away.

use alloc::vec::Vec;

use super::{Connection, Event, Phase};
use crate::h2::budget::Item;
use crate::h2::error::{Code, Rule};
use crate::h2::frame::{self, Head, WINDOW_DEFAULT, WINDOW_MAX};
use crate::h2::priority::Priority;

/// Priorities for streams that are not there yet: a client says them right before the requests.
const EARLY_MAX: usize = 16;

impl Connection {
    //= H2-SET-01
    //= H2-SET-04
    //= H2-FRAME-02
    pub(super) fn settings(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        self.charge(Item::Control, now)?;
        if head.has(frame::ACK) {
            if !payload.is_empty() {
                return Err(Rule::SettingsAck);
            }
            self.unacked = self.unacked.checked_sub(1).ok_or(Rule::SettingsUnasked)?;
            self.settings_known();
            return Ok(None);
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Rule::FixedLength);
        }
        self.phase = Phase::Open;
        let before = self.peer.initial_window;
        self.peer.read(payload, self.role)?;
        self.encoder.allowed(self.peer.table_size as usize);
        //= H2-SET-05
        let more = i64::from(self.peer.initial_window) - i64::from(before);
        for stream in self.streams.iter_mut() {
            stream.send += more;
            if stream.send > i64::from(WINDOW_MAX) {
                return Err(Rule::SettingsWindow);
            }
        }
        frame::put(frame::SETTINGS, frame::ACK, 0, &[], out);
        Ok(None)
    }

    /// From now on the peer goes by our settings.
    fn settings_known(&mut self) {
        self.decoder.announced(self.config.table_bytes as usize);
        // Streams that began before went by the default where ours is smaller.
        let less = i64::from(WINDOW_DEFAULT) - i64::from(self.config.stream_window);
        if less > 0 {
            for stream in self.streams.iter_mut() {
                stream.receive -= less;
            }
        }
    }

    pub(super) fn pinged(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return Err(Rule::FixedLength) };
        self.charge(Item::Control, now)?;
        if !head.has(frame::ACK) {
            frame::put(frame::PING, frame::ACK, 0, &payload, out);
            return Ok(None);
        }
        if self.pinged == Some(payload) {
            self.pinged = None;
            return Ok(Some(Event::Pong { payload }));
        }
        Ok(None)
    }

    //= H2-FLOW-02
    //= H2-FLOW-03
    //= H2-FLOW-05
    pub(super) fn window_update(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        if payload.len() != 4 {
            return Err(Rule::FixedLength);
        }
        self.charge(Item::WindowUpdate, now)?;
        let more = i64::from(frame::word(payload, 0) & WINDOW_MAX);
        if head.stream == 0 {
            self.send += more;
            return match () {
                () if more == 0 => Err(Rule::WindowZero),
                () if self.send > i64::from(WINDOW_MAX) => Err(Rule::WindowOverflow),
                () => Ok(None),
            };
        }
        if self.is_idle(head.stream) {
            return Err(Rule::StreamIdle);
        }
        let Some(stream) = self.streams.get_mut(head.stream) else { return Ok(None) };
        stream.send += more;
        match () {
            () if more == 0 => self.break_stream(head.stream, Rule::WindowZero, now, out),
            () if stream.send > i64::from(WINDOW_MAX) => {
                self.break_stream(head.stream, Rule::WindowOverflow, now, out)
            }
            () => Ok(None),
        }
    }

    pub(super) fn reset_by_peer(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
    ) -> Result<Option<Event>, Rule> {
        if payload.len() != 4 {
            return Err(Rule::FixedLength);
        }
        //= H2-STREAM-02
        if self.is_idle(head.stream) {
            return Err(Rule::StreamIdle);
        }
        if self.drop_stream(head.stream, false).is_none() {
            // Ours and theirs may have crossed; of a stream that ended well it says nothing.
            self.charge(Item::Control, now)?;
            return Ok(None);
        }
        self.charge(Item::PeerReset, now)?;
        let code = Code::of(frame::word(payload, 0));
        Ok(Some(Event::Reset { stream: head.stream, code, rule: None }))
    }

    /// PRIORITY of RFC 7540: checked and forgotten.
    //= H2-STREAM-06
    //= H2-PRIO-04
    pub(super) fn old_priority(
        &mut self,
        head: &Head,
        payload: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        self.charge(Item::Control, now)?;
        let rule = match payload.len() {
            5 if frame::word(payload, 0) & WINDOW_MAX == head.stream => Rule::SelfDependency,
            5 => return Ok(None),
            _ => Rule::FixedLength,
        };
        if self.is_idle(head.stream) {
            return Err(rule);
        }
        self.break_stream(head.stream, rule, now, out)
    }

    //= H2-PRIO-01
    pub(super) fn priority_update(&mut self, payload: &[u8], now: u64) -> Result<Option<Event>, Rule> {
        self.charge(Item::Control, now)?;
        let Some(value) = payload.get(4..) else { return Err(Rule::FixedLength) };
        let id = frame::word(payload, 0) & WINDOW_MAX;
        if id == 0 || !self.is_peers(id) {
            return Err(Rule::PriorityField);
        }
        let priority = Priority::read(value);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.priority = priority;
            self.ranks = true;
        } else if self.is_idle(id) {
            self.early.retain(|(early, _)| *early != id);
            if self.early.len() < EARLY_MAX {
                self.early.push((id, priority));
            }
        }
        Ok(None)
    }

    /// Takes what was said of a stream before it came.
    pub(super) fn early_priority(&mut self, id: u32) -> Option<Priority> {
        if self.early.is_empty() {
            return None;
        }
        let said = self.early.iter().find(|(early, _)| *early == id).map(|(_, priority)| *priority);
        self.early.retain(|(early, _)| *early > id);
        said
    }

    pub(super) fn go_away_by_peer(&mut self, payload: &[u8], now: u64) -> Result<Option<Event>, Rule> {
        self.charge(Item::Control, now)?;
        if payload.len() < 8 {
            return Err(Rule::FixedLength);
        }
        let last = frame::word(payload, 0) & WINDOW_MAX;
        self.gone = Some(self.gone.map_or(last, |before| before.min(last)));
        Ok(Some(Event::GoAway { code: Code::of(frame::word(payload, 4)) }))
    }

    /// Returns, one by one, the streams of ours that the peer has said it will not look at, and forgets them.
    //= H2-GOAWAY-02
    pub fn take_unprocessed(&mut self) -> Option<u32> {
        let last = self.gone?;
        let own = |s: &&super::Stream| !self.is_peers(s.id) && s.id > last;
        let id = self.streams.iter().find(own)?.id;
        self.drop_stream(id, false);
        Some(id)
    }

    /// Says to the peer that the connection will end, and takes what is already under way: the first of two steps.
    /// Send a [`Connection::ping`] behind it; when that is answered, or after a while, [`Connection::go`].
    //= H2-GOAWAY-01
    pub fn going(&mut self, out: &mut Vec<u8>) {
        if self.going.is_none() {
            self.going = Some(WINDOW_MAX);
            frame::go_away(WINDOW_MAX, Code::No, out);
        }
    }

    /// Says which streams are the last: the second step. Later ones are refused; the peer may try them elsewhere.
    pub fn go(&mut self, code: Code, out: &mut Vec<u8>) {
        if self.going.is_none_or(|last| last == WINDOW_MAX) {
            self.going = Some(self.peer_last);
            frame::go_away(self.peer_last, code, out);
        }
    }

    /// Asks the peer for a sign of life; one at a time.
    pub fn ping(&mut self, payload: [u8; 8], out: &mut Vec<u8>) {
        self.pinged = Some(payload);
        frame::put(frame::PING, 0, 0, &payload, out);
    }
}
