//! What each stream of a connection has of its own, and what becomes of streams when the engine changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_e2e::wait::{Gate, secs};
use forebay_e2e::{Engine, Lab, Options, Origin, Wire, config, eventually, idle};

use crate::crate_client::{Sender, connect_to, content, echo, request};
use crate::front::fronts;
use crate::raw::{DATA, END, GOAWAY, HEADERS, PING, RESET, Raw, WHOLE, WINDOW_UPDATE, block, frame, get};

fn text(at: SocketAddr, profile: &str, pool: &str, servers: &[SocketAddr]) -> String {
    format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{profile}\n{}{}",
        config::service_with("web", at, "http_profile = \"two\""),
        config::pool("web", pool, servers),
    )
}

async fn ask(sender: &Sender, path: &str, cookie: Option<&str>) -> http::Response<h2::RecvStream> {
    let mut sender = sender.clone().ready().await.unwrap();
    let mut head = request("GET", path);
    if let Some(cookie) = cookie {
        head.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    sender.send_request(head, true).unwrap().0.await.unwrap()
}

//= test H2-HOST-02
#[tokio::test]
async fn each_stream_of_a_connection_sticks_to_the_server_of_its_own_cookie() {
    let lab = Lab::new();
    let servers = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let text = config::COOKIE_KEY.to_owned()
        + &text(
            at,
            "",
            "algorithm = \"round_robin\"\npersistence = \"p\"",
            &servers.each_ref().map(|server| server.address),
        )
        + &config::persistence("p", "http_cookie", "cookie_name = \"STICKY\"");
    let _engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let sender = connect_to(at, 65_535, 65_535).await;
    let server = |answer: &http::Response<h2::RecvStream>| {
        answer.headers()["x-demo-server"].to_str().unwrap().to_owned()
    };
    let mut clients = Vec::new();
    for _ in 0..6 {
        let answer = ask(&sender, "/health", None).await;
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        clients.push((cookie.split(';').next().unwrap().to_owned(), server(&answer)));
    }
    let distinct: std::collections::BTreeSet<_> = clients.iter().map(|(_, server)| server).collect();
    assert_eq!(distinct.len(), 3, "streams of one connection are balanced: {clients:?}");
    // All at once, several times.
    let answers: Vec<_> = (0..5)
        .flat_map(|_| &clients)
        .map(|(cookie, server)| {
            let (sender, cookie, server) = (sender.clone(), cookie.clone(), server.clone());
            tokio::spawn(async move { (ask(&sender, "/health", Some(&cookie)).await, server) })
        })
        .collect();
    for answer in answers {
        let (answer, expected) = answer.await.unwrap();
        assert_eq!(server(&answer), expected);
    }
}

/// Reads a request's content, however it is framed.
fn read_content(wire: &mut Wire, head: &str) -> std::io::Result<Vec<u8>> {
    let head = head.to_ascii_lowercase();
    if let Some(rest) = head.split("content-length: ").nth(1) {
        return wire.exactly(rest.split('\r').next().unwrap().parse().unwrap());
    }
    let mut all = Vec::new();
    loop {
        let line = wire.until(b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        if len == 0 {
            while wire.until(b"\r\n")?.len() > 2 {}
            return Ok(all);
        }
        all.extend(wire.exactly(len)?);
        wire.exactly(2)?;
    }
}

#[tokio::test]
async fn content_goes_both_ways_over_many_streams_and_small_windows_through_the_engine() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let _server = Origin::start(server, |mut wire, _| {
        loop {
            let head = wire.head()?;
            let content = read_content(&mut wire, &head)?;
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()))?;
            wire.send(content)?;
        }
    });
    let _engine = lab.engine_with(&text(at, "", "", &[server]), Options::default());
    for (window, whole) in [(65_535, 1 << 20), (4_000, 65_535), (1 << 20, 1 << 24)] {
        let sender = connect_to(at, window, whole).await;
        let tasks: Vec<_> = (0..40)
            .map(|n| tokio::spawn(echo(sender.clone(), [0, 1, 700, 20_000, 700_000][n % 5], 1 + n % 7)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}

//= test H2-HOST-02
#[tokio::test]
async fn a_stream_whose_server_is_late_is_told_so_and_the_others_go_on() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let _server = Origin::answering(server, |head| {
        if head.starts_with("GET /late ") {
            // Sleep: being late is what this server does.
            std::thread::sleep(secs(5));
        }
        Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    });
    let engine = lab.engine_with(&text(at, "response_timeout_ms = 1000", "", &[server]), Options::default());
    let sender = connect_to(at, 65_535, 65_535).await;
    let late = tokio::spawn({
        let sender = sender.clone();
        async move { ask(&sender, "/late", None).await.status() }
    });
    for _ in 0..5 {
        assert_eq!(ask(&sender, "/", None).await.status(), 200);
    }
    assert_eq!(late.await.unwrap(), 504);
    assert_eq!(ask(&sender, "/", None).await.status(), 200, "the connection is as good as before");
    assert_eq!(engine.metric("forebay_timeouts_total", &[("kind", "response")]), 1.0);
}

#[tokio::test]
async fn a_stream_that_its_client_resets_ends_at_the_server_and_no_other_does() {
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let _server = Origin::start(server, move |mut wire, _| {
        let head = wire.head()?;
        if head.starts_with("GET /silent ") {
            let end = wire.rest();
            counted.fetch_add(1, Ordering::SeqCst);
            return end.map(|_| ());
        }
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")?;
        for _ in 0..1000 {
            if let Err(error) = wire.send([b'x'; 10_000]) {
                counted.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
        }
        Ok(())
    });
    let _engine = lab.engine_with(&text(at, "", "", &[server]), Options::default());
    let sender = connect_to(at, 65_535, 1 << 20).await;
    // One that waits for its answer, one in the middle of it, and one that gets all of it.
    let mut ready = sender.clone().ready().await.unwrap();
    let (_silent, mut silent) = ready.send_request(request("GET", "/silent"), true).unwrap();
    let stopped = ask(&sender, "/", None).await;
    let whole = ask(&sender, "/", None).await;
    silent.send_reset(h2::Reason::CANCEL);
    drop(stopped);
    assert_eq!(content(&mut whole.into_body()).await.unwrap().len(), 10_000_000);
    let both = tokio::task::spawn_blocking(move || {
        eventually("two servers' connections end", secs(10), || ended.load(Ordering::SeqCst) == 2);
    });
    both.await.unwrap();
}

#[test]
fn a_connection_without_requests_ends_when_its_time_is_over() {
    let lab = Lab::new();
    let at = lab.address();
    let demo = lab.demo("a");
    let engine = lab.engine_with(&text(at, "idle_timeout_ms = 700", "", &[demo.address]), Options::default());
    let mut raw = Raw::connect(at, &[]).unwrap();
    raw.send(get(1, "/health")).unwrap();
    raw.find(|frame| frame.is(HEADERS, 1)).unwrap();
    let end = raw.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((end.word(0), end.word(4)), (1, 0));
    assert!(raw.find(|_| false).is_err(), "it closes");
    eventually("it is counted", secs(5), || {
        engine.metric("forebay_timeouts_total", &[("kind", "idle")]) >= 1.0
    });
}

/// A server whose answers wait until somebody says so.
fn held(at: SocketAddr) -> (Origin, Gate) {
    let goes_on = Gate::default();
    let waits = goes_on.clone();
    let origin = Origin::start(at, move |mut wire, _| {
        loop {
            wire.head()?;
            waits.pass();
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    });
    (origin, goes_on)
}

fn is_answered(raw: &mut Raw, stream: u32) -> bool {
    // Of the static table: 200.
    let head = raw.find(|frame| frame.is(HEADERS, stream) || frame.is(RESET, stream));
    head.is_ok_and(|head| head.kind == HEADERS && head.payload[0] == 0x88)
}

//= test H2-HOST-06
#[test]
fn a_connection_that_has_had_all_its_requests_takes_leave_in_two_steps() {
    let lab = Lab::new();
    let demo = lab.demo("a");
    let at = lab.address();
    let _engine = lab.engine(&text(at, "requests_per_connection_max = 3", "", &[demo.address]));
    let mut raw = Raw::connect(at, &[]).unwrap();
    for stream in [1, 3] {
        raw.send(get(stream, "/health")).unwrap();
        assert!(is_answered(&mut raw, stream));
        let came = raw.heard().unwrap();
        assert!(came.iter().all(|frame| frame.kind != GOAWAY), "{came:?}");
    }
    raw.send(get(5, "/health")).unwrap();
    let (mut first, mut asked, mut answered) = (None, None, false);
    while first.is_none() || asked.is_none() || !answered {
        let frame = raw.next().unwrap();
        match frame.kind {
            GOAWAY => first = Some((frame.word(0), frame.word(4))),
            PING => asked = Some(frame.payload),
            HEADERS => answered = frame.stream == 5,
            _ => {}
        }
    }
    assert_eq!(first, Some((u32::MAX >> 1, 0)), "nothing under way is lost");
    // Its second step comes with the answer to the PING, or a second after the first: nothing is sent between the two here.
    raw.send(frame(PING, END, 0, &asked.unwrap())).unwrap();
    let second = raw.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((second.word(0), second.word(4)), (5, 0));
    assert!(raw.find(|_| false).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock), "it ends");
    // The next one begins anew.
    let mut raw = Raw::connect(at, &[]).unwrap();
    raw.send(get(1, "/health")).unwrap();
    assert!(is_answered(&mut raw, 1));
}

//= test H2-HOST-06
#[test]
fn streams_outlive_a_reload_and_an_upgrade_and_none_is_lost() {
    let lab = Lab::new();
    let [at, first, second] = lab.addresses();
    let (one, one_goes_on) = held(first);
    let (two, two_goes_on) = held(second);
    let mut engine: Engine = lab.engine(&text(at, "", "", &[first]));
    let mut raw = Raw::connect(at, &[]).unwrap();
    raw.send(get(1, "/one")).unwrap();
    eventually("the first server has it", secs(10), || one.accepted() == 1);
    engine.load(&text(at, "", "", &[second]));
    // The connection goes on with the new configuration, its stream with the old one.
    raw.send(get(3, "/two")).unwrap();
    eventually("the second server has the next", secs(10), || two.accepted() == 1);
    one_goes_on.open();
    assert!(is_answered(&mut raw, 1));
    let mut old = engine.upgrade(&Options::default());
    // The old process takes leave, and serves what it has.
    let leave = raw.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((leave.word(0), leave.word(4)), (u32::MAX >> 1, 0));
    let mut fresh = Raw::connect(at, &[]).unwrap();
    fresh.send(get(1, "/three")).unwrap();
    two_goes_on.open();
    assert!(is_answered(&mut raw, 3), "by the old process");
    assert!(is_answered(&mut fresh, 1), "by the new one");
    assert_eq!(old.process.wait(secs(20)).code(), Some(0));
    raw.wire.patience(Duration::from_secs(5));
    assert!(raw.find(|_| false).is_err());
}

/// Private bytes of an idle connection over HTTP/2 and TLS. The library's part is 6,300.
const IDLE_BYTES_MAX: usize = 16_000;
const CONNECTIONS: usize = 300;

/// What a client says first, and how it knows that its request was answered.
const SPEAK: &str = "c.set_alpn_protocols(['h2'])\n\
def frame(kind, flags, stream, payload):\n\
\x20   return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload\n\
ask = b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + frame(4, 0, 0, b'')\n\
ask += frame(1, 5, 1, b'\\x82\\x87\\x41\\x08app.test\\x04\\x07/health') + frame(4, 1, 0, b'')\n\
answered = lambda got: b'ok\\n' in got\n";

//= test TLS-IDLE-01
#[test]
fn an_idle_connection_over_tls_costs_little_more_than_one_of_http_1() {
    let scene = fronts();
    let each = idle::bytes(&scene.lab, &scene.engine, scene.secured, SPEAK, CONNECTIONS, IDLE_BYTES_MAX);
    println!("an idle connection over HTTP/2 and TLS: {each} bytes private");
}

#[test]
fn the_window_goes_to_the_stream_that_its_client_says_is_urgent() {
    const BYTES: usize = 400_000;
    let lab = Lab::new();
    let at = lab.address();
    let demo = lab.demo("a");
    let _engine = lab.engine_with(&text(at, "", "", &[demo.address]), Options::default());
    // Streams have windows enough, the connection has 65,535 bytes.
    let mut raw = Raw::connect(at, &[(4, 1 << 20)]).unwrap();
    for (stream, priority) in [(1, "u=7, i"), (3, "u=0, i")] {
        let fields = block("GET", &format!("/bytes?n={BYTES}"), &[("priority", priority)]);
        raw.send(frame(HEADERS, END | WHOLE, stream, &fields)).unwrap();
    }
    let (mut heads, mut got, mut window) = (0, [0; 2], 65_535);
    while heads < 2 || window > 0 {
        let frame = raw.next().unwrap();
        match frame.kind {
            HEADERS => heads += 1,
            DATA => window -= frame.payload.len(),
            _ => {}
        }
    }
    // From here on both have content that waits.
    while got[1] < BYTES / 2 {
        raw.send(frame(WINDOW_UPDATE, 0, 0, &16_384_u32.to_be_bytes())).unwrap();
        let mut window = 16_384;
        while window > 0 {
            let frame = raw.next().unwrap();
            if frame.kind == DATA {
                window -= frame.payload.len();
                got[frame.stream as usize / 2] += frame.payload.len();
            }
        }
        assert!(got[0] + got[1] < 2 * BYTES, "{got:?}");
    }
    println!("the urgent stream got {} bytes, the other one {}", got[1], got[0]);
    assert!(got[0] * 4 <= got[1], "{got:?}");
}

/// What a stream leaves behind is used again for one of another client: nothing of the first may show.
#[test]
fn streams_of_many_clients_are_each_told_apart() {
    const CLIENTS: u8 = 6;
    const ROUNDS: u32 = 12;
    let lab = Lab::new();
    let [at, server] = lab.addresses();
    let _server = Origin::start(server, |mut wire, _| {
        loop {
            let head = wire.head()?.to_ascii_lowercase();
            let field = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim().to_owned()
            };
            let told = format!("{} {}", field("x-forwarded-for:"), field("x-mark:"));
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len()))?;
        }
    });
    let engine = lab.engine_with(&text(at, "", "", &[server]), Options { workers: 1, ..Options::default() });
    let name = |nth: u8| format!("127.0.0.{}", 10 + nth);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|nth| {
            let wire = Wire::connect_from(name(nth).parse().unwrap(), at).unwrap();
            (nth, Raw::begin(wire, &[]).unwrap())
        })
        .collect();
    for round in 0..ROUNDS {
        for (nth, raw) in &mut clients {
            // Some at once, and another number of them each time: their places are used again in another order.
            let count = 1 + (round * 7 + u32::from(*nth)) % 3;
            let streams = (0..count).map(|k| 1 + 2 * (round * 4 + k));
            let mark = |stream: u32| format!("{nth}-{stream}");
            let ask = |stream| {
                let fields = block("GET", &format!("/{nth}/{stream}"), &[("x-mark", &mark(stream))]);
                frame(HEADERS, END | WHOLE, stream, &fields)
            };
            raw.send(streams.clone().flat_map(ask).collect::<Vec<u8>>()).unwrap();
            let mut told = std::collections::BTreeMap::<u32, Vec<u8>>::new();
            let mut ended = 0;
            while ended < count {
                let came = raw.next().unwrap();
                assert_ne!(came.kind, RESET, "{came:?}");
                if came.kind == DATA {
                    told.entry(came.stream).or_default().extend(&came.payload);
                }
                ended += u32::from([DATA, HEADERS].contains(&came.kind) && came.flags & END != 0);
            }
            for stream in streams {
                let told = String::from_utf8_lossy(&told[&stream]).into_owned();
                assert_eq!(told, format!("{} {}", name(*nth), mark(stream)));
            }
        }
    }
    let made =
        (0..ROUNDS).flat_map(|round| (0..u32::from(CLIENTS)).map(move |nth| 1 + (round * 7 + nth) % 3));
    let lines = engine.log_lines(made.sum::<u32>() as usize, |line| line["client_ip"].is_string());
    for line in lines {
        let path = line["uri_path"].as_str().unwrap();
        let nth: u8 = path.split('/').nth(1).unwrap().parse().unwrap();
        assert_eq!(line["client_ip"], name(nth), "{line}");
    }
}
