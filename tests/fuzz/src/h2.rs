//! Targets of HTTP/2.

use forebay_http::h2::{Code, Config, Connection, Event, Inbox, PREFACE, Role};
use forebay_http::{Limits, h2};

use crate::hpack::Reader;
use crate::outcome;

/// The first two bytes choose role, bounds, opening and cuts; the rest is what a peer sends.
pub fn frames(input: &[u8]) {
    let [options, cut, rest @ ..] = input else { return };
    let role = if options & 1 != 0 { Role::Client } else { Role::Server };
    let config = if options & 2 != 0 { outcome::small() } else { Config::default() };
    let mut bytes = Vec::new();
    if options & 4 == 0 {
        if role == Role::Server {
            bytes.extend_from_slice(PREFACE);
        }
        bytes.extend_from_slice(&SETTINGS);
        bytes.extend_from_slice(&ACKNOWLEDGEMENT);
    }
    bytes.extend_from_slice(rest);
    let whole = outcome::of(role, &config, [&bytes[..]]);
    let size = 1 + usize::from(*cut) % 64;
    assert_eq!(whole, outcome::of(role, &config, bytes.chunks(size)), "cut by {size}");
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACKNOWLEDGEMENT: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

/// A request with content to come, by indices of the static table and a literal: no table changes.
const POST: [u8; 6] = [0x83, 0x87, 0x84, 0x01, 0x01, b'a'];

/// Header blocks, each with its length in front, as trailers: what we and a second reader make of them.
pub fn blocks(input: &[u8]) {
    let bound = 1 << 24;
    let limits = Limits {
        head_bytes: bound,
        field_bytes: bound,
        trailer_bytes: bound,
        trailer_fields: bound,
        ..Limits::default()
    };
    let config = Config { limits, ..Config::default() };
    let (mut out, mut inbox, mut reader) = (Vec::new(), Inbox::default(), Reader::new());
    let mut connection = Connection::new(Role::Server, &config, &mut out);
    let mut bytes = [&PREFACE[..], &SETTINGS].concat();
    let (mut rest, mut stream) = (input, 1u32);
    while let [len, behind @ ..] = rest {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        rest = behind;
        for (flags, block) in [(4, &POST[..]), (5, block)] {
            bytes.extend([0, 0, block.len() as u8, 1, flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend_from_slice(block);
        }
        let mut last = Event::NeedInput;
        // Time goes on, so that what was wrong with one stream is forgiven by the next.
        let now = u64::from(stream) * 1000;
        loop {
            let step = connection.feed(&bytes, now, &mut inbox, &mut out);
            bytes.drain(..step.consumed.min(bytes.len()));
            match step.event {
                Event::NeedInput => break,
                Event::Over { rule } => {
                    last = Event::Over { rule };
                    break;
                }
                event => last = event,
            }
        }
        let read = reader.read(block);
        match (&last, &read) {
            (Event::Over { rule }, Err(())) => {
                assert_eq!(rule.code(), Code::Compression, "{rule}");
                return;
            }
            (Event::Trailers { .. }, Ok(fields)) => {
                assert!(fields.iter().all(is_good), "let through: {fields:?}");
                let seen: Vec<_> = (inbox.trailers.iter())
                    .map(|f| (f.name.of(&inbox.bytes).to_vec(), f.value.of(&inbox.bytes).to_vec()))
                    .collect();
                assert_eq!(seen, joined(fields));
            }
            (Event::Reset { rule: Some(_), .. }, Ok(fields)) => {
                assert!(!fields.iter().all(is_good), "refused: {fields:?}");
            }
            _ => panic!("{last:?}, but {read:?}"),
        }
        connection.reset(stream, h2::Code::No, &mut out);
        out.clear();
        stream += 2;
    }
}

type Field = (Vec<u8>, Vec<u8>);

/// What may stand in trailers at all.
fn is_good((name, value): &Field) -> bool {
    let token =
        |b: &u8| (b.is_ascii_alphanumeric() && !b.is_ascii_uppercase()) || b"!#$%&'*+-.^_`|~".contains(b);
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let one_hop: [&[u8]; 5] =
        [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
    !name.is_empty()
        && name.iter().all(token)
        && value.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f))
        && !blank(value.first())
        && !blank(value.last())
        && !one_hop.contains(&&name[..])
}

/// Crumbs of a cookie as one, at the place of the first; empty ones are left out.
fn joined(fields: &[Field]) -> Vec<Field> {
    let crumbs: Vec<&[u8]> = fields.iter().filter(|(n, _)| n == b"cookie").map(|(_, v)| &v[..]).collect();
    if crumbs.len() < 2 {
        return fields.to_vec();
    }
    let said: Vec<&[u8]> = crumbs.into_iter().filter(|c| !c.is_empty()).collect();
    let cookie = (b"cookie".to_vec(), said.join(&b"; "[..]));
    let place = fields.iter().position(|(n, _)| n == b"cookie").unwrap_or(0);
    let mut out: Vec<Field> = fields.iter().filter(|(n, _)| n != b"cookie").cloned().collect();
    out.insert(place, cookie);
    out
}
