//! Requests: what their pseudo-header fields and fields mean.

use alloc::vec::Vec;

use super::{Collected, Inbox, Section, Verdict, collect};
use crate::h1::connection;
use crate::h1::framing::{Framing, FramingFields};
use crate::h1::request::{Method, RequestHead, Upgrade, Version, expectation, max_forwards};
use crate::h1::{Authority, Field, target};
use crate::h2::error::Rule;
use crate::h2::hpack::Decoder;
use crate::{Known, Limits, RuleId, Span, bytes};

/// What the connection offers and the frame says beside the block.
#[derive(Clone, Copy)]
pub(crate) struct About {
    /// The request ends with its head.
    pub end: bool,
    /// We have offered extended CONNECT.
    pub extended: bool,
}

/// Reads a request into `inbox.request`.
///
/// # Errors
/// The rule for which the connection has to end.
pub(crate) fn request(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &Limits,
    about: About,
    inbox: &mut Inbox,
) -> Result<Verdict, Rule> {
    let head = &mut inbox.request;
    head.reset();
    let buf = &mut inbox.bytes;
    let all = collect(block, decoder, limits, Section::Request, buf, &mut head.fields.list)?;
    if let Some(verdict) = all.verdict() {
        return Ok(verdict);
    }
    Ok(match judge(&all, limits, about, buf, head) {
        Ok(()) => Verdict::Good,
        Err(verdict) => verdict,
    })
}

impl From<Rule> for Verdict {
    fn from(rule: Rule) -> Verdict {
        Verdict::Malformed(rule)
    }
}

impl From<RuleId> for Verdict {
    fn from(rule: RuleId) -> Verdict {
        Verdict::Refused(rule)
    }
}

fn judge(
    all: &Collected,
    limits: &Limits,
    about: About,
    buf: &mut Vec<u8>,
    head: &mut RequestHead,
) -> Result<(), Verdict> {
    let method = all.method.ok_or(Rule::PseudoMissing)?;
    //= H2-REQ-01
    if !bytes::is_token(method.of(buf)) {
        return Err(Rule::Method.into());
    }
    if method.len() > limits.method_bytes as usize {
        return Err(RuleId::MethodLength.into());
    }
    head.method = Method::of(method.of(buf));
    head.method_raw = method;
    let upgrade = connect(all, about, head.method, buf)?;
    if upgrade.is_some() {
        //= H2-CONV-03
        let start = buf.len();
        buf.extend_from_slice(b"GET");
        head.method = Method::Get;
        head.method_raw = Span::new(start, buf.len());
    }
    //= H2-PSEUDO-04
    let scheme = all.scheme.ok_or(Rule::PseudoMissing)?.of(buf);
    //= H2-REQ-02
    if !scheme.eq_ignore_ascii_case(b"https") && !scheme.eq_ignore_ascii_case(b"http") {
        return Err(Rule::Scheme.into());
    }
    path(all.path.ok_or(Rule::PseudoMissing)?, limits, buf, head)?;
    host(all.authority, buf, head)?;
    fields(about, upgrade.is_some(), limits, buf, head)?;
    head.version = Version::Http20;
    head.keep_alive = true;
    head.upgrade = upgrade;
    head.len = buf.len();
    Ok(())
}

/// Tells the forms of CONNECT apart; returns the protocol of an extended one.
//= H2-REQ-05
//= H2-REQ-06
fn connect(all: &Collected, about: About, method: Method, buf: &[u8]) -> Result<Option<Upgrade>, Verdict> {
    match (method, all.protocol) {
        (Method::Connect, None) => {
            let whole = all.scheme.is_none() && all.path.is_none() && all.authority.is_some();
            Err(if whole { RuleId::TargetConnect.into() } else { Rule::ConnectForm.into() })
        }
        (Method::Connect, Some(_)) if !about.extended => Err(Rule::ConnectProtocol.into()),
        (Method::Connect, Some(_)) if all.authority.is_none() => Err(Rule::ConnectForm.into()),
        (Method::Connect, Some(name)) => match name.of(buf) {
            b"websocket" => Ok(Some(Upgrade::WebSocket)),
            _ => Err(RuleId::TargetConnect.into()),
        },
        (_, Some(_)) => Err(Rule::ConnectProtocol.into()),
        (_, None) => Ok(None),
    }
}

//= H2-REQ-03
fn path(path: Span, limits: &Limits, buf: &[u8], head: &mut RequestHead) -> Result<(), Verdict> {
    let text = path.of(buf);
    let asterisk = text == b"*" && head.method == Method::Options;
    if !asterisk && !text.starts_with(b"/") {
        return Err(Rule::Path.into());
    }
    if text.len() > limits.target_bytes as usize {
        return Err(RuleId::TargetLength.into());
    }
    if !bytes::all(text, bytes::TARGET) {
        return Err(RuleId::TargetBytes.into());
    }
    let target = target::parse(buf, path, head.method)?;
    head.target = path;
    head.form = target.form;
    head.path = target.path;
    head.query = target.query;
    Ok(())
}

/// Finds who is asked, and shows it as the `Host` that HTTP/1.1 would have.
//= H2-REQ-04
//= H2-CONV-01
fn host(asked: Option<Span>, buf: &mut Vec<u8>, head: &mut RequestHead) -> Result<(), Verdict> {
    let mut hosts = head.fields.list.iter().filter(|f| f.known == Known::Host).map(|f| f.value);
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(RuleId::HostRepeated.into());
    }
    let value = asked.or(host).ok_or(RuleId::HostMissing)?;
    let authority = Authority::parse(buf, value).ok_or(RuleId::HostInvalid)?;
    if let (Some(_), Some(host)) = (asked, host) {
        let other = Authority::parse(buf, host).ok_or(RuleId::HostInvalid)?;
        if !authority.whole.of(buf).eq_ignore_ascii_case(other.whole.of(buf)) {
            return Err(Rule::AuthorityHost.into());
        }
    }
    head.authority = Some(authority);
    if host.is_none() {
        let start = buf.len();
        buf.extend_from_slice(b"host");
        let name = Span::new(start, buf.len());
        let field =
            Field { name, value, known: Known::Host, drop: false, sensitive: false, canonical: false };
        head.fields.list.push(field);
    }
    Ok(())
}

fn fields(
    about: About,
    tunnel: bool,
    limits: &Limits,
    buf: &[u8],
    head: &mut RequestHead,
) -> Result<(), Verdict> {
    let mut length = FramingFields::default();
    let (mut te, mut expect, mut max) = (false, None, None);
    for field in head.fields.iter() {
        let value = field.value.of(buf);
        match field.known {
            Known::Other => {}
            //= H2-BODY-01
            Known::ContentLength => length.length(value).map_err(|_| Rule::LengthField)?,
            Known::Te => te = true,
            Known::Expect => expect = Some(expectation(value, expect)?),
            Known::MaxForwards => max = max_forwards(head.method, value, max)?,
            _ => {}
        }
    }
    let length = match length.announced(false) {
        Ok(Some(Framing::Length(n))) => Some(n),
        _ => None,
    };
    head.framing = framing(about.end, tunnel, length, head.method)?;
    if matches!(head.framing, Framing::Length(n) if n > limits.body_bytes) {
        return Err(RuleId::BodyLength.into());
    }
    let has_content = head.framing.has_content();
    if head.method == Method::Trace && has_content {
        return Err(RuleId::TraceBody.into());
    }
    head.max_forwards = max;
    head.expect_continue = expect == Some(true) && has_content;
    head.te_trailers = te && connection::takes_trailers(buf, &head.fields);
    Ok(())
}

/// Says how HTTP/1.1 would find the end of the content.
//= H2-CONV-02
fn framing(end: bool, tunnel: bool, length: Option<u64>, method: Method) -> Result<Framing, Verdict> {
    match (end, length) {
        _ if tunnel => Ok(Framing::None),
        (true, Some(1..)) => Err(Rule::LengthData.into()),
        (true, Some(0)) => Ok(Framing::Length(0)),
        // A server that expects content learns that there is none.
        (true, None) if matches!(method, Method::Post | Method::Put | Method::Patch) => {
            Ok(Framing::Length(0))
        }
        (true, None) => Ok(Framing::None),
        (false, Some(n)) => Ok(Framing::Length(n)),
        (false, None) => Ok(Framing::Chunked),
    }
}
