//! Writing an answer of our own.

use alloc::vec::Vec;

use super::edit::{self, BadEdit, FieldEdit};
use super::{content_length, line};
use crate::h1::request::{Method, RequestHead, Version};

/// A response that no server made: an error, a redirect, a local response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// 200 to 599.
    pub status: u16,
    /// The client's version.
    pub client: Version,
    /// The request was HEAD: the content is announced and not written.
    pub head: bool,
    /// The client's connection stays open.
    pub keep_alive: bool,
    /// Fields such as `Date`, `Location`, `Content-Type`, `Set-Cookie`, `Retry-After`.
    pub fields: &'a [FieldEdit<'a>],
    /// The content; none: the status in words, as plain text.
    pub content: Option<&'a [u8]>,
}

impl Answer<'_> {
    /// Returns the answer to a request whose head is known; keeps the connection if the client wants to and has
    /// no content to come.
    pub fn to(request: &RequestHead, status: u16) -> Answer<'static> {
        Answer {
            status,
            client: request.version,
            head: request.method == Method::Head,
            keep_alive: request.keep_alive && !request.framing.has_content(),
            fields: &[],
            content: None,
        }
    }

    /// Returns the answer to what could not be read; the connection closes.
    pub fn error(status: u16) -> Answer<'static> {
        Answer { status, ..Answer::default() }
    }
}

/// Writes a whole response, head and content.
///
/// # Errors
/// A field would break the message; `out` is as before.
//= H1-ANSWER-01
pub fn answer(answer: &Answer<'_>, out: &mut Vec<u8>) -> Result<(), BadEdit> {
    debug_assert!((200..600).contains(&answer.status));
    edit::check(answer.fields)?;
    let reason = reason(answer.status);
    out.extend_from_slice(b"HTTP/1.1 ");
    super::number(out, u64::from(answer.status));
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    edit::write(answer.fields, out);

    let bodiless = matches!(answer.status, 204 | 304);
    let content = match answer.content {
        _ if bodiless => &[],
        Some(content) => content,
        None => {
            line(out, b"Content-Type", b"text/plain; charset=utf-8");
            reason.as_bytes()
        }
    };
    let newline: &[u8] = if answer.content.is_none() && !bodiless { b"\n" } else { b"" };
    if !bodiless {
        content_length(out, (content.len() + newline.len()) as u64);
    }
    match (answer.keep_alive, answer.client) {
        (false, _) => line(out, b"Connection", b"close"),
        (true, Version::Http10) => line(out, b"Connection", b"keep-alive"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    if !answer.head {
        out.extend_from_slice(content);
        out.extend_from_slice(newline);
    }
    Ok(())
}

/// Returns the usual words for a status (RFC 9110 15).
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}
