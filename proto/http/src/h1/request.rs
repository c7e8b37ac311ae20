//! Parsing a request head.

use super::connection;
use super::fields::{FieldBounds, FieldScan, Fields, Scanned};
use super::framing::{Framing, FramingFields, decimal};
use super::host::Authority;
use super::{Parse, target};
use crate::{Known, Limits, Reject, RuleId, Span, bytes};

/// A request method; all others, registered or not, are [`Method::Other`] and pass unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `TRACE`
    Trace,
    /// `CONNECT`, which [`parse_request`] refuses.
    Connect,
    /// Any other token; its bytes are at [`RequestHead::method_raw`].
    Other,
}

impl Method {
    /// Recognises a method; case matters.
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }

    /// Says whether a second execution changes nothing more (RFC 9110 9.2.2).
    pub fn is_idempotent(self) -> bool {
        use Method::*;
        matches!(self, Get | Head | Put | Delete | Options | Trace)
    }
}

/// The version of the sender. 1.2 and later 1.x count as 1.1 (RFC 9110 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2; never of a head that [`parse_request`] reads.
    Http20,
}

impl Version {
    /// Returns the number as `Via` writes it.
    pub fn number(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http20 => "2.0",
        }
    }
}

/// The form that the request target came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`, OPTIONS only.
    Asterisk,
}

/// A protocol that a connection may change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// `websocket` (RFC 6455).
    WebSocket,
}

impl Upgrade {
    /// Returns the token as written in `Upgrade`.
    pub fn token(self) -> &'static str {
        match self {
            Upgrade::WebSocket => "websocket",
        }
    }
}

/// A parsed request head; reuse it for the next request ([`RequestHead::reset`]) to allocate nothing.
///
/// Holds offsets into the buffer that was parsed. Fields are meaningful after [`Parse::Done`] only.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's bytes.
    pub method_raw: Span,
    /// The target's bytes as they came.
    pub target: Span,
    /// The target's form.
    pub form: Form,
    /// The target's path; empty in absolute-form means `/`: use [`RequestHead::path`].
    pub path: Span,
    /// What stands behind the first `?`.
    pub query: Option<Span>,
    /// The sender's version.
    pub version: Version,
    /// Who is asked: of the absolute-form, else of `Host`; none only from HTTP/1.0.
    pub authority: Option<Authority>,
    /// All field lines.
    pub fields: Fields,
    /// Where the content ends.
    pub framing: Framing,
    /// The client may send another request on this connection.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends content.
    pub expect_continue: bool,
    /// The client asks for another protocol; it counts only if the server answers 101.
    pub upgrade: Option<Upgrade>,
    /// The client takes trailers.
    pub te_trailers: bool,
    /// `Max-Forwards` of OPTIONS and TRACE. 0: answer here (RFC 9110 7.6.2), do not forward.
    pub max_forwards: Option<u64>,
    /// Bytes of the head, empty lines before it included.
    pub len: usize,
    scan: Scan,
}

#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    part: Part,
    /// Where the part began.
    start: usize,
    /// Bytes before this were looked at.
    at: usize,
    empty_lines: u32,
    fields: FieldScan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    EmptyLines,
    Method,
    Target,
    Version,
    Fields,
}

impl RequestHead {
    /// Forgets the request and keeps the memory.
    pub fn reset(&mut self) {
        let mut list = core::mem::take(&mut self.fields.list);
        list.clear();
        *self = RequestHead { fields: Fields { list }, ..RequestHead::default() };
    }

    /// Returns the path, never empty: `*` for the asterisk-form.
    pub fn path<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        match self.path.of(buf) {
            [] => b"/",
            path => path,
        }
    }

    /// Returns the query without its `?`.
    pub fn query<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.query.map(|q| q.of(buf))
    }

    /// Returns the host that is asked, without port.
    pub fn host<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.authority.map(|a| a.host.of(buf))
    }

    /// Returns the bytes of the method.
    pub fn method_bytes<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.method_raw.of(buf)
    }
}

/// Parses a request head from `buf`, which begins where the request begins and grows from call to call.
///
/// After [`Parse::NeedMore`] call again with the same head; call [`RequestHead::reset`] before another request.
/// Allocates only when the request has more fields than any before it in this head.
///
/// # Errors
/// The rule that the request breaks and the status to answer; the connection must be closed.
pub fn parse_request(buf: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Parse, Reject> {
    let bound = limits.head_bytes as usize;
    let window = &buf[..buf.len().min(bound)];
    match head.scan(window, limits).map_err(Reject::request)? {
        Scanned::End(len) => {
            head.len = len;
            head.judge(window, limits).map_err(Reject::request)?;
            Ok(Parse::Done { len })
        }
        //= H1-FIELD-08
        Scanned::NeedMore if buf.len() >= bound => {
            let rule = match head.scan.part {
                Part::Fields => RuleId::HeadLength,
                _ => RuleId::TargetLength,
            };
            Err(Reject::request(rule))
        }
        Scanned::NeedMore => Ok(Parse::NeedMore),
    }
}

impl RequestHead {
    fn scan(&mut self, window: &[u8], limits: &Limits) -> Result<Scanned, RuleId> {
        loop {
            let complete = match self.scan.part {
                Part::EmptyLines => self.scan_empty_lines(window, limits)?,
                Part::Method => self.scan_method(window, limits)?,
                Part::Target => self.scan_target(window, limits)?,
                Part::Version => self.scan_version(window)?,
                Part::Fields => {
                    let bounds = FieldBounds {
                        field_bytes: limits.field_bytes as usize,
                        fields: limits.fields as usize,
                    };
                    return self.scan.fields.run(window, bounds, &mut self.fields);
                }
            };
            if !complete {
                return Ok(Scanned::NeedMore);
            }
        }
    }

    fn begin(&mut self, part: Part, at: usize) {
        self.scan.part = part;
        self.scan.start = at;
        self.scan.at = at;
    }

    //= H1-LINE-03
    fn scan_empty_lines(&mut self, window: &[u8], limits: &Limits) -> Result<bool, RuleId> {
        loop {
            match window.get(self.scan.at..).unwrap_or(&[]) {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] if self.scan.empty_lines >= limits.empty_lines => {
                    return Err(RuleId::EmptyLines);
                }
                [b'\r', b'\n', ..] => {
                    self.scan.empty_lines += 1;
                    self.scan.at += 2;
                }
                [b'\r', ..] => return Err(RuleId::BareCr),
                [b'\n', ..] => return Err(RuleId::BareLf),
                _ => {
                    self.begin(Part::Method, self.scan.at);
                    return Ok(true);
                }
            }
        }
    }

    //= H1-REQ-01
    //= H1-REQ-02
    //= H1-REQ-03
    fn scan_method(&mut self, window: &[u8], limits: &Limits) -> Result<bool, RuleId> {
        let start = self.scan.start;
        let cap = start.saturating_add(limits.method_bytes as usize).saturating_add(1);
        let window = &window[..window.len().min(cap)];
        let at = bytes::skip(window, self.scan.at, bytes::TOKEN);
        self.scan.at = at;
        match window.get(at) {
            None if at >= cap => Err(RuleId::MethodLength),
            None => Ok(false),
            Some(b' ') if at > start => {
                self.method_raw = Span::new(start, at);
                self.method = Method::of(&window[start..at]);
                self.begin(Part::Target, at + 1);
                Ok(true)
            }
            Some(b' ' | b'\t' | b'\r') => Err(RuleId::RequestLine),
            Some(b'\n') => Err(RuleId::BareLf),
            Some(_) => Err(RuleId::MethodBytes),
        }
    }

    //= H1-TARGET-01
    //= H1-TARGET-02
    fn scan_target(&mut self, window: &[u8], limits: &Limits) -> Result<bool, RuleId> {
        let start = self.scan.start;
        let cap = start.saturating_add(limits.target_bytes as usize).saturating_add(1);
        let window = &window[..window.len().min(cap)];
        let at = bytes::skip(window, self.scan.at, bytes::TARGET);
        self.scan.at = at;
        match window.get(at) {
            None if at >= cap => Err(RuleId::TargetLength),
            None => Ok(false),
            Some(b' ') if at > start => {
                self.target = Span::new(start, at);
                self.begin(Part::Version, at + 1);
                Ok(true)
            }
            Some(b' ' | b'\t' | b'\r') => Err(RuleId::RequestLine),
            Some(b'\n') => Err(RuleId::BareLf),
            Some(_) => Err(RuleId::TargetBytes),
        }
    }

    //= H1-REQ-04
    fn scan_version(&mut self, window: &[u8]) -> Result<bool, RuleId> {
        let start = self.scan.start;
        let Some(version) = version_and_line_end(&window[start..])? else { return Ok(false) };
        self.version = version.map_err(|_| RuleId::VersionNumber)?;
        self.scan.fields = FieldScan::start(start + VERSION_LEN + 2);
        self.begin(Part::Fields, start + VERSION_LEN + 2);
        Ok(true)
    }
}

/// Bytes of `HTTP/1.1`.
pub(crate) const VERSION_LEN: usize = 8;

/// A version that is well written but not 1.x.
pub(crate) struct OtherVersion;

/// Reads `HTTP/d.d`; none if it is not complete yet.
pub(crate) fn version(text: &[u8]) -> Result<Option<Result<Version, OtherVersion>>, RuleId> {
    for (i, &b) in text.iter().take(VERSION_LEN).enumerate() {
        let good = match i {
            5 | 7 => b.is_ascii_digit(),
            6 => b == b'.',
            _ => b == b"HTTP/"[i],
        };
        if !good {
            return Err(RuleId::VersionSyntax);
        }
    }
    Ok(match text.get(..VERSION_LEN) {
        None => None,
        Some(b"HTTP/1.0") => Some(Ok(Version::Http10)),
        Some([.., b'1', b'.', _]) => Some(Ok(Version::Http11)),
        Some(_) => Some(Err(OtherVersion)),
    })
}

//= H1-REQ-05
fn version_and_line_end(text: &[u8]) -> Result<Option<Result<Version, OtherVersion>>, RuleId> {
    if let Some(b"HTTP/1.1\r\n") = text.get(..VERSION_LEN + 2) {
        return Ok(Some(Ok(Version::Http11)));
    }
    let Some(version) = version(text)? else { return Ok(None) };
    match text.get(VERSION_LEN..).unwrap_or(&[]) {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(version)),
        [b'\r', ..] => Err(RuleId::BareCr),
        [b'\n', ..] => Err(RuleId::BareLf),
        [b' ' | b'\t', ..] => Err(RuleId::RequestLine),
        _ => Err(RuleId::VersionSyntax),
    }
}

impl RequestHead {
    /// Decides what the complete head means.
    fn judge(&mut self, buf: &[u8], limits: &Limits) -> Result<(), RuleId> {
        let target = target::parse(buf, self.target, self.method)?;
        self.form = target.form;
        self.path = target.path;
        self.query = target.query;
        let http_1_0 = self.version == Version::Http10;

        let mut framing = FramingFields::default();
        let mut host = None;
        let (mut connection, mut upgrade, mut te) = (false, false, false);
        let (mut expect, mut max) = (None, None);
        for field in &self.fields.list {
            match field.known {
                Known::Other => {}
                //= H1-HOST-02
                Known::Host if host.is_some() => return Err(RuleId::HostRepeated),
                Known::Host => host = Some(Authority::parse(buf, field.value).ok_or(RuleId::HostInvalid)?),
                Known::ContentLength => framing.length(field.value.of(buf))?,
                Known::TransferEncoding => framing.encoding(field.value.of(buf))?,
                Known::Connection => connection = true,
                Known::Upgrade => upgrade = true,
                Known::Te => te = true,
                Known::Expect => expect = Some(expectation(field.value.of(buf), expect)?),
                Known::MaxForwards => max = max_forwards(self.method, field.value.of(buf), max)?,
                _ => {}
            }
        }
        //= H1-HOST-01
        if host.is_none() && !http_1_0 {
            return Err(RuleId::HostMissing);
        }
        //= H1-HOST-04
        self.authority = target.authority.or(host);

        self.framing = framing.announced(http_1_0)?.unwrap_or(Framing::None);
        //= H1-FRAME-07
        if matches!(self.framing, Framing::Length(n) if n > limits.body_bytes) {
            return Err(RuleId::BodyLength);
        }
        let has_content = self.framing.has_content();
        //= H1-FRAME-08
        if self.method == Method::Trace && has_content {
            return Err(RuleId::TraceBody);
        }

        let options = match connection {
            true => connection::options(buf, &mut self.fields)?,
            false => connection::Options::default(),
        };
        //= H1-CONN-05
        self.keep_alive = !options.close && (!http_1_0 || options.keep_alive);
        self.max_forwards = max;
        //= H1-EXPECT-02
        self.expect_continue = expect == Some(true) && !http_1_0 && has_content;
        self.te_trailers = te && options.te && !http_1_0 && connection::takes_trailers(buf, &self.fields);
        //= H1-UPG-02
        let may_upgrade =
            upgrade && options.upgrade && !http_1_0 && self.method == Method::Get && !has_content;
        self.upgrade = if may_upgrade { connection::upgrade(buf, &self.fields) } else { None };
        Ok(())
    }
}

/// Reads `Max-Forwards`, which means something for OPTIONS and TRACE only.
//= H1-MAXFWD-01
pub(crate) fn max_forwards(method: Method, value: &[u8], before: Option<u64>) -> Result<Option<u64>, RuleId> {
    if !matches!(method, Method::Options | Method::Trace) {
        return Ok(None);
    }
    match (before, decimal(value)) {
        (None, Some(n)) => Ok(Some(n)),
        _ => Err(RuleId::MaxForwards),
    }
}

//= H1-EXPECT-01
pub(crate) fn expectation(value: &[u8], before: Option<bool>) -> Result<bool, RuleId> {
    if before.is_some() || !value.eq_ignore_ascii_case(b"100-continue") {
        return Err(RuleId::Expectation);
    }
    Ok(true)
}
