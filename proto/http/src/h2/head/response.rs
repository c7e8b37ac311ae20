//! Responses: what their status and fields mean.

use super::{Inbox, Section, Verdict, collect};
use crate::Limits;
use crate::h1::framing::{Framing, FramingFields};
use crate::h1::request::{Upgrade, Version};
use crate::h2::error::Rule;
use crate::h2::hpack::Decoder;
use crate::{Known, RuleId};

/// What the response answers, and what the frame says beside the block.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    /// The response ends with its head.
    pub end: bool,
    /// The request's method was HEAD.
    pub head: bool,
    /// The request was an extended CONNECT for this protocol.
    pub tunnel: Option<Upgrade>,
}

/// Reads a response into `inbox.response`.
///
/// # Errors
/// The rule for which the connection has to end.
pub(crate) fn response(
    block: &[u8],
    decoder: &mut Decoder,
    limits: &Limits,
    context: Context,
    inbox: &mut Inbox,
) -> Result<Verdict, Rule> {
    let head = &mut inbox.response;
    head.reset();
    let buf = &mut inbox.bytes;
    let all = collect(block, decoder, limits, Section::Response, buf, &mut head.fields.list)?;
    if let Some(verdict) = all.verdict() {
        return Ok(verdict);
    }
    //= H2-RESP-01
    let Some([a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']) = all.status.map(|s| s.of(buf)) else {
        return Ok(Rule::Status.into());
    };
    head.status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    head.version = Version::Http20;
    head.keep_alive = true;
    head.len = buf.len();
    //= H2-RESP-02
    if head.status == 101 {
        return Ok(Rule::StatusSwitch.into());
    }
    //= H2-RESP-03
    if head.is_interim() && context.end {
        return Ok(Rule::InterimEnd.into());
    }
    let mut length = FramingFields::default();
    for field in head.fields.iter().filter(|f| f.known == Known::ContentLength) {
        if length.length(field.value.of(buf)).is_err() {
            return Ok(Rule::LengthField.into());
        }
    }
    if let Ok(Some(Framing::Length(n))) = length.announced(false) {
        head.content_length = Some(n);
    }
    if let (Some(protocol), 200..300) = (context.tunnel, head.status) {
        // The tunnel stands: for HTTP/1.1 that is a 101.
        head.status = 101;
        head.upgrade = Some(protocol);
        return Ok(Verdict::Good);
    }
    head.framing = match (head.status, head.content_length, context.end) {
        (100..200 | 204 | 304, ..) => Framing::None,
        _ if context.head => Framing::None,
        (_, Some(1..), true) => return Ok(Rule::LengthData.into()),
        (_, _, true) => Framing::Length(0),
        (_, Some(n), false) => Framing::Length(n),
        (_, None, false) => Framing::Chunked,
    };
    if matches!(head.framing, Framing::Length(n) if n > limits.body_bytes) {
        return Ok(RuleId::BodyLength.into());
    }
    Ok(Verdict::Good)
}
