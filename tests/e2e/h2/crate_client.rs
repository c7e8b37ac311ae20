//! The h2 crate as a client of our engine.

use std::net::SocketAddr;

use bytes::Bytes;
use forebay_http::h2::Config;
use h2::{Reason, RecvStream, client};
use http::{HeaderMap, Request, StatusCode, Version};
use tokio::net::TcpStream;

use crate::server::Server;

pub type Sender = client::SendRequest<Bytes>;

/// Connects with these windows; the connection is driven in the background.
async fn connect(server: &Server, window: u32, whole: u32) -> Sender {
    connect_to(server.address, window, whole).await
}

/// The same for any server.
pub async fn connect_to(address: SocketAddr, window: u32, whole: u32) -> Sender {
    let socket = TcpStream::connect(address).await.unwrap();
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(whole)
        .max_concurrent_reset_streams(1000);
    let (sender, connection) = builder.handshake(socket).await.unwrap();
    tokio::spawn(async move {
        // An error shows in every stream that is open.
        let _ = connection.await;
    });
    sender
}

pub fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://a.example{path}");
    Request::builder().method(method).version(Version::HTTP_2).uri(uri).body(()).unwrap()
}

/// Reads all content, opening windows as it comes.
pub async fn content(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        all.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(all)
}

/// Sends so many bytes in so many pieces, with trailers behind them, and gets them back.
pub async fn echo(sender: Sender, size: usize, pieces: usize) {
    let sent: Vec<u8> = (0..size).map(|n| (n * 31 % 256) as u8).collect();
    let mut sender = sender.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request("POST", "/echo"), false).unwrap();
    for piece in sent.chunks((size / pieces).max(1)) {
        stream.send_data(Bytes::copy_from_slice(piece), false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let back = content(response.body_mut()).await.unwrap();
    assert!(back == sent, "{} bytes came back of {size}", back.len());
}

#[tokio::test]
async fn content_goes_both_ways_over_many_streams_and_small_windows() {
    // Small windows make small frames and many updates, which are not this test's subject.
    let mut config = Config { stream_window: 3_000, ..Config::default() };
    config.budgets.small_data.burst = 1_000_000;
    config.budgets.window_updates.burst = 1_000_000;
    let server = Server::start(config);
    for (window, whole) in [(65_535, 1 << 20), (500, 65_535), (1 << 20, 1 << 24)] {
        let sender = connect(&server, window, whole).await;
        let tasks: Vec<_> = (0..60)
            .map(|n| tokio::spawn(echo(sender.clone(), [0, 1, 700, 20_000, 90_000][n % 5], 1 + n % 7)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn trailers_interim_responses_and_heads_arrive() {
    let server = Server::start(Config::default());
    let mut sender = connect(&server, 65_535, 65_535).await.ready().await.unwrap();
    let (response, _) = sender.send_request(request("GET", "/trailers"), true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.headers()["server"], "thin");
    assert_eq!(content(response.body_mut()).await.unwrap(), b"hello from a thin server\n");
    let trailers = response.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(
        (&trailers["x-sum"], &trailers["grpc-status"]),
        (&"1".parse().unwrap(), &"0".parse().unwrap())
    );
    let (response, _) = sender.send_request(request("GET", "/hint"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    // The answer to HEAD has a length and no content.
    let (response, _) = sender.send_request(request("HEAD", "/bytes/5000"), true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.headers()["content-length"], "5000");
    assert_eq!(content(response.body_mut()).await.unwrap(), b"");
    // A head far beyond the bound gets its status, and the connection stays.
    let mut large = request("GET", "/");
    for n in 0..6 {
        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
        large.headers_mut().insert(name, "v".repeat(9_000).parse().unwrap());
    }
    let (response, _) = sender.send_request(large, true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    echo(sender.clone(), 100, 1).await;
}

#[tokio::test]
async fn streams_that_the_client_resets_harm_no_other() {
    let server = Server::start(Config::default());
    let sender = connect(&server, 2_000, 65_535).await;
    for n in 0..100 {
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, mut stream) = sender.send_request(request("POST", "/echo"), false).unwrap();
        stream.send_data(Bytes::from(vec![7; n * 50]), false).unwrap();
        if n % 2 == 0 {
            stream.send_reset(Reason::CANCEL);
            assert!(response.await.is_err());
        } else {
            stream.send_data(Bytes::new(), true).unwrap();
            let back = content(response.await.unwrap().body_mut()).await.unwrap();
            assert_eq!(back.len(), n * 50);
        }
    }
}

#[tokio::test]
async fn a_flood_of_resets_gets_the_right_code() {
    let server = Server::start(Config::default());
    let mut sender = connect(&server, 65_535, 65_535).await;
    let mut reset = 0;
    let reason = loop {
        sender = match sender.ready().await {
            Ok(sender) => sender,
            Err(error) => break error.reason(),
        };
        match sender.send_request(request("POST", "/echo"), false) {
            Ok((_, mut stream)) => stream.send_reset(Reason::CANCEL),
            Err(error) => break error.reason(),
        }
        reset += 1;
        assert!(reset < 100_000, "nobody stopped it");
        // Lets the connection write and read.
        tokio::task::yield_now().await;
    };
    println!("cut after {reset} resets: {reason:?}");
    assert_eq!(reason, Some(Reason::ENHANCE_YOUR_CALM));
}
