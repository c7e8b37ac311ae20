//! Clients that send more than they should: what they cost themselves and others.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::support::{Engine, Server, eventually, read_answer, read_request};

fn document(server: &Server, profile: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\n{profile}\n\
         [[pool]]\nname = \"web\"\n[[pool.server]]\naddress = \"{}\"\n",
        server.address
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

//= test SE-CLOSE-01
#[test]
fn an_answer_that_closes_is_whole_although_requests_wait_behind_it() {
    let server = Server::start(|mut stream| {
        let mut rest = Vec::new();
        if read_request(&mut stream, &mut rest).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n");
            let _ = stream.write_all(&vec![b'x'; 600_000]);
        }
    });
    let engine = Engine::start(&document(&server, "requests_per_connection_max = 1"), 1);
    let mut client = engine.connect();
    client.write_all(GET.as_bytes()).expect("sent");
    // Most of the answer stands in the engine's socket when the engine is done with it.
    eventually("the engine is done", || !engine.log().is_empty());
    client.write_all(GET.as_bytes()).expect("the engine still listens to what it will not answer");
    // Sleep: a reset, if there is one, has come.
    std::thread::sleep(Duration::from_millis(100));
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("the end, not a reset");
    assert!(all.len() > 600_000, "{} bytes came", all.len());
}

//= test SE-FAIR-01
#[test]
fn a_client_that_pipelines_what_we_answer_ourselves_does_not_keep_the_worker() {
    let server = Server::echo("s");
    let engine = Engine::start(&document(&server, ""), 1);
    let flood = engine.connect();
    let mut writer = flood.try_clone().expect("a clone");
    let requests = "OPTIONS * HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n".repeat(1000);
    let sender = std::thread::spawn(move || while writer.write_all(requests.as_bytes()).is_ok() {});
    let mut reader = flood.try_clone().expect("a clone");
    let drain = std::thread::spawn(move || {
        let mut sink = vec![0; 1 << 20];
        while reader.read(&mut sink).is_ok_and(|n| n > 0) {}
    });
    eventually("the flood runs", || engine.services(0, |one| one.requests.get()) > 2000);
    let mut client = engine.connect();
    let mut rest = Vec::new();
    for _ in 0..20 {
        client.write_all(GET.as_bytes()).expect("sent");
        // The flood alone would keep it waiting for all of the seconds after which `connect` gives up a read.
        let begin = std::time::Instant::now();
        assert_eq!(read_answer(&mut client, &mut rest, false).expect("an answer").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    }
    flood.shutdown(Shutdown::Both).expect("open until now");
    sender.join().expect("ended");
    drain.join().expect("ended");
}
