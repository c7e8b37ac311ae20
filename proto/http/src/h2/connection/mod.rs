//! One connection: its state, what goes in and what comes out.

mod control;
mod data;
mod headers;
mod memo;
mod receive;
mod send;
mod transcode;

pub use send::{OpenError, SendError};

use alloc::vec::Vec;
use core::ops::Range;

use memo::Memo;

use super::budget::{Accounts, Budgets, Item};
use super::error::{Code, Rule};
use super::frame::{self, SIZE_DEFAULT, WINDOW_DEFAULT};
use super::hpack::{Decoder, Encoder};
use super::priority::Priority;
use super::settings::{self, PEER_DEFAULT, Peer};
use super::stream::{Stream, Streams};
use crate::{Limits, Reject};

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We are asked.
    Server,
    /// We ask.
    Client,
}

/// What a connection offers and bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bounds of heads, content and trailers, as for HTTP/1.1.
    pub limits: Limits,
    /// Streams that the peer may have open at once. 128: a page's requests; each may hold a stream window of memory.
    pub streams_max: u32,
    /// Bytes that a peer may send on one stream before they are released, up to 2^31-1. 256 KiB: 20 Mbit/s over
    /// 100 ms.
    pub stream_window: u32,
    /// Bytes that it may send on all streams, at least 65,535. 1 MiB: what one connection can make us hold.
    pub connection_window: u32,
    /// The largest frame that is taken, 16,384 to 2^24-1. The buffer of the driver holds one.
    pub frame_bytes: u32,
    /// The table of the peer's header compression, in bytes. 4,096: what everybody has without asking.
    pub table_bytes: u32,
    /// The largest table of our own header compression, in bytes; 0: none.
    pub own_table_bytes: u32,
    /// Offer extended CONNECT (RFC 8441).
    pub extended_connect: bool,
    /// What is borne of floods.
    pub budgets: Budgets,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            limits: Limits::default(),
            streams_max: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            frame_bytes: SIZE_DEFAULT as u32,
            table_bytes: 4096,
            own_table_bytes: 4096,
            extended_connect: true,
            budgets: Budgets::default(),
        }
    }
}

/// What one call of [`Connection::feed`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with. Ranges of the event lie within them: use those first.
    pub consumed: usize,
    /// What happened.
    pub event: Event,
}

/// What a peer has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more can be told from the input: call again with what is left of it and more behind.
    NeedInput,
    /// A request is in [`Inbox::request`](super::Inbox::request).
    Request {
        /// Its stream.
        stream: u32,
        /// It has no content.
        end: bool,
    },
    /// A response is in [`Inbox::response`](super::Inbox::response); an interim one if its status says so.
    Response {
        /// Its stream.
        stream: u32,
        /// It has no content.
        end: bool,
    },
    /// Content. Its length counts until [`Connection::release`].
    Data {
        /// Its stream.
        stream: u32,
        /// Where it stands in the input; may be empty.
        data: Range<usize>,
        /// It is the last.
        end: bool,
    },
    /// The end of content, with trailers in [`Inbox::trailers`](super::Inbox::trailers).
    Trailers {
        /// Their stream.
        stream: u32,
    },
    /// A request that is not taken: answer it with the status. What follows on the stream is thrown away; a reset
    /// without error behind the answer tells the client to stop sending.
    Refused {
        /// Its stream.
        stream: u32,
        /// Status and rule; the connection stays.
        reject: Reject,
    },
    /// The stream has ended before its time; nothing more may be sent on it. The driver may not have heard of it: a
    /// request that is malformed has no event of its own.
    Reset {
        /// The stream.
        stream: u32,
        /// The reason.
        code: Code,
        /// The rule that the peer broke, if we have reset the stream.
        rule: Option<Rule>,
    },
    /// The peer takes no more streams. What [`Connection::take_unprocessed`] returns may be tried elsewhere.
    GoAway {
        /// The reason.
        code: Code,
    },
    /// Our [`Connection::ping`] was answered.
    Pong {
        /// What was sent.
        payload: [u8; 8],
    },
    /// The connection is over: send what is in `out`, which says why to the peer, then close.
    Over {
        /// The rule that the peer broke.
        rule: Rule,
    },
}

/// One connection of HTTP/2.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Config,
    peer: Peer,
    decoder: Decoder,
    encoder: Encoder,
    memo: Memo,
    streams: Streams,
    accounts: Accounts,
    phase: Phase,
    /// The DATA frame whose content is coming in.
    data: Option<data::Incoming>,
    /// The header block whose frames are coming in, and their content.
    block: Option<headers::Block>,
    fragments: Vec<u8>,
    /// The largest number of a stream that the peer has opened.
    peer_last: u32,
    /// The number of the next stream that we open.
    own_next: u32,
    receive: i64,
    credit: u32,
    send: i64,
    /// Our SETTINGS that were not acknowledged yet.
    unacked: u32,
    /// We have said that we take no streams above this.
    going: Option<u32>,
    /// The peer has said so.
    gone: Option<u32>,
    pinged: Option<[u8; 8]>,
    turn: u32,
    /// Priorities of streams that are not there yet.
    early: Vec<(u32, Priority)>,
    /// A stream was given a priority, once.
    ranks: bool,
}

/// What may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preface,
    FirstSettings,
    Open,
    Over(Rule),
}

impl Connection {
    /// Begins a connection and writes what comes first. A peer may be fed at once.
    pub fn new(role: Role, config: &Config, out: &mut Vec<u8>) -> Connection {
        if role == Role::Client {
            out.extend_from_slice(frame::PREFACE);
        }
        settings::write(config, role, out);
        let more = config.connection_window.saturating_sub(WINDOW_DEFAULT);
        if more > 0 {
            frame::window_update(0, more, out);
        }
        Connection {
            role,
            config: *config,
            peer: PEER_DEFAULT,
            decoder: Decoder::new(),
            encoder: Encoder::new(config.own_table_bytes as usize),
            memo: Memo::default(),
            streams: Streams::default(),
            accounts: Accounts::default(),
            phase: if role == Role::Server { Phase::Preface } else { Phase::FirstSettings },
            data: None,
            block: None,
            fragments: Vec::new(),
            peer_last: 0,
            own_next: 1,
            receive: i64::from(config.connection_window.max(WINDOW_DEFAULT)),
            credit: 0,
            send: i64::from(WINDOW_DEFAULT),
            unacked: 1,
            going: None,
            gone: None,
            pinged: None,
            turn: 0,
            early: Vec::new(),
            ranks: false,
        }
    }

    /// Says whether the peer has acknowledged our settings.
    pub fn settings_acked(&self) -> bool {
        self.unacked == 0
    }

    /// Says whether the peer's settings are here. A client that opens streams before may have some refused.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Says whether a stream is open.
    pub fn has_streams(&self) -> bool {
        self.streams.len() > 0
    }

    /// Returns the number of open streams.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Says whether the connection ended by an error or both sides have said that they go and no stream is left.
    pub fn is_over(&self) -> bool {
        let leaving = self.going.is_some_and(|last| last != frame::WINDOW_MAX) || self.gone.is_some();
        matches!(self.phase, Phase::Over(_)) || (leaving && !self.has_streams())
    }

    /// Returns the stream of a header block whose last frame has not come, and the bytes that are kept of it.
    pub fn unfinished(&self) -> Option<(u32, usize)> {
        self.block.map(|block| (block.stream, self.fragments.capacity()))
    }

    /// Ends the connection for a rule that its driver keeps: of time, or of memory for header blocks. Says so to the peer.
    pub fn cut(&mut self, rule: Rule, out: &mut Vec<u8>) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.end(rule, out);
        }
    }

    /// Returns the memory that is held beside this structure, in bytes.
    pub fn memory(&self) -> usize {
        self.decoder.memory()
            + self.encoder.memory()
            + self.memo.memory()
            + self.streams.memory()
            + self.fragments.capacity()
            + self.early.capacity() * size_of::<(u32, Priority)>()
    }

    /// Whether the peer, not we, opens streams of this number.
    fn is_peers(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.role == Role::Server)
    }

    /// Whether nobody has opened this stream yet.
    fn is_idle(&self, id: u32) -> bool {
        if self.is_peers(id) { id > self.peer_last } else { id >= self.own_next || id.is_multiple_of(2) }
    }

    fn charge(&mut self, item: Item, now: u64) -> Result<(), Rule> {
        self.accounts.charge(item, &self.config.budgets, now)
    }

    fn new_stream(&self, id: u32) -> Stream {
        let own = self.config.stream_window;
        // Before it has read our settings the peer goes by the default.
        let receive = if self.settings_acked() { own } else { own.max(WINDOW_DEFAULT) };
        let mut stream = Stream::new(id, i64::from(receive), i64::from(self.peer.initial_window));
        stream.turn = self.turn;
        stream
    }

    /// Takes the stream out if both sides have ended it.
    fn close_if_done(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|s| s.local_ended && s.remote_ended) {
            self.drop_stream(id, false);
        }
    }

    /// Takes a stream out. What of it was not released counts for the connection as released: nobody will.
    fn drop_stream(&mut self, id: u32, by_us: bool) -> Option<Stream> {
        self.streams.remove(id, by_us)
    }

    /// Resets a stream for what the peer has sent on it.
    fn break_stream(
        &mut self,
        id: u32,
        rule: Rule,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        self.break_with(id, rule, rule.code(), now, out)
    }

    fn break_with(
        &mut self,
        id: u32,
        rule: Rule,
        code: Code,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Rule> {
        frame::reset(id, code, out);
        let stream = self.drop_stream(id, true);
        if stream.is_none() && self.streams.closed(id) == super::stream::Closed::Forgotten {
            self.streams.remember(id, true);
        }
        self.charge(Item::OwnReset, now)?;
        Ok(Some(Event::Reset { stream: id, code, rule: Some(rule) }))
    }
}
