//! gRPC as a proxy sees it: which requests are, how long they may take, how a failure is told.

use crate::h1::{Method, RequestHead, Version};

/// A status of gRPC that a proxy may have to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody knows.
    Unknown,
    /// The time is over.
    DeadlineExceeded,
    /// No such method.
    Unimplemented,
    /// The client may not.
    PermissionDenied,
    /// Too much was asked.
    ResourceExhausted,
    /// The message was none.
    Internal,
    /// Nobody is there to serve; the client may try again.
    Unavailable,
    /// The client has not said who it is.
    Unauthenticated,
}

impl Status {
    /// Returns the status for a failure that has this status of HTTP.
    //= GRPC-STATUS-02
    pub fn of_http(status: u16) -> Status {
        match status {
            400 | 414 | 431 => Status::Internal,
            401 => Status::Unauthenticated,
            403 => Status::PermissionDenied,
            404 => Status::Unimplemented,
            413 => Status::ResourceExhausted,
            429 | 502 | 503 | 504 => Status::Unavailable,
            _ => Status::Unknown,
        }
    }

    /// Returns its number, as the field `grpc-status` has it.
    pub fn number(self) -> &'static str {
        match self {
            Status::Unknown => "2",
            Status::DeadlineExceeded => "4",
            Status::Unimplemented => "12",
            Status::PermissionDenied => "7",
            Status::ResourceExhausted => "8",
            Status::Internal => "13",
            Status::Unavailable => "14",
            Status::Unauthenticated => "16",
        }
    }
}

/// Says whether a request is one of gRPC; `buf` is what its head points into.
//= GRPC-STATUS-01
pub fn is_request(buf: &[u8], head: &RequestHead) -> bool {
    head.version == Version::Http20
        && head.method == Method::Post
        && head.fields.named(buf, b"content-type").next().is_some_and(is_type)
}

/// Says whether this is a media type of gRPC: with any coding of messages, and not that of browsers, which has another form.
fn is_type(value: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    match value.split_at_checked(NAME.len()) {
        Some((name, rest)) => {
            name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        }
        None => false,
    }
}

/// Returns how long a request of gRPC may take, in microseconds, rounded up; none if it does not say, or not in a form that
/// all would read alike.
//= GRPC-DEADLINE-01
pub fn timeout_us(buf: &[u8], head: &RequestHead) -> Option<u64> {
    let mut said = head.fields.named(buf, b"grpc-timeout");
    let value = said.next().filter(|_| said.next().is_none())?;
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(count * 3_600_000_000),
        b'M' => Some(count * 60_000_000),
        b'S' => Some(count * 1_000_000),
        b'm' => Some(count * 1_000),
        b'u' => Some(count),
        b'n' => Some(count.div_ceil(1_000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::h1::parse_request;
    use alloc::format;

    fn read<T>(fields: &str, with: impl FnOnce(&[u8], &RequestHead) -> T) -> T {
        let text = format!("POST /a.B/c HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        parse_request(text.as_bytes(), &Limits::default(), &mut head).expect("a good request");
        head.version = Version::Http20;
        with(text.as_bytes(), &head)
    }

    //= test GRPC-STATUS-01
    #[test]
    fn a_request_of_grpc_is_known_by_its_type_and_version() {
        for (value, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC;x=y", true),
            ("application/grpc-web", false),
            ("application/grpcweb", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(read(&format!("Content-Type: {value}\r\n"), is_request), is, "{value}");
        }
        let http1 = |buf: &[u8], head: &RequestHead| {
            let mut head = head.clone();
            head.version = Version::Http11;
            is_request(buf, &head)
        };
        assert!(!read("Content-Type: application/grpc\r\n", http1));
    }

    //= test GRPC-DEADLINE-01
    #[test]
    fn a_deadline_is_what_it_says_in_its_unit() {
        for (value, us) in [
            ("1H", Some(3_600_000_000)),
            ("2M", Some(120_000_000)),
            ("3S", Some(3_000_000)),
            ("99999999m", Some(99_999_999_000)),
            ("7u", Some(7)),
            ("1n", Some(1)),
            ("1000n", Some(1)),
            ("0S", Some(0)),
            ("123456789S", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
            ("1", None),
            ("1 S", None),
        ] {
            assert_eq!(read(&format!("grpc-timeout: {value}\r\n"), timeout_us), us, "{value}");
        }
        assert_eq!(read("", timeout_us), None);
        assert_eq!(read("grpc-timeout: 1S\r\ngrpc-timeout: 2S\r\n", timeout_us), None, "which of them?");
    }

    //= test GRPC-STATUS-02
    #[test]
    fn failures_of_http_are_those_of_grpc() {
        for (http, grpc) in [(400, "13"), (401, "16"), (403, "7"), (404, "12"), (413, "8"), (500, "2")] {
            assert_eq!(Status::of_http(http).number(), grpc, "{http}");
        }
        for http in [429, 502, 503, 504] {
            assert_eq!(Status::of_http(http).number(), "14", "{http}");
        }
    }
}
