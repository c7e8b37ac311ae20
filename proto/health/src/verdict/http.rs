//! Judges the answer to an HTTP probe.
//!
//! Tolerant where the proxy's own parser is strict: a probe never hands a byte of the answer on, and a server of
//! 1996 that ends lines with a bare LF and its answer with the connection is as healthy as any. What it needs is
//! the status and the first [`crate::limits::WINDOW_BYTES`].

use alloc::vec::Vec;

use super::{End, Failure, Verdict, Window, ended, position};
use crate::{
    limits::INTERIM_MAX,
    monitor::{Http, StatusSet},
};

/// Judges one HTTP answer.
#[derive(Clone, Debug)]
pub struct Evaluator {
    expect: StatusSet,
    response: Vec<u8>,
    maintenance_codes: Vec<u16>,
    maintenance: Vec<u8>,
    window: Window,
    interims: u8,
}

/// What the window says about the head.
enum Head {
    /// The status line is not complete yet.
    Partial,
    /// It cannot become one.
    Invalid,
    /// The status, and where the body starts if the head is complete.
    Status(u16, Option<usize>),
}

impl Evaluator {
    /// Starts for one probe.
    pub fn new(http: &Http) -> Self {
        Self {
            expect: http.expect.clone(),
            response: http.response.clone(),
            maintenance_codes: http.maintenance_codes.clone(),
            maintenance: http.maintenance_response.clone(),
            window: Window::default(),
            interims: 0,
        }
    }

    /// Judges with `bytes` more of the answer.
    //= HM-HTTP-02
    pub fn receive(&mut self, bytes: &[u8]) -> Verdict {
        let mut rest = bytes;
        loop {
            // An interim answer is dropped from the window, which makes room for more of `rest`.
            let before = self.window.bytes().len();
            self.window.push(rest);
            let taken = self.window.bytes().len() - before;
            rest = rest.get(taken..).unwrap_or(&[]);
            match self.skip_interim() {
                Some(true) => continue,
                Some(false) => return Verdict::Fail(Failure::NotHttp(self.window.excerpt())),
                None => return self.judge(),
            }
        }
    }

    /// Judges finally. The head need not be complete: many old servers just close.
    //= HM-HTTP-07
    pub fn finish(&mut self, end: End) -> Verdict {
        // A server that closes after `HTTP/1.0 200 OK` without a line end has said all that is needed.
        if matches!(head(self.window.bytes()), Head::Partial) && end == End::Closed {
            self.window.push(b"\n");
        }
        match head(self.window.bytes()) {
            Head::Partial => ended(end, self.window.excerpt()),
            Head::Invalid => Verdict::Fail(Failure::NotHttp(self.window.excerpt())),
            Head::Status(status, body) => {
                if let Some(verdict) = self.by_status(status, self.window.bytes(), true) {
                    return verdict;
                }
                match (self.window.contains(&self.response), end) {
                    // Without a text to look for, the head is the answer; a head that never ends is none.
                    (true, End::TimedOut) if body.is_none() && self.response.is_empty() => {
                        ended(end, self.window.excerpt())
                    }
                    (true, _) => Verdict::Pass,
                    (false, End::TimedOut) => ended(end, self.window.excerpt()),
                    (false, End::Closed) => Verdict::Fail(Failure::NoMatch(self.window.excerpt())),
                }
            }
        }
    }

    //= HM-HTTP-05
    fn judge(&self) -> Verdict {
        let (status, body) = match head(self.window.bytes()) {
            Head::Partial if self.window.is_full() => {
                return Verdict::Fail(Failure::NotHttp(self.window.excerpt()));
            }
            Head::Partial => return Verdict::NeedMore,
            Head::Invalid => return Verdict::Fail(Failure::NotHttp(self.window.excerpt())),
            Head::Status(status, body) => (status, body),
        };
        let full = self.window.is_full();
        if self.is_interim(status) && !full {
            return Verdict::NeedMore;
        }
        let end = body.and_then(|at| answer_end(self.window.bytes(), at, status));
        let complete = full || end.is_some();
        // What follows the answer is not part of it, however much of it came in the same segment.
        let answer = self.window.bytes().get(..end.unwrap_or(usize::MAX)).unwrap_or(self.window.bytes());
        if let Some(verdict) = self.by_status(status, answer, complete) {
            return verdict;
        }
        if self.response.is_empty() && self.maintenance.is_empty() {
            return if full || body.is_some() { Verdict::Pass } else { Verdict::NeedMore };
        }
        match position(answer, &self.response).is_some() {
            // The maintenance text may still come.
            true if complete || self.maintenance.is_empty() => Verdict::Pass,
            false if complete => Verdict::Fail(Failure::NoMatch(self.window.excerpt())),
            _ => Verdict::NeedMore,
        }
    }

    /// What status and maintenance text decide: maintenance before refusal, so that a 503 can mean "working on it".
    /// `complete`: nothing that follows is looked at.
    //= HM-MAINT-01
    fn by_status(&self, status: u16, answer: &[u8], complete: bool) -> Option<Verdict> {
        let has_text = !self.maintenance.is_empty() && position(answer, &self.maintenance).is_some();
        if self.maintenance_codes.contains(&status) || has_text {
            return Some(Verdict::Maintenance(self.window.excerpt()));
        }
        // The text can still turn an unexpected status into maintenance: wait for it.
        if !self.expect.contains(status) && (complete || self.maintenance.is_empty()) {
            return Some(Verdict::Fail(Failure::Status(status, self.window.excerpt())));
        }
        None
    }

    /// Whether another answer follows this one. 101 is final: nothing of HTTP follows it.
    fn is_interim(&self, status: u16) -> bool {
        matches!(status, 100 | 102..=199) && !self.expect.contains(status)
    }

    /// Drops a complete interim (1xx) head that was not asked for.
    /// `Some(true)`: dropped one; `Some(false)`: there were too many; `None`: there is none.
    //= HM-HTTP-06
    fn skip_interim(&mut self) -> Option<bool> {
        match head(self.window.bytes()) {
            Head::Status(status, Some(body)) if self.is_interim(status) => {
                self.interims += 1;
                if self.interims > INTERIM_MAX {
                    return Some(false);
                }
                self.window.drop_front(body);
                Some(true)
            }
            _ => None,
        }
    }
}

/// Reads `HTTP/<digit>[.<digit>] <status>`; whatever follows on the line is the reason and free.
//= HM-HTTP-03
fn head(bytes: &[u8]) -> Head {
    const NAME: &[u8] = b"HTTP/";
    let have = bytes.len().min(NAME.len());
    if bytes.get(..have) != NAME.get(..have) {
        return Head::Invalid;
    }
    let Some(line_end) = bytes.iter().position(|&b| b == b'\n') else {
        return Head::Partial;
    };
    let line = bytes.get(NAME.len()..line_end).unwrap_or(&[]);
    let mut words = line.split(|&b| b == b' ' || b == b'\r' || b == b'\t').filter(|word| !word.is_empty());
    let version_ok = matches!(words.next(), Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']));
    let status = match words.next() {
        Some(&[a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return Head::Invalid,
    };
    if !version_ok {
        return Head::Invalid;
    }
    Head::Status(status, body_start(bytes, line_end))
}

/// Where the body starts: behind the first empty line after the status line, CRs before LF ignored.
fn body_start(bytes: &[u8], first_line_end: usize) -> Option<usize> {
    let mut line_start = first_line_end + 1;
    loop {
        let line = bytes.get(line_start..)?;
        let len = line.iter().position(|&b| b == b'\n')?;
        if matches!(line.get(..len), Some([] | [b'\r'])) {
            return Some(line_start + len + 1);
        }
        line_start += len + 1;
    }
}

/// Where the answer ends by what it says itself, so that a kept connection need not be waited for; `None`: nothing
/// says so, or it is not all there.
fn answer_end(bytes: &[u8], body: usize, status: u16) -> Option<usize> {
    if matches!(status, 100..=199 | 204 | 304) {
        return Some(body);
    }
    let mut chunked = false;
    let mut length = None;
    for line in bytes.get(..body)?.split(|&b| b == b'\n') {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or(&[]).trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            length = value.iter().try_fold(0_usize, |n, &b| match b {
                b'0'..=b'9' => n.checked_mul(10)?.checked_add(usize::from(b - b'0')),
                _ => None,
            });
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = true;
        }
    }
    match (chunked, length) {
        (true, _) => chunks_end(bytes, body),
        (false, Some(length)) => body.checked_add(length).filter(|&end| end <= bytes.len()),
        (false, None) => None,
    }
}

/// Where the last chunk and its trailers end. What is no chunk has no end but that of the connection.
fn chunks_end(bytes: &[u8], body: usize) -> Option<usize> {
    let mut at = body;
    loop {
        let line = bytes.get(at..)?;
        let line = line.get(..line.iter().position(|&b| b == b'\n')?)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = core::str::from_utf8(line.get(..digits)?).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return body_start(bytes, at + line.len());
        }
        // The data, and the end of its line.
        let after = (at + line.len() + 1).checked_add(size)?;
        at = after + bytes.get(after..)?.iter().position(|&b| b == b'\n')? + 1;
    }
}
