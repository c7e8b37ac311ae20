//! A demo HTTP server: what `forebay up` and the tests put behind the service engine.
//!
//! One thread per connection, bounded. Every answer names the server in `X-Demo-Server`.

mod pages;
mod websocket;

use std::io::{self, BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::DemoServer;
use crate::http::Reader;
use pages::Request;

/// Connections at a time; further ones are closed at once. A thread costs 64 KiB of stack.
const CONNECTIONS_MAX: usize = 4096;
/// Stack of a connection's thread, in bytes: no page recurses or keeps arrays.
const STACK_BYTES: usize = 128 * 1024;
/// An idle or stuck client is dropped after this.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ports tried with `--or-next` before giving up.
const PORTS_TRIED: u16 = 200;

/// Serves until the process ends. Prints one line with the address when it listens.
pub fn run(options: &DemoServer) -> Result<()> {
    let listener = bind(options.listen, options.or_next)?;
    let address = listener.local_addr().context("own address")?;
    println!("{} listens on {address}", options.name);
    io::stdout().flush().context("standard output")?;
    let name: Arc<str> = options.name.as_str().into();
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: the connections that end will free some.
                eprintln!("{}: accept: {error}", options.name);
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        let slot = Slot::take(&open);
        if slot.count > CONNECTIONS_MAX {
            continue;
        }
        let name = Arc::clone(&name);
        let spawned = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let _slot = slot;
            // A client that goes away is no event for a demo server.
            let _ = serve(stream, &name);
        });
        if let Err(error) = spawned {
            eprintln!("{}: no thread: {error}", options.name);
        }
    }
}

fn bind(address: SocketAddr, or_next: bool) -> Result<TcpListener> {
    let mut at = address;
    for _ in 0..=PORTS_TRIED {
        match TcpListener::bind(at) {
            Ok(listener) => return Ok(listener),
            Err(e) if or_next && e.kind() == io::ErrorKind::AddrInUse && at.port() < u16::MAX => {
                at.set_port(at.port() + 1);
            }
            Err(e) => return Err(e).with_context(|| format!("cannot listen on {at}")),
        }
    }
    anyhow::bail!("no free port from {address} on")
}

/// One counted connection.
struct Slot {
    open: Arc<AtomicUsize>,
    count: usize,
}

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        Self { open: Arc::clone(open), count: open.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let client = stream.peer_addr()?;
    let mut out = BufWriter::with_capacity(16 * 1024, stream.try_clone()?);
    let mut reader = Reader::new(stream);
    while let Some(head) = reader.head()? {
        let Some(mut request) = Request::parse(head, client) else {
            return pages::plain(&mut out, name, 400, "no request that I understand\n");
        };
        if request.path() == "/ws" && request.head.has_token("upgrade", "websocket") {
            return websocket::serve(&request.head, &mut reader, &mut out, name);
        }
        if request.head.has_token("expect", "100-continue") {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            out.flush()?;
        }
        let framing = request.head.framing(false)?;
        let mut sum = pages::Checksum::default();
        request.body_bytes = reader.body(framing, |bytes| sum.add(bytes))?;
        request.body_checksum = sum.value();
        let keep = request.keep_alive();
        pages::answer(&mut out, name, &request, keep)?;
        out.flush()?;
        if !keep {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn ask(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        serve(server, "one").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn two_requests_on_one_connection_are_answered_in_order() {
        let answer =
            ask("GET /status?code=404 HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        let first = answer.find("HTTP/1.1 404").unwrap();
        let second = answer.find("HTTP/1.1 200").unwrap();
        assert!(first < second, "{answer}");
        assert_eq!(answer.matches("X-Demo-Server: one\r\n").count(), 2);
    }

    #[test]
    fn a_login_sets_a_session_cookie_of_its_own() {
        let a = ask("GET /login HTTP/1.1\r\nHost: x\r\n\r\n");
        let b = ask("GET /login HTTP/1.1\r\nHost: x\r\n\r\n");
        let id = |t: &str| t.split_once("JSESSIONID=").unwrap().1.split(';').next().unwrap().to_owned();
        assert_ne!(id(&a), id(&b));
    }

    #[test]
    fn the_echo_tells_headers_and_body() {
        let answer = ask("POST /x?y=1 HTTP/1.1\r\nHost: h\r\nX-Q: \"v\"\r\nContent-Length: 3\r\n\r\nabc");
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["method"], "POST");
        assert_eq!(body["path"], "/x");
        assert_eq!(body["query"], "y=1");
        assert_eq!(body["body_bytes"], 3);
        assert_eq!(body["headers"][1], serde_json::json!(["x-q", "\"v\""]));
    }

    #[test]
    fn bytes_come_as_many_as_asked_for_in_both_framings() {
        let plain = ask("GET /bytes?n=30 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(plain.ends_with("\r\n\r\nabcdefghijklmnopqrstuvwxyzabcd"), "{plain}");
        let chunked = ask("GET /bytes?n=5&chunked=1&chunk=3 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(chunked.ends_with("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{chunked}");
    }

    #[test]
    fn a_taken_port_is_passed_over_only_when_allowed() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(bind(address, false).is_err());
        assert!(bind(address, true).unwrap().local_addr().unwrap().port() > address.port());
    }
}
