//! Parsing a response head.

use super::Parse;
use super::connection;
use super::fields::{FieldBounds, FieldScan, Fields, Scanned};
use super::framing::{Framing, FramingFields};
use super::request::{Method, RequestHead, Upgrade, VERSION_LEN, Version, version};
use crate::{Known, Limits, Reject, RuleId, Span, bytes};

/// What a response answers; decides whether it has content and whether it may switch protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The method of the request that was sent.
    pub method: Method,
    /// The upgrade that the request asked the server for.
    pub upgrade: Option<Upgrade>,
    /// Interim responses seen so far; count each one that came ([`ResponseHead::is_interim`]).
    pub interims: u32,
}

impl RequestContext {
    /// Returns the context for the answer to `request`.
    pub fn of(request: &RequestHead) -> RequestContext {
        RequestContext { method: request.method, upgrade: request.upgrade, interims: 0 }
    }
}

/// A parsed response head; reuse it ([`ResponseHead::reset`]) to allocate nothing.
///
/// Holds offsets into the buffer that was parsed. Fields are meaningful after [`Parse::Done`] only.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The server's version.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// All field lines.
    pub fields: Fields,
    /// Where the content ends; [`Framing::None`] for answers to HEAD, 1xx, 204 and 304.
    pub framing: Framing,
    /// What `Content-Length` said, also where there is no content (HEAD, 304).
    pub content_length: Option<u64>,
    //= H1-RESP-09
    /// The server's connection can take another request once this content was read to its end, and only if no
    /// byte came behind it.
    pub keep_alive: bool,
    /// With 101: what the connection speaks from here on.
    pub upgrade: Option<Upgrade>,
    /// Bytes of the head.
    pub len: usize,
    scan: Scan,
}

#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    part: Part,
    at: usize,
    fields: FieldScan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Status,
    Reason,
    Fields,
}

impl ResponseHead {
    /// Forgets the response and keeps the memory.
    pub fn reset(&mut self) {
        let mut list = core::mem::take(&mut self.fields.list);
        list.clear();
        *self = ResponseHead { fields: Fields { list }, ..ResponseHead::default() };
    }

    /// Says whether another response to the same request follows (1xx but 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Parses a response head from `buf`, which begins where the response begins and grows from call to call.
///
/// After [`Parse::NeedMore`] call again with the same head; call [`ResponseHead::reset`] before the next response,
/// interim ones included.
///
/// # Errors
/// The rule that the server broke; the status is 502 and the server's connection must be closed.
pub fn parse_response(
    buf: &[u8],
    context: &RequestContext,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<Parse, Reject> {
    parse(buf, context, limits, head).map_err(|rule| Reject::request(rule).by_server())
}

fn parse(
    buf: &[u8],
    context: &RequestContext,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<Parse, RuleId> {
    let bound = limits.head_bytes as usize;
    let window = &buf[..buf.len().min(bound)];
    match head.scan(window, limits)? {
        Scanned::End(len) => {
            head.len = len;
            head.judge(window, context, limits)?;
            Ok(Parse::Done { len })
        }
        Scanned::NeedMore if buf.len() >= bound => Err(RuleId::HeadLength),
        Scanned::NeedMore => Ok(Parse::NeedMore),
    }
}

/// Bytes of `HTTP/1.1 200`.
const STATUS_LEN: usize = VERSION_LEN + 4;

impl ResponseHead {
    fn scan(&mut self, window: &[u8], limits: &Limits) -> Result<Scanned, RuleId> {
        loop {
            let complete = match self.scan.part {
                Part::Status => self.scan_status(window)?,
                Part::Reason => self.scan_reason(window)?,
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

    //= H1-RESP-01
    //= H1-RESP-02
    fn scan_status(&mut self, window: &[u8]) -> Result<bool, RuleId> {
        let Some(version) = version(window).map_err(|_| RuleId::StatusLine)? else { return Ok(false) };
        self.version = version.map_err(|_| RuleId::StatusLine)?;
        for (i, &b) in window.iter().enumerate().take(STATUS_LEN).skip(VERSION_LEN) {
            let good = if i == VERSION_LEN { b == b' ' } else { b.is_ascii_digit() };
            if !good {
                return Err(RuleId::StatusLine);
            }
        }
        let Some(digits) = window.get(VERSION_LEN + 1..STATUS_LEN) else { return Ok(false) };
        self.status = digits.iter().fold(0, |n, &b| n * 10 + u16::from(b - b'0'));
        if !(100..600).contains(&self.status) {
            return Err(RuleId::StatusRange);
        }
        self.scan.part = Part::Reason;
        self.scan.at = STATUS_LEN;
        Ok(true)
    }

    /// The space before an empty reason is often left out; that can be read in one way only.
    //= H1-RESP-03
    fn scan_reason(&mut self, window: &[u8]) -> Result<bool, RuleId> {
        match window.get(STATUS_LEN) {
            None => return Ok(false),
            Some(b' ' | b'\r') => {}
            Some(b'\n') => return Err(RuleId::BareLf),
            Some(_) => return Err(RuleId::StatusLine),
        }
        loop {
            let at = bytes::find_control(window, self.scan.at);
            self.scan.at = at;
            match window.get(at) {
                None => return Ok(false),
                Some(b'\t') => self.scan.at = at + 1,
                Some(b'\n') => return Err(RuleId::BareLf),
                Some(b'\r') => match window.get(at + 1) {
                    None => return Ok(false),
                    Some(b'\n') => {
                        self.reason = Span::new(at.min(STATUS_LEN + 1), at);
                        self.scan.fields = FieldScan::start(at + 2);
                        self.scan.part = Part::Fields;
                        return Ok(true);
                    }
                    Some(_) => return Err(RuleId::BareCr),
                },
                Some(_) => return Err(RuleId::ReasonBytes),
            }
        }
    }

    /// Decides what the complete head means.
    fn judge(&mut self, buf: &[u8], context: &RequestContext, limits: &Limits) -> Result<(), RuleId> {
        let http_1_0 = self.version == Version::Http10;
        let mut framing = FramingFields::default();
        let (mut connection, mut upgrade) = (false, false);
        for field in &self.fields.list {
            match field.known {
                Known::ContentLength => framing.length(field.value.of(buf))?,
                Known::TransferEncoding => framing.encoding(field.value.of(buf))?,
                Known::Connection => connection = true,
                Known::Upgrade => upgrade = true,
                _ => {}
            }
        }
        let announced = framing.announced(http_1_0)?;
        if let Some(Framing::Length(n)) = announced {
            self.content_length = Some(n);
        }
        //= H1-RESP-06
        self.framing = match self.status {
            100..200 | 204 | 304 => Framing::None,
            _ if context.method == Method::Head => Framing::None,
            _ => announced.unwrap_or(Framing::UntilClose),
        };
        if matches!(self.framing, Framing::Length(n) if n > limits.body_bytes) {
            return Err(RuleId::BodyLength);
        }
        let options = match connection {
            true => connection::options(buf, &mut self.fields)?,
            false => connection::Options::default(),
        };
        //= H1-RESP-11
        let may_lie = self.framing == Framing::None && announced.is_some_and(Framing::has_content);
        self.keep_alive = !options.close
            && (!http_1_0 || options.keep_alive)
            && self.framing != Framing::UntilClose
            && !may_lie;
        self.upgrade = if upgrade && options.upgrade { connection::upgrade(buf, &self.fields) } else { None };
        //= H1-RESP-04
        if self.status == 101 && (self.upgrade.is_none() || self.upgrade != context.upgrade || http_1_0) {
            return Err(RuleId::SwitchUnasked);
        }
        //= H1-RESP-05
        if self.is_interim() && context.interims >= limits.interim_responses {
            return Err(RuleId::InterimFlood);
        }
        Ok(())
    }
}
