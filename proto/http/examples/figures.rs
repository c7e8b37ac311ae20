//! Prints what parsing and writing cost, in nanoseconds per message (median of rounds).
//!
//! `cargo run --profile dist -p forebay-http --example figures`
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use forebay_http::Limits;
use forebay_http::h1::body::{Decoder, State};
use forebay_http::h1::write::{self, FieldEdit, Hop, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Framing, Parse, RequestContext, RequestHead, ResponseHead};

/// What a browser sends: about 600 bytes.
const BROWSER: &[u8] = b"GET /assets/products/list?category=chairs&page=2&sort=price HTTP/1.1\r\n\
Host: shop.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Connection: keep-alive\r\n\
Referer: https://shop.example.com/assets/products/list?category=chairs\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; lb=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Cache-Control: max-age=0\r\n\
\r\n";

/// What a load generator sends.
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\
ETag: \"654a0c4e-400\"\r\nVary: Accept-Encoding\r\n\r\n";

const ROUNDS: usize = 31;

fn main() {
    let limits = Limits::default();
    let hop = Some(Hop { client: Ipv4Addr::new(192, 0, 2, 1).into(), port: 443, tls: false });
    let via = Some(&b"forebay"[..]);
    for (name, buf) in [("browser", BROWSER), ("small", SMALL)] {
        let mut head = RequestHead::default();
        let mut out = Vec::new();
        report(&format!("parse request, {name}, {} bytes", buf.len()), || parse(buf, &limits, &mut head));
        let plain = RequestEdits::default();
        report(&format!("write request, {name}, nothing changed"), || {
            out.clear();
            write::request(buf, &head, &plain, &mut out).expect("no edits");
            out.len()
        });
        let edits = RequestEdits { hop, via, drop_cookies: &[b"lb"], ..RequestEdits::default() };
        report(&format!("write request, {name}, forwarding, Via, cookie dropped"), || {
            out.clear();
            write::request(buf, &head, &edits, &mut out).expect("good edits");
            out.len()
        });
        report(&format!("parse and write request, {name}, all edits"), || {
            out.clear();
            parse(buf, &limits, &mut head) + usize::from(write::request(buf, &head, &edits, &mut out).is_ok())
        });
    }

    let long = [
        &b"GET / HTTP/1.1\r\nHost: a\r\n"[..],
        &b"X: 0123456789abcdef0123456789abcdef\r\n".repeat(190),
        b"\r\n",
    ]
    .concat();
    let cookie = [b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ", &[b'x'; 7000][..], b"\r\n\r\n"].concat();
    for (name, buf) in [("192 fields", long), ("one cookie", cookie)] {
        let mut head = RequestHead::default();
        report(&format!("parse request, {name}, {} bytes, whole", buf.len()), || {
            parse(&buf, &limits, &mut head)
        });
        report(&format!("parse request, {name}, {} bytes, byte by byte", buf.len()), || {
            head.reset();
            (1..=buf.len()).filter(|n| h1::parse_request(&buf[..*n], &limits, &mut head).is_ok()).count()
        });
    }

    let mut head = ResponseHead::default();
    let mut out = Vec::new();
    let context = RequestContext::default();
    report(&format!("parse response, {} bytes", RESPONSE.len()), || {
        head.reset();
        match h1::parse_response(black_box(RESPONSE), &context, &limits, &mut head) {
            Ok(Parse::Done { len }) => len,
            _ => 0,
        }
    });
    let cookie =
        [FieldEdit::Add { name: b"Set-Cookie", value: b"lb=AAAAAAAAAAAAAAAAAAAAAAAA; Path=/; HttpOnly" }];
    let edits = ResponseEdits { keep_alive: true, via, fields: &cookie, ..ResponseEdits::default() };
    report("write response, Via and Set-Cookie added", || {
        out.clear();
        write::response(RESPONSE, &head, &edits, &mut out).expect("good edits");
        out.len()
    });

    let mut content = Vec::new();
    for _ in 0..16 {
        content.extend_from_slice(b"1000\r\n");
        content.extend_from_slice(&[b'x'; 4096]);
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(b"0\r\n\r\n");
    let mut decoder = Decoder::default();
    report("decode chunked content, 16 chunks of 4 KiB", || {
        decoder.reset(Framing::Chunked, &limits);
        let mut at = 0;
        loop {
            let step = decoder.decode(&black_box(&content)[at..]).expect("good chunks");
            at += step.consumed;
            if step.state == State::Done {
                return at;
            }
        }
    });
}

fn parse(buf: &[u8], limits: &Limits, head: &mut RequestHead) -> usize {
    head.reset();
    match h1::parse_request(black_box(buf), limits, head) {
        Ok(Parse::Done { len }) => len,
        _ => 0,
    }
}

fn report(what: &str, mut run: impl FnMut() -> usize) {
    const TIMES: u32 = 1_000;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..TIMES {
                black_box(run());
            }
            start.elapsed().as_nanos() as f64 / f64::from(TIMES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{:7.1} ns  (best {:.1})  {what}", rounds[ROUNDS / 2], rounds[0]);
}
