//! Version 1: a line of text.

use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use crate::{Header, Malformed, Named, Parse, TEXT_BYTES_MAX, Version};

pub(crate) const MARK: &[u8] = b"PROXY ";

//= PP-V1-01
pub(crate) fn parse(bytes: &[u8]) -> Result<Parse, Malformed> {
    let window = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    // The first byte that no line holds must be the end's first.
    let Some(at) = window.iter().position(|byte| !(b' '..=b'~').contains(byte)) else {
        return if bytes.len() < TEXT_BYTES_MAX { Ok(Parse::NeedMore) } else { Err(Malformed::TooLong) };
    };
    let (line, end) = window.split_at(at);
    match end {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if at + 1 < TEXT_BYTES_MAX => return Ok(Parse::NeedMore),
        [b'\r'] => return Err(Malformed::TooLong),
        _ => return Err(Malformed::Line),
    }
    let named = fields(line)?;
    Ok(Parse::Done(Header { version: Version::V1, len: at + 2, named }))
}

fn fields(line: &[u8]) -> Result<Option<Named>, Malformed> {
    let line = core::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    let is_v4 = match family {
        // What follows it means nothing.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(Malformed::Family),
    };
    let mut next = || words.next().ok_or(Malformed::Line);
    let (source, destination) = (ip(next()?, is_v4)?, ip(next()?, is_v4)?);
    let (from, to) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(Malformed::Line);
    }
    Ok(Some(Named { source: SocketAddr::new(source, from), destination: SocketAddr::new(destination, to) }))
}

fn ip(word: &str, is_v4: bool) -> Result<IpAddr, Malformed> {
    let ip = IpAddr::from_str(word).map_err(|_| Malformed::Address)?;
    if ip.is_ipv4() == is_v4 { Ok(ip) } else { Err(Malformed::Address) }
}

fn port(word: &str) -> Result<u16, Malformed> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().map_err(|_| Malformed::Port) } else { Err(Malformed::Port) }
}
