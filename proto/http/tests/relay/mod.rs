//! A driver without sockets: takes pieces of bytes, relays whole messages, and says how it ended.
//!
//! Content is collected and written as one chunk or one run of bytes when its message ends, so that the outcome
//! does not depend on where the pieces were cut.

use forebay_http::h1::body::{self, Decoder, State};
use forebay_http::h1::write::{self, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Framing, Parse, RequestContext, RequestHead, ResponseHead};
use forebay_http::{Limits, Reject};

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All input was used; a further message may begin.
    Idle,
    /// A message is not complete.
    Incomplete,
    /// The last message was complete and its connection takes no other.
    Closed,
    /// The connection speaks another protocol from here on.
    Upgraded,
    /// A message was refused.
    Refused(Reject),
}

/// What a relay did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that was written for the other side.
    pub forwarded: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// Bytes that belong to no message.
    pub left: Vec<u8>,
    /// Messages whose head was complete.
    pub messages: u32,
    /// Messages that were complete.
    pub complete: u32,
}

/// Relays what a client sends.
pub fn requests<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
    edits: &RequestEdits<'_>,
) -> Outcome {
    let mut side = Requests { head: RequestHead::default(), limits: *limits, edits: *edits };
    relay(&mut side, pieces, limits)
}

/// Relays what a server sends in answer to one request; `closes` says whether it closes behind it.
pub fn responses<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
    context: RequestContext,
    edits: &ResponseEdits<'_>,
    closes: bool,
) -> Outcome {
    let mut side = Responses {
        head: ResponseHead::default(),
        context,
        limits: *limits,
        edits: *edits,
        over: false,
        closes,
    };
    relay(&mut side, pieces, limits)
}

/// Decodes chunked content alone: what comes out is the content, then the trailers as lines.
pub fn content<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits, framing: Framing) -> Outcome {
    let mut side = Content { framing, begun: false };
    let mut outcome = relay(&mut side, pieces, limits);
    if outcome.end == End::Idle {
        outcome.end = End::Closed;
    }
    outcome
}

/// One kind of message.
trait Side {
    /// Takes a head; returns its length, both framings and what follows the message.
    fn head(&mut self, buf: &[u8], out: &mut Vec<u8>) -> Result<Option<Message>, Reject>;
    /// Says whether the peer closes behind its input.
    fn closes(&self) -> bool {
        false
    }
    /// Returns the refusal as the client sees it.
    fn refusal(&self, reject: Reject) -> Reject {
        reject
    }
    /// Says whether another message may come.
    fn expects(&self) -> bool {
        true
    }
}

struct Message {
    len: usize,
    from: Framing,
    to: Framing,
    trailers: bool,
    after: Option<End>,
}

fn relay<'a>(side: &mut impl Side, pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let mut state = Relay {
        buf: Vec::new(),
        out: Vec::new(),
        content: Vec::new(),
        messages: 0,
        complete: 0,
        current: None,
    };
    let mut end = None;
    // An empty piece at the end: no input at all is an input too.
    for piece in pieces.into_iter().chain([&[][..]]) {
        state.buf.extend_from_slice(piece);
        if end.is_none() {
            end = match state.advance(side, limits) {
                Ok(end) => end,
                Err(reject) => Some(End::Refused(side.refusal(reject))),
            };
        }
    }
    if let Some((message, decoder)) = &mut state.current {
        let closed = if side.closes() && end.is_none() { decoder.end_of_input().map(Some) } else { Ok(None) };
        match closed {
            Ok(Some(())) => {
                let to = message.to;
                state.finish(to);
                end = Some(End::Closed);
            }
            Ok(None) => state.out.append(&mut state.content),
            Err(reject) => {
                state.out.append(&mut state.content);
                end = Some(End::Refused(side.refusal(reject)));
            }
        }
    }
    let incomplete = state.current.is_some() || !state.buf.is_empty();
    let end = end.unwrap_or(if incomplete { End::Incomplete } else { End::Idle });
    let left = if matches!(end, End::Closed | End::Upgraded) { state.buf } else { Vec::new() };
    Outcome { forwarded: state.out, end, left, messages: state.messages, complete: state.complete }
}

struct Relay {
    buf: Vec<u8>,
    out: Vec<u8>,
    content: Vec<u8>,
    messages: u32,
    complete: u32,
    current: Option<(Message, Decoder)>,
}

impl Relay {
    fn advance(&mut self, side: &mut impl Side, limits: &Limits) -> Result<Option<End>, Reject> {
        loop {
            let Some((message, decoder)) = &mut self.current else {
                if !side.expects() {
                    return Ok((!self.buf.is_empty()).then_some(End::Closed));
                }
                let Some(message) = side.head(&self.buf, &mut self.out)? else { return Ok(None) };
                self.messages += 1;
                self.buf.drain(..message.len);
                let decoder = Decoder::new(message.from, limits);
                self.current = Some((message, decoder));
                continue;
            };
            while !decoder.is_done() {
                let step = decoder.decode(&self.buf)?;
                self.content.extend_from_slice(&self.buf[step.data.clone()]);
                self.buf.drain(..step.consumed);
                if step.state == State::NeedInput {
                    assert!(self.buf.is_empty(), "a decoder that needs input took all of it");
                    return Ok(None);
                }
            }
            let (after, to) = (message.after, message.to);
            self.finish(to);
            if after.is_some() {
                return Ok(after);
            }
        }
    }

    fn finish(&mut self, to: Framing) {
        let Some((message, decoder)) = self.current.take() else { return };
        self.complete += 1;
        if to == Framing::Chunked {
            if !self.content.is_empty() {
                let mut line = [0; body::CHUNK_HEAD_MAX];
                self.out.extend_from_slice(body::chunk_head(self.content.len() as u64, &mut line));
                self.out.append(&mut self.content);
                self.out.extend_from_slice(body::CHUNK_END);
            }
            body::last_chunk(&decoder, message.trailers, &mut self.out);
        } else {
            self.out.append(&mut self.content);
        }
    }
}

struct Requests<'e> {
    head: RequestHead,
    limits: Limits,
    edits: RequestEdits<'e>,
}

impl Side for Requests<'_> {
    fn head(&mut self, buf: &[u8], out: &mut Vec<u8>) -> Result<Option<Message>, Reject> {
        let Parse::Done { len } = h1::parse_request(buf, &self.limits, &mut self.head)? else {
            return Ok(None);
        };
        write::request(buf, &self.head, &self.edits, out).expect("the edits are good");
        let framing = self.head.framing;
        let after = (!self.head.keep_alive).then_some(End::Closed);
        self.head.reset();
        Ok(Some(Message { len, from: framing, to: framing, trailers: true, after }))
    }
}

struct Responses<'e> {
    head: ResponseHead,
    context: RequestContext,
    limits: Limits,
    edits: ResponseEdits<'e>,
    over: bool,
    closes: bool,
}

impl Side for Responses<'_> {
    fn head(&mut self, buf: &[u8], out: &mut Vec<u8>) -> Result<Option<Message>, Reject> {
        let head = &mut self.head;
        let Parse::Done { len } = h1::parse_response(buf, &self.context, &self.limits, head)? else {
            return Ok(None);
        };
        let sent = write::response(buf, head, &self.edits, out).expect("the edits are good");
        self.over = !head.is_interim();
        self.context.interims += u32::from(head.is_interim());
        let after = match head.status {
            101 => Some(End::Upgraded),
            _ if self.over && !head.keep_alive => Some(End::Closed),
            _ => None,
        };
        let from = head.framing;
        head.reset();
        Ok(Some(Message { len, from, to: sent.framing, trailers: self.edits.te_trailers, after }))
    }

    fn closes(&self) -> bool {
        self.closes
    }

    fn refusal(&self, reject: Reject) -> Reject {
        reject.by_server()
    }

    fn expects(&self) -> bool {
        !self.over
    }
}

struct Content {
    framing: Framing,
    begun: bool,
}

impl Side for Content {
    fn head(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<Option<Message>, Reject> {
        self.begun = true;
        Ok(Some(Message {
            len: 0,
            from: self.framing,
            to: Framing::Chunked,
            trailers: true,
            after: Some(End::Closed),
        }))
    }

    fn expects(&self) -> bool {
        !self.begun
    }
}
