//! A server on the h2 crate that does what the path says, and counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// Content between two pauses of a slow server.
const SLOW_BYTES: usize = 1_000;

/// What was seen of the engine.
pub struct Seen {
    /// Connections that were accepted.
    pub connections: AtomicUsize,
    /// Requests that came.
    pub requests: AtomicUsize,
    /// Requests under way, and the most of them on one connection.
    pub at_once: AtomicUsize,
    /// Why streams were reset by the engine.
    pub resets: Mutex<Vec<Reason>>,
    /// Fields of the last request.
    pub fields: Mutex<HeaderMap>,
    /// Requests that `/hold` lets go.
    pub gate: Semaphore,
}

/// A server on a thread of its own, until this is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    _end: oneshot::Sender<()>,
}

/// How a server is.
#[derive(Clone, Copy)]
pub struct Manner {
    /// Streams that it allows at once.
    pub streams: u32,
    /// What it takes of a stream before it was read.
    pub window: u32,
    /// It looks at no request.
    pub refuses: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { streams: 1000, window: 65_535, refuses: false }
    }
}

impl Server {
    pub fn start(address: SocketAddr, manner: Manner) -> Server {
        let listener = std::net::TcpListener::bind(address).expect("an address of the lab");
        listener.set_nonblocking(true).expect("a socket");
        let seen = Arc::new(Seen {
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            resets: Mutex::default(),
            fields: Mutex::default(),
            gate: Semaphore::new(0),
        });
        let (end, ended) = oneshot::channel::<()>();
        let shared = seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                let accepts = async {
                    while let Ok((socket, _)) = listener.accept().await {
                        shared.connections.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(serve(socket, manner, shared.clone()));
                    }
                };
                tokio::select! {
                    () = accepts => {}
                    _ = ended => {}
                }
            });
        });
        Server { address, seen, _end: end }
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

async fn serve(socket: tokio::net::TcpStream, manner: Manner, seen: Arc<Seen>) {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(manner.streams).initial_window_size(manner.window);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let here = Arc::new(AtomicUsize::new(0));
    while let Some(request) = connection.accept().await {
        let Ok((request, mut respond)) = request else { return };
        seen.requests.fetch_add(1, Ordering::SeqCst);
        if manner.refuses || request.uri().path() == "/refuse" {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if request.uri().path() == "/last" {
            connection.graceful_shutdown();
        }
        let under_way = here.fetch_add(1, Ordering::SeqCst) + 1;
        seen.at_once.fetch_max(under_way, Ordering::SeqCst);
        let (seen, here) = (seen.clone(), here.clone());
        tokio::spawn(async move {
            answer(request, respond, &seen).await;
            here.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: &Seen) {
    *seen.fields.lock().expect("no panic") = request.headers().clone();
    let path = request.uri().path().to_owned();
    let method = request.method().to_string();
    match path.as_str() {
        "/reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        "/hold" => seen.gate.acquire().await.expect("open").forget(),
        "/hint" => {
            let hint = Response::builder().status(103).header("link", "</style.css>");
            respond.send_informational(hint.body(()).expect("a head")).expect("an open stream");
        }
        _ => {}
    }
    let trailer = http::HeaderValue::from_static("x-sum");
    let response = Response::builder().header("x-method", method.as_str()).header("trailer", trailer);
    let bytes = path.strip_prefix("/bytes/").map(|count| count.parse::<usize>().expect("a number"));
    let response = match bytes {
        Some(count) => response.header("content-length", count),
        None => response,
    };
    let ends = method == "HEAD";
    let Ok(mut stream) = respond.send_response(response.body(()).expect("a head"), ends) else { return };
    if ends {
        return;
    }
    if path == "/stall" {
        let _ = stream.send_data(Bytes::from_static(b"some"), false);
        if let Ok(reason) = std::future::poll_fn(|context| stream.poll_reset(context)).await {
            seen.resets.lock().expect("no panic").push(reason);
        }
        return;
    }
    if let Some(count) = bytes {
        let content: Vec<u8> = (0..count).map(|n| (n % 251) as u8).collect();
        // The engine may have reset it.
        let _ = stream.send_data(content.into(), true);
        return;
    }
    let body = request.body_mut();
    let mut sum = 0;
    while let Some(Ok(piece)) = body.data().await {
        let before = sum;
        sum += piece.len();
        if path == "/slow" && before / SLOW_BYTES < sum / SLOW_BYTES {
            // Sleep: a server that takes some content now and then is what the test is about. Not for each piece: the h2
            // crate opens a window that is nearly shut by a few bytes at a time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if body.flow_control().release_capacity(piece.len()).is_err()
            || stream.send_data(piece, false).is_err()
        {
            return;
        }
    }
    let asked = body.trailers().await.ok().flatten().unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", sum.into());
    if let Some(value) = asked.get("x-asked") {
        trailers.insert("x-asked", value.clone());
    }
    let _ = stream.send_trailers(trailers);
}
