//! Requests on their way to the Controller that leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;

use super::identity::NAME;

/// Connecting to the leader takes no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The leader is asked whether it lives when nothing came for so long, and has as long to answer.
const ALIVE: Duration = Duration::from_secs(2);
/// An answer begins within this: the longest, an import of a whole site, takes tens of seconds.
const ANSWER: Duration = Duration::from_secs(120);
/// Requests under way on one connection: fewer than the leader takes.
const PLACES: usize = 48;
/// Connections at most: twelve clients that do nothing but wait, each with as many requests as one may have, leave room.
const LINES_MAX: usize = 16;
/// Bytes of one answer that its client does not read. All answers of a connection have so much, so that none waits for
/// another one's client.
const UNREAD_MAX: u32 = 256 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// Nothing was sent.
    Before(String),
    /// It was sent: it may have been done.
    After(String),
}

/// A connection.
struct Line {
    requests: SendRequest<Full<Bytes>>,
    places: Arc<Semaphore>,
}

/// Connections with whoever leads.
pub struct Relay {
    tls: Arc<ClientConfig>,
    lines: Mutex<(Option<SocketAddr>, Vec<Line>)>,
}

impl Relay {
    /// None are there yet.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Relay { tls, lines: Mutex::default() }
    }

    /// Asks the Controller at `at`. What is held goes with the end of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn pass(
        &self,
        at: SocketAddr,
        mut request: Request<Full<Bytes>>,
        held: impl Send + 'static,
    ) -> Result<Response<Body>, Failed> {
        // A connection that has just ended takes nothing: the next one does.
        for _ in 0..2 {
            let (mut requests, place) = self.line(at).await.map_err(Failed::Before)?;
            let asked = async {
                match requests.ready().await {
                    Ok(()) => requests.try_send_request(request).await.map_err(|mut error| {
                        let unsent = error.take_message();
                        (unsent, error.into_error().to_string())
                    }),
                    Err(error) => Err((Some(request), error.to_string())),
                }
            };
            match tokio::time::timeout(ANSWER, asked).await {
                Ok(Ok(answer)) => {
                    let held = (place, held);
                    return Ok(answer.map(|body| {
                        Body::new(body.map_frame(move |frame| {
                            let _ = &held;
                            frame
                        }))
                    }));
                }
                Ok(Err((Some(unsent), _))) => request = unsent,
                Ok(Err((None, text))) => return Err(Failed::After(text)),
                Err(_) => {
                    return Err(Failed::After(format!("no answer within {} s", ANSWER.as_secs())));
                }
            }
        }
        Err(Failed::Before("its connection ended".to_owned()))
    }

    /// A connection with a place, and the place.
    async fn line(&self, at: SocketAddr) -> Result<(SendRequest<Full<Bytes>>, OwnedSemaphorePermit), String> {
        let mut held = self.lines.lock().await;
        let (to, lines) = &mut *held;
        if *to != Some(at) {
            (*to, *lines) = (Some(at), Vec::new());
        }
        lines.retain(|line| !line.requests.is_closed());
        for line in &*lines {
            if let Ok(place) = Arc::clone(&line.places).try_acquire_owned() {
                return Ok((line.requests.clone(), place));
            }
        }
        if lines.len() >= LINES_MAX {
            return Err(format!("{} requests are under way", LINES_MAX * PLACES));
        }
        let dialled = tokio::time::timeout(PATIENCE, self.dial(at)).await;
        let requests = dialled.unwrap_or_else(|_| Err("no connection in time".to_owned()))?;
        let places = Arc::new(Semaphore::new(PLACES));
        let place = Arc::clone(&places).try_acquire_owned().map_err(|error| error.to_string())?;
        lines.push(Line { requests: requests.clone(), places });
        Ok((requests, place))
    }

    async fn dial(&self, at: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
        let all = u32::try_from(PLACES).unwrap_or(1) * UNREAD_MAX;
        builder.initial_stream_window_size(UNREAD_MAX).initial_connection_window_size(all);
        let (requests, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(requests)
    }
}
