//! How requests get to a collector: over one connection, as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::reach::{self, Trust};

/// The collector has so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: it says what was not taken, in few words.
const ANSWER_MAX: usize = 64 << 10;

/// Where a collector listens.
#[derive(Clone, Debug)]
pub struct Collector {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    /// Whether it speaks TLS, and by whose word.
    pub(super) is_secured: bool,
    tls: Option<Arc<ClientConfig>>,
}

impl std::str::FromStr for Collector {
    type Err = String;

    /// Reads `https://collector:4318/v1/metrics`; the path may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let refusal =
            |why: &str| format!("{why}; write it as https://collector:4318 or http://collector:4318");
        let uri: Uri = text.parse().map_err(|_| refusal("this is no address"))?;
        let is_secured = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refusal("collectors are reached by http or https")),
        };
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refusal("there is no host in it"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Collector {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(4318),
            path,
            is_secured,
            tls: None,
        })
    }
}

impl Collector {
    /// The same, with the path that the protocol has for this where none was named, and by the word of these.
    ///
    /// # Errors
    /// There are no authorities, or they cannot be read.
    pub fn ready(mut self, of: &str, trust: &Trust) -> Result<Self, String> {
        if self.path == "/" {
            self.path = format!("/v1/{of}");
        }
        if self.is_secured {
            self.tls = Some(trust.client()?);
        }
        Ok(self)
    }
}

/// Posts to a collector.
pub struct Poster {
    collector: Collector,
    line: Option<(SendRequest<Body>, JoinHandle<()>)>,
}

impl Drop for Poster {
    fn drop(&mut self) {
        if let Some((_, driven)) = &self.line {
            driven.abort();
        }
    }
}

impl Poster {
    pub fn new(collector: Collector) -> Self {
        Poster { collector, line: None }
    }

    /// Where to.
    pub fn host(&self) -> &str {
        &self.collector.host
    }

    /// Posts; whoever is answered otherwise than by success is told why.
    //= MET-OTLP-02
    pub async fn post(&mut self, content: Vec<u8>) -> Result<(), String> {
        let posted = tokio::time::timeout(PATIENCE, self.once(content)).await;
        let done =
            posted.unwrap_or_else(|_| Err(format!("it did not answer within {} s", PATIENCE.as_secs())));
        if done.is_err() {
            self.hang_up();
        }
        done
    }

    fn hang_up(&mut self) {
        if let Some((_, driven)) = self.line.take() {
            driven.abort();
        }
    }

    async fn once(&mut self, content: Vec<u8>) -> Result<(), String> {
        let is_open = match &mut self.line {
            Some((requests, _)) => requests.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.hang_up();
            self.line = Some(connect(&self.collector).await?);
        }
        let Some((requests, _)) = &mut self.line else { return Err("there is no connection".to_owned()) };
        let Collector { host, port, path, .. } = &self.collector;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Body::from(content))
            .map_err(|error| error.to_string())?;
        let answer = requests.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again.
        let said = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        match (status.is_success(), said) {
            (true, Ok(_)) => Ok(()),
            (true, Err(_)) => {
                self.hang_up();
                Ok(())
            }
            (false, _) => Err(format!("it answered {status}")),
        }
    }
}

async fn connect(collector: &Collector) -> Result<(SendRequest<Body>, JoinHandle<()>), String> {
    let Collector { host, port, tls, .. } = collector;
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((plain, *port)).await.map_err(|error| error.to_string())?;
    let text = |error: hyper::Error| error.to_string();
    match tls {
        None => {
            let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
            Ok((requests, tokio::spawn(async move { drop(connection.await) })))
        }
        Some(tls) => {
            let stream = reach::secured(stream, host, Arc::clone(tls)).await?;
            let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
            Ok((requests, tokio::spawn(async move { drop(connection.await) })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test MET-OTLP-01
    //= test MET-OTLP-02
    #[test]
    fn a_collector_is_named_by_its_address() {
        let read = |text: &str| {
            let ready = text.parse::<Collector>()?.ready("metrics", &Trust::Authorities(String::new()))?;
            Ok::<_, String>(format!("{} {} {}", ready.host, ready.port, ready.path))
        };
        assert_eq!(read("http://127.0.0.1:4318/v1/x"), Ok("127.0.0.1 4318 /v1/x".to_owned()));
        assert_eq!(read("http://collector"), Ok("collector 4318 /v1/metrics".to_owned()));
        assert_eq!(read("http://[::1]:80/x"), Ok("[::1] 80 /x".to_owned()));
        assert!(
            read("https://collector").is_err_and(|why| why.contains("no certificate")),
            "nobody is trusted"
        );
        assert!("https://collector".parse::<Collector>().is_ok_and(|it| it.is_secured));
        for text in ["collector:4318", "ftp://collector", "", "http://"] {
            assert!(read(text).is_err_and(|why| why.contains("https://collector:4318")), "{text}");
        }
    }
}
