//! What is told of a request when it has ended: one access record, and counts.

use forebay_core::{ChosenBy, KeyOutcome, Reason};
use forebay_http::Known;

use super::client::Client;
use super::work::Head;
use crate::limits::SERVER_NAME_BYTES_MAX;
use crate::log::{AccessRecord, Timing};
use crate::rt::{Now, Rt, Stream};
use crate::tls::Session;
use crate::worker::{Generation, Route};

/// Words that say why a record deserves a look; as many as one request can earn.
const WORDS_MAX: usize = 5;

/// What happened to a request, collected on its way.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The first byte of the request.
    pub begin: Now,
    /// The route that it took.
    pub route: Option<usize>,
    /// The server that answered, or the last one tried.
    pub server: Option<usize>,
    /// Our own address towards it.
    pub server_src: Option<std::net::SocketAddr>,
    /// Round trip to the server, microseconds.
    pub server_rtt_us: u32,
    /// The server's connection had served before.
    pub reused: bool,
    /// Servers that the request was sent to.
    pub servers_tried: u8,
    /// Why this server.
    pub reason: Option<Reason>,
    /// The last byte of the request went to the server.
    pub sent: Option<Now>,
    /// The first byte of the answer came.
    pub answered: Option<Now>,
    /// Waiting for a server, microseconds.
    pub queue_us: u64,
    /// Bytes from the client.
    pub rx_bytes: u64,
    /// Bytes to the client.
    pub tx_bytes: u64,
    /// Status for the client; 0: none.
    pub status: u16,
    /// Status of the server; 0: none.
    pub server_status: u16,
    /// The rule that ended it, by its place among the service's.
    pub rule: Option<usize>,
    /// The last rule that edits fields of its answer, likewise.
    pub answer_rule: Option<usize>,
    /// How it ended; empty: complete.
    pub state: &'static str,
    /// Why the record deserves a look.
    pub words: Words,
}

/// A few words, without allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words {
    words: [&'static str; WORDS_MAX],
    count: usize,
}

impl Words {
    /// Adds a word, unless it is there or there is no room.
    pub fn add(&mut self, word: &'static str) {
        if self.count < WORDS_MAX && !self.as_slice().contains(&word) {
            self.words[self.count] = word;
            self.count += 1;
        }
    }

    /// The words.
    pub fn as_slice(&self) -> &[&'static str] {
        &self.words[..self.count]
    }
}

impl Trace {
    /// Says why the record deserves a look.
    pub fn significant(&mut self, word: &'static str) {
        self.words.add(word);
    }

    /// A server is asked: what was seen of an earlier one is not told of this one.
    pub fn asks(&mut self, server: usize) {
        self.server = Some(server);
        self.servers_tried = self.servers_tried.saturating_add(1);
        (self.server_src, self.server_rtt_us, self.reused) = (None, 0, false);
        (self.sent, self.answered, self.server_status) = (None, None, 0);
    }

    /// How it ended: the first thing that went wrong counts.
    pub fn ended(&mut self, state: &'static str) {
        if self.state.is_empty() {
            self.state = state;
        }
    }

    /// Where the time went. The parts add up to the total: the client's round trip is what we cannot see
    /// of its own measure, data transfer is all the rest.
    //= SE-LOG-01
    fn timing(&self, client_rtt_us: u64, end: Now) -> Timing {
        let here = end.0.saturating_sub(self.begin.0);
        let waited = match (self.sent, self.answered) {
            (Some(sent), Some(answered)) => answered.0.saturating_sub(sent.0),
            _ => 0,
        };
        let server_rtt_us = u64::from(self.server_rtt_us).min(waited);
        let app_response_us = waited - server_rtt_us;
        Timing {
            client_rtt_us,
            server_rtt_us,
            app_response_us,
            data_transfer_us: here.saturating_sub(waited).saturating_sub(self.queue_us),
            total_us: client_rtt_us + here,
            queue_us: self.queue_us,
            first_byte_us: self.answered.unwrap_or(end).0.saturating_sub(self.begin.0),
        }
    }
}

/// Counts a request and logs it.
pub fn finish<R: Rt>(client: &Client<R>, plan: &Generation, head: &Head, trace: &Trace) {
    let worker = &client.worker;
    let now = worker.rt.now();
    let metrics = &client.service(plan).counts;
    metrics.rx_bytes.add(trace.rx_bytes);
    metrics.tx_bytes.add(trace.tx_bytes);
    if let Some(class) = class_of(trace.status) {
        metrics.responses[class].inc();
    }
    metrics.duration.observe_us(now.0.saturating_sub(trace.begin.0));

    let words = words(trace);
    let mut log = worker.log.borrow_mut();
    let service = plan.tree.service(client.service.get());
    let is_wanted = service.client_logs.all || !words.as_slice().is_empty();
    if !log.takes(is_wanted) {
        return;
    }
    let route: Option<&Route> = trace.route.map(|at| &plan.routes[at]);
    let server = match (route, trace.server) {
        (Some(route), Some(at)) => route.servers.get(at).map(|server| server.address),
        _ => None,
    };
    let (bytes, request) = (head.bytes.filled(), &head.request);
    let known = request.len > 0;
    let session = client.stream.session();
    // Of most services' requests nobody has to clear room for a name.
    let mut server_name = session.map(|_| [0; SERVER_NAME_BYTES_MAX]);
    let server_name = match (session, &mut server_name) {
        (Some(session), Some(room)) => {
            let len = session.server_name(room);
            &room[..len]
        }
        _ => &[],
    };
    log.push(
        &AccessRecord {
            at_unix_us: worker.unix_us(trace.begin),
            service_engine: &plan.tree.engine.name,
            worker: worker.index,
            request_id: worker.request_id(),
            virtual_service: &service.name,
            pool: route.map(|route| plan.pool_of(route)),
            client: client.shown(),
            client_dest: client.local,
            server,
            server_src: trace.server_src,
            method: if known { request.method_bytes(bytes) } else { b"" },
            host: request.authority.map_or(b"", |authority| authority.whole.of(bytes)),
            uri_path: if known { request.path(bytes) } else { b"" },
            uri_query: request.query(bytes).unwrap_or(b""),
            user_agent: request.fields.get(bytes, Known::UserAgent).unwrap_or(b""),
            http_version: request.version.number(),
            tls: session.and_then(Session::agreed),
            server_name,
            identity: session.and_then(Session::identity),
            request_length: trace.rx_bytes,
            response_length: trace.tx_bytes,
            response_code: trace.status,
            server_response_code: trace.server_status,
            timing: trace.timing(u64::from(client.rtt_us.get()), now),
            servers_tried: trace.servers_tried,
            server_connection_reused: trace.reused,
            persistence_used: trace.reason.is_some_and(|reason| reason.chosen_by == ChosenBy::Persistence),
            rule: trace.rule.and_then(|at| service.policy.name_of(at)),
            answer_rule: trace
                .answer_rule
                .filter(|_| trace.server_status > 0)
                .and_then(|at| service.policy.name_of(at)),
            reason: trace.reason.as_ref(),
            request_state: if trace.state.is_empty() { "complete" } else { trace.state },
            significance: words.as_slice(),
        },
        is_wanted,
    );
}

/// Why the record deserves a look.
fn words(trace: &Trace) -> Words {
    let mut words = trace.words;
    match trace.status {
        0 => words.add("the client got no answer"),
        500.. => words.add("the client got a 5xx"),
        _ => {}
    }
    if trace.reason.as_ref().is_some_and(moved) {
        words.add("a persistent client was moved to another server");
    }
    words
}

/// Whether a client that was bound to a server got another one: its own was down, or is no longer in the pool.
//= OBS-LOG-06
fn moved(reason: &Reason) -> bool {
    reason.chosen_by == ChosenBy::Algorithm
        && (reason.policy.is_some() || reason.key == KeyOutcome::NotAMember)
}

/// The place of a status in lists by class; `None` for none.
pub fn class_of(status: u16) -> Option<usize> {
    (100..600).contains(&status).then(|| usize::from(status / 100) - 1)
}

/// Samples the client's round-trip time, now and then: it costs a system call.
pub fn sample_rtt<R: Rt>(client: &Client<R>) {
    if client.requests.get() % super::limits::RTT_EVERY == 1 {
        let us = client.stream.rtt_us().unwrap_or(0);
        client.rtt_us.set(us);
        // A service that is gone has nobody to tell.
        if let Some(service) = client.door.service() {
            client.worker.current().service(service).counts.rtt.sample(us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SE-LOG-01
    #[test]
    fn the_parts_of_the_time_add_up_to_the_total() {
        let trace = Trace {
            begin: Now(1_000),
            sent: Some(Now(1_700)),
            answered: Some(Now(5_000)),
            queue_us: 300,
            server_rtt_us: 200,
            ..Trace::default()
        };
        let t = trace.timing(150, Now(9_000));
        let sum = t.client_rtt_us + t.server_rtt_us + t.app_response_us + t.data_transfer_us + t.queue_us;
        assert_eq!(sum, t.total_us);
        assert_eq!((t.app_response_us, t.first_byte_us, t.total_us), (3_100, 4_000, 8_150));
    }
}
