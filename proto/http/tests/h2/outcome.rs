//! What a connection makes of bytes, in a form that does not depend on where they were cut; and the promises that
//! hold whatever comes.

use std::collections::BTreeMap;

use forebay_http::h2::{Config, Connection, Event, Inbox, Role};

/// All that can be seen of a connection from outside.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events as text; neighbouring pieces of content are one.
    pub told: Vec<String>,
    /// What was written for the peer.
    pub out: Vec<u8>,
    /// Content that was not released yet, by stream.
    held: BTreeMap<u32, usize>,
}

/// Content is released by so many bytes: what a driver releases, and when, must not depend on the cuts either.
const LUMP: usize = 50;

/// Small bounds, so that short inputs reach them.
pub fn small() -> Config {
    let mut config =
        Config { streams_max: 4, stream_window: 200, connection_window: 70_000, ..Config::default() };
    config.limits.head_bytes = 400;
    config.limits.fields = 6;
    config.limits.trailer_fields = 2;
    config.limits.interim_responses = 2;
    config.budgets.controls.burst = 40;
    config.budgets.own_resets.burst = 8;
    config
}

/// More than a connection with [`small`] bounds may hold, in bytes: two tables of 4 KiB that have doubled, a header
/// block of twice 400 that has doubled, four streams and 128 closed ones.
const MEMORY_MAX: usize = 40 << 10;

/// Feeds pieces to a connection; answers every request and releases the content.
pub fn of<'a>(role: Role, config: &Config, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = Connection::new(role, config, &mut outcome.out);
    if role == Role::Client {
        for method in ["GET", "HEAD", "POST"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            let opened = connection.open(head.as_bytes(), b"http", &[], method != "POST", &mut outcome.out);
            assert!(opened.is_ok(), "{opened:?}");
        }
    }
    let mut inbox = Inbox::default();
    let mut held: Vec<u8> = Vec::new();
    let mut over = false;
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut at = 0;
        while !over {
            let rest = &held[at..];
            let step = connection.feed(rest, 0, &mut inbox, &mut outcome.out);
            assert!(step.consumed <= rest.len(), "{step:?}");
            at += step.consumed;
            match &step.event {
                Event::NeedInput => break,
                Event::Over { .. } => over = true,
                Event::Data { data, .. } => assert!(data.end <= step.consumed, "{step:?}"),
                _ => {}
            }
            take(&step.event, rest, &mut connection, &mut inbox, &mut outcome);
        }
        held.drain(..at.min(held.len()));
        let memory = connection.memory();
        assert!(memory <= MEMORY_MAX || config.limits.head_bytes > 400, "{memory} bytes");
        assert!(connection.streams() <= config.streams_max as usize);
    }
    outcome
}

fn take(event: &Event, rest: &[u8], connection: &mut Connection, inbox: &mut Inbox, outcome: &mut Outcome) {
    let told = match event {
        Event::Data { stream, data, end } => {
            let bytes = &rest[data.clone()];
            let held = outcome.held.entry(*stream).or_default();
            *held += bytes.len();
            while *held >= LUMP {
                *held -= LUMP;
                connection.release(*stream, LUMP, &mut outcome.out);
            }
            let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let begin = format!("data of {stream}: ");
            match outcome.told.last_mut() {
                Some(last) if last.starts_with(&begin) && !last.ends_with('.') => {
                    last.push_str(&text);
                    if *end {
                        last.push('.');
                    }
                    return;
                }
                _ => format!("{begin}{text}{}", if *end { "." } else { "" }),
            }
        }
        Event::Request { stream, .. } => {
            let head = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 0\r\n\r\n";
            let sent = connection.head(*stream, head, &[], true, &mut outcome.out);
            assert_eq!(sent, Ok(()));
            let (bytes, request) = (&inbox.bytes, &inbox.request);
            check(inbox, request.fields.iter());
            let asked =
                [request.method_bytes(bytes), request.path(bytes), request.host(bytes).unwrap_or(b"")];
            format!("{event:?} {asked:?} {:?} {:?}", request.framing, fields(inbox, request.fields.iter()))
        }
        Event::Response { .. } => {
            check(inbox, inbox.response.fields.iter());
            let response = &inbox.response;
            format!("{event:?} {} {:?}", response.status, fields(inbox, response.fields.iter()))
        }
        Event::Trailers { .. } => format!("{event:?} {:?}", fields(inbox, inbox.trailers.iter())),
        Event::Refused { stream, reject } => {
            let head = format!("HTTP/1.1 {} X\r\n\r\n", reject.status);
            let sent = connection.head(*stream, head.as_bytes(), &[], true, &mut outcome.out);
            assert_eq!(sent, Ok(()));
            format!("{event:?}")
        }
        _ => format!("{event:?}"),
    };
    outcome.told.push(told);
}

type Lines = Vec<(String, String)>;

fn fields<'a>(inbox: &Inbox, fields: impl Iterator<Item = &'a forebay_http::h1::Field>) -> Lines {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.map(|f| (text(f.name.of(&inbox.bytes)), text(f.value.of(&inbox.bytes)))).collect()
}

/// No field that was let through can be read as two lines, or as another name, by anybody.
fn check<'a>(inbox: &Inbox, fields: impl Iterator<Item = &'a forebay_http::h1::Field>) {
    for field in fields {
        let (name, value) = (field.name.of(&inbox.bytes), field.value.of(&inbox.bytes));
        assert!(!name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
        assert!(value.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)), "{value:?}");
    }
}
