//! The golden cases of `proto/http` through workers, on real sockets: what the parser promises, the proxy keeps.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use crate::cases::{self, Case, Kind};
use crate::relay::{self, End, Outcome};
use crate::support;
use crate::support::{Engine, Server, read_answer};
use forebay_http::Limits;
use forebay_http::h1::body::{Decoder, State};
use forebay_http::h1::write::{FieldEdit, Forwarding, Hop, Policy, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Method, Parse, RequestContext, RequestHead, Upgrade};

#[test]
fn every_golden_request_is_forwarded_or_refused_by_the_proxy_as_by_the_parser() {
    let (server, heard) = listener();
    let engine = Engine::start(&document(&server), 1);
    let port = engine.addresses[0].port();
    let mut wrong = String::new();
    let mut walked = 0;
    for case in golden(Kind::Request).filter(|c| c.with.is_empty()) {
        let expected = expected(&case, port);
        for piece in [usize::MAX, 1] {
            // Larger ones in bytes would only take long.
            if piece == 1 && case.input.len() > 4096 {
                continue;
            }
            heard.lock().expect("not poisoned").clear();
            if let Err(problem) = proxied(&engine, &case, piece, &expected, &heard) {
                wrong.push_str(&format!("{}, {piece} bytes at once: {problem}\n", case.path.display()));
            }
        }
        walked += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(walked >= 200, "only {walked} cases");
}

#[test]
fn every_golden_response_reaches_the_client_or_is_refused_by_the_proxy_as_by_the_parser() {
    let script = Arc::new(Mutex::new((Vec::new(), false)));
    let server = scripted(script.clone());
    let engine = Engine::start(&document(&server), 1);
    let mut wrong = String::new();
    let mut walked = 0;
    for case in golden(Kind::Response) {
        let Some(request) = request_of(&case) else { continue };
        *script.lock().expect("not poisoned") = (case.input.clone(), case.option("server_closes").is_some());
        let answered = answered(&engine, &case, &request);
        let connections = server.connections.load(Ordering::SeqCst);
        // Whatever the server said too much is nobody's answer.
        *script.lock().expect("not poisoned") = (OK.to_vec(), false);
        let next = engine.talk("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if let Err(problem) = answered {
            wrong.push_str(&format!("{}: {problem}\n", case.path.display()));
        }
        if !next.starts_with("HTTP/1.1 200 Fine\r\n") || !next.ends_with("\r\n\r\nfine") {
            wrong.push_str(&format!("{}: the next client got {next:?}\n", case.path.display()));
        }
        let said_too_much = !case.run(&[&case.input]).left.is_empty();
        if said_too_much && server.connections.load(Ordering::SeqCst) == connections {
            wrong.push_str(&format!("{}: the server's connection was used again\n", case.path.display()));
        }
        walked += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(walked >= 60, "only {walked} cases");
}

const OK: &[u8] = b"HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nfine";

/// The request that a case answers; none if the case needs what this proxy is not configured for.
fn request_of(case: &Case) -> Option<String> {
    let (mut method, mut version, mut fields) = ("GET", "1.1", "");
    for (option, value) in &case.with {
        match (option.as_str(), value.as_str()) {
            ("server_closes", _) => {}
            ("method", "HEAD") => method = "HEAD",
            ("version", "1.0") => (version, fields) = ("1.0", "Connection: keep-alive\r\n"),
            ("trailers", _) => fields = "TE: trailers\r\nConnection: TE\r\n",
            ("upgrade", _) => fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            _ => return None,
        }
    }
    // What never ends is for tests of time-outs.
    let ends = !case.expected.contains("== incomplete");
    ends.then(|| format!("{method} / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"))
}

/// Sends the request of a case and compares what the client got.
fn answered(engine: &Engine, case: &Case, request: &str) -> Result<(), String> {
    let mut client = engine.connect();
    client.write_all(request.as_bytes()).expect("sent");
    let expected = case.run(&[&case.input]);
    let mut got = Vec::new();
    let mut buffer = [0; 16_384];
    let closed = loop {
        let read = read_response(&got, case, false);
        if read.complete > 0 && !matches!(read.end, End::Incomplete) && ends_with_final(&got) {
            break false;
        }
        match std::io::Read::read(&mut client, &mut buffer) {
            Ok(0) | Err(_) => break true,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
        }
    };
    let read = read_response(&got, case, closed);
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let End::Refused(_) = expected.end {
        // A 502, or if a head was passed on, content that the client sees is not whole.
        let right = got.starts_with(b"HTTP/1.1 502 ") || (expected.messages > 0 && read.complete == 0);
        return if right {
            Ok(())
        } else {
            Err(format!("in place of a refusal the client got\n{}", show(&got)))
        };
    }
    let wanted = read_response(&expected.forwarded, case, true);
    if read.forwarded != wanted.forwarded {
        return Err(format!(
            "the client got\n{}in place of\n{}",
            show(&read.forwarded),
            show(&wanted.forwarded)
        ));
    }
    Ok(())
}

/// Interim responses are not the end of an answer.
fn ends_with_final(got: &[u8]) -> bool {
    let text = String::from_utf8_lossy(got);
    let last = text.rmatch_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..]).next().unwrap_or("");
    !last.starts_with("10") || last.starts_with("101")
}

/// Reads what a client got, without the fields that the proxy adds.
fn read_response(bytes: &[u8], case: &Case, closes: bool) -> Outcome {
    // Interim responses are not edited, so `Via` is taken out by hand.
    let bytes = without(bytes, b"Via: 1.1 forebay\r\n");
    let own = [FieldEdit::Remove { name: b"Date" }, FieldEdit::Remove { name: b"Via" }];
    let context = RequestContext {
        method: if case.option("method").is_some() { Method::Head } else { Method::Get },
        upgrade: case.option("upgrade").map(|_| Upgrade::WebSocket),
        interims: 0,
    };
    let edits = ResponseEdits {
        fields: &own,
        te_trailers: case.option("trailers").is_some(),
        keep_alive: true,
        ..ResponseEdits::default()
    };
    relay::responses([&bytes[..]], &Limits::default(), context, &edits, closes)
}

fn without(bytes: &[u8], line: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(line.len()).position(|w| w == line) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + line.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}

/// A server that says the script to every request, and closes if the script says so.
fn scripted(script: Arc<Mutex<(Vec<u8>, bool)>>) -> Server {
    Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while support::read_request(&mut stream, &mut rest).is_some() {
            let (bytes, closes) = script.lock().expect("not poisoned").clone();
            if stream.write_all(&bytes).is_err() || closes {
                return;
            }
        }
    })
}

/// Sends a case and compares what client and server got.
fn proxied(
    engine: &Engine,
    case: &Case,
    piece: usize,
    expected: &Outcome,
    heard: &Heard,
) -> Result<(), String> {
    let mut client = engine.connect();
    // A proxy that refuses may close before it took everything.
    for piece in case.input.chunks(piece) {
        if client.write_all(piece).is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let mut statuses = Vec::new();
    for message in 0..expected.complete {
        let is_head = case.input.starts_with(b"HEAD");
        match read_answer(&mut client, &mut rest, is_head) {
            Some(answer) => statuses.push(answer.status),
            None => return Err(format!("{} answers in place of {}", message, expected.complete)),
        }
    }
    if let Some(odd) = statuses.iter().find(|s| **s != 200) {
        return Err(format!("answered {odd} in place of 200"));
    }
    match expected.end {
        End::Refused(reject) => {
            let answer = read_answer(&mut client, &mut rest, false).ok_or("no answer to what is refused")?;
            if answer.status != reject.status {
                return Err(format!("refused with {} in place of {}", answer.status, reject.status));
            }
            if read_answer(&mut client, &mut rest, false).is_some() {
                return Err("more answers behind a refusal".to_owned());
            }
        }
        End::Closed if read_answer(&mut client, &mut rest, false).is_some() => {
            return Err("more answers behind the last message".to_owned());
        }
        End::Closed | End::Idle | End::Incomplete | End::Upgraded => {}
    }
    drop(client);
    // What of an incomplete or refused message reached the server depends on when it was refused.
    let whole = heard_whole(heard);
    if whole.complete != expected.complete {
        return Err(format!("the server got {} requests in place of {}", whole.complete, expected.complete));
    }
    // Max-Forwards is lowered once more by the comparison.
    let comparable = matches!(expected.end, End::Closed | End::Idle) && case.rule != "H1-MAXFWD-01";
    if comparable && whole.forwarded != expected.forwarded {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return Err(format!(
            "the server got\n{}in place of\n{}",
            show(&whole.forwarded),
            show(&expected.forwarded)
        ));
    }
    Ok(())
}

/// The requests that the server got, written the way the expectation is.
fn heard_whole(heard: &Heard) -> Outcome {
    let bytes = heard.lock().expect("not poisoned").clone();
    relay::requests([&bytes[..]], &generous(), &RequestEdits::default())
}

/// Our own fields come on top of a case's.
fn generous() -> Limits {
    Limits { head_bytes: 1 << 20, field_bytes: 1 << 20, fields: 10_000, ..Limits::default() }
}

/// What the parser makes of a case with the proxy's own edits.
fn expected(case: &Case, port: u16) -> Outcome {
    let default_host = format!("127.0.0.1:{port}");
    let edits = RequestEdits {
        default_host: default_host.as_bytes(),
        hop: Some(Hop { client: Ipv4Addr::LOCALHOST.into(), port, tls: false }),
        forwarding: Forwarding { x_forwarded_for: Policy::Append, ..Forwarding::default() },
        via: Some(b"forebay"),
        ..RequestEdits::default()
    };
    relay::requests([&case.input[..]], &Limits::default(), &edits)
}

fn golden(kind: Kind) -> impl Iterator<Item = Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/http/tests/golden");
    cases::cases(&folder).into_iter().filter(move |c| c.kind == kind)
}

fn document(server: &Server) -> String {
    let limits = Limits::default();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         http_profile = \"strict\"\n\
         [[http_profile]]\nname = \"strict\"\nfields_max = {}\n\
         [[pool]]\nname = \"web\"\n[[pool.server]]\naddress = \"{}\"\n",
        limits.fields, server.address
    )
}

type Heard = Arc<Mutex<Vec<u8>>>;

/// A server that keeps every byte it gets and answers each request once it is complete.
fn listener() -> (Server, Heard) {
    let heard = Heard::default();
    let all = heard.clone();
    let server = Server::start(move |mut stream| {
        let mut rest = Vec::new();
        while answer_one(&mut stream, &mut rest, &all).is_some() {}
    });
    (server, heard)
}

fn answer_one(stream: &mut TcpStream, rest: &mut Vec<u8>, all: &Heard) -> Option<()> {
    let limits = generous();
    let mut head = RequestHead::default();
    let mut decoder: Option<Decoder> = None;
    let mut at = 0;
    loop {
        if decoder.is_none()
            && let Parse::Done { len } = h1::parse_request(rest, &limits, &mut head).ok()?
        {
            at = len;
            decoder = Some(Decoder::new(head.framing, &limits));
        }
        if let Some(decoder) = &mut decoder {
            while !decoder.is_done() {
                let step = decoder.decode(&rest[at..]).ok()?;
                at += step.consumed;
                if step.state == State::NeedInput {
                    break;
                }
            }
            if decoder.is_done() {
                break;
            }
        }
        let mut buffer = [0; 16_384];
        let count = std::io::Read::read(stream, &mut buffer).ok().filter(|n| *n > 0)?;
        rest.extend_from_slice(&buffer[..count]);
    }
    all.lock().expect("not poisoned").extend(rest.drain(..at));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}
