//! A server's `Set-Cookie` against a second reader: the algorithms of RFC 6265, 5.1.1 and 5.2, step by step.

use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::{self, ClientKey, Kind, Learned, Profile, ServerDown, cookie_date};
use forebay_core::units::{Minutes, UnixSeconds};

const NAME: &str = "sid";
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Longer values are nobody's key.
const KEY_MAX: usize = 256;

/// The first four bytes are the wall clock in big-endian seconds; the rest is a `Set-Cookie` value, and a date.
pub fn set_cookie(input: &[u8]) {
    let Some((now, line)) = input.split_first_chunk::<4>() else { return };
    let now = UnixSeconds(u64::from(u32::from_be_bytes(*now)));
    assert_eq!(cookie_date::parse(line).map(|at| at.0), date(line), "the whole as a date");

    let kind = Kind::AppCookie(AppCookie { name: NAME.into(), timeout: Minutes(20) });
    let profile = Profile { kind, server_down: ServerDown::PickNewServer };
    let learned = match persist::learn_from_response(&profile, line, now) {
        Learned::Nothing => None,
        Learned::Key { key: ClientKey::Opaque(value), lifetime } => {
            assert_eq!(lifetime, Minutes(20).seconds());
            Some((value, false))
        }
        Learned::Ended(ClientKey::Opaque(value)) => Some((value, true)),
        other => panic!("a session id is no address: {other:?}"),
    };
    assert_eq!(learned, session(line, now.0));
}

/// The session's id, and whether it is ended.
fn session(line: &[u8], now: u64) -> Option<(&[u8], bool)> {
    let mut parts = line.split(|b| *b == b';');
    let (name, value) = pair(parts.next()?)?;
    if name != NAME.as_bytes() || value.is_empty() || value.len() > KEY_MAX {
        return None;
    }
    let attributes: Vec<(String, &[u8])> = parts
        .filter_map(pair)
        .map(|(name, value)| (String::from_utf8_lossy(name).to_ascii_lowercase(), value))
        .collect();
    let last = |name: &str, read: &dyn Fn(&[u8]) -> Option<bool>| {
        attributes.iter().rev().filter(|(other, _)| other == name).find_map(|(_, value)| read(value))
    };
    let by_age = last("max-age", &|value| {
        let text = std::str::from_utf8(value).ok()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.starts_with('-') || digits.trim_start_matches('0').is_empty())
    });
    let by_date = last("expires", &|value| date(value).map(|at| at <= now));
    Some((value, by_age.or(by_date) == Some(true)))
}

fn pair(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = part.iter().position(|b| *b == b'=')?;
    Some((blanks_off(&part[..equals]), blanks_off(&part[equals + 1..])))
}

fn blanks_off(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Seconds since 1970; moments before are 0.
fn date(text: &[u8]) -> Option<u64> {
    let is_delimiter = |b: &u8| matches!(b, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e);
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter) {
        if time.is_none() && clock(token).is_some() {
            time = clock(token);
        } else if day.is_none() && leading(token, 1..=2).is_some() {
            day = leading(token, 1..=2);
        } else if month.is_none() && named(token).is_some() {
            month = named(token);
        } else if year.is_none() && leading(token, 2..=4).is_some() {
            year = leading(token, 2..=4);
        }
    }
    let ([hour, minute, second], day, month, mut year) = (time?, day?, month?, year?);
    if (70..=99).contains(&year) {
        year += 1900;
    } else if year <= 69 {
        year += 2000;
    }
    let is_leap =
        |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=lengths[month]).contains(&day) || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = years + lengths[..month].iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn clock(token: &[u8]) -> Option<[u64; 3]> {
    let mut colons = token.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at);
    let (first, second) = (colons.next()?, colons.next()?);
    let fields = [&token[..first], &token[first + 1..second], &token[second + 1..]];
    if !fields[..2].iter().all(|field| field.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    Some([leading(fields[0], 1..=2)?, leading(fields[1], 1..=2)?, leading(fields[2], 1..=2)?])
}

/// The digits that a token begins with, if they are as many as allowed.
fn leading(token: &[u8], allowed: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let end = token.iter().position(|b| !b.is_ascii_digit()).unwrap_or(token.len());
    let digits = std::str::from_utf8(&token[..end]).ok()?;
    allowed.contains(&end).then(|| digits.parse().ok())?
}

fn named(token: &[u8]) -> Option<usize> {
    let name = String::from_utf8_lossy(token.get(..3)?).to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == name)
}
