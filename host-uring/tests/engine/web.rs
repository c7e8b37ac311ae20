//! The metrics address: the page's grammar, garbage, slow clients, readiness, the status page.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::openmetrics;
use crate::rig::{Engine, MONITOR, Origin, PROGRAM, address, eventually, request, secs, service, through};

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head and a body").1
}

//= test OBS-METRIC-01
//= test OBS-TIMEOUT-01
#[test]
fn the_page_is_open_metrics_and_holds_what_was_counted() {
    let (one, listen) = (Origin::start(), address());
    let rest = service("we\\\"b", listen, "health_monitors = [\"http\"]", &[one.address]) + MONITOR;
    let engine = Engine::start("", &rest);
    for _ in 0..5 {
        through(listen, "/", "").expect("an answer");
    }
    eventually("five requests are counted", secs(5), || engine.metric("forebay_requests_total", &[]) == 5.0);
    let answer = engine.get("/metrics").expect("an answer");
    assert!(answer.contains("Content-Type: application/openmetrics-text; version=1.0.0"));
    let page = openmetrics::parse(body(&answer)).unwrap_or_else(|problem| panic!("{problem}"));
    let sum = |name: &str| page.iter().filter(|s| s.name == name).map(|s| s.value).sum::<f64>();
    assert_eq!(sum("forebay_requests_total"), 5.0);
    assert_eq!(sum("forebay_request_duration_seconds_count"), 5.0);
    assert_eq!(sum("forebay_server_up"), 1.0);
    let label = |name: &str| {
        page.iter()
            .find(|s| s.name == name)
            .and_then(|s| s.labels.iter().find(|(n, _)| n == "virtual_service"))
    };
    assert_eq!(label("forebay_requests_total").map(|(_, v)| v.as_str()), Some("we\"b"), "labels are escaped");
    let kinds = ["connect", "header", "body", "response", "idle", "total", "queue", "upgraded_idle"];
    for kind in kinds {
        let has = page
            .iter()
            .any(|s| s.name == "forebay_timeouts_total" && s.labels.contains(&("kind".into(), kind.into())));
        assert!(has, "no counter of time-outs of kind {kind}");
    }
}

/// The table in the specification is what the page says of itself.
#[test]
fn every_metric_is_in_the_specification_with_its_unit_and_meaning() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/observability.md");
    let page = std::fs::read_to_string(&file).expect("the specification");
    let (head, _) = page.split_once("<!-- metrics -->\n").expect("the mark");
    let origin = Origin::start();
    let unread = |name, protocol| {
        let keys = format!("protocol = \"{protocol}\"\npool =");
        service(name, address(), "", &[origin.address]).replacen("pool =", &keys, 1)
    };
    let named = |name, keys: &str, pool| {
        let keys = format!("{keys}\npool =");
        service(name, address(), pool, &[origin.address]).replacen("pool =", &keys, 1)
    };
    let folder = std::env::temp_dir().join(format!("forebay-metrics-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (chain, key) = (folder.join("own.pem"), folder.join("own.key"));
    let mut make = std::process::Command::new(PROGRAM);
    make.args(["certificate", "--name", "localhost", "--chain"]).arg(&chain).arg("--key").arg(&key);
    assert!(make.status().expect("it starts").success());
    let rest = service("web", address(), "persistence = \"ip\"", &[origin.address])
        + &unread("db", "tcp")
        + &unread("dns", "udp")
        + &named("secure", "certificates = [\"own\"]", "tls = { verify = false }")
        + &named("pass", "protocol = \"tcp\"\nsni_routes = [{ names = [\"a.example\"], pool = \"db\" }]", "")
        + "[[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n"
        + &format!(
            "[[certificate]]\nname = \"own\"\nchain_file = \"{}\"\nkey_file = \"{}\"\n",
            chain.display(),
            key.display()
        );
    let engine = Engine::start("", &rest);
    std::fs::remove_dir_all(&folder).expect("it was made here");
    let answer = engine.get("/metrics").expect("an answer");
    // Families without a sample here take an authority, or other engines: their labels are written by hand.
    let unseen = openmetrics::without_sample(body(&answer));
    let by_hand = |name: &str| name.starts_with("forebay_objsync_") || name.ends_with("_next_update_seconds");
    assert!(unseen.iter().all(|name| by_hand(name)), "{unseen:?}");
    let row_of = |text: &str, name: &str| {
        text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).map(str::to_owned)
    };
    let mut table = openmetrics::reference(body(&answer));
    for name in &unseen {
        let (Some(written), Some(row)) = (row_of(&page, name), row_of(&table, name)) else { continue };
        let labels = written.split('|').nth(4).unwrap_or_default().trim();
        let mut cells: Vec<String> = row.split('|').map(str::to_owned).collect();
        cells[4] = format!(" {labels} ");
        table = table.replace(&row, &cells.join("|"));
    }
    let want = format!("{head}<!-- metrics -->\n{table}");
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(&file, &want).expect("the page is written");
    } else {
        assert!(page == want, "run with FOREBAY_BLESS=1 to write {} anew", file.display());
    }
}

//= test OBS-WEB-01
#[test]
fn garbage_and_slow_clients_do_not_keep_others_from_the_metrics() {
    let origin = Origin::start();
    let engine = Engine::start("", &service("web", address(), "", &[origin.address]));
    let slow: Vec<TcpStream> = (0..31)
        .map(|_| {
            let mut stream = TcpStream::connect(engine.metrics).expect("it accepts");
            stream.write_all(b"GET /met").expect("it takes bytes");
            stream
        })
        .collect();
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    let answers: [(&str, &str); 8] = [
        ("\r\n\r\n", "400"),
        ("GET\r\n\r\n", "400"),
        ("GET / HTTP/9\r\n\r\n", "400"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /nothing HTTP/1.1\r\n\r\n", "404"),
        ("GET http://x/ HTTP/1.1\r\n\r\n", "400"),
        (&long, "431"),
        ("HEAD /healthz HTTP/1.1\r\n\r\n", "200"),
    ];
    for (sent, status) in answers {
        let answer = request(engine.metrics, sent).unwrap_or_default();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{:?}", &sent[..sent.len().min(40)]);
    }
    let mut bytes = 1_u32;
    for round in 0..200 {
        let garbage: Vec<u8> = (0..round * 7)
            .map(|_| {
                bytes = bytes.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (bytes >> 24) as u8
            })
            .collect();
        if let Ok(mut stream) = TcpStream::connect(engine.metrics) {
            // The other side may close before all of it is sent.
            let _ = stream.write_all(&garbage);
        }
    }
    assert!(engine.get("/healthz").is_some_and(|a| a.starts_with("HTTP/1.1 200")));
    for mut stream in slow {
        stream.set_read_timeout(Some(secs(15))).expect("the option is known");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("slow clients are closed within the exchange's time");
    }
    assert!(engine.get("/metrics").is_some());
}

//= test OBS-WEB-04
#[test]
fn silent_clients_keep_nobody_from_the_metrics_address() {
    let (origin, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[origin.address]));
    let mut silent: Vec<TcpStream> = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(engine.metrics).expect("it accepts");
        if n % 2 == 1 {
            stream.write_all(b"GET /readyz HTTP/1.1\r\n").expect("it takes half a head");
        }
        silent.push(stream);
    }
    for path in ["/readyz", "/metrics"] {
        let began = std::time::Instant::now();
        assert!(engine.get(path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")), "{path}");
        assert!(began.elapsed() < secs(3), "{path}: {:?}", began.elapsed());
    }
    // The last of them are let go as well, well before the time of a whole exchange is over.
    let began = std::time::Instant::now();
    for mut stream in silent {
        stream.set_read_timeout(Some(secs(8))).expect("the option is known");
        assert!(!matches!(stream.read(&mut [0; 8]), Ok(1..)), "nobody asked");
    }
    assert!(began.elapsed() < secs(6), "{:?}", began.elapsed());
}

/// They have asked, and take nothing of the answer, nor do they close.
//= test OBS-WEB-04
#[test]
fn clients_that_do_not_read_keep_nobody_from_the_metrics_address() {
    let (origin, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[origin.address]));
    let greedy: Vec<socket2::Socket> = (0..80)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(2_048).expect("the option is known");
            socket.connect(&engine.metrics.into()).expect("it accepts");
            (&socket).write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\n\r\n").expect("it takes bytes");
            socket
        })
        .collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let began = std::time::Instant::now();
        assert!(engine.get(path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")), "{path}");
        assert!(began.elapsed() < secs(3), "{path}: {:?}", began.elapsed());
    }
    drop(greedy);
}

//= test OBS-WEB-02
#[test]
fn an_engine_is_ready_when_it_knows_its_servers_and_not_once_it_stops() {
    let (origin, listen, slow) = (Origin::start(), address(), address());
    let server = TcpListener::bind(address()).expect("the address is free");
    let rest = service("web", listen, "health_monitors = [\"http\"]", &[origin.address])
        + &service("slow", slow, "", &[server.local_addr().expect("it is bound")])
        + MONITOR;
    let engine = Engine::start("", &rest);
    // The very first request after readiness finds a server.
    assert!(through(listen, "/", "").is_some_and(|answer| answer.contains("200 Said")));
    let mut held = TcpStream::connect(slow).expect("it accepts");
    held.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes bytes");
    let (mut at_server, _) = server.accept().expect("the request is under way");
    engine.signal(libc::SIGTERM);
    let mut said = Vec::new();
    eventually("not ready while it stops", secs(5), || {
        let answer = engine.get("/readyz").unwrap_or_default();
        said.push(answer.lines().next().unwrap_or_default().to_owned());
        answer.starts_with("HTTP/1.1 503")
    });
    assert!(said.iter().all(|line| line.contains(" 200 ") || line.contains(" 503 ")), "{said:?}");
    // All that was while a request was under way, which is served to its end.
    at_server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").expect("it takes bytes");
    held.set_read_timeout(Some(secs(5))).expect("the option is known");
    let mut answer = String::new();
    held.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hi"), "{answer}");
}

//= test OBS-WEB-03
#[test]
fn the_status_page_is_small_has_no_script_and_names_what_is_down() {
    let (up, down, listen) = (Origin::start(), address(), address());
    let rest = service("<b>web", listen, "health_monitors = [\"http\"]", &[up.address, down]) + MONITOR;
    let mut many = rest;
    let servers: Vec<_> = (1..200_u8).map(|n| std::net::SocketAddr::from(([127, 98, 0, n], 9))).collect();
    for n in 0..60 {
        many += &service(&format!("many-{n}"), address(), "", &servers);
    }
    let engine = Engine::start("", &many);
    eventually("the page names the refused connection", secs(10), || {
        engine
            .get("/")
            .is_some_and(|page| page.contains("class=\"down\"") && page.contains("connection refused"))
    });
    let answer = engine.get("/").expect("a page");
    let page = body(&answer);
    assert!(page.len() < 50 << 10, "{} bytes", page.len());
    assert!(!page.contains("<script") && page.contains("&lt;b&gt;web") && page.contains("class=\"down\""));
    assert!(page.contains("services are left out here"), "a long list is cut and says so");
    assert!(answer.contains("Content-Security-Policy: default-src 'none'; style-src 'sha256-"));
}
