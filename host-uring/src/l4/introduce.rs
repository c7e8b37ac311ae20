//! Headers of the PROXY protocol: read from proxies that are trusted, sent to servers that want them.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use forebay_proxy_protocol::{HEADER_BYTES_MAX, Named, Parse, Version, WRITTEN_BYTES_MAX, parse, write};

use super::record::{End, Ends, Trace, finish};
use crate::config::ServiceIndex;
use crate::rt::{Now, Rt, Stream};
use crate::worker::{Generation, Route, TimeOuts, Worker};

/// Why a connection that should begin with a header was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The peer is none of the proxies that may send one.
    Untrusted,
    /// It breaks a rule.
    Malformed,
    /// It did not come in time.
    Late,
    /// The connection ended before it was whole.
    Cut,
}

impl Refused {
    /// Every kind, in the order of [`ServiceMetrics::proxy_refused`](crate::metrics::ServiceMetrics).
    pub const ALL: [Refused; 4] = [Refused::Untrusted, Refused::Malformed, Refused::Late, Refused::Cut];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Refused::Untrusted => "untrusted",
            Refused::Malformed => "malformed",
            Refused::Late => "late",
            Refused::Cut => "cut",
        }
    }
}

/// A header that was not taken, and what the log says of it.
struct Refusal {
    kind: Refused,
    text: &'static str,
}

/// A connection whose header or handshake is awaited: it counts towards the worker's limit.
pub(super) struct Arriving<R: Rt> {
    worker: Rc<Worker<R>>,
}

impl<R: Rt> Arriving<R> {
    pub(super) fn new(worker: &Rc<Worker<R>>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        Arriving { worker: worker.clone() }
    }
}

impl<R: Rt> Drop for Arriving<R> {
    fn drop(&mut self) {
        self.worker.connections.set(self.worker.connections.get() - 1);
    }
}

/// Reads the header that a connection begins with, and serves the client that it names; whoever may not send one, or sends
/// another one, is closed.
//= L4-PROXY-01
pub async fn receive<R: Rt>(
    worker: Rc<Worker<R>>,
    plan: Rc<Generation>,
    service: ServiceIndex,
    stream: R::Stream,
    ends: Ends,
    serve: impl FnOnce(&Rc<Worker<R>>, R::Stream, Ends),
) {
    let arriving = Arriving::new(&worker);
    let begin = worker.rt.now();
    let settings = &plan.tree.service(service).proxy_protocol;
    let trusted = settings.from.iter().any(|network| network.contains(ends.client.ip()));
    let deadline = TimeOuts::at(begin, u64::from(settings.header_timeout_ms) * 1000);
    let read = match trusted {
        true => header(&worker, &stream, deadline).await,
        false => Err(Refusal { kind: Refused::Untrusted, text: "its peer may send no PROXY header" }),
    };
    drop(arriving);
    match read {
        Ok(named) => {
            let named = named.map(|named| Ends { client: named.source, local: named.destination });
            serve(&worker, stream, named.unwrap_or(ends));
        }
        Err(refusal) => {
            stream.reset_on_close();
            refuse(&worker, &plan, service, ends, begin, &refusal);
        }
    }
}

/// Reads exactly the header: what follows it is the client's, and stays in the socket. A header that comes in pieces waits
/// in no more memory than it needs.
//= L4-PROXY-02
async fn header<R: Rt>(
    worker: &Worker<R>,
    stream: &R::Stream,
    deadline: Now,
) -> Result<Option<Named>, Refusal> {
    let cut = || Refusal { kind: Refused::Cut, text: "it ended before its PROXY header was whole" };
    let mut early: Vec<u8> = Vec::new();
    loop {
        match stream.readable(deadline).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                worker.metrics.timeouts.proxy_header.inc();
                return Err(Refusal { kind: Refused::Late, text: "its PROXY header did not come in time" });
            }
            Err(_) => return Err(cut()),
        }
        // On the stack of this poll only: nothing of it is kept while the connection waits.
        let step = step(stream, &mut early);
        match step {
            Ok(Some(named)) => return Ok(named),
            Ok(None) => {}
            Err(refusal) => return Err(refusal.unwrap_or_else(cut)),
        }
    }
}

/// Takes what is there of the header; `Some`: it is whole.
fn step<S: Stream>(stream: &S, early: &mut Vec<u8>) -> Result<Option<Option<Named>>, Option<Refusal>> {
    let mut bytes = [0; HEADER_BYTES_MAX + 1];
    let had = early.len();
    bytes[..had].copy_from_slice(early);
    let came = match stream.try_peek(&mut bytes[had..]) {
        Ok(0) => return Err(None),
        Ok(came) => came,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            return Ok(None);
        }
        Err(_) => return Err(None),
    };
    let parsed = parse(&bytes[..had + came])
        .map_err(|why| Some(Refusal { kind: Refused::Malformed, text: why.as_str() }))?;
    let (take, named) = match parsed {
        Parse::Done(header) => (header.len - had, Some(header.named)),
        Parse::NeedMore => (came, None),
    };
    // What was seen is there to be read.
    match stream.try_read(&mut bytes[had..had + take]) {
        Ok(read) if read == take => {}
        _ => return Err(None),
    }
    if named.is_none() {
        early.reserve_exact(take);
        early.extend_from_slice(&bytes[had..had + take]);
    }
    Ok(named)
}

/// Counts it and logs it, with the address that the connection really came from.
//= L4-PROXY-01
fn refuse<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    service: ServiceIndex,
    ends: Ends,
    begin: Now,
    refusal: &Refusal,
) {
    plan.service(service).counts.proxy_refused[refusal.kind as usize].inc();
    let trace = Trace { begin, refused: Some(refusal.text), ..Trace::default() };
    finish(worker, plan, service, ends, &trace, End::ProxyHeader);
}

/// Sends the header that the servers of a route want, if they do: the first bytes of a new connection.
///
/// # Errors
/// The connection failed, or took less than the header.
//= L4-PROXY-03
pub fn introduce<S: Stream>(
    route: &Route,
    stream: &S,
    client: SocketAddr,
    local: SocketAddr,
) -> io::Result<()> {
    let Some(version) = route.introduces else { return Ok(()) };
    let mut bytes = [0; WRITTEN_BYTES_MAX];
    let len = write(version, client, local, &mut bytes);
    // A new connection has room for it, whatever its buffers are.
    match stream.try_write(&[IoSlice::new(&bytes[..len])])? {
        written if written == len => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// The version of the headers that a pool's servers want.
pub fn version(setting: forebay_snapshot::pool::SendProxy) -> Option<Version> {
    use forebay_snapshot::pool::SendProxy;
    match setting {
        SendProxy::Off => None,
        SendProxy::V1 => Some(Version::V1),
        SendProxy::V2 => Some(Version::V2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_refusal_has_its_own_place_and_word() {
        for (place, kind) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(Refused::ALL.iter().filter(|other| other.word() == kind.word()).count(), 1);
        }
    }
}
