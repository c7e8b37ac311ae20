//! One probe: a connection, a request, a verdict.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use forebay_health::{End, Evaluator, Failure, Kind, Outcome, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::limits::is_shortage;

/// Probes `address` until there is a verdict or `abandon` resolves (the receive time-out passed).
///
/// The socket is closed when this returns. Memory is bounded by the evaluator's window.
pub async fn run(address: SocketAddr, kind: &Kind, abandon: oneshot::Receiver<()>) -> Outcome {
    let mut evaluator = Evaluator::new(kind);
    let verdict = tokio::select! {
        verdict = talk(address, kind, &mut evaluator) => verdict,
        _ = abandon => None,
    };
    let verdict = verdict.unwrap_or_else(|| evaluator.finish(End::TimedOut));
    Outcome::of(verdict).unwrap_or_else(|| Outcome::Fail(Failure::TimedOut(Default::default())))
}

async fn talk(address: SocketAddr, kind: &Kind, evaluator: &mut Evaluator) -> Option<Verdict> {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            // Our own shortage says nothing about the server: try again while the probe has time.
            Err(error) if is_shortage(&error) => {
                tracing::debug!(%address, %error, "a probe waits for a descriptor or port");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Some(Verdict::Fail(Failure::Connect(said(&error)))),
        }
    };
    // A probe's port is not kept in TIME_WAIT: with many servers and short intervals these would use up the ports.
    let _ = stream.set_zero_linger();
    let _ = stream.set_nodelay(true);
    let request = match kind {
        Kind::Tcp(tcp) => tcp.request.clone(),
        Kind::Http(http) => http.request_bytes(&address.to_string()),
    };
    if !request.is_empty() && stream.write_all(&request).await.is_err() {
        return Some(evaluator.finish(End::Closed));
    }
    let verdict = evaluator.connected();
    if verdict != Verdict::NeedMore {
        return Some(verdict);
    }
    let mut buffer = [0; 1_024];
    loop {
        let verdict = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => evaluator.finish(End::Closed),
            Ok(read) => evaluator.receive(&buffer[..read]),
        };
        if verdict != Verdict::NeedMore {
            return Some(verdict);
        }
    }
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}
