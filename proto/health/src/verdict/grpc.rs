//! Judges a gRPC probe: the protocol of `grpc.health.v1.Health/Check`, without the HTTP/2 below it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{EXCERPT_BYTES, Failure, Verdict};
use crate::monitor::Grpc;

/// The path of the call.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes of the answer's content that are looked at: a message has a handful.
pub const ANSWER_BYTES_MAX: usize = 1_024;

/// In front of each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

impl Grpc {
    /// Returns the content of the request: one message.
    //= HM-GRPC-01
    pub fn request_bytes(&self) -> Vec<u8> {
        let mut message = Vec::new();
        if !self.service.is_empty() {
            message.push(1 << 3 | 2);
            varint(self.service.len(), &mut message);
            message.extend_from_slice(self.service.as_bytes());
        }
        // Bounded by the check of the document.
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(PREFIX + message.len());
        bytes.push(0);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&message);
        bytes
    }
}

fn varint(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// What came of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status of HTTP.
    pub http: u16,
    /// `grpc-status`, from the head or the trailers.
    pub status: Option<&'a [u8]>,
    /// `grpc-message` likewise.
    pub message: Option<&'a [u8]>,
    /// The content, its first [`ANSWER_BYTES_MAX`] bytes.
    pub content: &'a [u8],
}

/// Judges the whole answer. Never [`Verdict::NeedMore`].
//= HM-GRPC-02
pub fn judge(answer: &Answer<'_>) -> Verdict {
    let fail = |why: String| Verdict::Fail(Failure::Grpc(why));
    match answer.status {
        _ if answer.http != 200 => fail(format!("status {} of HTTP", answer.http)),
        None => fail(String::from("no grpc-status")),
        Some(b"0") => match serving(answer.content) {
            Some(1) => Verdict::Pass,
            Some(0) => fail(String::from("UNKNOWN")),
            Some(2) => fail(String::from("NOT_SERVING")),
            Some(3) => fail(String::from("SERVICE_UNKNOWN")),
            Some(other) => fail(format!("serving status {other}")),
            None => fail(String::from("the answer is no message of its kind")),
        },
        Some(b"5") => fail(String::from("the server knows no such service (NOT_FOUND)")),
        Some(b"12") => fail(String::from("the server has no health service (UNIMPLEMENTED)")),
        Some(status) => {
            let message = answer.message.unwrap_or_default();
            let message = message.get(..EXCERPT_BYTES).unwrap_or(message);
            fail(format!("grpc-status {} {}", status.escape_ascii(), message.escape_ascii()))
        }
    }
}

/// The field `status` of the answer's one message; 0 if it is not there.
fn serving(content: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], mut rest) = content.split_first_chunk::<PREFIX>()?;
    if compressed != 0 || rest.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take(&mut rest)?,
            (_, 0) => {
                take(&mut rest)?;
            }
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let len = usize::try_from(take(&mut rest)?).ok()?;
                rest = rest.get(len..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// Takes a varint.
fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &[u8], content: &[u8]) -> String {
        match judge(&Answer { http: 200, status: Some(status), message: Some(b"a\nb"), content }) {
            Verdict::Pass => String::from("pass"),
            Verdict::Fail(failure) => format!("{failure}"),
            other => format!("{other:?}"),
        }
    }

    //= test HM-GRPC-01
    #[test]
    fn a_request_is_one_message_with_the_service_if_one_is_named() {
        assert_eq!(Grpc::default().request_bytes(), [0, 0, 0, 0, 0]);
        let named = Grpc { service: String::from("a.B") };
        assert_eq!(named.request_bytes(), [0, 0, 0, 0, 5, 10, 3, b'a', b'.', b'B']);
        let long = Grpc { service: "x".repeat(300) };
        assert_eq!(long.request_bytes()[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
    }

    //= test HM-GRPC-02
    #[test]
    fn serving_alone_passes() {
        assert_eq!(said(b"0", &[0, 0, 0, 0, 2, 8, 1]), "pass");
        // Fields that a later version may have.
        assert_eq!(said(b"0", &[0, 0, 0, 0, 9, 0x12, 1, 7, 8, 1, 0x1d, 1, 2, 3, 4][..14]), NO_MESSAGE);
        assert_eq!(said(b"0", &[0, 0, 0, 0, 10, 0x12, 1, 7, 8, 1, 0x1d, 1, 2, 3, 4]), "pass");
        for (content, why) in [
            (&[0, 0, 0, 0, 0][..], "gRPC health check: UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 2], "gRPC health check: NOT_SERVING"),
            (&[0, 0, 0, 0, 2, 8, 3], "gRPC health check: SERVICE_UNKNOWN"),
            (&[0, 0, 0, 0, 2, 8, 9], "gRPC health check: serving status 9"),
            (&[1, 0, 0, 0, 2, 8, 1], NO_MESSAGE),
            (&[0, 0, 0, 0, 3, 8, 1], NO_MESSAGE),
            (&[0, 0, 0, 0, 2, 8, 0x81], NO_MESSAGE),
            (&[], NO_MESSAGE),
        ] {
            assert_eq!(said(b"0", content), why, "{content:?}");
        }
        assert!(said(b"5", &[]).contains("no such service"));
        assert!(said(b"12", &[]).contains("no health service"));
        assert_eq!(said(b"14", &[]), "gRPC health check: grpc-status 14 a\\nb");
        let other = judge(&Answer { http: 503, status: Some(b"0"), ..Answer::default() });
        assert_eq!(other, Verdict::Fail(Failure::Grpc(String::from("status 503 of HTTP"))));
        assert_ne!(
            judge(&Answer { http: 200, content: &[0, 0, 0, 0, 2, 8, 1], ..Answer::default() }),
            Verdict::Pass
        );
    }

    const NO_MESSAGE: &str = "gRPC health check: the answer is no message of its kind";
}
