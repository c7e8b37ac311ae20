//! HTTP/1.1 and HTTP/1.0 messages.
//!
//! The loop of a driver, for one side:
//!
//! 1. Read into a buffer; call [`parse_request`] (or [`parse_response`]) with all bytes of the message so far,
//!    until [`Parse::Done`]. Bytes must not move in between; each byte is looked at once.
//! 2. Write the head for the other side with [`write::request`] (or [`write::response`]).
//! 3. Feed the bytes after the head to a [`body::Decoder`] made from [`RequestHead::framing`]; send its data
//!    ranges straight from the buffer, between [`body::chunk_head`] and [`body::CHUNK_END`] if chunked.
//! 4. When it is done, bytes left over are the next message. For a server's connection they mean that the
//!    server said more than it announced: never hand the connection to another request.
//!
//! ```
//! use forebay_http::{Limits, h1::{self, Parse, body::{self, Decoder, State}, write}};
//!
//! let (limits, mut head, mut out) = (Limits::default(), h1::RequestHead::default(), Vec::new());
//! let buf = b"POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
//! let Parse::Done { len } = h1::parse_request(buf, &limits, &mut head)? else { panic!("read more") };
//! write::request(buf, &head, &write::RequestEdits { via: Some(b"edge"), ..Default::default() }, &mut out)?;
//! let mut decoder = Decoder::new(head.framing, &limits);
//! let mut rest = &buf[len..];
//! while !decoder.is_done() {
//!     let step = decoder.decode(rest)?;
//!     if !step.data.is_empty() {
//!         let mut line = [0; body::CHUNK_HEAD_MAX];
//!         out.extend_from_slice(body::chunk_head(step.data.len() as u64, &mut line));
//!         out.extend_from_slice(&rest[step.data.clone()]);
//!         out.extend_from_slice(body::CHUNK_END);
//!     }
//!     rest = &rest[step.consumed..];
//!     assert_ne!(step.state, State::NeedInput, "read more");
//! }
//! body::last_chunk(&decoder, true, &mut out);
//! assert_eq!(
//!     out,
//!     b"POST /a?b HTTP/1.1\r\nHost: x\r\nVia: 1.1 edge\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On [`Reject`](crate::Reject): answer with [`write::answer`], close. A request body that was not read to its end: close.

pub mod body;
pub(crate) mod connection;
mod fields;
pub(crate) mod framing;
mod host;
pub(crate) mod request;
mod response;
pub(crate) mod target;
pub mod write;

pub(crate) use fields::is_lookalike;
pub use fields::{Field, Fields};
pub use framing::Framing;
pub use host::Authority;
pub use request::{Form, Method, RequestHead, Upgrade, Version, parse_request};
pub use response::{RequestContext, ResponseHead, parse_response};

/// How far parsing a head came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head is not complete: call again with the same bytes and more behind them.
    NeedMore,
    /// The head is complete and took `len` bytes (empty lines before it included); content begins there.
    Done {
        /// Bytes of the head.
        len: usize,
    },
}

/// Returns how many bytes of `bytes` a head takes that [`write`](mod@write) wrote; none if it is not whole.
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|end| end + 4)
}
