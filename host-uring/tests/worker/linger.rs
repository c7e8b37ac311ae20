//! An answer that closes the connection arrives whole, however slowly its client reads, and whatever it sends meanwhile.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::memory::Lab;
use crate::support;
use crate::support::{Engine, Server};

const SERVER: &str = "10.0.0.1:80";

fn document(server: &str, profile: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n[[pool]]\nname = \"web\"\n\
         [[pool.server]]\naddress = \"{server}\"\n"
    )
}

/// A server that answers with 60,000 bytes before it has read the request's content.
fn early(lab: &Lab) {
    lab.server(SERVER, |_, mut peer| async move {
        peer.until("\r\n\r\n").await;
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 60000\r\n\r\n").await;
        peer.send(vec![b'x'; 60_000]).await;
        peer.all().await;
    });
}

//= test SE-CLOSE-01
#[test]
fn a_client_that_sends_without_end_and_reads_slowly_gets_the_whole_answer() {
    let lab = Lab::new(&document(SERVER, ""));
    early(&lab);
    let got = lab.run(async {
        let mut client = lab.client().await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n").await;
        for _ in 0..50 {
            client.offer(&[b'u'; 50_000]);
            lab.sleep_ms(20).await;
        }
        let head = client.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        let mut got = 0;
        loop {
            client.offer(&[b'u'; 64 * 1024]);
            let count = client.exactly(4_000).await.len();
            if count == 0 {
                return got;
            }
            got += count;
            lab.sleep_ms(300).await;
        }
    });
    assert_eq!(got, 60_000);
}

#[test]
fn a_client_that_reads_nothing_of_its_last_answer_is_closed_after_the_body_time_out() {
    let lab = Lab::new(&document(SERVER, "body_timeout_ms = 5000"));
    early(&lab);
    let took = lab.run(async {
        let mut client = lab.client().await;
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n").await;
        let began = lab.now_us();
        lab.sleep_ms(50).await;
        while lab.metrics.connections.now() > 0 {
            client.offer(&[b'u'; 64 * 1024]);
            lab.sleep_ms(50).await;
        }
        lab.now_us() - began
    });
    assert!((4_900_000..7_000_000).contains(&took), "{took}");
}

//= test SE-CLOSE-01
#[test]
fn a_large_last_answer_outlasts_the_second_for_a_client_that_still_reads() {
    const MANY: usize = 3_000_000;
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        support::read_request(&mut stream, &mut rest).expect("a request");
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {MANY}\r\n\r\n").as_bytes())
            .expect("sent");
        let _ = stream.write_all(&vec![b'x'; MANY]);
    });
    let document = document(&server.address.to_string(), "requests_per_connection_max = 1");
    let engine = Engine::start(&document.replace("192.0.2.1:80", "127.0.0.1:8080"), 1);
    let mut client = engine.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let (began, mut got) = (Instant::now(), 0);
    let mut buffer = vec![0; 100_000];
    let ended = loop {
        // What it sends meanwhile is answered by nobody, and must not cost it the answer.
        let _ = client.write_all(b"x");
        match client.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => got += count,
            Err(error) => break Err(error),
        }
        // Sleep: a slow reader by design.
        std::thread::sleep(Duration::from_millis(60));
    };
    assert!(began.elapsed() > Duration::from_millis(1_500), "a slow reader: {:?}", began.elapsed());
    assert!(ended.is_ok() && got > MANY, "{got} of {MANY} bytes, then {ended:?}");
}
