//! Writing a server's response for a client.

use alloc::vec::Vec;

use super::edit::{self, BadEdit, FieldEdit};
use super::{content_length, forwarded, kept_fields, line};
use crate::h1::framing::Framing;
use crate::h1::request::{RequestHead, Upgrade, Version};
use crate::h1::response::ResponseHead;
use crate::{Known, bytes};

/// How a response changes on its way, and what the client can take.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseEdits<'a> {
    /// The client's version.
    pub client: Version,
    /// The client takes trailers ([`RequestHead::te_trailers`]).
    pub te_trailers: bool,
    /// The client's connection may stay open after this response.
    pub keep_alive: bool,
    /// `Date` for a server that sends none; a clock's reading, hence the caller's.
    pub date: Option<&'a [u8]>,
    /// Our name in `Via`; none: `Via` stays as it came.
    pub via: Option<&'a [u8]>,
    /// Changes to other fields, `Set-Cookie` for persistence among them. Interim responses stay without.
    pub fields: &'a [FieldEdit<'a>],
}

impl ResponseEdits<'_> {
    /// Returns what `request`'s client can take; nothing is changed.
    pub fn of(request: &RequestHead) -> ResponseEdits<'static> {
        ResponseEdits {
            client: request.version,
            te_trailers: request.te_trailers,
            keep_alive: request.keep_alive,
            ..ResponseEdits::default()
        }
    }
}

/// What was written, and how the content must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The framing towards the client: write chunks around the content if [`Framing::Chunked`], the content alone
    /// otherwise.
    pub framing: Framing,
    /// The client's connection stays open after the content.
    pub keep_alive: bool,
}

/// Writes the response's head for a client, as HTTP/1.1.
///
/// Content until close becomes chunked for an HTTP/1.1 client, so that it learns whether it has all of it; chunked
/// content becomes content until close for an HTTP/1.0 client.
///
/// # Errors
/// An edit would break the message; `out` is as before.
pub fn response(
    buf: &[u8],
    head: &ResponseHead,
    how: &ResponseEdits<'_>,
    out: &mut Vec<u8>,
) -> Result<Sent, BadEdit> {
    edit::check(how.fields)?;
    let edits = if head.is_interim() { &[] } else { how.fields };
    let values = [how.date, how.via];
    if values.into_iter().flatten().any(|v| !bytes::is_field_value(v) || v.is_empty()) {
        return Err(BadEdit::Value);
    }
    let sent = sent(head, how);
    out.reserve(head.len + 256);
    out.extend_from_slice(b"HTTP/1.1 ");
    super::number(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");

    let own_via = how.via.filter(|_| !edit::decides(edits, Known::Via));
    let mut dated = how.date.is_none() || head.status < 200 || edit::decides(edits, Known::Date);
    kept_fields(buf, &head.fields, edits, out, |field, _| match field.known {
        Known::ContentLength => false,
        Known::Trailer => sent.framing == Framing::Chunked && how.te_trailers,
        Known::Via => own_via.is_none(),
        Known::Date => {
            dated = true;
            true
        }
        _ => true,
    });
    //= H1-RESP-10
    if let (Some(date), false) = (how.date, dated) {
        forwarded::constant(out, Known::Date, date);
    }
    if let Some(name) = own_via {
        forwarded::via(buf, &head.fields, head.version.number(), name, out);
    }
    edit::write(edits, out);
    framing(head, sent.framing, out);
    connection(head, how, sent, out);
    out.extend_from_slice(b"\r\n");
    Ok(sent)
}

//= H1-RESP-07
fn sent(head: &ResponseHead, how: &ResponseEdits<'_>) -> Sent {
    let framing = match (head.framing, how.client) {
        (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
        (Framing::Chunked | Framing::UntilClose, _) => Framing::Chunked,
        (framing, _) => framing,
    };
    Sent { framing, keep_alive: how.keep_alive && framing != Framing::UntilClose }
}

//= H1-RESP-08
fn framing(head: &ResponseHead, framing: Framing, out: &mut Vec<u8>) {
    match (framing, head.content_length, head.status) {
        (Framing::Chunked, _, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Framing::Length(n), _, _) => content_length(out, n),
        // 1xx and 204 must not have one; for HEAD and 304 it says what the content would be.
        (Framing::None, _, ..200 | 204) => {}
        (Framing::None, Some(n), _) => content_length(out, n),
        (Framing::None | Framing::UntilClose, _, _) => {}
    }
}

//= H1-CONN-02
//= H1-UPG-03
fn connection(head: &ResponseHead, how: &ResponseEdits<'_>, sent: Sent, out: &mut Vec<u8>) {
    // 426 has to say what it wants.
    let upgrade = head.upgrade.filter(|_| matches!(head.status, 101 | 426)).map(Upgrade::token);
    if let Some(token) = upgrade {
        line(out, b"Upgrade", token.as_bytes());
    }
    let options: &[u8] = match (upgrade.is_some(), sent.keep_alive, how.client) {
        _ if head.is_interim() => return,
        (true, _, _) if head.status == 101 => b"Upgrade",
        (true, true, _) => b"Upgrade",
        (true, false, _) => b"Upgrade, close",
        (false, false, _) => b"close",
        (false, true, Version::Http10) => b"keep-alive",
        (false, true, _) => return,
    };
    line(out, b"Connection", options);
}
