//! Where a member is, and a connection to it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

/// Connecting and the handshakes take no longer: the next member is asked then.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(2);
/// A member is asked whether it lives when nothing came for so long, and has as long to answer: less than a lease of the
/// leader lasts.
const ALIVE: Duration = Duration::from_secs(1);
/// Bytes of answers that are on their way: one of the largest messages.
const WINDOW: u32 = 4 << 20;

/// Where a member takes calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    is_tls: bool,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no endpoint of etcd: https://HOST:PORT is, or http://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint { host, port: uri.port_u16().ok_or_else(wrong)?, is_tls })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Whom we trust, and who we are.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// By files in PEM form: certificates of the authorities, our own certificate, its key.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together; the text names it.
    pub fn of_files(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, String> {
        let told = |file: &Path, error: &dyn fmt::Display| format!("{}: {error}", file.display());
        let read = |file: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
            CertificateDer::pem_file_iter(file)
                .and_then(|all| all.collect())
                .map_err(|error| told(file, &error))
        };
        let mut roots = RootCertStore::empty();
        for one in read(authority)? {
            roots.add(one).map_err(|error| told(authority, &error))?;
        }
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| told(key, &error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| told(certificate, &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(read(certificate)?, key_der)
            .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls(Arc::new(config)))
    }
}

/// A connection, driven by a task of its own until it ends.
pub(crate) type Connection = SendRequest<Body>;
/// What it answers with.
pub(crate) type Answer = http::Response<Incoming>;

/// Connects.
pub(crate) async fn dial(to: &Endpoint, tls: Option<&Tls>, patience: Duration) -> Result<Connection, String> {
    let connected = async {
        let stream =
            TcpStream::connect((to.host.as_str(), to.port)).await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        if !to.is_tls {
            return speak(stream).await;
        }
        let Some(Tls(config)) = tls else {
            return Err("it speaks TLS, and no certificates are given: name all three".to_owned());
        };
        let name = ServerName::try_from(to.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
        speak(stream.map_err(|error| error.to_string())?).await
    };
    let done = tokio::time::timeout(patience, connected).await;
    done.unwrap_or_else(|_| Err(format!("no connection within {} ms", patience.as_millis())))
        .map_err(|text| format!("{to}: {text}"))
}

async fn speak<T>(stream: T) -> Result<Connection, String>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(ALIVE).keep_alive_timeout(ALIVE);
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (requests, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the last one who holds its other half, or with the member.
    tokio::spawn(connection);
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port_and_nothing_else() {
        for good in ["https://10.0.0.1:2379", "http://etcd-1.example:2379", "https://[fd00::1]:2379"] {
            assert_eq!(good.parse::<Endpoint>().map(|read| read.to_string()).as_deref(), Ok(good));
        }
        for bad in ["10.0.0.1:2379", "https://10.0.0.1", "ftp://x:1", "https://x:1/v3", "https://:1", ""] {
            let text = bad.parse::<Endpoint>().expect_err(bad);
            assert!(text.contains("https://HOST:PORT"), "{text}");
        }
    }
}
