//! Answers of our own: refusals, failures, redirects.

use std::io::ErrorKind;

use forebay_http::grpc;
use forebay_http::h1::RequestHead;
use forebay_http::h1::write::{self, Answer, FieldEdit};

use super::client::Client;
use super::gather::Gather;
use super::limits::{LINGER_BYTES_MAX, LINGER_LOOK_US, LINGER_QUEUED_US_MAX, LINGER_US};
use super::record::Trace;
use super::strict;
use super::wait::{Patience, write_all};
use crate::rt::{Now, Rt, Stream};
use crate::worker::{Generation, TimeOuts};

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
    /// It is said to a client of gRPC, by this status and without content.
    pub grpc: Option<grpc::Status>,
}

/// Says it to the client, as answer to `request` if one was read. Gives whether all of it was written.
pub async fn say<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
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
    let mut fields = [date; 4];
    let mut count = 1;
    if let Some(value) = saying.location {
        fields[count] = FieldEdit::Set { name: b"Location", value };
        count += 1;
    }
    //= GRPC-STATUS-01
    if let Some(status) = saying.grpc {
        let value = status.number().as_bytes();
        fields[count] = FieldEdit::Set { name: b"Content-Type", value: b"application/grpc" };
        fields[count + 1] = FieldEdit::Set { name: b"Grpc-Status", value };
        count += 2;
    } else if saying.content.is_some() {
        let value = saying.content_type.unwrap_or(b"text/html; charset=utf-8");
        fields[count] = FieldEdit::Set { name: b"Content-Type", value };
        count += 1;
    }
    //= TLS-HSTS-01
    if let Some(value) = client.service(plan).strict.as_deref() {
        fields[count] = FieldEdit::Set { name: strict::NAME, value };
        count += 1;
    }
    let used = &fields[..count];
    let base = match request {
        Some(request) => Answer::to(request, saying.status),
        None => Answer::error(saying.status),
    };
    let answer = match saying.grpc {
        None => Answer { keep_alive: saying.keep, fields: used, content: saying.content, ..base },
        Some(_) => Answer { status: 200, keep_alive: saying.keep, fields: used, content: Some(b""), ..base },
    };
    let written = gather.text(|own| write::answer(&answer, own));
    if written.is_err() {
        return false;
    }
    trace.status = saying.status;
    let step = client.service(plan).time_outs.body;
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
/// is still sending for a moment, and stays as long as the client takes more of the answer. A close with unread bytes
/// would be a reset, which may overtake the answer, and takes what is still queued of it in any case.
//= SE-CLOSE-01
pub async fn linger<R: Rt>(client: &Client<R>, sink: &mut super::buffer::Buffer) {
    // A stream of a connection that carries many ends by a frame.
    if client.stream.own().is_none() {
        return;
    }
    let (rt, stream) = (&client.worker.rt, &client.stream);
    stream.shutdown(std::net::Shutdown::Write);
    let body_us = client.time_outs().body;
    let began = rt.now();
    let (short, long) = (Now(began.0 + LINGER_US), Now(began.0 + LINGER_QUEUED_US_MAX));
    let mut left = LINGER_BYTES_MAX;
    let (mut queued, mut moved) = (usize::MAX, began);
    loop {
        let now = rt.now();
        let before = std::mem::replace(&mut queued, stream.unacknowledged());
        if queued < before {
            moved = now;
        }
        let late = TimeOuts::at(moved, body_us).min(long);
        let is_over = if queued == 0 { left == 0 || now >= short } else { now >= late };
        if is_over {
            return;
        }
        let look = Now(now.0 + LINGER_LOOK_US);
        if left == 0 {
            // It sends without end: from here on it has to wait for itself.
            rt.sleep_until(look).await;
            continue;
        }
        sink.clear();
        match stream.try_read(sink.space()) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let until = if queued == 0 { short } else { look };
                match stream.readable(until).await {
                    Err(error) if error.kind() != ErrorKind::TimedOut => return,
                    _ => {}
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
