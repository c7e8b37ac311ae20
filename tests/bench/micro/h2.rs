//! A request over HTTP/2 decoded and answered: by our engine, by the h2 crate on the same bytes, and a request of
//! HTTP/1.1 beside them.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use forebay_http::Limits;
use forebay_http::h1::write::{self, RequestEdits, ResponseEdits};
use forebay_http::h1::{self, Parse, RequestContext, RequestHead, ResponseHead};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::figure::{Report, median};
use crate::host::{allocations, cpu_ns};

const BROWSER: &str = "GET /assets/products/list?category=chairs&page=2 HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\nReferer: https://shop.example.com/assets/products\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\n\r\n";

const SMALL: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 0\r\nETag: \"654a0c4e-400\"\r\nVary: Accept-Encoding\r\n\r\n";

/// Requests that come in one piece, as from a client with so many streams.
const TOGETHER: usize = 16;

/// Requests of one connection; the h2 crate keeps nothing beyond them.
const REQUESTS: usize = 20_000;

/// Measures and prints, the middle of `rounds`.
///
/// # Errors
/// A side does not answer every request.
pub fn run(rounds: usize) -> anyhow::Result<()> {
    let report = Report::new("h2");
    for (name, head) in [("browser", BROWSER), ("small", SMALL)] {
        let input = record(head)?;
        let bytes: usize = input.iter().map(Vec::len).sum();
        report.put(&format!("{name}_bytes_in"), bytes as f64 / REQUESTS as f64, "bytes");
        let mut all = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds.max(1) {
            for (values, side) in all.iter_mut().zip([ours, proxied, crates, plain]) {
                values.push(side(&input, head)?);
            }
        }
        let names = ["engine", "engine_and_heads_of_http1", "h2_crate", "http1_alone"];
        for (side, mut values) in names.iter().zip(all) {
            report.put(&format!("{name}_{side}"), median(&mut values), "ns");
        }
        let before = allocations();
        ours(&input, head)?;
        let each = (allocations() - before) as f64 / REQUESTS as f64;
        report.put(&format!("{name}_engine_allocations"), each, "a request");
        let before = allocations();
        crates(&input, head)?;
        let each = (allocations() - before) as f64 / REQUESTS as f64;
        report.put(&format!("{name}_h2_crate_allocations"), each, "a request");
    }
    Ok(())
}

/// What a client sends, in pieces of [`TOGETHER`] requests.
fn record(head: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut piece = Vec::new();
    let mut client = Connection::new(Role::Client, &Config::default(), &mut piece);
    let mut pieces = Vec::new();
    for _ in 0..REQUESTS / TOGETHER {
        for _ in 0..TOGETHER {
            let id = client.open(head.as_bytes(), b"https", &[], true, &mut piece)?;
            // Nobody answers here; the other side hears nothing of it.
            client.reset(id, forebay_http::h2::Code::No, &mut Vec::new());
        }
        pieces.push(std::mem::take(&mut piece));
    }
    Ok(pieces)
}

/// Feeds all pieces; `each` answers a request. Returns CPU nanoseconds a request.
fn feed(
    input: &[Vec<u8>],
    mut each: impl FnMut(&mut Connection, u32, &Inbox, &mut Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let (mut out, mut inbox) = (Vec::with_capacity(64 << 10), Inbox::default());
    let mut connection = Connection::new(Role::Server, &Config::default(), &mut out);
    let begin = cpu_ns();
    let mut answered = 0;
    for piece in input {
        let mut at = 0;
        loop {
            let step = connection.feed(&piece[at..], 0, &mut inbox, &mut out);
            at += step.consumed;
            match step.event {
                Event::NeedInput => break,
                Event::Request { stream, .. } => {
                    each(&mut connection, stream, &inbox, &mut out)?;
                    answered += 1;
                }
                event => anyhow::bail!("{event:?}"),
            }
        }
        black_box(&out);
        out.clear();
    }
    ensure!(answered == REQUESTS, "{answered} of {REQUESTS}");
    Ok((cpu_ns() - begin) as f64 / REQUESTS as f64)
}

fn ours(input: &[Vec<u8>], _: &str) -> anyhow::Result<f64> {
    feed(input, |connection, stream, inbox, out| {
        black_box(inbox.request.fields.len());
        Ok(connection.head(stream, ANSWER.as_bytes(), &[], true, out)?)
    })
}

/// As a proxy between the versions: both heads written anew as well.
fn proxied(input: &[Vec<u8>], _: &str) -> anyhow::Result<f64> {
    let (mut text, mut head) = (Vec::new(), ResponseHead::default());
    feed(input, |connection, stream, inbox, out| {
        text.clear();
        write::request(&inbox.bytes, &inbox.request, &RequestEdits::default(), &mut text)?;
        black_box(&text);
        text.clear();
        head.reset();
        let context = RequestContext::of(&inbox.request);
        h1::parse_response(ANSWER.as_bytes(), &context, &Limits::default(), &mut head)?;
        let how = ResponseEdits::of(&inbox.request);
        write::response(ANSWER.as_bytes(), &head, &how, &mut text)?;
        Ok(connection.head(stream, &text, &[], true, out)?)
    })
}

/// A request of HTTP/1.1: both heads read and written anew.
fn plain(_: &[Vec<u8>], request: &str) -> anyhow::Result<f64> {
    let (mut out, mut head, mut response) = (Vec::new(), RequestHead::default(), ResponseHead::default());
    let begin = cpu_ns();
    for _ in 0..REQUESTS {
        out.clear();
        head.reset();
        response.reset();
        let parsed = h1::parse_request(request.as_bytes(), &Limits::default(), &mut head)?;
        ensure!(matches!(parsed, Parse::Done { .. }), "half a request");
        write::request(request.as_bytes(), &head, &RequestEdits::default(), &mut out)?;
        let context = RequestContext::of(&head);
        h1::parse_response(ANSWER.as_bytes(), &context, &Limits::default(), &mut response)?;
        write::response(ANSWER.as_bytes(), &response, &ResponseEdits::of(&head), &mut out)?;
        black_box(&out);
    }
    Ok((cpu_ns() - begin) as f64 / REQUESTS as f64)
}

/// A wire that holds what was recorded: a piece comes when all requests before it are answered.
struct Recorded<'a> {
    pieces: std::slice::Iter<'a, Vec<u8>>,
    rest: &'a [u8],
    given: usize,
    answered: &'a Cell<usize>,
}

impl AsyncRead for Recorded<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.rest.is_empty() {
            // Nobody has to be woken: the server reads again when it has answered.
            if self.answered.get() < self.given {
                return Poll::Pending;
            }
            match self.pieces.next() {
                None => return Poll::Ready(Ok(())),
                Some(piece) => self.rest = piece,
            }
            self.given += TOGETHER;
        }
        let len = self.rest.len().min(buffer.remaining());
        let (now, later) = self.rest.split_at(len);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(black_box(bytes).len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn crates(input: &[Vec<u8>], _: &str) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let begin = cpu_ns();
    let answered = Cell::new(0);
    let result = runtime.block_on(async {
        let wire = Recorded { pieces: input.iter(), rest: &[], given: 0, answered: &answered };
        let mut connection = h2::server::Builder::new().handshake::<_, Bytes>(wire).await?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            black_box(request.headers().len());
            let response = Response::builder()
                .header("server", "nginx/1.22.1")
                .header("date", "Sat, 21 Nov 2026 08:00:00 GMT")
                .header("content-type", "text/html; charset=utf-8")
                .header("content-length", "0")
                .header("etag", "\"654a0c4e-400\"")
                .header("vary", "Accept-Encoding");
            respond.send_response(response.body(())?, true)?;
            answered.set(answered.get() + 1);
        }
        anyhow::Ok(())
    });
    result.context("the h2 crate")?;
    ensure!(answered.get() == REQUESTS, "{} of {REQUESTS}", answered.get());
    Ok((cpu_ns() - begin) as f64 / REQUESTS as f64)
}
