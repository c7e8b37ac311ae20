//! What becomes of what a client said on a connection that speaks HTTP/2.

use forebay_http::h1::{Framing, Method};
use forebay_http::h2::{Code, Event};

use super::lane::{Lane, State};
use crate::http::client::Client;
use crate::http::conversation::Job;
use crate::http::work::Head;
use crate::rt::Rt;
use crate::worker::Worker;

/// Streams that a client may have at once; so many have a request under way at most, those that it has reset included.
/// Twice what browsers use.
pub(super) const STREAMS_MAX: u32 = 128;

/// A request that came.
pub(super) struct Begun {
    pub(super) stream: u32,
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    pub(super) job: Job,
    pub(super) head: Option<Box<Head>>,
}

/// Takes a place for a stream; one that gets none is told so. One that its client has reset keeps its place until its
/// exchange is over.
//= H2-HOST-04
fn admit<R: Rt>(state: &mut State, stream: u32, worker: &Worker<R>) -> bool {
    let lanes = state.lanes();
    if lanes >= STREAMS_MAX as usize || (lanes > 0 && !worker.has_place()) {
        worker.metrics.streams_refused.inc();
        state.reset(stream, Code::RefusedStream);
        return false;
    }
    worker.streams.set(worker.streams.get() + usize::from(lanes > 0));
    true
}

/// Does what an event asks for; a request is the caller's.
pub(super) fn take<R: Rt>(
    state: &mut State,
    event: Event,
    input: &[u8],
    client: &Client<R>,
) -> Option<Begun> {
    let worker = &client.worker;
    let begin = worker.rt.now();
    match event {
        Event::Request { stream, end } => {
            if !admit(state, stream, worker) {
                return None;
            }
            let mut head = worker.works.head(&worker.buffers);
            if !worker.buffers.fill_head(&mut head.bytes, &state.inbox.bytes) {
                worker.works.give_back_head(head, &worker.buffers);
                worker.metrics.heads_refused_memory.inc();
                state.open(Lane::new(stream, false, true));
                let job = Job::Refuse(503, "large heads have no memory left", begin);
                return Some(Begun { stream, is_head: false, is_connect: false, job, head: None });
            }
            std::mem::swap(&mut head.request, &mut state.inbox.request);
            let chunked = head.request.framing == Framing::Chunked;
            let is_head = head.request.method == Method::Head;
            let is_connect = head.request.upgrade.is_some();
            state.open(Lane::new(stream, chunked, end));
            Some(Begun { stream, is_head, is_connect, job: Job::Request(begin), head: Some(head) })
        }
        Event::Refused { stream, reject } => {
            if !admit(state, stream, worker) {
                return None;
            }
            worker.metrics.requests_rejected.inc();
            state.open(Lane::new(stream, false, true));
            let job = Job::Refuse(reject.status, reject.rule.text(), begin);
            Some(Begun { stream, is_head: false, is_connect: false, job, head: None })
        }
        Event::Data { stream, data, end } => {
            let data = input.get(data).unwrap_or(&[]);
            match state.lane(stream) {
                Some(lane) => {
                    lane.content(data, end);
                    super::lane::wake(&mut lane.reader);
                }
                // Its exchange is over: nobody will read it.
                None => {
                    let State { connection, out, .. } = state;
                    connection.release(stream, data.len(), out);
                }
            }
            None
        }
        Event::Trailers { stream } => {
            let inbox = std::mem::take(&mut state.inbox);
            if let Some(lane) = state.lane(stream) {
                lane.end(&inbox);
            }
            state.inbox = inbox;
            None
        }
        Event::Reset { stream, rule, .. } => {
            if rule.is_some() {
                worker.metrics.requests_rejected.inc();
            }
            if let Some(lane) = state.lane(stream) {
                lane.lose();
            }
            None
        }
        Event::Pong { .. } => {
            let State { connection, out, .. } = state;
            connection.go(Code::No, out);
            None
        }
        //= H2-HOST-07
        Event::Over { .. } => {
            worker.metrics.http2_cut.inc();
            state.lose_all();
            None
        }
        Event::NeedInput | Event::GoAway { .. } | Event::Response { .. } => None,
    }
}
