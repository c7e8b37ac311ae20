//! The API's socket: TLS, HTTP, and how many may come at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::arrivals::Arrivals;
use crate::backup::CERTIFICATE;
use crate::files::{keep_names, write_private};
use crate::hex::sha256;
use crate::standing::{Limits, Noted, Noting, Standing};

/// Connections at once: each holds some 40 KiB, and up to a request's content.
const CONNECTIONS_MAX: usize = 1000;
/// Of these an address has so many: all users may come through one proxy, and who is slow at each leaves places for others.
const OF_ONE_MAX: usize = CONNECTIONS_MAX / 4;
/// A handshake, or the head of a request, takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests under way have so long to end when the Controller stops.
const LEAVE: Duration = Duration::from_secs(5);
/// A connection on which nothing is asked for: browsers keep theirs for about as long. Who takes an answer slowly has ten minutes.
const STANDING: Limits =
    Limits { first: PATIENCE, idle: Duration::from_secs(60), unasked: Duration::from_secs(600) };
/// Streams of one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;

/// Serves what `answer` answers until `stop` ends, then lets requests under way end.
///
/// # Errors
/// Those of the socket.
pub async fn serve<A: Future<Output = Response<Body>> + Send + 'static>(
    answer: impl Fn(Request) -> A + Clone + Send + Sync + 'static,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = Router::new().fallback(answer);
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let arrivals = Arrivals::of(OF_ONE_MAX);
    let leaving = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        // Who finds no place waits in the queue of the socket.
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let (stream, from) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors, or the client is gone: neither is a reason to stop, nor to spin.
                    tracing::warn!(event = "CONTROLLER_ACCEPT_FAILED", %error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let Some(arrival) = arrivals.enter(from.ip()) else { continue };
        let _ = stream.set_nodelay(true);
        let router = router.clone().layer(axum::Extension(api::Peer(from.ip().to_canonical())));
        let (acceptor, watcher) = (acceptor.clone(), leaving.watcher());
        tokio::spawn(async move {
            let _places = (place, arrival);
            let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else {
                tracing::debug!(%from, "no handshake");
                return;
            };
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 * 1024);
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(64 * 1024)
                .keep_alive_interval(Some(Duration::from_secs(30)));
            let standing = Standing::begins();
            let service = Noted { inner: TowerToHyperService::new(router), standing: Arc::clone(&standing) };
            let stream = Noting { inner: stream, standing: Arc::clone(&standing) };
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                served = watcher.watch(connection.into_owned()) => if let Err(error) = served {
                    tracing::debug!(%from, %error, "a connection ended early");
                },
                () = standing.is_over(STANDING) => tracing::debug!(%from, "nothing was asked for"),
            }
        });
    }
    let _ = tokio::time::timeout(LEAVE, leaving.shutdown()).await;
    Ok(())
}

/// The certificate of the API: what is in the folder, or one that is made now and kept there.
///
/// # Errors
/// What is there cannot be read, or is no certificate with its key.
pub fn certificate(folder: &Path, at: SocketAddr) -> Result<Arc<ServerConfig>, String> {
    let (cert_file, key_file) = (folder.join(CERTIFICATE[0]), folder.join(CERTIFICATE[1]));
    if !cert_file.exists() && !key_file.exists() {
        let names = vec!["localhost".to_owned(), at.ip().to_string()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
        write_private(&key_file, made.signing_key.serialize_pem().as_bytes())
            .and_then(|()| std::fs::write(&cert_file, made.cert.pem()))
            .and_then(|()| keep_names(&cert_file))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&cert_file).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| format!("{}: {error}", cert_file.display()))?;
    let key = PrivateKeyDer::from_pem_file(&key_file)
        .map_err(|error| format!("{}: {error}", key_file.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("{} and {}: {error}", cert_file.display(), key_file.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The fingerprint of the API's certificate, by which people and the command line know this Controller: `SHA256:` and 64
/// digits.
///
/// # Errors
/// There is no certificate in the folder.
//= API-FINGERPRINT-01
pub fn fingerprint(folder: &Path) -> Result<String, String> {
    let file = folder.join("api.crt");
    let certificate =
        CertificateDer::from_pem_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(format!("SHA256:{}", sha256(&certificate)))
}
