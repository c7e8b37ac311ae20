//! Golden cases: reading, running, writing down what came out. They stand in
//! `proto/http/tests/golden/{request,response,content}/*.txt`.
//!
//! A case names its rule in the first line, says it in the second, and then in sections what goes in and what
//! comes out:
//!
//! ```text
//! //= test H1-FRAME-01
//! A length beside a transfer coding is refused.
//! == with
//! limit.fields 3
//! == in
//! POST / HTTP/1.1\r\n
//! == refused
//! 400 H1-FRAME-01
//! ```
//!
//! Line ends of the file mean nothing; bytes are written with `\r \n \t \\ \xHH`, and `\{ab*3}` is `ababab`.
//! Outcomes are `forwarded` (bytes for the other side), `refused`, `left` (bytes that belong to no message), and
//! the flags `incomplete`, `closed`, `upgraded`; without a flag the connection waits for the next message.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use forebay_http::Limits;
use forebay_http::h1::write::{Forwarding, Hop, Policy, RequestEdits, ResponseEdits};
use forebay_http::h1::{Framing, Method, RequestContext, Upgrade, Version};

use crate::relay::{self, End, Outcome};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Content,
}

pub struct Case {
    pub path: PathBuf,
    pub rule: String,
    pub kind: Kind,
    pub with: Vec<(String, String)>,
    pub input: Vec<u8>,
    pub expected: String,
}

impl Case {
    pub fn run(&self, pieces: &[&[u8]]) -> Outcome {
        let pieces = pieces.iter().copied();
        let limits = self.limits();
        match self.kind {
            Kind::Request => {
                let mut edits = RequestEdits { default_host: b"192.0.2.1", ..RequestEdits::default() };
                let drop_cookie = self.option("drop_cookie").map(str::as_bytes);
                edits.drop_cookies = drop_cookie.as_slice();
                if let Some(client) = self.option("client") {
                    let client: IpAddr = client.parse().expect("client is an address");
                    edits.hop = Some(Hop { client, port: 443, tls: true });
                    edits.via = Some(b"edge");
                }
                if let Some(policy) = self.option("forwarding").map(policy) {
                    edits.forwarding = Forwarding {
                        x_forwarded_for: policy,
                        x_forwarded_proto: policy,
                        x_forwarded_port: policy,
                        forwarded: policy,
                    };
                }
                edits.close = self.option("close").is_some();
                relay::requests(pieces, &limits, &edits)
            }
            Kind::Response => {
                let upgrade = self.option("upgrade").map(|_| Upgrade::WebSocket);
                let method = Method::of(self.option("method").unwrap_or("GET").as_bytes());
                let context = RequestContext { method, upgrade, interims: 0 };
                let client = match self.option("version") {
                    Some("1.0") => Version::Http10,
                    _ => Version::Http11,
                };
                let edits = ResponseEdits {
                    client,
                    te_trailers: self.option("trailers").is_some(),
                    keep_alive: self.option("close").is_none(),
                    date: self.option("date").map(str::as_bytes),
                    via: self.option("via").map(str::as_bytes),
                    fields: &[],
                };
                relay::responses(pieces, &limits, context, &edits, self.option("server_closes").is_some())
            }
            Kind::Content => relay::content(pieces, &limits, Framing::Chunked),
        }
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.with.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (name, value) in &self.with {
            let Some(name) = name.strip_prefix("limit.") else { continue };
            let number: u32 = value.parse().expect("a limit is a number");
            match name {
                "head_bytes" => limits.head_bytes = number,
                "target_bytes" => limits.target_bytes = number,
                "field_bytes" => limits.field_bytes = number,
                "fields" => limits.fields = number,
                "body_bytes" => limits.body_bytes = number.into(),
                "trailer_bytes" => limits.trailer_bytes = number,
                "trailer_fields" => limits.trailer_fields = number,
                "interim_responses" => limits.interim_responses = number,
                _ => panic!("{}: unknown limit {name}", self.path.display()),
            }
        }
        limits
    }

    pub fn refused_by(&self) -> Option<String> {
        let (_, rest) = self.expected.split_once("== refused\n")?;
        rest.split_whitespace().nth(1).map(str::to_owned)
    }

    fn read(path: PathBuf) -> Case {
        let text = std::fs::read_to_string(&path).unwrap();
        let kind = match path.parent().unwrap().file_name().unwrap().to_str().unwrap() {
            "request" => Kind::Request,
            "response" => Kind::Response,
            "content" => Kind::Content,
            other => panic!("no kind of case is called {other}"),
        };
        let rule = text
            .lines()
            .next()
            .and_then(|l| l.strip_prefix("//= test "))
            .expect("a case names its rule")
            .to_owned();
        let (head, rest) = text.split_once("== in\n").expect("a case has an input");
        let (input, expected) = match rest.find("\n== ") {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        let with = head.split_once("== with\n").map_or("", |(_, with)| with);
        let with = with
            .lines()
            .map(|line| {
                let (name, value) = line.split_once(' ').unwrap_or((line, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Case { rule, kind, with, input: unescape(input), expected: expected.to_owned(), path }
    }
}

fn policy(name: &str) -> Policy {
    match name {
        "keep" => Policy::Keep,
        "append" => Policy::Append,
        "extend" => Policy::Extend,
        "replace" => Policy::Replace,
        "remove" => Policy::Remove,
        _ => panic!("no policy is called {name}"),
    }
}

/// Writes an outcome the way the files do.
pub fn describe(outcome: &Outcome) -> String {
    let mut text = String::new();
    if !outcome.forwarded.is_empty() {
        text.push_str("== forwarded\n");
        text.push_str(&escape(&outcome.forwarded));
    }
    match outcome.end {
        End::Idle => {}
        End::Incomplete => text.push_str("== incomplete\n"),
        End::Closed => text.push_str("== closed\n"),
        End::Upgraded => text.push_str("== upgraded\n"),
        End::Refused(reject) => {
            let _ = writeln!(text, "== refused\n{} {}", reject.status, reject.rule.id());
        }
    }
    if !outcome.left.is_empty() {
        text.push_str("== left\n");
        text.push_str(&escape(&outcome.left));
    }
    text
}

pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let b = bytes[at];
        let run = bytes[at..].iter().take_while(|&&c| c == b).count();
        match b {
            b'a'..=b'z' if run > 20 => {
                let _ = write!(text, "\\{{{}*{run}}}", b as char);
                at += run;
                continue;
            }
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(b as char),
            _ => {
                let _ = write!(text, "\\x{b:02x}");
            }
        }
        at += 1;
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\n' {
            continue;
        }
        if c != '\\' {
            assert!(c.is_ascii(), "other bytes are written as \\xHH");
            bytes.push(c as u8);
            continue;
        }
        let kind = rest.chars().next().expect("a backslash begins an escape");
        rest = &rest[1..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            '{' => {
                let (repeat, after) = rest.split_once('}').expect("a repetition ends with }");
                let (what, times) = repeat.rsplit_once('*').expect("a repetition has a number");
                bytes.extend(unescape(what).repeat(times.parse().expect("a number")));
                rest = after;
            }
            _ => panic!("no escape is called \\{kind}"),
        }
    }
    bytes
}

/// Reads all cases below the folder `golden`.
pub fn cases(golden: &Path) -> Vec<Case> {
    files(golden, "txt").into_iter().map(Case::read).collect()
}

/// Returns all files below a folder with this extension, sorted.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
