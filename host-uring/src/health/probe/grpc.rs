//! A probe by gRPC: one call over HTTP/2 in clear text.

use std::io;
use std::sync::atomic::AtomicBool;

use forebay_health::verdict::grpc::{ANSWER_BYTES_MAX, Answer, PATH, judge};
use forebay_health::{Failure, Grpc, Verdict};
use forebay_http::h2::{Config, Connection, Event, Inbox, Role};
use forebay_proxy_protocol::{Version, write_own};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::open;
use super::{Ask, said};

/// Room for what is read at once: the server's settings, a head, a message.
const READ_BYTES: usize = 4 * 1024;

/// Calls the server's health service until it has answered.
//= HM-GRPC-01
pub async fn talk(ask: &Ask, monitor: &Grpc, introduces: Option<Version>, short: &AtomicBool) -> Verdict {
    let mut stream = match open(ask, short).await {
        Ok(stream) => stream,
        Err(failure) => return Verdict::Fail(failure),
    };
    let mut call = Call::default();
    match call.make(&mut stream, ask, monitor, introduces).await {
        Ok(()) => judge(&Answer {
            http: call.http,
            status: call.status.as_deref(),
            message: call.message.as_deref(),
            content: &call.content,
        }),
        Err(Broken::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Verdict::Fail(Failure::Closed(Default::default()))
        }
        Err(Broken::Io(error)) => Verdict::Fail(Failure::Grpc(said(&error))),
        Err(Broken::Http2(why)) => Verdict::Fail(Failure::Grpc(why)),
    }
}

/// Why a call has no answer.
enum Broken {
    Io(io::Error),
    Http2(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Io(error)
    }
}

/// What came of a call.
#[derive(Default)]
struct Call {
    http: u16,
    status: Option<Vec<u8>>,
    message: Option<Vec<u8>>,
    content: Vec<u8>,
    done: bool,
}

impl Call {
    async fn make(
        &mut self,
        stream: &mut TcpStream,
        ask: &Ask,
        monitor: &Grpc,
        introduces: Option<Version>,
    ) -> Result<(), Broken> {
        let mut out = introduces.map_or(&[][..], write_own).to_vec();
        let config = Config { streams_max: 0, ..Config::default() };
        let mut connection = Connection::new(Role::Client, &config, &mut out);
        let mut inbox = Inbox::default();
        let (mut input, mut asked) = (Vec::new(), false);
        while !self.done {
            stream.write_all(&out).await?;
            out.clear();
            input.reserve(READ_BYTES);
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let mut at = 0;
            loop {
                let step = connection.feed(&input[at..], 0, &mut inbox, &mut out);
                let before = at;
                at += step.consumed;
                if step.event == Event::NeedInput {
                    break;
                }
                self.take(step.event, &input[before..], &inbox)?;
            }
            input.drain(..at);
            if connection.is_ready() && !asked {
                asked = true;
                begin(&mut connection, ask, monitor, &mut out)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event, input: &[u8], inbox: &Inbox) -> Result<(), Broken> {
        let mut ends = false;
        match event {
            Event::Response { end, .. } => {
                let response = &inbox.response;
                if !response.is_interim() {
                    let named =
                        |name: &[u8]| response.fields.named(&inbox.bytes, name).next().map(<[u8]>::to_vec);
                    self.http = response.status;
                    (self.status, self.message) = (named(b"grpc-status"), named(b"grpc-message"));
                }
                ends = end;
            }
            Event::Data { data, end, .. } => {
                let data = input.get(data).unwrap_or_default();
                if self.content.len() + data.len() > ANSWER_BYTES_MAX {
                    return Err(Broken::Http2("the answer is longer than a message of its kind".to_owned()));
                }
                self.content.extend_from_slice(data);
                ends = end;
            }
            Event::Trailers { .. } => {
                let named = |name: &[u8]| inbox.trailers.named(&inbox.bytes, name).next().map(<[u8]>::to_vec);
                self.status = named(b"grpc-status").or(self.status.take());
                self.message = named(b"grpc-message").or(self.message.take());
                ends = true;
            }
            Event::Reset { code, rule, .. } => {
                let why = rule.map_or_else(
                    || format!("the server reset the call ({code:?})"),
                    |rule| rule.text().to_owned(),
                );
                return Err(Broken::Http2(why));
            }
            Event::Over { rule } => return Err(Broken::Http2(format!("no HTTP/2: {}", rule.text()))),
            Event::GoAway { .. }
            | Event::NeedInput
            | Event::Pong { .. }
            | Event::Request { .. }
            | Event::Refused { .. } => {}
        }
        self.done |= ends;
        Ok(())
    }
}

/// Sends the request.
fn begin(connection: &mut Connection, ask: &Ask, monitor: &Grpc, out: &mut Vec<u8>) -> Result<(), Broken> {
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
         User-Agent: forebay\r\n\r\n",
        ask.host
    );
    let opened = connection.open(head.as_bytes(), b"http", &[], false, out);
    let id = opened.map_err(|error| Broken::Http2(error.to_string()))?;
    let content = monitor.request_bytes();
    let data = connection.data(id, content.len(), true);
    out.extend_from_slice(&data.map_err(|error| Broken::Http2(error.to_string()))?);
    out.extend_from_slice(&content);
    Ok(())
}
