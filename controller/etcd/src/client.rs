//! One connection at a time, and what failed of a call.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Code, Response, Status};

use crate::dial::{Answer, Connection, Endpoint, HANDSHAKE, Tls, dial};
use crate::proto::kv_client::KvClient;
use crate::proto::lease_client::LeaseClient;
use crate::proto::maintenance_client::MaintenanceClient;
use crate::proto::watch_client::WatchClient;
use crate::proto::{
    CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest,
    RangeResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest,
    WatchResponse, watch_request,
};

/// Bytes of one message from a member: a page of a hundred of the largest values, with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// An answer comes within this: etcd itself gives up after 7 s, and a lease of the leader is renewed far more often.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No member could be reached: nothing was asked for.
    Unreached(String),
    /// It was asked for, and no answer came: it may have been done, or may be done yet.
    Lost(String),
    /// The member refused, and did nothing: more than it takes.
    TooLarge(String),
    /// The member refused, and did nothing: its storage is full.
    Full(String),
    /// What is asked for is not kept any more.
    Compacted,
    /// The member refused, and did nothing.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreached(text) => write!(f, "no member of etcd is reached: {text}"),
            Failure::Lost(text) => write!(f, "etcd does not answer: {text}"),
            Failure::TooLarge(text) => write!(f, "more than etcd takes: {text}"),
            Failure::Full(text) => write!(
                f,
                "the storage of etcd is full ({text}): give its members a larger --quota-backend-bytes, or free \
                 space by etcdctl compact, defrag and alarm disarm"
            ),
            Failure::Compacted => f.write_str("etcd does not keep that any more"),
            Failure::Refused(text) => write!(f, "etcd refuses: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::ResourceExhausted if text.contains("database space exceeded") => Failure::Full(text),
            Code::ResourceExhausted if text.contains("too many requests") => Failure::Refused(text),
            Code::InvalidArgument if text.contains("too large") || text.contains("too many operations") => {
                Failure::TooLarge(text)
            }
            Code::OutOfRange if text.contains("compacted") => Failure::Compacted,
            // Of these some are refusals and some are not; what is taken for lost is looked up.
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Aborted => Failure::Lost(text),
            _ => Failure::Refused(text),
        }
    }
}

/// Where the members are: whoever calls them shares the list, and it may change.
#[derive(Clone)]
pub struct Endpoints(Arc<RwLock<Vec<Endpoint>>>);

impl From<Vec<Endpoint>> for Endpoints {
    fn from(all: Vec<Endpoint>) -> Self {
        Endpoints(Arc::new(RwLock::new(all)))
    }
}

impl Endpoints {
    /// From now on they are these.
    pub fn set(&self, all: Vec<Endpoint>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The one with this number, counted over and over.
    fn at(&self, number: usize) -> Option<Endpoint> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        number.checked_rem(all.len()).map(|at| all[at].clone())
    }
}

/// The members, and a connection to one of them.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Endpoints,
    tls: Option<Tls>,
    /// Connecting to one of them takes no longer.
    dialling: Duration,
    /// An answer comes within this.
    patience: Duration,
    now: Mutex<Now>,
}

struct Now {
    /// The member that is asked first.
    at: usize,
    /// And what it is called in requests.
    connection: Option<(Connection, Uri)>,
}

/// The connection as calls take it.
#[derive(Clone)]
pub(crate) struct Calls(Connection);

impl Service<http::Request<Body>> for Calls {
    type Response = Answer;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

impl Client {
    /// For these members. Nothing is dialled yet.
    pub fn new(endpoints: impl Into<Endpoints>, tls: Option<Tls>) -> Self {
        Self::patient(endpoints.into(), tls, (HANDSHAKE, PATIENCE))
    }

    fn patient(endpoints: Endpoints, tls: Option<Tls>, (dialling, patience): (Duration, Duration)) -> Self {
        let now = Mutex::new(Now { at: 0, connection: None });
        Client { inner: Arc::new(Inner { endpoints, tls, dialling, patience, now }) }
    }

    /// Another one for the same members, with connections of its own, that waits so long for a connection, and for an answer.
    #[must_use]
    pub fn apart(&self, patience: Duration) -> Self {
        Self::patient(self.inner.endpoints.clone(), self.inner.tls.clone(), (patience, patience))
    }

    /// As [`Client::apart`], for one member alone.
    #[must_use]
    pub fn only(&self, member: Endpoint, patience: Duration) -> Self {
        Self::patient(vec![member].into(), self.inner.tls.clone(), (patience, patience))
    }

    /// The connection that there is, or a new one to the first member that takes it.
    pub(crate) async fn calls(&self) -> Result<(Calls, Uri), Failure> {
        let inner = &self.inner;
        let mut now = inner.now.lock().await;
        if now.connection.as_ref().is_none_or(|(held, _)| held.is_closed()) {
            now.connection = None;
            let mut told = Vec::new();
            for _ in 0..inner.endpoints.len() {
                let Some(endpoint) = inner.endpoints.at(now.at) else { break };
                match dial(&endpoint, inner.tls.as_ref(), inner.dialling).await {
                    Ok(connection) => {
                        now.connection = Some((connection, endpoint.to_string().parse().unwrap_or_default()));
                        break;
                    }
                    Err(text) => told.push(text),
                }
                now.at = now.at.wrapping_add(1);
            }
            if now.connection.is_none() {
                return Err(Failure::Unreached(told.join("; ")));
            }
        }
        let (connection, origin) =
            now.connection.clone().ok_or_else(|| Failure::Unreached("none".to_owned()))?;
        Ok((Calls(connection), origin))
    }

    /// The next call goes to the next member.
    async fn turn(&self) {
        let mut now = self.inner.now.lock().await;
        now.connection = None;
        now.at = now.at.wrapping_add(1);
    }

    /// Waits for an answer for as long as there may be one.
    pub(crate) async fn answered<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.answered_within(self.inner.patience, call).await
    }

    async fn answered_within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let failure = match tokio::time::timeout(patience, call).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => Failure::from(status),
            Err(_) => Failure::Lost(format!("nothing came for {} ms", patience.as_millis())),
        };
        if let Failure::Lost(_) = failure {
            self.turn().await;
        }
        Err(failure)
    }

    /// Values of keys. Asked for once more, of the next member, if there is no answer: reading changes nothing.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        let mut left = self.inner.endpoints.len();
        loop {
            let (calls, origin) = self.calls().await?;
            let mut client =
                KvClient::with_origin(calls, origin).max_decoding_message_size(MESSAGE_BYTES_MAX);
            match self.answered(client.range(request.clone())).await {
                Err(Failure::Lost(_)) if left > 0 => left -= 1,
                done => return done,
            }
        }
    }

    /// A transaction, asked for once.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        let (calls, origin) = self.calls().await?;
        let mut client = KvClient::with_origin(calls, origin).max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.answered(client.txn(request)).await
    }

    /// Forgets what changed before a revision.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn compact(&self, revision: i64) -> Result<(), Failure> {
        let (calls, origin) = self.calls().await?;
        let request = CompactionRequest { revision, physical: true };
        self.answered(KvClient::with_origin(calls, origin).compact(request)).await.map(drop)
    }

    /// A lease of so many seconds; its number.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn grant(&self, seconds: i64) -> Result<i64, Failure> {
        let (calls, origin) = self.calls().await?;
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let granted = self.answered(LeaseClient::with_origin(calls, origin).lease_grant(request)).await?;
        match granted.error.is_empty() {
            true => Ok(granted.id),
            false => Err(Failure::Refused(granted.error)),
        }
    }

    /// Renews a lease; `false`: it is over.
    ///
    /// # Errors
    /// There is no answer within `patience`.
    pub async fn renew(&self, lease: i64, patience: Duration) -> Result<bool, Failure> {
        let (calls, origin) = self.calls().await?;
        let mut client = LeaseClient::with_origin(calls, origin);
        let asked = Once(Some(LeaseKeepAliveRequest { id: lease }));
        let call = async {
            let mut stream = client.lease_keep_alive(asked).await?.into_inner();
            let first = stream.message().await?;
            first.map(Response::new).ok_or_else(|| Status::unavailable("the stream ended"))
        };
        Ok(self.answered_within(patience, call).await?.ttl > 0)
    }

    /// Ends a lease, and what hangs on it goes.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn revoke(&self, lease: i64) -> Result<(), Failure> {
        let (calls, origin) = self.calls().await?;
        let request = LeaseRevokeRequest { id: lease };
        self.answered(LeaseClient::with_origin(calls, origin).lease_revoke(request)).await.map(drop)
    }

    /// How the member is that is connected.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn status(&self) -> Result<StatusResponse, Failure> {
        let (calls, origin) = self.calls().await?;
        self.answered(MaintenanceClient::with_origin(calls, origin).status(StatusRequest {})).await
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn watch(&self, request: WatchCreateRequest) -> Result<Watching, Failure> {
        let (calls, origin) = self.calls().await?;
        let mut client = WatchClient::with_origin(calls, origin).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request_union = Some(watch_request::RequestUnion::CreateRequest(request));
        // The stream is held open: a member ends the watch with it.
        let (asking, asked) = tokio::sync::mpsc::channel(1);
        let _ = asking.try_send(WatchRequest { request_union });
        let stream = self.answered(client.watch(Asked(asked))).await?;
        Ok(Watching { client: self.clone(), stream, _asking: asking })
    }
}

/// What changes, as it comes.
pub struct Watching {
    client: Client,
    stream: tonic::Streaming<WatchResponse>,
    _asking: tokio::sync::mpsc::Sender<WatchRequest>,
}

impl Watching {
    /// The next message, as long as it may take.
    ///
    /// # Errors
    /// The member is gone, or the watch; `Compacted`: what it began with is not kept any more.
    pub async fn next(&mut self) -> Result<WatchResponse, Failure> {
        let lost = match self.stream.message().await {
            Ok(Some(said)) if said.compact_revision > 0 => return Err(Failure::Compacted),
            Ok(Some(said)) if said.canceled => return Err(Failure::Refused(said.cancel_reason)),
            Ok(Some(said)) => return Ok(said),
            Ok(None) => Failure::Lost("the watch ended".to_owned()),
            Err(status) => Failure::from(status),
        };
        if let Failure::Lost(_) = lost {
            self.client.turn().await;
        }
        Err(lost)
    }

    /// The next message, within the time that an answer may take.
    ///
    /// # Errors
    /// As [`Watching::next`], or none came.
    pub async fn soon(&mut self) -> Result<WatchResponse, Failure> {
        match tokio::time::timeout(PATIENCE, self.next()).await {
            Ok(done) => done,
            Err(_) => {
                self.client.turn().await;
                Err(Failure::Lost(format!("nothing came for {} s", PATIENCE.as_secs())))
            }
        }
    }
}

/// A stream of one request.
struct Once<T>(Option<T>);

impl<T: Unpin> tonic::codegen::tokio_stream::Stream for Once<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.take())
    }
}

/// A stream of requests for as long as somebody may ask.
struct Asked<T>(tokio::sync::mpsc::Receiver<T>);

impl<T> tonic::codegen::tokio_stream::Stream for Asked<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_says_tells_whether_anything_was_done() {
        let told = |code, text: &str| Failure::from(Status::new(code, text));
        let full = told(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(matches!(full, Failure::Full(_)) && full.to_string().contains("--quota-backend-bytes"));
        assert!(matches!(
            told(Code::InvalidArgument, "etcdserver: request is too large"),
            Failure::TooLarge(_)
        ));
        let many = told(Code::InvalidArgument, "etcdserver: too many operations in txn request");
        assert!(matches!(many, Failure::TooLarge(_)));
        let gone = told(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert_eq!(gone, Failure::Compacted);
        assert!(matches!(told(Code::Unavailable, "etcdserver: request timed out"), Failure::Lost(_)));
        assert!(matches!(told(Code::PermissionDenied, "no"), Failure::Refused(_)));
    }

    #[tokio::test]
    async fn where_no_member_is_the_failure_names_each_and_says_that_nothing_was_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = format!("http://{}", listener.local_addr().expect("its address"));
        drop(listener);
        let client = Client::new(vec![at.parse().expect("one"), at.parse().expect("one")], None);
        let failure = client.txn(TxnRequest::default()).await.expect_err("nobody");
        assert!(matches!(&failure, Failure::Unreached(text) if text.matches(&at).count() == 2), "{failure}");
    }
}
