//! Header blocks into the heads of HTTP/1.1, so that whoever reads or rewrites those needs nothing new.

mod request;
mod response;

pub(crate) use request::{About, request};
pub(crate) use response::{Context, response};

use alloc::vec::Vec;

use super::error::Rule;
use super::hpack::{Cursor, Decoder, Kind, Line};
use crate::h1::{Field, Fields, Framing, RequestHead, ResponseHead};
use crate::{Known, Limits, RuleId, Span};

/// Where decoded heads are put; whoever gets one keeps this for the message's life and gives the connection another.
///
/// The heads' offsets point into `bytes`, which holds field lines as HTTP/1.1 would write them.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    /// The bytes of the head, or of trailers.
    pub bytes: Vec<u8>,
    /// The request, after its event.
    pub request: RequestHead,
    /// The response, after its event.
    pub response: ResponseHead,
    /// The trailers, after their event. What must not be forwarded is marked.
    pub trailers: Fields,
}

/// What a header block came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// No message of HTTP/2: the stream is reset.
    Malformed(Rule),
    /// A message that we do not take: answered with the rule's status.
    Refused(RuleId),
}

/// What a block belongs to; decides which pseudo-header fields it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Request,
    Response,
    Trailers,
}

/// Lists of this many times the bound are no mistake: whoever sends them wants the work done.
const LIST_TIMES_MAX: usize = 16;

/// The fields of one block while it is read.
pub(crate) struct Collected {
    pub method: Option<Span>,
    pub scheme: Option<Span>,
    pub authority: Option<Span>,
    pub path: Option<Span>,
    pub status: Option<Span>,
    pub protocol: Option<Span>,
    /// Places of the first cookie, and how many there are.
    cookie: usize,
    cookies: usize,
    plain_seen: bool,
    broken: Option<Rule>,
    refused: Option<RuleId>,
}

/// Reads a whole block; its fields go to `list` and their bytes to `buf`.
///
/// # Errors
/// The rule for which the connection has to end.
//= H2-ABUSE-02
pub(crate) fn collect(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &Limits,
    section: Section,
    buf: &mut Vec<u8>,
    list: &mut Vec<Field>,
) -> Result<Collected, Rule> {
    let mut all = Collected {
        method: None,
        scheme: None,
        authority: None,
        path: None,
        status: None,
        protocol: None,
        cookie: 0,
        cookies: 0,
        plain_seen: false,
        broken: None,
        refused: None,
    };
    buf.clear();
    let (mut cursor, mut cost) = (Cursor::default(), 0);
    let bound = limits.head_bytes as usize;
    loop {
        let skip = all.is_bad();
        let start = buf.len();
        let Some(line) = decoder.next(block, &mut cursor, skip, buf)? else { break };
        cost += line.cost;
        if cost > bound {
            all.refuse(RuleId::HeadLength);
            if cost > bound.saturating_mul(LIST_TIMES_MAX) {
                return Err(Rule::ListLength);
            }
        }
        if skip {
            buf.truncate(start);
        } else {
            all.take(&line, section, limits, buf, list);
        }
    }
    all.join_cookies(buf, list);
    Ok(all)
}

/// Reads a block for the table's sake alone.
pub(crate) fn discard(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &Limits,
    buf: &mut Vec<u8>,
) -> Result<(), Rule> {
    buf.clear();
    let (mut cursor, mut cost) = (Cursor::default(), 0);
    while let Some(line) = decoder.next(block, &mut cursor, true, buf)? {
        buf.clear();
        cost += line.cost;
        if cost > (limits.head_bytes as usize).saturating_mul(LIST_TIMES_MAX) {
            return Err(Rule::ListLength);
        }
    }
    Ok(())
}

/// Reads trailers.
//= H2-BODY-05
pub(crate) fn trailers(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &Limits,
    inbox: &mut Inbox,
) -> Result<Verdict, Rule> {
    let bounds = Limits { head_bytes: limits.trailer_bytes, fields: limits.trailer_fields, ..*limits };
    inbox.trailers.list.clear();
    let list = &mut inbox.trailers.list;
    let all = collect(block, decoder, &bounds, Section::Trailers, &mut inbox.bytes, list)?;
    for field in list.iter_mut() {
        field.drop |= field.known.is_forbidden_trailer();
    }
    Ok(all.verdict().unwrap_or(Verdict::Good))
}

impl Collected {
    fn is_bad(&self) -> bool {
        self.broken.is_some() || self.refused.is_some()
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let broken = self.broken.map(Verdict::Malformed);
        broken.or(self.refused.map(Verdict::Refused))
    }

    fn refuse(&mut self, rule: RuleId) {
        self.refused.get_or_insert(rule);
    }

    fn take(&mut self, line: &Line, section: Section, limits: &Limits, buf: &[u8], list: &mut Vec<Field>) {
        match self.place(line, section, limits, buf, list) {
            Ok(()) => {}
            Err(rule) => self.broken = Some(rule),
        }
    }

    //= H2-PSEUDO-01
    //= H2-PSEUDO-02
    //= H2-PSEUDO-03
    //= H2-PSEUDO-05
    fn place(
        &mut self,
        line: &Line,
        section: Section,
        limits: &Limits,
        buf: &[u8],
        list: &mut Vec<Field>,
    ) -> Result<(), Rule> {
        if let Some(rule) = line.kind.broken() {
            return Err(rule);
        }
        let (slot, of) = match line.kind {
            Kind::Method => (&mut self.method, Section::Request),
            Kind::Scheme => (&mut self.scheme, Section::Request),
            Kind::Authority => (&mut self.authority, Section::Request),
            Kind::Path => (&mut self.path, Section::Request),
            Kind::Protocol => (&mut self.protocol, Section::Request),
            Kind::Status => (&mut self.status, Section::Response),
            _ => return self.plain(line, section, limits, buf, list),
        };
        match () {
            () if section == Section::Trailers => Err(Rule::PseudoTrailer),
            () if section != of => Err(Rule::PseudoUnknown),
            () if self.plain_seen => Err(Rule::PseudoLate),
            () if slot.is_some() => Err(Rule::PseudoRepeated),
            () => {
                *slot = Some(line.value);
                Ok(())
            }
        }
    }

    //= H2-FIELD-03
    //= H2-FIELD-04
    fn plain(
        &mut self,
        line: &Line,
        section: Section,
        limits: &Limits,
        buf: &[u8],
        list: &mut Vec<Field>,
    ) -> Result<(), Rule> {
        self.plain_seen = true;
        match line.known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => return Err(Rule::FieldConnection),
            Known::Te
                if section == Section::Request && !line.value.of(buf).eq_ignore_ascii_case(b"trailers") =>
            {
                return Err(Rule::FieldTe);
            }
            Known::Cookie => {
                if self.cookies == 0 {
                    self.cookie = list.len();
                }
                self.cookies += 1;
            }
            _ => {}
        }
        if line.name.len() + line.value.len() + 2 > limits.field_bytes as usize {
            self.refuse(RuleId::FieldLength);
        }
        // Crumbs of one cookie are one field in the end, and bounded by the list's bytes.
        let crumb = line.known == Known::Cookie && self.cookies > 1;
        if !crumb && list.len() - self.cookies.saturating_sub(1) >= limits.fields as usize {
            self.refuse(RuleId::FieldCount);
        }
        list.push(Field {
            name: line.name,
            value: line.value,
            known: line.known,
            drop: line.known.is_hop_by_hop() || line.kind == Kind::Lookalike,
            sensitive: line.never_indexed,
            canonical: true,
        });
        Ok(())
    }

    /// Makes one field of the crumbs that a cookie came in, at the place of the first.
    //= H2-FIELD-05
    fn join_cookies(&mut self, buf: &mut Vec<u8>, list: &mut Vec<Field>) {
        if self.cookies < 2 || self.is_bad() {
            return;
        }
        let start = buf.len();
        buf.extend_from_slice(b"cookie: ");
        let value = buf.len();
        let mut sensitive = false;
        // An empty crumb says nothing, and would leave a blank at an end.
        for crumb in list.iter().filter(|f| f.known == Known::Cookie && !f.value.is_empty()) {
            if buf.len() > value {
                buf.extend_from_slice(b"; ");
            }
            sensitive |= crumb.sensitive;
            buf.extend_from_within(crumb.value.start as usize..crumb.value.end as usize);
        }
        let value = Span::new(value, buf.len());
        buf.extend_from_slice(b"\r\n");
        let place = self.cookie;
        let mut nth = 0;
        list.retain(|f| {
            nth += 1;
            f.known != Known::Cookie || nth - 1 == place
        });
        if let Some(first) = list.get_mut(place) {
            *first = Field { name: Span::new(start, start + 6), value, sensitive, ..*first };
        }
    }
}

/// Writes the end of chunked content with the trailers that are in `inbox`, those that may be forwarded, if
/// `trailers` says that the receiver takes them. The counterpart of [`last_chunk`](crate::h1::body::last_chunk).
//= H2-CONV-06
pub fn last_chunk(inbox: &Inbox, trailers: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for field in inbox.trailers.iter().filter(|field| trailers && !field.drop) {
        out.extend_from_slice(field.name.of(&inbox.bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(&inbox.bytes));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the response's head in `inbox` as HTTP/1.1 would say it, for whoever reads that: the counterpart of
/// [`Connection::head`](crate::h2::Connection::head). The content behind it is as long as its `Content-Length` says, or comes
/// in chunks.
//= H2-CONV-07
pub fn response_text(inbox: &Inbox, out: &mut Vec<u8>) {
    let head = &inbox.response;
    out.extend_from_slice(b"HTTP/1.1 ");
    // Three digits: the engine takes no others.
    out.extend([head.status / 100, head.status / 10 % 10, head.status % 10].map(|digit| b'0' + digit as u8));
    out.push(b' ');
    out.extend_from_slice(crate::h1::write::reason(head.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for field in head.fields.iter().filter(|field| !field.drop && field.known != Known::ContentLength) {
        out.extend_from_slice(field.name.of(&inbox.bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(&inbox.bytes));
        out.extend_from_slice(b"\r\n");
    }
    let length = match head.framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            None
        }
        // What it would have been: an answer to HEAD, or 304.
        Framing::None | Framing::UntilClose => head.content_length.filter(|_| !head.is_interim()),
    };
    if let Some(length) = length {
        crate::h1::write::content_length(out, length);
    }
    out.extend_from_slice(b"\r\n");
}
