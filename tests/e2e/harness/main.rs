//! The harness itself: what the other tests rely on, shown without a service engine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{
    Client, Hosts, Lab, Origin, Process, Request, Wire, eventually, eventually_some, origin, wire,
};

#[test]
fn a_demo_server_answers_and_dies_with_its_guard() {
    let lab = Lab::new();
    let demo = lab.demo("one");
    let mut client = Client::new(demo.address);
    let echo = client.send(&Request::post("/x?y=1", "hello").field("X-Q: 1")).unwrap();
    assert_eq!(echo.server(), "one");
    assert_eq!(echo.json()["body_bytes"], 5);
    let big = client.get("/bytes?n=100000&chunked=1").unwrap();
    assert_eq!(big.body.len(), 100_000);
    assert!(client.is_connected());
    let address = demo.address;
    drop(demo);
    assert!(Client::new(address).get("/").is_err());
}

#[test]
fn a_program_that_is_brief_goes_at_once_with_all_that_it_started() {
    let lab = Lab::new();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' TERM; sleep 600 & echo $!; wait"]);
    let process = Process::start("stubborn", command, lab.folder()).brief();
    let child = eventually_some("its child runs", secs(10), || process.printed().trim().parse::<u32>().ok());
    // What is gone and was not waited for yet has no memory and no words.
    let runs = || std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|words| !words.is_empty());
    assert!(runs());
    let began = Instant::now();
    drop(process);
    assert!(began.elapsed() < secs(4), "it was not asked first: {:?}", began.elapsed());
    eventually("its child is gone", secs(10), || !runs());
}

#[test]
fn a_client_keeps_the_cookies_that_it_is_given() {
    let lab = Lab::new();
    let demo = lab.demo("one");
    let mut client = Client::new(demo.address).from(lab.client_ip(7));
    let id = client.get("/login").unwrap().cookie("JSESSIONID").unwrap().to_owned();
    let echo = client.get_once("/").unwrap().json();
    assert!(echo["headers"].to_string().contains(&format!("JSESSIONID={id}")), "{echo}");
    assert!(echo["client"].as_str().unwrap().starts_with(&lab.client_ip(7).to_string()), "{echo}");
}

#[test]
fn a_scripted_server_can_answer_reset_and_stay_silent() {
    let lab = Lab::new();
    let fixed = Origin::fixed(lab.address(), origin::ok("hi"));
    assert_eq!(Client::new(fixed.address).get("/").unwrap().body, b"hi");
    assert_eq!(fixed.heads().len(), 1);

    let resets = Origin::answering(lab.address(), |_| None);
    assert!(Client::new(resets.address).get("/").is_err());

    let silent = Origin::silent(lab.address());
    let mut wire = Wire::connect(silent.address).unwrap();
    wire.send("GET / HTTP/1.1\r\n\r\n").unwrap();
    let began = Instant::now();
    assert!(!wire.closes_within(ms(50)));
    assert!(began.elapsed() >= ms(50));
}

#[test]
fn bytes_that_are_no_answer_are_an_error() {
    let lab = Lab::new();
    for broken in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"]
    {
        let origin = Origin::fixed(lab.address(), broken);
        assert!(Client::new(origin.address).patience(secs(2)).get("/").is_err(), "{broken}");
    }
    let demo = lab.demo("one");
    let answer = wire::exchange(demo.address, "GET /health HTTP/1.0\r\n\r\n").unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn machines_hear_one_another_until_a_link_is_cut_and_again_when_it_is_whole() {
    let Some(hosts) = Hosts::new(2) else { return };
    let at = SocketAddr::from((hosts.address(1), 7_000));
    let listener = hosts.at(1, || TcpListener::bind(at).unwrap());
    let mut one = hosts.at(0, || TcpStream::connect(at).unwrap());
    let (mut other, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), hosts.address(0));
    let mut byte = [0];
    other.write_all(b"a").unwrap();
    one.read_exact(&mut byte).unwrap();

    hosts.cut(1, 0);
    one.set_read_timeout(Some(ms(300))).unwrap();
    other.write_all(b"b").unwrap();
    assert!(one.read_exact(&mut byte).is_err(), "the link is cut and {byte:?} came");
    // The other way is whole.
    one.write_all(b"c").unwrap();
    other.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"c");
    hosts.heal(1, 0);
    one.set_read_timeout(Some(secs(20))).unwrap();
    one.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"b");
}
