//! A client of the API: one connection, one request after another.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer comes within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, with a session if somebody has logged in.
pub struct Api {
    requests: SendRequest<Full<Bytes>>,
    host: String,
    session: String,
    csrf: String,
}

impl Api {
    /// Connects to the Controller that has this folder.
    ///
    /// # Errors
    /// It is not there.
    pub async fn open(at: SocketAddr, data: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(data.join("api.crt"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::from(at.ip()), stream).await?;
        let (requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Api { requests, host: at.to_string(), session: String::new(), csrf: String::new() })
    }

    /// Logs in.
    ///
    /// # Errors
    /// It is refused.
    pub async fn log_in(&mut self, password: &str) -> anyhow::Result<()> {
        let asked = json!({"username": "admin", "password": password});
        let (status, cookies, said) = self.ask("POST", "/login", Some(&asked)).await?;
        if status != 200 {
            bail!("POST /login: {status} {}", String::from_utf8_lossy(&said));
        }
        let cookie = |name: &str| {
            let found = cookies.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|rest| rest.split(';').next()).map(str::to_owned).context("no cookie")
        };
        (self.session, self.csrf) = (cookie("sessionid")?, cookie("csrftoken")?);
        Ok(())
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        content: Option<&Value>,
    ) -> anyhow::Result<(u16, Vec<String>, Bytes)> {
        let content = content.map_or_else(Bytes::new, |content| Bytes::from(content.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("x-avi-version", "30.2.1")
            .header("cookie", format!("sessionid={}; csrftoken={}", self.session, self.csrf))
            .header("x-csrftoken", &self.csrf)
            .body(Full::new(content))?;
        let answered = async {
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let cookies = head.headers.get_all("set-cookie").iter();
            let cookies = cookies.filter_map(|line| line.to_str().ok()).map(str::to_owned).collect();
            anyhow::Ok((head.status.as_u16(), cookies, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, answered).await.with_context(|| format!("{method} {path}"))?
    }

    /// Asks for a path; gives the status and the bytes.
    ///
    /// # Errors
    /// No answer comes.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<(u16, Bytes)> {
        self.ask("GET", path, None).await.map(|(status, _, said)| (status, said))
    }

    /// Asks for a path, and gives how long the answer took and what it is.
    ///
    /// # Errors
    /// The answer is another one than 200.
    pub async fn read(&mut self, path: &str) -> anyhow::Result<(Duration, Value)> {
        let began = Instant::now();
        let (status, said) = self.get(path).await?;
        let took = began.elapsed();
        if status != 200 {
            bail!("GET {path}: {status} {}", String::from_utf8_lossy(&said));
        }
        Ok((took, serde_json::from_slice(&said)?))
    }

    /// Sends a document, and gives how long the answer took and what it is.
    ///
    /// # Errors
    /// It is refused.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        sent: &Value,
    ) -> anyhow::Result<(Duration, Value)> {
        let began = Instant::now();
        let (status, _, said) = self.ask(method, path, Some(sent)).await?;
        let took = began.elapsed();
        if !matches!(status, 200 | 201) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&said));
        }
        Ok((took, serde_json::from_slice(&said)?))
    }

    /// The uuid of the object of a kind with a name.
    ///
    /// # Errors
    /// There is none.
    pub async fn uuid(&mut self, kind: &str, name: &str) -> anyhow::Result<String> {
        let (_, said) = self.read(&format!("/api/{kind}?name={name}")).await?;
        let uuid = said["results"][0]["uuid"].as_str();
        Ok(uuid.with_context(|| format!("there is no {kind} {name}"))?.to_owned())
    }
}
