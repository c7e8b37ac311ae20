//! The engines' door: they call by gRPC over TLS, in which both ends show certificates of the Controller's own authority.
//!
//! What is said there stands in `model/wire/proto/engine.proto`.

mod authority;
mod compiled;
mod enroll;
mod known;
mod logging;
mod pushing;
mod session;
mod tokens;
mod told;
mod untaken;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use forebay_wire::limits::{ALIVE, HANDSHAKE, MESSAGE_BYTES_MAX, PATIENCE};
use forebay_wire::proto::channel_server::{Channel as Calls, ChannelServer};
use forebay_wire::proto::{Chunk, Enrolled, Enrollment, FromEngine, Joined, Joining, Renewal, ToEngine};
use forebay_wire::{PROTOCOL, Sections, engine_of};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming};

pub use authority::{Authority, DAYS};
pub use compiled::Maker;
pub use known::keep_known;
pub use tokens::{Grant, Made, end as end_token, list as tokens, make as make_token};

use crate::api::App;
use crate::arrivals::Arrivals;
use crate::cluster;
use crate::standing::{Limits, Noted, Standing};
use crate::store::Store;

/// Connections at once: a thousand engines, and those that come back while their old ones are not yet known to be gone.
const CONNECTIONS_MAX: usize = 2_200;
/// Of these, callers of one address who have not shown a certificate of ours: handshakes, and those who come with a token.
const STRANGERS_OF_ONE_MAX: usize = 200;
/// All such callers behind their handshakes: each asks for one thing.
const STRANGERS_MAX: usize = 400;
/// So long they may stand, whatever they do.
const STRANGER: Duration = Duration::from_secs(60);
/// A caller that asks for nothing. An engine's stream is asked for at once, and lives as long as it answers pings.
const STANDING: Limits =
    Limits { first: Duration::from_secs(10), idle: Duration::MAX, unasked: Duration::MAX };
/// Whole configurations that are on their way at once: each is tens of megabytes at worst, twice.
const SNAPSHOTS_MAX: usize = 32;
/// Messages that wait to be sent to one engine: pieces of half a megabyte each.
const WAITING_MAX: usize = 2;

/// What engines are to work by: sections, or why there are none, in words.
pub type Compiled = Result<Arc<Sections>, Vec<String>>;

/// Says what each engine is to work by.
pub trait Wanted: Send + Sync + 'static {
    /// What this engine is to work by now. The same `Arc` as before where nothing has changed.
    fn of<'a>(&'a self, engine: &'a str) -> Pin<Box<dyn Future<Output = Compiled> + Send + 'a>>;

    /// The services that this engine has and cannot do, by their uuids, and why.
    fn left_out(&self, engine: &str) -> BTreeMap<String, Vec<String>> {
        let _ = engine;
        BTreeMap::new()
    }

    /// Tells that some engine may be to work by something else.
    fn follow(&self) -> watch::Receiver<u64>;
}

/// What the door needs.
pub struct Channel<S> {
    app: Arc<App<S>>,
    wanted: Arc<dyn Wanted>,
    snapshots: Arc<Semaphore>,
    /// The versions of the protocol that are spoken.
    speaks: (u32, u32),
}

impl<S: Store + 'static> Channel<S> {
    /// For these engines.
    pub fn new(app: Arc<App<S>>, wanted: Arc<dyn Wanted>) -> Self {
        Channel { app, wanted, snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)), speaks: PROTOCOL }
    }

    /// Only these versions of the protocol are spoken.
    #[must_use]
    pub fn speaking(self, speaks: (u32, u32)) -> Self {
        Channel { speaks, ..self }
    }
}

/// Lets engines in until `stop` ends. What is under way then ends with the process: engines go on without us.
///
/// # Errors
/// Those of the socket.
pub async fn serve<S: Store + 'static>(
    channel: Arc<Channel<S>>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (arrivals, strangers) = (Arrivals::of(STRANGERS_OF_ONE_MAX), Arc::new(Semaphore::new(STRANGERS_MAX)));
    let mut stop = pin!(stop);
    loop {
        // Who finds no place waits in the queue of the socket.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors, or the engine is gone: neither is a reason to stop, nor to spin.
                    tracing::warn!(event = "CONTROLLER_ACCEPT_FAILED", %error, "an engine was not let in");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => return Ok(()),
        };
        let Some(arrival) = arrivals.enter(from.ip()) else { continue };
        let strangers = Arc::clone(&strangers);
        let _ = stream.set_nodelay(true);
        // Of a socket that was just accepted the system knows it.
        let to = stream.local_addr().map_or(from.ip(), |at| at.ip()).to_canonical();
        let (acceptor, channel) = (acceptor.clone(), Arc::clone(&channel));
        tokio::spawn(async move {
            let _place = place;
            let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    //= CHAN-TLS-01
                    tracing::warn!(event = "ENGINE_REFUSED", %from, %error, "who called is no engine of ours");
                    return;
                }
                Err(_) => {
                    tracing::debug!(%from, "no handshake");
                    return;
                }
            };
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(who);
            //= CHAN-SLOW-01
            let (stranger, lasts) = match shown {
                Some(_) => {
                    drop(arrival);
                    (None, Duration::MAX)
                }
                None => match strangers.try_acquire_owned() {
                    Ok(stranger) => (Some((stranger, arrival)), STRANGER),
                    Err(_) => {
                        tracing::debug!(%from, "there are too many who have shown no certificate");
                        return;
                    }
                },
            };
            let door = Door { channel, caller: shown, from: from.ip(), to };
            let service = ChannelServer::new(door)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            let mut builder = Builder::new(TokioExecutor::new()).http2_only();
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(4)
                .max_header_list_size(16 * 1024)
                .keep_alive_interval(Some(ALIVE))
                .keep_alive_timeout(ALIVE);
            let standing = Standing::begins();
            let service = Noted { inner: TowerToHyperService::new(service), standing: Arc::clone(&standing) };
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            tokio::select! {
                served = tokio::time::timeout(lasts, connection) => if let Ok(Err(error)) = served {
                    tracing::debug!(%from, %error, "an engine's connection ended early");
                },
                () = standing.is_over(STANDING) => tracing::debug!(%from, "nothing was asked for"),
            }
            drop(stranger);
        });
    }
}

/// The engine whose certificate this is. It was judged in the handshake.
fn who(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().find_map(engine_of).map(str::to_owned)
}

/// One connection's view of the channel.
struct Door<S> {
    channel: Arc<Channel<S>>,
    /// The engine that its certificate names; `None`: it has shown none.
    caller: Option<String>,
    from: IpAddr,
    /// Where it has come.
    to: IpAddr,
}

/// What a Redis beside an engine is sent.
type Chunks = tonic::codegen::tokio_stream::wrappers::ReceiverStream<Result<Chunk, Status>>;

/// What an engine is sent.
type Sent = tonic::codegen::tokio_stream::wrappers::ReceiverStream<Result<ToEngine, Status>>;

#[tonic::async_trait]
impl<S: Store + 'static> Calls for Door<S> {
    type AttachStream = Sent;
    type BesideStream = Chunks;

    async fn enroll(&self, request: Request<Enrollment>) -> Result<Response<Enrolled>, Status> {
        enroll::enroll(&self.channel.app, request.into_inner()).await.map(Response::new)
    }

    async fn join(&self, request: Request<Joining>) -> Result<Response<Joined>, Status> {
        cluster::admit(&self.channel.app, &request.into_inner()).await.map(Response::new)
    }

    async fn renew(&self, request: Request<Renewal>) -> Result<Response<Enrolled>, Status> {
        let uuid = self.member()?;
        enroll::renew(&self.channel.app, uuid, &request.into_inner().public_key).await.map(Response::new)
    }

    //= LEGACY-LED-01
    async fn beside(&self, request: Request<Streaming<Chunk>>) -> Result<Response<Chunks>, Status> {
        let uuid = self.member()?;
        let (send, sent) = mpsc::channel(WAITING_MAX);
        self.channel.app.distributors.ways.offer(uuid, send, request.into_inner());
        Ok(Response::new(Chunks::new(sent)))
    }

    async fn attach(&self, request: Request<Streaming<FromEngine>>) -> Result<Response<Sent>, Status> {
        let uuid = self.member()?.to_owned();
        let mut said = request.into_inner();
        let hello = tokio::time::timeout(PATIENCE, said.message()).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded("the stream began without a Hello"))??;
        let (send, sent) = mpsc::channel(WAITING_MAX);
        let session = session::begin(Arc::clone(&self.channel), uuid, (self.from, self.to), hello, send)?;
        tokio::spawn(session.run(said));
        Ok(Response::new(Sent::new(sent)))
    }
}

impl<S: Store> Door<S> {
    /// The engine that calls.
    //= CHAN-TLS-01
    fn member(&self) -> Result<&str, Status> {
        let uuid = self.caller.as_deref().ok_or_else(|| {
            Status::unauthenticated(
                "show the certificate of an engine: it is given for a token (POST /api/se-token)",
            )
        })?;
        if self.channel.app.engines.get(uuid).is_none() {
            tracing::warn!(event = "ENGINE_REFUSED", engine = uuid, from = %self.from, "it was deleted");
            return Err(Status::permission_denied(
                "this engine was deleted from the Controller: enroll it again with a new token, in an empty folder",
            ));
        }
        Ok(uuid)
    }
}
