//! The request target in its four forms.

use super::host::Authority;
use super::request::{Form, Method};
use crate::{RuleId, Span, bytes};

/// A target taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub form: Form,
    pub path: Span,
    pub query: Option<Span>,
    pub authority: Option<Authority>,
}

/// Reads a target whose bytes are of class TARGET.
//= H1-TARGET-03
//= H1-TARGET-04
//= H1-TARGET-05
pub(crate) fn parse(buf: &[u8], span: Span, method: Method) -> Result<Target, RuleId> {
    let text = span.of(buf);
    if method == Method::Connect {
        return Err(RuleId::TargetConnect);
    }
    match text {
        [b'/', ..] => origin(buf, span),
        b"*" if method == Method::Options => {
            Ok(Target { form: Form::Asterisk, path: span, ..Target::default() })
        }
        b"*" => Err(RuleId::TargetAsterisk),
        _ => absolute(buf, span),
    }
}

fn origin(buf: &[u8], span: Span) -> Result<Target, RuleId> {
    let text = span.of(buf);
    let start = span.start as usize;
    let (path, query) = match memchr::memchr(b'?', text) {
        Some(at) => (Span::new(start, start + at), Some(Span::new(start + at + 1, start + text.len()))),
        None => (span, None),
    };
    check_path(path.of(buf))?;
    Ok(Target { form: Form::Origin, path, query, authority: None })
}

/// Refuses escapes that decoders read differently, and the backslash that some servers take for a slash.
//= H1-TARGET-08
fn check_path(path: &[u8]) -> Result<(), RuleId> {
    if memchr::memchr(b'\\', path).is_some() {
        return Err(RuleId::TargetBytes);
    }
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(b"00") | None => return Err(RuleId::TargetEscape),
            Some(digits) if !bytes::all(digits, bytes::HEX) => return Err(RuleId::TargetEscape),
            Some(_) => rest = &rest[at + 3..],
        }
    }
    Ok(())
}

//= H1-TARGET-06
//= H1-TARGET-07
fn absolute(buf: &[u8], span: Span) -> Result<Target, RuleId> {
    let text = span.of(buf);
    let scheme_end = text.windows(3).position(|w| w == b"://").ok_or(RuleId::TargetForm)?;
    let scheme = &text[..scheme_end];
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        // `host/a://b` has no scheme at all; both are refused, the words differ.
        let is_scheme = scheme.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        return Err(if is_scheme { RuleId::TargetScheme } else { RuleId::TargetForm });
    }
    let start = span.start as usize + scheme_end + 3;
    let rest = &text[scheme_end + 3..];
    let authority_len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority =
        Authority::parse(buf, Span::new(start, start + authority_len)).ok_or(RuleId::TargetAuthority)?;
    let path_span = Span::new(start + authority_len, span.end as usize);
    let target = origin(buf, path_span)?;
    Ok(Target { form: Form::Absolute, authority: Some(authority), ..target })
}
