//! Answers of our own: refusals, failures, redirects.

use forebay_http::h1::RequestHead;
use forebay_http::h1::write::{self, Answer, FieldEdit};

use super::client::Client;
use super::gather::Gather;
use super::record::Trace;
use super::wait::{Patience, write_all};
use crate::rt::{Rt, Stream};

/// What to say.
#[derive(Clone, Copy, Default)]
pub struct Saying<'a> {
    /// The status.
    pub status: u16,
    /// The connection stays open.
    pub keep: bool,
    /// Where to go instead.
    pub location: Option<&'a [u8]>,
    /// The content; none: the status in words.
    pub content: Option<&'a [u8]>,
    /// The content's type; none: HTML.
    pub content_type: Option<&'a [u8]>,
}

/// Says it to the client, as answer to `request` if one was read. Gives whether all of it was written.
pub async fn say<R: Rt>(
    client: &Client<R>,
    request: Option<&RequestHead>,
    saying: Saying<'_>,
    gather: &mut Gather,
    trace: &mut Trace,
    patience: Patience,
) -> bool {
    let worker = &client.worker;
    let date = worker.date.at(worker.unix_us(worker.rt.now()) / 1_000_000);
    gather.clear();
    let date = FieldEdit::Set { name: b"Date", value: &date };
    let mut fields = [date; 3];
    let mut count = 1;
    if let Some(value) = saying.location {
        fields[count] = FieldEdit::Set { name: b"Location", value };
        count += 1;
    }
    if saying.content.is_some() {
        let value = saying.content_type.unwrap_or(b"text/html; charset=utf-8");
        fields[count] = FieldEdit::Set { name: b"Content-Type", value };
        count += 1;
    }
    let used = &fields[..count];
    let base = match request {
        Some(request) => Answer::to(request, saying.status),
        None => Answer::error(saying.status),
    };
    let answer = Answer { keep_alive: saying.keep, fields: used, content: saying.content, ..base };
    let written = gather.text(|own| write::answer(&answer, own));
    if written.is_err() {
        return false;
    }
    trace.status = saying.status;
    let step = client.service().time_outs.body;
    match write_all(&worker.rt, &client.stream, gather, &[], patience, step).await {
        Ok(bytes) => {
            trace.tx_bytes += bytes;
            true
        }
        Err(_) => {
            trace.ended("client closed or stalled before the answer's end");
            false
        }
    }
}

/// Closes so that an answer which was just written still arrives: ends our side, then reads what the client
/// is still sending for a moment. A close with unread bytes would be a reset, which may overtake the answer.
//= SE-CLOSE-01
pub async fn linger<R: Rt>(client: &Client<R>, sink: &mut super::buffer::Buffer) {
    use super::limits::{LINGER_BYTES_MAX, LINGER_US};
    client.stream.shutdown(std::net::Shutdown::Write);
    let end = crate::rt::Now(client.worker.rt.now().0 + LINGER_US);
    let mut left = LINGER_BYTES_MAX;
    loop {
        sink.clear();
        match client.stream.try_read(sink.space()) {
            Ok(0) => return,
            Ok(count) => {
                left = left.saturating_sub(count);
                if left == 0 {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if client.stream.readable(end).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
