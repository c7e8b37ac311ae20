//! An HTTP/1.1 client: strict about what it reads, with a cookie jar and a chosen address.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::wire::Wire;

/// A client that speaks one request at a time and keeps its connection while it can.
pub struct Client {
    to: SocketAddr,
    from: Option<IpAddr>,
    patience: Duration,
    /// Cookies it was given, sent with every request. `None`: it takes none.
    pub jar: Option<BTreeMap<String, String>>,
    wire: Option<Wire>,
}

/// One request.
#[derive(Clone, Default)]
pub struct Request {
    /// Method; empty means GET.
    pub method: String,
    /// Target, as sent.
    pub target: String,
    /// Further fields, as sent, each without its line end.
    pub fields: Vec<String>,
    /// Body, sent with a Content-Length; `None`: no body.
    pub body: Option<Vec<u8>>,
    /// Ask to close the connection.
    pub last: bool,
}

impl Request {
    /// A GET.
    pub fn get(target: &str) -> Self {
        Self { target: target.to_owned(), ..Self::default() }
    }

    /// A POST with a body.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST".into(), body: Some(body.into()), ..Self::get(target) }
    }

    /// With a further field.
    #[must_use]
    pub fn field(mut self, line: impl Into<String>) -> Self {
        self.fields.push(line.into());
        self
    }

    /// As the connection's last request.
    #[must_use]
    pub fn last(mut self) -> Self {
        self.last = true;
        self
    }
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// Body, its framing taken off.
    pub body: Vec<u8>,
}

impl Answer {
    /// First value of a field (name in lower case).
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a field.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The demo server that answered; empty if none did.
    pub fn server(&self) -> &str {
        self.field("x-demo-server").unwrap_or_default()
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Body as JSON.
    ///
    /// # Panics
    /// If it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Value of a cookie that this answer sets.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.fields("set-cookie")
            .find_map(|c| c.split(';').next()?.trim().strip_prefix(name)?.strip_prefix('='))
    }
}

impl Client {
    /// A client of `to` with an empty jar.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, from: None, patience: Duration::from_secs(20), jar: Some(BTreeMap::new()), wire: None }
    }

    /// With a source address of its own.
    #[must_use]
    pub fn from(mut self, ip: IpAddr) -> Self {
        self.from = Some(ip);
        self
    }

    /// That waits this long for an answer.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// That takes no cookies.
    #[must_use]
    pub fn without_jar(mut self) -> Self {
        self.jar = None;
        self
    }

    /// Puts a cookie into the jar.
    #[must_use]
    pub fn with_cookie(mut self, name: &str, value: &str) -> Self {
        self.jar.get_or_insert_default().insert(name.to_owned(), value.to_owned());
        self
    }

    /// GET on the kept connection, or a new one.
    ///
    /// # Errors
    /// Whatever went wrong on the wire or with the answer's framing. Nothing is repeated.
    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.send(&Request::get(target))
    }

    /// GET on a connection that is closed afterwards.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn get_once(&mut self, target: &str) -> io::Result<Answer> {
        self.close();
        self.send(&Request::get(target).last())
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn send(&mut self, request: &Request) -> io::Result<Answer> {
        let answer = self.exchange(request);
        if answer.is_err() || request.last {
            self.wire = None;
        }
        answer
    }

    /// Gives up the kept connection.
    pub fn close(&mut self) {
        self.wire = None;
    }

    /// Whether a connection is kept.
    pub fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        if self.wire.is_none() {
            let wire = match self.from {
                Some(from) => Wire::connect_from(from, self.to)?,
                None => Wire::connect(self.to)?,
            };
            self.wire = Some(wire);
        }
        let text = self.text(request);
        let wire = self.wire.as_mut().expect("set above");
        wire.deadline(Instant::now() + self.patience);
        wire.send(text)?;
        let head_only = request.method == "HEAD";
        let (answer, keep) = read_answer(wire, head_only)?;
        if !keep {
            self.wire = None;
        }
        if let Some(jar) = &mut self.jar {
            for pair in answer.fields("set-cookie").filter_map(|c| c.split(';').next()) {
                let (name, value) = pair.split_once('=').ok_or_else(|| bad("a cookie without a name"))?;
                jar.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(answer)
    }

    fn text(&self, request: &Request) -> Vec<u8> {
        let method = if request.method.is_empty() { "GET" } else { &request.method };
        let mut text = format!("{method} {} HTTP/1.1\r\n", request.target);
        if !request.fields.iter().any(|field| field.starts_with("Host: ")) {
            text += &format!("Host: {}\r\n", self.to);
        }
        if let Some(jar) = self.jar.as_ref().filter(|j| !j.is_empty()) {
            let pairs: Vec<String> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
            text += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        for field in &request.fields {
            text += &format!("{field}\r\n");
        }
        if let Some(body) = &request.body {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += if request.last { "Connection: close\r\n\r\n" } else { "\r\n" };
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(request.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// Reads one final answer; informational ones are passed over. Also whether the connection goes on.
///
/// # Errors
/// Those of the wire; `InvalidData` for an answer that breaks the framing rules.
pub fn read_answer(wire: &mut Wire, head_only: bool) -> io::Result<(Answer, bool)> {
    loop {
        let head = wire.head()?;
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default();
        let status = start
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| start.strip_prefix("HTTP/1.0 "))
            .and_then(|s| s.get(..3))
            .and_then(|s| s.parse::<u16>().ok())
            .ok_or_else(|| bad(&format!("no status line: {start:?}")))?;
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, fields, body: Vec::new() };
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let token = |name: &str, token: &str| {
            answer.fields(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
        };
        let mut keep = start.starts_with("HTTP/1.1") && !token("connection", "close");
        let chunked = token("transfer-encoding", "chunked");
        let lengths: Vec<String> = answer.fields("content-length").map(str::to_owned).collect();
        if chunked && !lengths.is_empty() || lengths.len() > 1 {
            return Err(bad("two framings"));
        }
        answer.body = if head_only || matches!(status, 101 | 204 | 304) {
            Vec::new()
        } else if chunked {
            chunks(wire)?
        } else if let Some(n) = lengths.first() {
            wire.exactly(n.parse().map_err(|_| bad("Content-Length is no number"))?)?
        } else {
            keep = false;
            wire.rest()?
        };
        return Ok((answer, keep));
    }
}

fn chunks(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&wire.until(b"\r\n")?).into_owned();
        let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap_or_default(), 16)
            .map_err(|_| bad(&format!("chunk size {line:?}")))?;
        if size == 0 {
            while wire.until(b"\r\n")? != b"\r\n" {}
            return Ok(body);
        }
        body.extend(wire.exactly(size)?);
        if wire.exactly(2)? != b"\r\n" {
            return Err(bad("bytes after a chunk"));
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
