//! TCP services: long streams, the engine's stop, disabled servers, what is told.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use forebay_e2e::spec::log_fields;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Options, Origin, Wire, eventually, eventually_some};

use crate::tcp_service;

/// A server that sends back what comes, to the end.
pub(crate) fn echo(at: SocketAddr) -> Origin {
    Origin::start(at, |wire, _| {
        let (mut from, mut to) = (wire.stream().try_clone()?, wire.stream().try_clone()?);
        std::io::copy(&mut from, &mut to)?;
        wire.finish();
        Ok(())
    })
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(at: usize) -> u8 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

//= test L4-HALF-01
#[test]
fn a_long_stream_comes_back_whole_on_either_kernel_interface() {
    for env in [vec![], vec![("FOREBAY_NO_IO_URING".to_owned(), "1".to_owned())]] {
        let lab = Lab::new();
        let [server, at] = lab.addresses();
        let _origin = echo(server);
        let engine =
            lab.engine_with(&tcp_service("s", at, "", &[server]), Options { env, ..Options::default() });
        let stream = TcpStream::connect(at).unwrap();
        let mut back = stream.try_clone().unwrap();
        back.set_read_timeout(Some(secs(20))).unwrap();
        let bytes = 24 << 20;
        let sent: Vec<u8> = (0..bytes).map(pattern).collect();
        let sender = std::thread::spawn(move || {
            let mut stream = stream;
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        back.read_to_end(&mut got).unwrap();
        sender.join().unwrap();
        assert_eq!(got.len(), bytes);
        assert!(got.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "bytes were changed or moved");
        let line = &engine.log_lines(1, |line| line["rx_bytes"] == bytes)[0];
        assert_eq!((&line["tx_bytes"], &line["connection_state"]), (&bytes.into(), &"complete".into()));
        for trip in ["client_rtt", "server_rtt"] {
            assert!(line[trip].as_f64().is_some_and(|ms| ms > 0.0), "the kernel knows {trip}: {line}");
        }
        let fields: BTreeSet<String> = line.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            fields,
            log_fields("A connection of a TCP service has one line"),
            "docs/spec/observability.md"
        );
        assert_eq!(engine.metric("forebay_connections_ended_total", &[("end", "idle")]), 0.0);
        assert!(engine.metric("forebay_connections_ended_total", &[("end", "whole")]) >= 1.0);
        assert!(engine.metric("forebay_client_received_bytes_total", &[]) >= bytes as f64);
    }
}

//= test L4-CUT-01
//= test L4-RESET-01
#[test]
fn a_stop_lets_connections_go_on_for_the_grace_and_then_resets_them() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    let _origin = echo(server);
    let options = Options { engine: "stop_grace_s = 2".into(), ..Options::default() };
    let mut engine = lab.engine_with(&tcp_service("s", at, "", &[server]), options);
    let mut ends = Wire::connect(at).unwrap();
    let mut stays = Wire::connect(at).unwrap();
    for wire in [&mut ends, &mut stays] {
        wire.send("before").unwrap();
        assert_eq!(wire.exactly(6).unwrap(), b"before");
    }
    engine.process.signal(libc::SIGTERM);
    eventually("nobody new is let in", secs(5), || TcpStream::connect_timeout(&at, ms(100)).is_err());
    for wire in [&mut ends, &mut stays] {
        wire.send("after").unwrap();
        assert_eq!(wire.exactly(5).unwrap(), b"after", "it goes on while the grace lasts");
    }
    ends.finish();
    assert_eq!(ends.rest().unwrap(), b"");
    let began = Instant::now();
    let cut = stays.rest().expect_err("a cut stream must not pass for a whole one");
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() < secs(5));
    let status = engine.process.wait(secs(10));
    assert_eq!(status.code(), Some(6), "the grace was over and a connection was cut");
    let cut = engine.log_lines(1, |line| line["connection_state"] == "cut: the engine stopped");
    assert_eq!((cut.len(), cut[0]["rx_bytes"].as_u64()), (1, Some(11)));
}

//= test L4-RETRY-01
#[test]
fn a_dead_server_is_passed_over_and_its_failures_take_it_out() {
    let lab = Lab::new();
    let [live, dead, at] = lab.addresses();
    let _origin = echo(live);
    let engine = lab.engine(&tcp_service("s", at, "algorithm = \"round_robin\"", &[live, dead]));
    for _ in 0..40 {
        let mut wire = Wire::connect(at).unwrap();
        wire.send("x").unwrap();
        assert_eq!(wire.exactly(1).unwrap(), b"x");
    }
    assert!(engine.metric("forebay_server_connect_failures_total", &[]) >= 3.0);
    engine.wait_for_server(dead, false);
    let tried = eventually_some("a record of a second try", secs(5), || {
        engine.log().into_iter().find(|line| line["servers_tried"] == 2)
    });
    assert_eq!(tried["server_dest_port"], live.port());
}
