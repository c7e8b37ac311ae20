//! One connection to a Controller, by which requests go one after another.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use super::failure::{Failure, Kind};
use super::tls::{self, Stream};
use crate::http::Reader;

/// The port of a Controller's API where none is named.
const PORT: u16 = 9443;
/// A connection comes about in this time, or not.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer comes in this time, or not: more than the Controller gives itself.
const ANSWER: Duration = Duration::from_secs(60);
/// The most of an answer, bytes: a page of 200 objects of the longest kind has less.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its content; `Null` where there is none.
    pub content: Value,
    /// The cookies that it sets.
    pub cookies: Vec<(String, String)>,
    /// It says that what was asked for was tried, and not done.
    pub is_tried: bool,
    /// What it says of something that was done all the same.
    pub warnings: Vec<String>,
}

/// A connection to a Controller.
pub struct Link {
    host: String,
    reader: Reader<Stream>,
    /// The fingerprint of the certificate that the other end showed.
    pub shown: String,
}

/// Host and port of `host`, `host:port`, `https://host:port/` or `[::1]:port`.
///
/// # Errors
/// It is something else.
pub fn host_and_port(text: &str) -> Result<(String, u16), Failure> {
    let bare = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let wrong = || {
        let text: String = text.chars().take(80).flat_map(char::escape_default).collect();
        super::failure::usage(format!("\"{text}\" is no address of a Controller: write HOST or HOST:PORT"))
    };
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
    };
    let (host, port) = match bare.strip_prefix('[').map(|rest| rest.split_once(']').ok_or_else(wrong)) {
        Some(split) => {
            let (host, rest) = split?;
            (host, rest.strip_prefix(':'))
        }
        None => bare.rsplit_once(':').map_or((bare, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(PORT), str::parse).map_err(|_| wrong())?;
    if is_host(host) { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

impl Link {
    /// Connects to who has the certificate of this fingerprint; `None`: to anybody, to see which one there is.
    ///
    /// # Errors
    /// Nobody answers, or somebody else.
    pub fn open(at: &str, fingerprint: Option<&str>) -> Result<Self, Failure> {
        let (host, port) = host_and_port(at)?;
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::new(
                Kind::Unreachable,
                format!("the Controller at {host}:{port} cannot be reached: {error}"),
            )
            .next(format!("is it running? curl -k https://{at}/api/cluster/status"))
        };
        let addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| unreachable(&error))?;
        let mut last = io::Error::other("it has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(socket) => {
                    let ready = socket
                        .set_nodelay(true)
                        .and_then(|()| socket.set_read_timeout(Some(ANSWER)))
                        .and_then(|()| socket.set_write_timeout(Some(ANSWER)));
                    ready.map_err(|error| unreachable(&error))?;
                    let (stream, shown) =
                        tls::connect(&host, socket, fingerprint).map_err(|error| match error.kind() {
                            io::ErrorKind::PermissionDenied => Failure::new(
                                Kind::Unreachable,
                                format!(
                                    "{host}:{port} shows another certificate than at login: it is another \
                                     Controller, its certificate was renewed, or somebody is in between"
                                ),
                            )
                            .next(format!("forebay login {at}   (after you have compared the fingerprint)")),
                            _ => unreachable(&error),
                        })?;
                    let host = if host.contains(':') { format!("[{host}]") } else { host };
                    return Ok(Link { host: format!("{host}:{port}"), reader: Reader::new(stream), shown });
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(&last))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        content: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let at = self.host.clone();
        self.exchange(method, path, headers, content).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::new(
                Kind::Late,
                format!("{at} did not answer {method} {path} within {} s", ANSWER.as_secs()),
            ),
            _ => Failure::new(
                Kind::Unreachable,
                format!("{method} {path}: the connection to {at} broke: {error}"),
            ),
        })
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        content: Option<&Value>,
    ) -> io::Result<Answer> {
        let content = content.map(Value::to_string).unwrap_or_default();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nAccept: application/json\r\n",
            self.host,
            content.len()
        );
        if !content.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = self.reader.stream();
        stream.write_all(head.as_bytes())?;
        stream.write_all(content.as_bytes())?;
        stream.flush()?;
        let head = self.reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other("this is no answer of HTTP"))?;
        let cookies = head
            .all("set-cookie")
            .filter_map(|line| line.split(';').next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let is_tried = head.all("x-forebay-dry-run").any(|value| value == "true");
        let warnings = head.all("x-forebay-warning").map(str::to_owned).collect();
        let mut bytes = Vec::new();
        if status != 204 {
            let mut came = 0;
            self.reader.body(head.framing(true)?, |part| {
                came += part.len() as u64;
                if came <= ANSWER_BYTES_MAX {
                    bytes.extend_from_slice(part);
                }
            })?;
            if came > ANSWER_BYTES_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
        }
        let content = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, content, cookies, is_tried, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_named_by_host_and_port() {
        for (text, host, port) in [
            ("lb1", "lb1", 9443),
            ("10.0.0.1:443", "10.0.0.1", 443),
            ("https://lb1.test:9443/", "lb1.test", 9443),
            ("[::1]:9443", "::1", 9443),
            ("[fe80::1]", "fe80::1", 9443),
        ] {
            assert_eq!(host_and_port(text).expect(text), (host.to_owned(), port));
        }
        for text in ["", "http://lb1", "lb1:x", "a b", "lb1/api", "lb1:70000", "[::1", "a\r\nb"] {
            let failure = host_and_port(text).expect_err(text);
            assert_eq!(failure.kind, Kind::Usage, "{text}");
        }
    }
}
