//! WebSocket over HTTP/2 (RFC 8441) through the engine: the stream is a tunnel to an upgraded connection of HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_e2e::{Lab, Options, Origin, Wire, config};

use crate::raw::{DATA, END, HEADERS, RESET, Raw, SETTINGS, WHOLE, fields, frame};

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/ws"),
    ("sec-websocket-version", "13"),
];

/// Accepts an upgrade and sends everything back until its client ends, which it counts.
fn echoes(mut wire: Wire, ends: &AtomicUsize) -> std::io::Result<()> {
    let head = wire.head()?;
    assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
    let value = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
    };
    assert_eq!(value("upgrade").as_deref(), Some("websocket"), "{head}");
    assert_eq!(value("sec-websocket-key").map(|key| key.len()), Some(24), "16 bytes in base64: {head}");
    assert_eq!(value("sec-websocket-version").as_deref(), Some("13"), "{head}");
    wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhi")?;
    loop {
        if wire.more()? == 0 {
            ends.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let came = wire.ahead().to_vec();
        wire.exactly(came.len())?;
        wire.send(came)?;
    }
}

//= test H2-HOST-09
#[test]
fn a_stream_is_a_tunnel_to_an_upgraded_server_and_ends_as_one() {
    let lab = Lab::new();
    let [at, server, plain] = lab.addresses();
    let ends = Arc::new(AtomicUsize::new(0));
    let count = ends.clone();
    let _server = Origin::start(server, move |wire, _| echoes(wire, &count));
    let _plain = Origin::fixed(plain, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let rule = "[[virtual_service.rules]]\nname = \"plain\"\nwhen = { path = { equals = [\"/plain\"] } }\n\
                then = [{ pool = \"plain\" }]\n";
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{}{rule}{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", "", &[server]),
        config::pool("plain", "", &[plain]),
    );
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let mut raw = Raw::connect(at, &[]).unwrap();
    let settings = raw.find(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    assert!(settings.payload.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1]), "extended CONNECT is offered");
    // Two tunnels over one connection, and what goes in comes out, the large as well.
    for stream in [1, 3] {
        raw.send(frame(HEADERS, WHOLE, stream, &fields(&CONNECT))).unwrap();
    }
    for stream in [1, 3] {
        raw.send(frame(DATA, 0, stream, &[stream as u8; 16_000])).unwrap();
    }
    let (mut heads, mut got) = (0, [Vec::new(), Vec::new()]);
    while got.iter().any(|got| got.len() < 16_002) {
        let frame = raw.next().unwrap();
        match frame.kind {
            // Of the static table: 200.
            HEADERS => {
                assert_eq!((frame.payload[0], frame.flags & END), (0x88, 0));
                heads += 1;
            }
            DATA => got[frame.stream as usize / 2].extend(frame.payload),
            RESET => panic!("{frame:?}"),
            _ => {}
        }
    }
    assert_eq!(heads, 2);
    for (nth, got) in got.iter().enumerate() {
        assert_eq!(got[..2], *b"hi");
        assert!(got[2..].iter().all(|&byte| byte == 1 + 2 * nth as u8));
    }
    // The client's end is the server's, and its end is told.
    raw.send(frame(DATA, END, 1, &[])).unwrap();
    // Less than the server's own patience, which would end the tunnel as well.
    raw.wire.patience(Duration::from_secs(10));
    let end = raw.find(|frame| frame.stream == 1 && (frame.flags & END != 0 || frame.kind == RESET)).unwrap();
    assert_eq!(end.kind, DATA);
    assert_eq!(ends.load(Ordering::SeqCst), 1, "the server was told of the end");
    // A reset ends the other one, and only it.
    raw.send(frame(RESET, 0, 3, &8_u32.to_be_bytes())).unwrap();
    // An answer that is no upgrade must not look like one.
    let mut plain = CONNECT;
    plain[4].1 = "/plain";
    raw.send(frame(HEADERS, WHOLE, 5, &fields(&plain))).unwrap();
    let head = raw.find(|frame| frame.is(HEADERS, 5)).unwrap();
    assert_ne!(head.payload[0], 0x88, "a 200 would be a tunnel");
    let lines = engine.log_lines(3, |line| line["virtualservice"] == "web");
    let ws = lines.iter().filter(|line| line["uri_path"] == "/ws");
    assert!(ws.clone().count() == 2 && ws.into_iter().all(|line| line["http_version"] == "2.0"), "{lines:?}");
    assert_eq!(engine.metric("forebay_upgrades_total", &[]), 2.0);
}
