//! The little HTTP server for metrics, readiness and the status page.
//!
//! It serves GET and HEAD of four paths, one request a connection, and is made to survive whatever connects:
//! a bounded number of clients, a bounded head, one time-out for the request and one for the whole exchange.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::places::{Mark, Places};
use super::{State, html};
use crate::limits::{PLACE_LOOK_MS, WEB_CONNECTIONS_MAX, WEB_EXCHANGE_S, WEB_HEAD_BYTES_MAX, WEB_HEAD_S};

/// Accepts clients until dropped.
///
/// When all places are taken, whoever holds one for nothing goes: silent ones (a request follows its connection at once)
/// and those that do not read, so a crowd of either keeps no scraper out.
pub async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut places = Places::new(WEB_CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while !places.make_room() {
                    tokio::time::sleep(Duration::from_millis(PLACE_LOOK_MS)).await;
                }
                let state = Arc::clone(&state);
                places.take(|mark| async move {
                    let exchange = exchange(stream, &state, &mark);
                    // Whoever is too slow or goes away gets nothing more; there is nobody to tell.
                    let done = tokio::time::timeout(Duration::from_secs(WEB_EXCHANGE_S), exchange).await;
                    tracing::trace!(in_time = done.is_ok(), "metrics client served");
                });
                // It reads what has come with the connection before the next one could take its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::debug!(%error, "metrics client not accepted");
                // No file descriptor left: come back when somebody has closed one.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Binds the address of the metrics.
///
/// # Errors
/// The system's: taken, not local, not allowed.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn exchange(mut stream: TcpStream, state: &State, mark: &Mark) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1_024);
    let limit = Duration::from_secs(WEB_HEAD_S);
    let Ok(end) = tokio::time::timeout(limit, read_head(&mut stream, &mut head)).await else { return Ok(()) };
    mark.asked();
    let answer = match end? {
        Head::Whole(end) => answer(&head[..end], state),
        Head::TooLong => Answer::text(431, "the head is too long\n"),
        Head::Cut => return Ok(()),
    };
    let head_only = head.starts_with(b"HEAD ");
    mark.write(&mut stream, answer.head().as_bytes()).await?;
    if !head_only {
        mark.write(&mut stream, answer.body.as_bytes()).await?;
    }
    stream.shutdown().await?;
    mark.done();
    // Read what is still coming, so that closing does not reset the connection before the answer is read.
    let mut rest = [0; 1_024];
    let mut left = 16;
    while left > 0 && stream.read(&mut rest).await? > 0 {
        left -= 1;
    }
    Ok(())
}

/// How a request's head ended.
enum Head {
    /// After so many bytes.
    Whole(usize),
    TooLong,
    /// The client left before.
    Cut,
}

async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> std::io::Result<Head> {
    loop {
        if let Some(end) = find(head, b"\r\n\r\n") {
            return Ok(Head::Whole(end));
        }
        if head.len() >= WEB_HEAD_BYTES_MAX {
            return Ok(Head::TooLong);
        }
        let mut piece = [0; 1_024];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(Head::Cut);
        }
        head.extend_from_slice(&piece[..read]);
    }
}

struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    fn head(&self) -> String {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if self.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; style-src {}\r\n\
             Connection: close\r\n\r\n",
            self.status,
            self.kind,
            self.body.len(),
            html::style_policy()
        )
    }
}

//= OBS-WEB-01
//= OBS-WEB-02
fn answer(head: &[u8], state: &State) -> Answer {
    let line = head.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let parts: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return Answer::text(400, "this is no HTTP request\n");
    };
    if !version.starts_with(b"HTTP/1.") || !target.starts_with(b"/") {
        return Answer::text(400, "this is no HTTP/1 request\n");
    }
    if *method != b"GET" && *method != b"HEAD" {
        return Answer::text(405, "only GET and HEAD are served here\n");
    }
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    match path {
        b"/metrics" => Answer {
            status: 200,
            kind: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            body: state.metrics_page(),
        },
        b"/healthz" => Answer::text(200, "ok\n"),
        b"/readyz" if state.is_ready() => Answer::text(200, "ready\n"),
        b"/readyz" => Answer::text(503, "not ready\n"),
        b"/" => Answer { status: 200, kind: "text/html; charset=utf-8", body: html::page(state) },
        _ => Answer::text(404, "served here: / /metrics /healthz /readyz\n"),
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
