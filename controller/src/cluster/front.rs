//! Who answers requests at this node: the Controller itself while it leads, the one that leads otherwise.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri, uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::identity::NAME;
use crate::api::{self, App, Peer};
use crate::store::Etcd;

/// By which one Controller tells another where a request came from. Clients cannot: theirs is taken away.
const CLIENT: &str = "x-forebay-client";
/// Connecting to the leader takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The leader is asked whether it lives when nothing came for so long, and has as long to answer.
const ALIVE: Duration = Duration::from_secs(2);

/// What this node is at the moment.
pub enum Role {
    /// It leads, while `store` does.
    Leads(Arc<App<Etcd>>),
    /// The one at this address does.
    Follows(SocketAddr),
    /// Nobody that it knows of does, and why.
    Nobody(String),
}

/// The node as its clients see it.
pub struct Front {
    role: RwLock<Arc<Role>>,
    tls: Arc<ClientConfig>,
    /// The connection to the leader, and where that is.
    leader: Mutex<Option<(SocketAddr, SendRequest<Body>)>>,
}

impl Front {
    /// One that nobody answers at yet.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        let role = Role::Nobody("this Controller is starting".to_owned());
        Front { role: RwLock::new(Arc::new(role)), tls, leader: Mutex::new(None) }
    }

    /// What this node is now.
    pub fn role(&self) -> Arc<Role> {
        Arc::clone(&self.role.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is this.
    pub fn set(&self, role: Role) {
        *self.role.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(role);
    }

    /// Answers a client.
    //= CLUSTER-ANY-01
    pub async fn client(&self, mut request: Request) -> Response<Body> {
        request.headers_mut().remove(CLIENT);
        match &*self.role() {
            Role::Leads(app) if app.store.is_led() => api::serve(Arc::clone(app), request).await,
            Role::Leads(_) => nobody("this Controller leads no more"),
            Role::Nobody(why) => nobody(why),
            Role::Follows(at) => match self.pass_on(*at, request).await {
                Ok(response) => response,
                Err(text) => nobody(&format!("the Controller that leads, at {at}, is not reached: {text}")),
            },
        }
    }

    /// Answers another Controller, on behalf of a client of it. It is passed on once, and no further.
    pub async fn controller(&self, mut request: Request) -> Response<Body> {
        let from = request.headers_mut().remove(CLIENT);
        // Its target is this Controller; the client's host is in the field.
        let target = std::mem::take(request.uri_mut()).into_parts();
        *request.uri_mut() = target.path_and_query.map(Uri::from).unwrap_or_default();
        if let Some(from) = from.and_then(|from| from.to_str().ok()?.parse::<IpAddr>().ok()) {
            request.extensions_mut().insert(Peer(from));
        }
        match &*self.role() {
            Role::Leads(app) if app.store.is_led() => api::serve(Arc::clone(app), request).await,
            _ => nobody("the Controller that was asked leads no more"),
        }
    }

    async fn pass_on(&self, at: SocketAddr, mut request: Request) -> Result<Response<Body>, String> {
        let from = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
        let host = api::host_of(request.uri());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let headers = request.headers_mut();
        // HTTP/2 to the leader, by whatever version the client came: what concerns one connection ends here.
        let hop = [CONNECTION, TRANSFER_ENCODING, UPGRADE, HeaderName::from_static("keep-alive")];
        for name in hop {
            headers.remove(name);
        }
        if let Some(host) = host {
            headers.insert(HOST, host);
        }
        if let Some(from) = from.and_then(|from| HeaderValue::from_str(&from).ok()) {
            headers.insert(CLIENT, from);
        }
        parts.scheme = Some(uri::Scheme::HTTPS);
        parts.authority = NAME.parse().ok();
        parts.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        *request.version_mut() = axum::http::Version::HTTP_2;
        let mut connection = self.connection(at).await?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        Ok(response.map(Body::new))
    }

    async fn connection(&self, at: SocketAddr) -> Result<SendRequest<Body>, String> {
        let mut held = self.leader.lock().await;
        if let Some((to, connection)) = &*held
            && *to == at
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        *held = None;
        let dialled = tokio::time::timeout(PATIENCE, self.dial(at)).await;
        let connection = dialled.unwrap_or_else(|_| Err("no connection in time".to_owned()))?;
        *held = Some((at, connection.clone()));
        Ok(connection)
    }

    async fn dial(&self, at: SocketAddr) -> Result<SendRequest<Body>, String> {
        let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
        let (requests, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(requests)
    }
}

/// Nobody answers at the moment: clients try again.
fn nobody(why: &str) -> Response<Body> {
    let text = serde_json::json!({"error": format!("no Controller leads at the moment: {why}")});
    let mut response = Response::new(Body::from(text.to_string()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
