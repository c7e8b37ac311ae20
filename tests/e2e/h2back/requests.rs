//! What becomes of a message on its way to HTTP/2 and back.

use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::client::Request;
use forebay_e2e::pki::{self, EC};
use forebay_e2e::process::Process;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::wire::Wire;
use forebay_e2e::{Client, Lab, Options, bin, config};

use crate::server::Manner;
use crate::{Scene, text};

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

//= test H2BACK-CONV-01
//= test H2-CONV-07
#[test]
fn content_of_any_length_and_trailers_go_both_ways() {
    for window in [100, 65_535, 1 << 20] {
        let scene = Scene::new("", &[Manner { window, ..Manner::default() }]);
        let mut client = scene.client();
        for size in [0, 1, 5_000, 300_000] {
            let answer = client.send(&Request::post("/echo", pattern(size))).unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.body == pattern(size), "{} bytes of {size}", answer.body.len());
            let answer = client.get(&format!("/bytes/{size}")).unwrap();
            assert!(answer.body == pattern(size), "{} bytes of {size}", answer.body.len());
            assert_eq!(answer.field("content-length"), Some(&*size.to_string()));
        }
        assert_eq!(scene.servers[0].connections(), 1);
    }
    let scene = Scene::one();
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: x-asked\r\n\r\n",
    )
    .unwrap();
    let head = wire.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
    // Both directions at once, piece by piece.
    for piece in ["one", "three"] {
        wire.send(format!("{:x}\r\n{piece}\r\n", piece.len())).unwrap();
        let came = String::from_utf8(wire.until(format!("{piece}\r\n").as_bytes()).unwrap()).unwrap();
        assert_eq!(came, format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    wire.send("0\r\nx-asked: yes\r\n\r\n").unwrap();
    let end = wire.head().unwrap();
    assert!(end.starts_with("0\r\n"), "{end}");
    assert!(end.contains("x-sum: 8\r\n") && end.contains("x-asked: yes\r\n"), "{end}");
}

//= test H2BACK-CONV-02
#[test]
fn a_head_says_what_it_says_over_http_1_and_no_upgrade_is_asked() {
    let scene = Scene::one();
    let request = Request::get("/?a=b")
        .field("X-Own: Some Value")
        .field("Cookie: a=b")
        .field("Connection: Upgrade")
        .field("Upgrade: websocket")
        .field("Sec-WebSocket-Version: 13")
        .field("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
    let answer = scene.client().send(&request).unwrap();
    assert_eq!((answer.status, answer.field("x-method")), (200, Some("GET")));
    let fields = scene.servers[0].seen.fields.lock().unwrap().clone();
    let field = |name: &str| fields.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(field("x-own").as_deref(), Some("Some Value"));
    assert_eq!(field("cookie").as_deref(), Some("a=b"));
    assert_eq!(field("x-forwarded-proto").as_deref(), Some("http"));
    assert!(field("x-forwarded-for").is_some());
    assert_eq!((field("connection"), field("upgrade"), field("host")), (None, None, None));
}

#[test]
fn heads_without_content_and_interim_answers_come_through() {
    let scene = Scene::one();
    let head = Request { method: "HEAD".into(), ..Request::get("/bytes/77") };
    let mut client = scene.client();
    for _ in 0..3 {
        let answer = client.send(&head).unwrap();
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("77")));
    }
    let mut wire = Wire::connect(scene.at).unwrap();
    wire.send("GET /hint HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let hint = wire.head().unwrap();
    assert!(hint.starts_with("HTTP/1.1 103") && hint.contains("</style.css>"), "{hint}");
    assert!(wire.head().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(scene.servers[0].connections(), 1);
}

#[test]
fn a_server_that_takes_its_time_stops_only_its_own_client() {
    let scene = Scene::new("", &[Manner { window: 2_000, ..Manner::default() }]);
    let at = scene.at;
    let slow =
        std::thread::spawn(move || Client::new(at).send(&Request::post("/slow", pattern(200_000))).unwrap());
    let mut client = scene.client();
    for _ in 0..20 {
        assert_eq!(client.send(&Request::post("/echo", "quick")).unwrap().text(), "quick");
    }
    let answer = slow.join().unwrap();
    assert!(answer.body == pattern(200_000));
    assert_eq!(scene.servers[0].connections(), 1);
}

/// Clients that take nothing of large answers, more of them than would fill a connection's window of the usual size.
//= test H2BACK-FLOW-01
#[test]
fn clients_that_stand_still_do_not_stop_the_others_of_their_connection() {
    let scene = Scene::one();
    let still: Vec<Wire> = (0..40)
        .map(|_| {
            let mut wire = Wire::connect(scene.at).unwrap();
            wire.send("GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            wire.head().unwrap();
            wire
        })
        .collect();
    let mut client = scene.client();
    for _ in 0..20 {
        let answer = client.get("/bytes/300000").unwrap();
        assert!(answer.body == pattern(300_000));
    }
    assert_eq!(scene.servers[0].connections(), 1);
    drop(still);
}

/// nghttpd with the lab's folder, which sends uploads back.
fn nghttpd(lab: &Lab, name: &str, at: SocketAddr, options: &[&str], key: &[&str]) -> Process {
    let mut command = Command::new(bin::foreign("nghttpd", "nghttp2-server"));
    command.args(options).args(["--echo-upload", "--address", &at.ip().to_string(), "--htdocs"]);
    command.arg(lab.folder()).arg(at.port().to_string()).args(key);
    let process = Process::start(name, command, lab.folder());
    eventually("nghttpd listens", secs(15), || std::net::TcpStream::connect(at).is_ok());
    process
}

//= test H2BACK-TLS-01
#[test]
fn over_tls_it_is_agreed_by_alpn_and_a_server_that_does_not_want_it_gets_nothing() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    std::fs::write(lab.folder().join("big"), pattern(3_000_000)).unwrap();
    let [server, old, at, other] = lab.addresses();
    let _nghttpd = nghttpd(&lab, "nghttpd", server, &[], &["app.key", "app.pem"]);
    // It speaks HTTP/1.1 whatever it is asked for.
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command.args(["s_server", "-quiet", "-www", "-cert", "app.pem", "-key", "app.key", "-accept"]);
    let _old = Process::start(
        "s_server",
        {
            command.arg(old.to_string());
            command
        },
        lab.folder(),
    );
    eventually("the other server listens", secs(15), || std::net::TcpStream::connect(old).is_ok());
    let tls = "tls = { ca_file = \"ca.pem\", server_name = \"app.test\" }\n";
    let document = text(at, tls, &[server])
        + &config::service("old", other)
        + &config::pool("old", &format!("enable_http2 = true\n{tls}"), &[old]);
    let engine = lab.engine_with(&document, Options { workers: 1, ..Options::default() });
    let mut client = Client::new(at);
    for _ in 0..3 {
        assert!(client.get("/big").unwrap().body == pattern(3_000_000));
        let answer = client.send(&Request::post("/any", pattern(1_000_000))).unwrap();
        assert!(answer.body == pattern(1_000_000));
    }
    assert_eq!(engine.metric("forebay_server_connections_total", &[("pool", "web")]), 1.0);
    assert_eq!(Client::new(other).get("/").unwrap().status, 502);
    let line = &engine.log_lines(1, |line| line["virtualservice"] == "old")[0];
    assert_eq!(line["request_state"], "the server does not speak HTTP/2");
}

/// Speaks HTTP/1.1 over TLS, request after request on a connection, and offers nothing else.
const OLD_SERVER: &str = "import http.server, ssl, sys\n\
class H(http.server.BaseHTTPRequestHandler):\n\
\x20   protocol_version = 'HTTP/1.1'\n\
\x20   def do_GET(self):\n\
\x20       self.send_response(200)\n\
\x20       self.send_header('Content-Length', '3')\n\
\x20       self.end_headers()\n\
\x20       self.wfile.write(b'old')\n\
s = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), H)\n\
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
c.load_cert_chain('app.pem', 'app.key')\n\
c.set_alpn_protocols(['http/1.1'])\n\
s.socket = c.wrap_socket(s.socket, server_side=True)\n\
s.serve_forever()\n";

//= test H2BACK-TLS-02
#[test]
fn a_server_that_does_not_choose_http2_gets_http_1_where_the_pool_allows_it() {
    const AT_ONCE: usize = 8;
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
    std::fs::write(lab.folder().join("new"), "new").unwrap();
    let [server, at] = lab.addresses();
    let mut command = Command::new(bin::foreign("python3", "python3"));
    command.args(["-c", OLD_SERVER, &server.ip().to_string(), &server.port().to_string()]);
    let mut old = Process::start("old", command, lab.folder());
    eventually("it listens", secs(15), || std::net::TcpStream::connect(server).is_ok());
    let tls = "tls = { ca_file = \"ca.pem\", server_name = \"app.test\" }\nhttp2_fallback = true\n";
    let engine = lab.engine_with(&text(at, tls, &[server]), Options { workers: 1, ..Options::default() });
    let connections = || engine.metric("forebay_server_connections_total", &[("pool", "web")]);
    let mut client = Client::new(at);
    for _ in 0..5 {
        assert_eq!(client.get("/new").unwrap().text(), "old");
    }
    assert_eq!(connections(), 1.0, "it is kept from request to request");
    let all_get = |what: &str| {
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..AT_ONCE).map(|_| scope.spawn(|| Client::new(at).get("/new").unwrap())).collect();
            for client in clients {
                assert_eq!(client.join().unwrap().text(), what);
            }
        });
    };
    all_get("old");
    // Its successor speaks HTTP/2, and is found to.
    old.kill();
    let _new = nghttpd(&lab, "nghttpd", server, &[], &["app.key", "app.pem"]);
    assert_eq!(Client::new(at).get("/new").unwrap().text(), "new");
    let before = connections();
    for _ in 0..3 {
        all_get("new");
    }
    assert_eq!(connections(), before, "they share the one that is there");
}

#[test]
fn nghttpd_serves_uploads_and_downloads_and_its_end_is_noticed() {
    let lab = Lab::new();
    std::fs::write(lab.folder().join("big"), pattern(3_000_000)).unwrap();
    let (server, at) = (lab.address(), lab.address());
    let start = |name: &str| nghttpd(&lab, name, server, &["--no-tls"], &[]);
    let mut nghttpd = start("nghttpd");
    let engine = lab.engine_with(&text(at, "", &[server]), Options { workers: 1, ..Options::default() });
    let mut client = Client::new(at);
    assert!(client.get("/big").unwrap().body == pattern(3_000_000));
    let answer = client.send(&Request::post("/any", pattern(1_000_000))).unwrap();
    assert!(answer.body == pattern(1_000_000));
    // In the middle of an answer.
    let mut wire = Wire::connect(at).unwrap();
    wire.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wire.head().unwrap();
    nghttpd.kill();
    let rest = wire.rest();
    assert!(rest.is_err() || rest.unwrap().len() < 3_000_000, "an answer that was cut is not whole");
    assert_eq!(client.get("/big").unwrap().status, 502);
    eventually("no connection is left", secs(15), || {
        engine.metric("forebay_server_connections_open", &[]) == 0.0
    });
    let _again = start("nghttpd-again");
    assert!(client.get("/big").unwrap().body == pattern(3_000_000));
}
