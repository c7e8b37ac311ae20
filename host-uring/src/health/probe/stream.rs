//! A probe over TCP: a connection, a request, a verdict.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_health::{End, Evaluator, Failure, Kind, Verdict};
use forebay_proxy_protocol::{Version, write_own};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{said, wait_for_our_own};
use crate::limits::is_shortage;

/// Talks until there is a verdict; `short` is set while something of ours is wanting.
pub async fn talk(
    address: SocketAddr,
    kind: &Kind,
    introduces: Option<Version>,
    evaluator: &mut Evaluator,
    short: &AtomicBool,
) -> Verdict {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(error) if is_shortage(&error) => wait_for_our_own(address, &error, short).await,
            Err(error) => return Verdict::Fail(Failure::Connect(said(&error))),
        }
    };
    short.store(false, Ordering::Relaxed);
    // A probe's port is not kept in TIME_WAIT: with many servers and short intervals these would use up the ports.
    let _ = stream.set_zero_linger();
    let _ = stream.set_nodelay(true);
    //= L4-PROXY-03
    let header = introduces.map_or(&[][..], write_own);
    let request = match kind {
        Kind::Tcp(tcp) => tcp.request.clone(),
        Kind::Http(http) => http.request_bytes(&address.to_string()),
        Kind::Udp(_) | Kind::Ping | Kind::External(_) => Vec::new(),
    };
    let request = [header, &request].concat();
    if !request.is_empty() && stream.write_all(&request).await.is_err() {
        return evaluator.finish(End::Closed);
    }
    let verdict = evaluator.connected();
    if verdict != Verdict::NeedMore {
        return verdict;
    }
    let mut buffer = [0; 1_024];
    loop {
        let verdict = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => evaluator.finish(End::Closed),
            Ok(read) => evaluator.receive(&buffer[..read]),
        };
        if verdict != Verdict::NeedMore {
            return verdict;
        }
    }
}
