//! The h2 crate as a server of our engine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use forebay_http::h2::{Code, Config, Connection, Event, Inbox, OpenError, Role};
use h2::{Reason, RecvStream, server};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;

/// A server that sends every request's content back, with a trailer; `/reset` it resets, and `/last` is the last
/// that it takes.
async fn serve(listener: TcpListener, window: u32, streams: u32) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut builder = server::Builder::new();
    builder.initial_window_size(window).max_concurrent_streams(streams);
    let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
    while let Some(request) = connection.accept().await {
        let Ok((request, respond)) = request else { return };
        if request.uri().path() == "/last" {
            connection.graceful_shutdown();
        }
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(mut request: Request<RecvStream>, mut respond: server::SendResponse<Bytes>) {
    if request.uri().path() == "/reset" {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let response = Response::builder().header("x-host", host).header("x-method", request.method().as_str());
    let is_head = request.method() == "HEAD";
    let mut stream = respond.send_response(response.body(()).unwrap(), is_head).unwrap();
    if is_head {
        return;
    }
    let body = request.body_mut();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        if stream.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "9".parse().unwrap());
    // The client may have gone.
    let _ = stream.send_trailers(trailers);
}

/// What became of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    status: u16,
    content: Vec<u8>,
    fields: Vec<(String, String)>,
    trailers: Vec<(String, String)>,
    reset: Option<Code>,
    unprocessed: bool,
    whole: bool,
}

struct Asked<'a> {
    path: &'a str,
    content: &'a [u8],
}

/// Sends requests as fast as the server allows, and returns the answers in their order.
fn ask(address: std::net::SocketAddr, config: &Config, requests: &[Asked<'_>]) -> Vec<Answer> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut out = Vec::new();
    let mut connection = Connection::new(Role::Client, config, &mut out);
    let (mut inbox, mut input, mut buffer) = (Inbox::default(), Vec::new(), vec![0; 64 << 10]);
    let mut answers: Vec<Answer> = requests.iter().map(|_| Answer::default()).collect();
    let mut by_stream: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    let (mut next, mut done) = (0, 0);
    while done < requests.len() {
        while next < requests.len() && connection.is_ready() {
            let Asked { path, content } = &requests[next];
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
            match connection.open(head.as_bytes(), b"http", &[], content.is_empty(), &mut out) {
                Ok(stream) => {
                    by_stream.insert(stream, (next, 0));
                    connection.want(stream, !content.is_empty());
                    next += 1;
                }
                Err(OpenError::Busy) => break,
                Err(OpenError::Going) => {
                    answers[next].unprocessed = true;
                    (next, done) = (next + 1, done + 1);
                }
                Err(error) => panic!("{error}"),
            }
        }
        while let Some((stream, room)) = connection.next() {
            let (nth, sent) = by_stream.get_mut(&stream).unwrap();
            let content = &requests[*nth].content[*sent..];
            let len = room.min(content.len());
            *sent += len;
            let head = connection.data(stream, len, len == content.len()).unwrap();
            out.extend_from_slice(&head);
            out.extend_from_slice(&content[..len]);
        }
        socket.write_all(&out).unwrap();
        out.clear();
        if done == requests.len() {
            break;
        }
        let len = socket.read(&mut buffer).expect("the server says something");
        assert!(len > 0, "the server is gone; {done} of {} answers", requests.len());
        input.extend_from_slice(&buffer[..len]);
        let mut at = 0;
        loop {
            let step = connection.feed(&input[at..], 0, &mut inbox, &mut out);
            let from = at;
            at += step.consumed;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let lines = |inbox: &Inbox, fields: &forebay_http::h1::Fields| -> Vec<(String, String)> {
                fields
                    .iter()
                    .map(|f| (text(f.name.of(&inbox.bytes)), text(f.value.of(&inbox.bytes))))
                    .collect()
            };
            match step.event {
                Event::NeedInput => break,
                Event::Response { stream, end } => {
                    let answer = &mut answers[by_stream[&stream].0];
                    answer.status = inbox.response.status;
                    answer.fields = lines(&inbox, &inbox.response.fields);
                    answer.whole = end;
                    done += usize::from(end);
                }
                Event::Data { stream, data, end } => {
                    let bytes = &input[from..][data];
                    let answer = &mut answers[by_stream[&stream].0];
                    answer.content.extend_from_slice(bytes);
                    answer.whole = end;
                    done += usize::from(end);
                    connection.release(stream, bytes.len(), &mut out);
                }
                Event::Trailers { stream } => {
                    let answer = &mut answers[by_stream[&stream].0];
                    answer.trailers = lines(&inbox, &inbox.trailers);
                    answer.whole = true;
                    done += 1;
                }
                Event::Reset { stream, code, rule } => {
                    assert_eq!(rule, None);
                    answers[by_stream[&stream].0].reset = Some(code);
                    done += 1;
                }
                Event::GoAway { code } => {
                    assert_eq!(code, Code::No);
                    while let Some(stream) = connection.take_unprocessed() {
                        answers[by_stream[&stream].0].unprocessed = true;
                        done += 1;
                    }
                }
                event => panic!("{event:?}"),
            }
        }
        input.drain(..at);
    }
    answers
}

/// Runs the server on a thread of its own while the requests are made.
fn with_server(window: u32, streams: u32, config: &Config, requests: &[Asked<'_>]) -> Vec<Answer> {
    let (address, tell) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, window, streams).await;
        });
    });
    ask(tell.recv().unwrap(), config, requests)
}

fn is_whole(answer: &Answer, content: &[u8]) {
    assert_eq!((answer.status, answer.reset, answer.unprocessed, answer.whole), (200, None, false, true));
    assert!(answer.content == content, "{} bytes of {}", answer.content.len(), content.len());
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "9".to_owned())]);
    assert!(answer.fields.contains(&("x-host".to_owned(), "a.example".to_owned())), "{:?}", answer.fields);
    assert!(answer.fields.contains(&("x-method".to_owned(), "POST".to_owned())), "{:?}", answer.fields);
}

#[test]
fn a_server_on_the_h2_crate_sends_everything_back_through_small_windows() {
    let content: Vec<u8> = (0..150_000u32).map(|n| (n * 7 % 253) as u8).collect();
    let requests: Vec<Asked<'_>> = (0..120)
        .map(|n| Asked { path: "/echo", content: &content[..[0, 1, 900, 30_000, 150_000][n % 5]] })
        .collect();
    for (window, streams, own) in [(65_535, 100, 256 << 10), (700, 7, 900), (1 << 20, 3, 65_535)] {
        let mut config = Config { stream_window: own, ..Config::default() };
        // Small windows make small frames and many updates, and no time goes by here that forgives them.
        config.budgets.small_data.burst = 1_000_000;
        config.budgets.window_updates.burst = 1_000_000;
        let answers = with_server(window, streams, &config, &requests);
        for (answer, asked) in answers.iter().zip(&requests) {
            is_whole(answer, asked.content);
        }
    }
}

#[test]
fn resets_and_a_graceful_end_of_a_server_are_told_for_each_stream() {
    let requests: Vec<Asked<'_>> = (0..60)
        .map(|n| Asked {
            path: if n % 3 == 0 {
                "/reset"
            } else if n == 40 {
                "/last"
            } else {
                "/echo"
            },
            content: b"abc",
        })
        .collect();
    let answers = with_server(65_535, 10, &Config::default(), &requests);
    for (nth, (answer, asked)) in answers.iter().zip(&requests).enumerate() {
        if answer.unprocessed {
            assert!(nth > 40, "{nth} was sent before the last");
        } else if asked.path == "/reset" {
            assert_eq!(answer.reset, Some(Code::Internal), "{nth}");
        } else {
            is_whole(answer, b"abc");
        }
    }
    assert!(answers.iter().take(41).all(|a| !a.unprocessed));
    assert!(answers.iter().any(|a| a.unprocessed), "the server took everything");
}
