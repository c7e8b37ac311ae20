//! The pages of the demo server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::http::Head;

/// Longest sleep of `/slow`, in milliseconds.
const SLOW_MS_MAX: u64 = 600_000;
/// Longest body of `/bytes`: 4 GiB.
const BYTES_MAX: u64 = 1 << 32;
/// Longest chunk of `/bytes`, in bytes.
const CHUNK_MAX: u64 = 64 * 1024;
/// What `/bytes` repeats.
const PATTERN: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// One request, its body already read.
pub struct Request {
    /// Start line and fields.
    pub head: Head,
    /// Bytes in the body.
    pub body_bytes: u64,
    /// [`Checksum`] of the body.
    pub body_checksum: u64,
    client: SocketAddr,
    method: String,
    target: String,
    minor: u8,
}

impl Request {
    /// `None` if the start line is no HTTP/1 request line.
    pub fn parse(head: Head, client: SocketAddr) -> Option<Self> {
        let mut words = head.start.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let minor = match version {
            "HTTP/1.1" => 1,
            "HTTP/1.0" => 0,
            _ => return None,
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        Some(Self { head, body_bytes: 0, body_checksum: 0, client, method, target, minor })
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        // A session id may ride in the path: `/login;jsessionid=...`.
        path.split(';').next().unwrap_or_default()
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }

    /// Whether the connection is good for another request.
    pub fn keep_alive(&self) -> bool {
        match self.minor {
            0 => self.head.has_token("connection", "keep-alive"),
            _ => !self.head.has_token("connection", "close"),
        }
    }
}

/// FNV-1a, 64 bit: shows that a body arrived unchanged.
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Takes in further bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0
    }
}

/// Writes the page that the request asks for.
pub fn answer(out: &mut impl Write, name: &str, request: &Request, keep: bool) -> io::Result<()> {
    let page = Page { name, keep, head_only: request.method == "HEAD", minor: request.minor };
    match request.path() {
        "/health" => page.send(out, 200, "text/plain", "", b"ok\n"),
        "/slow" => {
            let ms = request.number("ms").unwrap_or(1000).min(SLOW_MS_MAX);
            std::thread::sleep(Duration::from_millis(ms));
            page.send(out, 200, "text/plain", "", format!("{name} slept {ms} ms\n").as_bytes())
        }
        "/status" => {
            let code = request.number("code").filter(|c| (200..=599).contains(c)).unwrap_or(200);
            page.send(out, code as u16, "text/plain", "", format!("{name} says {code}\n").as_bytes())
        }
        "/bytes" => page.bytes(out, request),
        "/login" => {
            let cookie = format!("Set-Cookie: JSESSIONID={}; Path=/; HttpOnly\r\n", session_id());
            page.send(out, 200, "text/plain", &cookie, format!("{name} knows you now\n").as_bytes())
        }
        _ => {
            let echo = json!({
                "server": name,
                "client": request.client.to_string(),
                "method": request.method,
                "target": request.target,
                "path": request.target.split('?').next(),
                "query": request.query(),
                "version": format!("1.{}", request.minor),
                "headers": request.head.fields,
                "body_bytes": request.body_bytes,
                "body_checksum": format!("{:016x}", request.body_checksum),
            });
            page.send(out, 200, "application/json", "", format!("{echo}\n").as_bytes())
        }
    }
}

/// A plain answer after which the connection is closed.
pub fn plain(out: &mut impl Write, name: &str, code: u16, text: &str) -> io::Result<()> {
    let page = Page { name, keep: false, head_only: false, minor: 1 };
    page.send(out, code, "text/plain", "", text.as_bytes())?;
    out.flush()
}

struct Page<'a> {
    name: &'a str,
    keep: bool,
    head_only: bool,
    minor: u8,
}

impl Page<'_> {
    fn head(&self, out: &mut impl Write, code: u16, kind: &str, more: &str) -> io::Result<()> {
        let reason = reason(code);
        let connection = match (self.keep, self.minor) {
            (false, _) => "Connection: close\r\n",
            (true, 0) => "Connection: keep-alive\r\n",
            (true, _) => "",
        };
        write!(
            out,
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nX-Demo-Server: {}\r\n{connection}{more}",
            self.name
        )
    }

    fn send(&self, out: &mut impl Write, code: u16, kind: &str, more: &str, body: &[u8]) -> io::Result<()> {
        self.head(out, code, kind, more)?;
        if matches!(code, 204 | 304) {
            return out.write_all(b"\r\n");
        }
        write!(out, "Content-Length: {}\r\n\r\n", body.len())?;
        if self.head_only { Ok(()) } else { out.write_all(body) }
    }

    fn bytes(&self, out: &mut impl Write, request: &Request) -> io::Result<()> {
        let n = request.number("n").unwrap_or(1024).min(BYTES_MAX);
        let chunked = request.number("chunked").is_some_and(|c| c > 0) && self.minor > 0;
        self.head(out, 200, "application/octet-stream", "")?;
        if chunked {
            out.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?;
        } else {
            write!(out, "Content-Length: {n}\r\n\r\n")?;
        }
        if self.head_only {
            return Ok(());
        }
        let chunk = request.number("chunk").unwrap_or(8192).clamp(1, CHUNK_MAX);
        let mut at = 0;
        while at < n {
            let piece = chunk.min(n - at);
            if chunked {
                write!(out, "{piece:x}\r\n")?;
            }
            write_pattern(out, at, piece)?;
            if chunked {
                out.write_all(b"\r\n")?;
            }
            at += piece;
        }
        if chunked { out.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }
}

fn write_pattern(out: &mut impl Write, from: u64, n: u64) -> io::Result<()> {
    let (mut at, end) = (from, from + n);
    while at < end {
        let start = (at % 26) as usize;
        let take = (PATTERN.len() - start).min((end - at) as usize);
        out.write_all(&PATTERN[start..start + take])?;
        at += take as u64;
    }
    Ok(())
}

/// Unlike any other one: time, process and a count in it. Not secret; this is a demo.
fn session_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut mixed = time ^ (u64::from(std::process::id()) << 40) ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    format!("{mixed:016X}{:08X}{count:08X}", std::process::id())
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
