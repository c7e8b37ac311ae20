//! Heads that were written for HTTP/1.1 as header blocks. What they say has been decided there; here only the form
//! changes, and what concerns one connection of HTTP/1.1 stays behind.

use alloc::vec::Vec;

use super::memo::Memo;
use crate::h2::hpack::{Encoder, Secrecy};
use crate::{Known, bytes};

/// Fields that their sender forbade to put into tables, by name.
pub(crate) type Sensitive<'a> = &'a [&'a [u8]];

/// The lines of a head behind the first, up to the empty one.
struct Lines<'a> {
    rest: &'a [u8],
}

/// The first line of a head, and the others.
fn split(head: &[u8]) -> Option<(&[u8], Lines<'_>)> {
    let end = memchr::memchr(b'\r', head)?;
    Some((head.get(..end)?, Lines { rest: head.get(end + 2..)? }))
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let end = memchr::memchr(b'\r', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        let colon = memchr::memchr(b':', line)?;
        self.rest = rest.get(2..).unwrap_or(&[]);
        let name = line.get(..colon)?;
        Some((name, bytes::trim(line.get(colon + 1..)?)))
    }
}

/// Whom a field is for, if it goes over at all.
//= H2-FIELD-06
fn secrecy(name: &[u8], known: Known, value: &[u8], sensitive: Sensitive<'_>) -> Option<Secrecy> {
    match known {
        Known::Te if value.eq_ignore_ascii_case(b"trailers") => Some(Secrecy::Open),
        Known::Host => None,
        _ if known.is_hop_by_hop() && known != Known::ProxyAuthenticate => None,
        Known::Authorization | Known::Cookie | Known::SetCookie => Some(Secrecy::Never),
        _ if sensitive.iter().any(|s| s.eq_ignore_ascii_case(name)) => Some(Secrecy::Never),
        _ => Some(Secrecy::Open),
    }
}

/// Appends a response's block; none if `head` is no head of a response. Returns its status.
//= H2-CONV-04
//= H2-CONV-05
pub(crate) fn response(
    head: &[u8],
    tunnel: bool,
    sensitive: Sensitive<'_>,
    encoder: &mut Encoder,
    memo: &mut Memo,
    out: &mut Vec<u8>,
) -> Option<u16> {
    let (first, _) = split(head)?;
    let digits = first.strip_prefix(b"HTTP/1.1 ")?.first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut status = digits.iter().fold(0, |n, &b| n * 10 + u16::from(b - b'0'));
    encoder.begin(out);
    let switches = tunnel && status == 101;
    if switches {
        status = 200;
    }
    let mut remembers = !switches && sensitive.is_empty();
    let mut done = 0;
    if remembers {
        let (same, block) = memo.agree(head, encoder.epoch());
        done = same;
        out.extend_from_slice(block);
    }
    if done == 0 {
        let start = out.len();
        let digits = if switches { b"200" } else { digits };
        encoder.field(b":status", digits, Secrecy::Open, out);
        done = first.len() + 2;
        remembers = remembers && memo.add(head.get(..done)?, out.get(start..)?);
    }
    let mut lines = Lines { rest: head.get(done..)? };
    while let Some((name, value)) = lines.next() {
        let (start, known) = (out.len(), Known::of(name));
        if switches && name.eq_ignore_ascii_case(b"sec-websocket-accept") {
            continue;
        }
        let secrecy = secrecy(name, known, value, sensitive);
        if let Some(secrecy) = secrecy {
            encoder.field(name, value, secrecy, out);
        }
        let end = head.len() - lines.rest.len();
        // A secret is not kept, and would not come again.
        remembers = remembers && secrecy != Some(Secrecy::Never);
        remembers = remembers && memo.add(head.get(done..end)?, out.get(start..)?);
        done = end;
    }
    Some(status)
}

/// What a request is, for the stream that carries it.
pub(crate) struct Sent {
    pub head: bool,
    pub upgrade: bool,
}

/// Appends a request's block; none if `head` is no head of a request.
//= H2-CONV-03
//= H2-CONV-04
pub(crate) fn request(
    head: &[u8],
    scheme: &[u8],
    sensitive: Sensitive<'_>,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Option<Sent> {
    let (first, lines) = split(head)?;
    let mut words = first.split(|&b| b == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let host = Lines { rest: lines.rest }.find(|(name, _)| Known::of(name) == Known::Host)?.1;
    let upgrade = Lines { rest: lines.rest }
        .find(|(name, _)| Known::of(name) == Known::Upgrade)
        .is_some_and(|(_, value)| value.eq_ignore_ascii_case(b"websocket"));
    encoder.begin(out);
    encoder.field(b":method", if upgrade { b"CONNECT" } else { method }, Secrecy::Open, out);
    if upgrade {
        encoder.field(b":protocol", b"websocket", Secrecy::Open, out);
    }
    encoder.field(b":scheme", scheme, Secrecy::Open, out);
    encoder.field(b":authority", host, Secrecy::Open, out);
    encoder.field(b":path", target, Secrecy::Open, out);
    for (name, value) in lines {
        let known = Known::of(name);
        if upgrade && name.eq_ignore_ascii_case(b"sec-websocket-key") {
            continue;
        }
        if let Some(secrecy) = secrecy(name, known, value, sensitive) {
            encoder.field(name, value, secrecy, out);
        }
    }
    Some(Sent { head: method == b"HEAD", upgrade })
}

/// Appends a block of trailers.
pub(crate) fn trailers<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) {
    encoder.begin(out);
    for (name, value) in fields {
        encoder.field(name, value, Secrecy::Open, out);
    }
}
