//! A small blocking HTTP/1.1 reader, for the demo server, for the load of `up`, and for the Controller's answers.
//!
//! Both ends are ours. What faces strangers is `forebay-http`.

use std::io::{self, Read};

/// Longest message head that is read, in bytes: above the service engine's own default limit, so
/// that the engine's limit is the one that is met.
const HEAD_MAX: usize = 128 * 1024;
/// Bytes asked for in one read.
const READ_CHUNK: usize = 16 * 1024;

/// Start line and fields of a message.
pub struct Head {
    /// The request line or status line, without its line end.
    pub start: String,
    /// Names in lower case, and values, in order of arrival.
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a field without a colon"))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { start, fields })
    }

    /// The first field of this name (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All fields of this name (lower case).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether a comma-separated field holds this token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// How the body that follows this head is framed; `until_close` says what no framing means.
    pub fn framing(&self, until_close: bool) -> io::Result<Framing> {
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        match self.get("content-length") {
            Some(n) => n.parse().map(Framing::Length).map_err(|_| bad("content-length is no number")),
            None if until_close => Ok(Framing::UntilClose),
            None => Ok(Framing::Length(0)),
        }
    }
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The reading half of a connection, with what has been read ahead.
pub struct Reader<S> {
    stream: S,
    ahead: Vec<u8>,
}

impl<S: Read> Reader<S> {
    /// Starts with nothing read.
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// The connection.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next head; `None` if the connection ended before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut seen = 0;
        loop {
            let from = seen_from(seen);
            if let Some(at) = find(&self.ahead[from..], b"\r\n\r\n") {
                let end = from + at;
                let head = Head::parse(&self.ahead[..end]);
                self.ahead.drain(..end + 4);
                return head.map(Some);
            }
            seen = self.ahead.len();
            if seen > HEAD_MAX {
                return Err(bad("the head is too long"));
            }
            if self.more()? == 0 {
                return if seen == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads a body to its end and hands out its bytes; returns how many there were.
    pub fn body(&mut self, framing: Framing, mut sink: impl FnMut(&[u8])) -> io::Result<u64> {
        match framing {
            Framing::Length(n) => self.exactly(n, &mut sink).map(|()| n),
            Framing::Chunked => {
                let mut total = 0;
                loop {
                    let line = self.line()?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let n = u64::from_str_radix(size, 16).map_err(|_| bad("bad chunk size"))?;
                    if n == 0 {
                        while !self.line()?.is_empty() {}
                        return Ok(total);
                    }
                    self.exactly(n, &mut sink)?;
                    if !self.line()?.is_empty() {
                        return Err(bad("bytes after a chunk"));
                    }
                    total += n;
                }
            }
            Framing::UntilClose => {
                let mut total = 0;
                loop {
                    if self.ahead.is_empty() && self.more()? == 0 {
                        return Ok(total);
                    }
                    total += self.ahead.len() as u64;
                    sink(&self.ahead);
                    self.ahead.clear();
                }
            }
        }
    }

    /// Reads exactly `n` bytes and hands them out.
    pub fn exactly(&mut self, mut n: u64, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while n > 0 {
            if self.ahead.is_empty() && self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let take = self.ahead.len().min(usize::try_from(n).unwrap_or(usize::MAX));
            sink(&self.ahead[..take]);
            self.ahead.drain(..take);
            n -= take as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                let line = String::from_utf8_lossy(&self.ahead[..at]).into_owned();
                self.ahead.drain(..at + 2);
                return Ok(line);
            }
            if self.ahead.len() > HEAD_MAX {
                return Err(bad("a line is too long"));
            }
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn more(&mut self) -> io::Result<usize> {
        let old = self.ahead.len();
        self.ahead.resize(old + READ_CHUNK, 0);
        let got = loop {
            match self.stream.read(&mut self.ahead[old..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.ahead.truncate(old + *got.as_ref().unwrap_or(&0));
        got
    }
}

/// An error about bytes that make no sense.
pub fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

// A terminator may straddle two reads.
fn seen_from(seen: usize) -> usize {
    seen.saturating_sub(3)
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte per read.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn heads_and_bodies_are_found_however_the_bytes_arrive() {
        let mut r = Reader::new(Drip(
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
        ));
        let head = r.head().unwrap().unwrap();
        assert_eq!(head.start, "POST /a HTTP/1.1");
        let mut body = Vec::new();
        let n = r.body(head.framing(false).unwrap(), |b| body.extend_from_slice(b)).unwrap();
        assert_eq!((n, body.as_slice()), (5, b"abcde".as_slice()));
        let head = r.head().unwrap().unwrap();
        body.clear();
        r.body(head.framing(false).unwrap(), |b| body.extend_from_slice(b)).unwrap();
        assert_eq!(body, b"hi");
        assert!(r.head().unwrap().is_none());
    }

    #[test]
    fn a_body_cut_short_is_an_error() {
        let mut r = Reader::new(Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"));
        let head = r.head().unwrap().unwrap();
        assert!(r.body(head.framing(true).unwrap(), |_| ()).is_err());
    }
}
