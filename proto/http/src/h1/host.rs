//! Host and authority.

use core::net::Ipv6Addr;

use crate::{Span, bytes};

/// Longest host name in bytes: the longest name that DNS can carry.
const HOST_BYTES_MAX: usize = 253;

/// Who is asked: host and port of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Host and port, without a colon that no port follows.
    pub whole: Span,
    /// Host; an IPv6 address with its brackets.
    pub host: Span,
    /// Port, 1 to 65535, if given.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `host [":" port]`. Refuses user information, lists, percent escapes and every byte that is not part
    /// of a DNS name or an IP address, because servers disagree on what such a name selects.
    //= H1-HOST-03
    pub(crate) fn parse(buf: &[u8], span: Span) -> Option<Authority> {
        let text = span.of(buf);
        let host_len = match text.first()? {
            b'[' => {
                let close = memchr::memchr(b']', text)?;
                let address = core::str::from_utf8(text.get(1..close)?).ok()?;
                address.parse::<Ipv6Addr>().ok()?;
                close + 1
            }
            _ => bytes::skip(text, 0, bytes::HOST),
        };
        if host_len == 0 || host_len > HOST_BYTES_MAX {
            return None;
        }
        let start = span.start as usize;
        let (port, whole_len) = match text.get(host_len..)? {
            [] | [b':'] => (None, host_len),
            [b':', digits @ ..] => (Some(port(digits)?), text.len()),
            _ => return None,
        };
        Some(Authority {
            whole: Span::new(start, start + whole_len),
            host: Span::new(start, start + host_len),
            port,
        })
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u32, |n, &b| n * 10 + u32::from(b - b'0'));
    u16::try_from(number).ok().filter(|&p| p != 0)
}
