//! Writing a request for a server.

use alloc::vec::Vec;

use super::edit::{self, BadEdit, FieldEdit};
use super::forwarded::{self, Forwarding, Hop, Plan};
use super::{content_length, cookies, kept_fields, line};
use crate::h1::framing::Framing;
use crate::h1::host::Authority;
use crate::h1::request::{Form, Method, RequestHead};
use crate::{Known, Span, bytes};

/// How a request changes on its way.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEdits<'a> {
    /// A new path and query, beginning with `/`; none: as it came.
    pub target: Option<&'a [u8]>,
    /// A new Host; none: as asked.
    pub host: Option<&'a [u8]>,
    /// Host if the client, speaking HTTP/1.0, named none: the address that it connected to.
    pub default_host: &'a [u8],
    /// The client's connection, for the forwarding fields; none: they stay as they came.
    pub hop: Option<Hop>,
    /// What happens to the forwarding fields.
    pub forwarding: Forwarding,
    /// Our name in `Via`; none: `Via` stays as it came.
    pub via: Option<&'a [u8]>,
    /// Names of cookies that the server does not see.
    pub drop_cookies: &'a [&'a [u8]],
    /// Changes to other fields.
    pub fields: &'a [FieldEdit<'a>],
    /// Asks for no upgrade, whatever the client asks for.
    pub no_upgrade: bool,
    /// Asks the server to close after its response.
    pub close: bool,
}

/// Writes the request's head for a server, as HTTP/1.1 and in origin-form.
///
/// Content follows in the framing of `head.framing`: the same bytes after a length, new chunks if chunked.
///
/// # Errors
/// An edit would break the message; `out` is as before.
pub fn request(
    buf: &[u8],
    head: &RequestHead,
    how: &RequestEdits<'_>,
    out: &mut Vec<u8>,
) -> Result<(), BadEdit> {
    check(how)?;
    // Forwarding fields and `Via` take up to 200 bytes more than came.
    out.reserve(head.len + 256);
    start_line(buf, head, how, out);
    host(buf, head, how, out);

    let plan = Plan::new(how.forwarding, how.hop.as_ref(), how.fields);
    let own_via = how.via.filter(|_| !edit::decides(how.fields, Known::Via));
    kept_fields(buf, &head.fields, how.fields, out, |field, out| match field.known {
        Known::Host | Known::ContentLength => false,
        Known::Trailer => head.framing == Framing::Chunked,
        Known::Via => own_via.is_none(),
        Known::Expect => head.expect_continue,
        Known::MaxForwards => head.max_forwards.is_none(),
        Known::Cookie if cookies::holds(field.value.of(buf), how.drop_cookies) => {
            cookies::without(field.value.of(buf), how.drop_cookies, out);
            false
        }
        known => plan.keeps(known),
    });
    if let Some(left) = head.max_forwards {
        out.extend_from_slice(b"Max-Forwards: ");
        super::number(out, left.saturating_sub(1));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(hop) = &how.hop {
        plan.write(buf, &head.fields, hop, out);
    }
    if let Some(name) = own_via {
        forwarded::via(buf, &head.fields, head.version.number(), name, out);
    }
    edit::write(how.fields, out);
    framing(head, out);
    connection(head, how, out);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn check(how: &RequestEdits<'_>) -> Result<(), BadEdit> {
    edit::check(how.fields)?;
    if how.target.is_some_and(|t| !t.starts_with(b"/") || !bytes::all(t, bytes::TARGET)) {
        return Err(BadEdit::Target);
    }
    for host in how.host.iter().chain((!how.default_host.is_empty()).then_some(&how.default_host)) {
        let whole = u32::try_from(host.len()).map_err(|_| BadEdit::Host)?;
        Authority::parse(host, Span { start: 0, end: whole }).ok_or(BadEdit::Host)?;
    }
    if how.via.is_some_and(|v| !bytes::is_field_value(v) || v.is_empty()) {
        return Err(BadEdit::Value);
    }
    Ok(())
}

//= H1-TARGET-09
fn start_line(buf: &[u8], head: &RequestHead, how: &RequestEdits<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_bytes(buf));
    out.push(b' ');
    match how.target {
        Some(target) => out.extend_from_slice(target),
        None => {
            let to_server = head.form == Form::Absolute && head.method == Method::Options;
            if to_server && head.path.is_empty() && head.query.is_none() {
                out.push(b'*');
            } else {
                out.extend_from_slice(head.path(buf));
            }
            if let Some(query) = head.query(buf) {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

//= H1-HOST-04
//= H1-HOST-05
fn host(buf: &[u8], head: &RequestHead, how: &RequestEdits<'_>, out: &mut Vec<u8>) {
    let asked = head.authority.map(|a| a.whole.of(buf));
    line(out, b"Host", how.host.or(asked).unwrap_or(how.default_host));
}

//= H1-FRAME-09
fn framing(head: &RequestHead, out: &mut Vec<u8>) {
    match head.framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(n) => content_length(out, n),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

//= H1-CONN-02
fn connection(head: &RequestHead, how: &RequestEdits<'_>, out: &mut Vec<u8>) {
    if head.te_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    let upgrade = head.upgrade.filter(|_| !how.no_upgrade);
    if let Some(upgrade) = upgrade {
        line(out, b"Upgrade", upgrade.token().as_bytes());
    }
    let options: &[u8] = match (upgrade.is_some(), head.te_trailers, how.close) {
        (false, false, false) => return,
        (false, false, true) => b"close",
        (false, true, false) => b"TE",
        (false, true, true) => b"TE, close",
        (true, false, _) => b"Upgrade",
        (true, true, _) => b"Upgrade, TE",
    };
    line(out, b"Connection", options);
}
