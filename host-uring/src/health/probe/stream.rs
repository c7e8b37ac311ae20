//! A probe over TCP: a connection, a request, a verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_health::{End, Evaluator, Failure, Kind, Verdict};
use forebay_proxy_protocol::{Version, write_own};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use super::{Ask, Stage, said, wait_for_our_own};
use crate::limits::is_shortage;
use crate::tls::{self, server_name};

/// Connects; `short` says whether something of ours is wanting.
pub(super) async fn open(ask: &Ask, short: &AtomicBool) -> Result<TcpStream, Failure> {
    let stream = loop {
        match TcpStream::connect(ask.address).await {
            Ok(stream) => break stream,
            Err(error) if is_shortage(&error) => wait_for_our_own(ask.address, &error, short).await,
            Err(error) => return Err(Failure::Connect(said(&error))),
        }
    };
    short.store(false, Ordering::Relaxed);
    // A probe's port is not kept in TIME_WAIT: with many servers and short intervals these would use up the ports.
    let _ = stream.set_zero_linger();
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Talks until there is a verdict; `stage` says how far it has come.
pub async fn talk(
    ask: &Ask,
    introduces: Option<Version>,
    evaluator: &mut Evaluator,
    stage: &Stage,
) -> Verdict {
    let mut stream = match open(ask, &stage.short).await {
        Ok(stream) => stream,
        Err(failure) => return Verdict::Fail(failure),
    };
    //= L4-PROXY-03
    let header = introduces.map_or(&[][..], write_own);
    let request = match &ask.monitor.kind {
        Kind::Tcp(tcp) => tcp.request.clone(),
        Kind::Http(http) => http.request_bytes(&ask.host),
        Kind::Udp(_) | Kind::Grpc(_) | Kind::Ping | Kind::External(_) => Vec::new(),
    };
    let Some(secure) = &ask.secure else {
        return exchange(stream, &[header, &request].concat(), evaluator).await;
    };
    if stream.write_all(header).await.is_err() {
        return evaluator.finish(End::Closed);
    }
    let failed = |why| Verdict::Fail(Failure::Tls(why));
    // A disk that does not answer holds up this probe alone.
    let trust = Arc::clone(&secure.trust);
    let config = spawn_blocking(move || trust.config().map_err(|why| why.to_string()))
        .await
        .unwrap_or_else(|error| Err(error.to_string()));
    let (config, name) = match (config, server_name(&secure.name)) {
        (Ok(config), Ok(name)) => (config, name),
        (Err(why), _) | (_, Err(why)) => return failed(why),
    };
    stage.shakes_hands.store(true, Ordering::Relaxed);
    let connected = tls::connect(config, name, stream).await;
    stage.shakes_hands.store(false, Ordering::Relaxed);
    match connected {
        Ok(stream) => exchange(stream, &request, evaluator).await,
        Err(why) => failed(why),
    }
}

/// Sends a request and judges what comes.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    evaluator: &mut Evaluator,
) -> Verdict {
    let sent = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    if !request.is_empty() && sent.await.is_err() {
        return evaluator.finish(End::Closed);
    }
    let verdict = evaluator.connected();
    if verdict != Verdict::NeedMore {
        return verdict;
    }
    let mut buffer = [0; 1_024];
    loop {
        let verdict = match stream.read(&mut buffer).await {
            Ok(0) => evaluator.finish(End::Closed),
            Err(error) => match tls::refused(&error) {
                Some(why) => Verdict::Fail(Failure::Tls(why)),
                None => evaluator.finish(End::Closed),
            },
            Ok(read) => evaluator.receive(&buffer[..read]),
        };
        if verdict != Verdict::NeedMore {
            return verdict;
        }
    }
}
