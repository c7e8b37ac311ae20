//! Requests and streams over TLS.

use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Options, Origin, config, eventually, origin, pki};

use crate::{app, python, secured};

//= test TLS-HTTP-01
//= test TLS-LOG-01
#[test]
fn curl_gets_posts_uploads_and_keeps_its_cookie_over_both_versions() {
    let scene = secured(
        "",
        "algorithm = \"round_robin\"\npersistence = \"p\"",
        &config::persistence("p", "http_cookie", "cookie_name = \"STICKY\""),
    );
    std::fs::write(scene.lab.folder().join("file"), vec![7; 3 << 20]).expect("the folder");
    for (version, said) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
        let only = [format!("--tlsv{version}"), "--tls-max".to_owned(), version.to_owned()];
        let curl = |arguments: &[&str]| {
            scene.curl(&only.iter().map(String::as_str).chain(arguments.iter().copied()).collect::<Vec<_>>())
        };
        let echo = curl(&["--data", "a=b", "/form"]);
        assert!(echo.contains("\"body_bytes\":3"), "{echo}");
        assert!(echo.to_lowercase().contains("[\"x-forwarded-proto\",\"https\"]"), "{echo}");
        let echo = curl(&["--upload-file", "file", "/put"]);
        assert!(echo.contains("\"body_bytes\":3145728"), "{echo}");
        let echo = curl(&["--upload-file", "file", "--header", "Transfer-Encoding: chunked", "/put"]);
        assert!(echo.contains("\"body_bytes\":3145728"), "{echo}");
        assert_eq!(curl(&["/bytes?n=5000000"]).len(), 5_000_000);
        assert_eq!(curl(&["/bytes?n=1000000&chunked=1"]).len(), 1_000_000);
        let head = curl(&["--head", "/health"]);
        let cookie = head.lines().find(|line| line.starts_with("Set-Cookie: STICKY=")).expect("a cookie");
        assert!(cookie.contains("; Secure"), "{cookie}");
        let jar = [
            "--cookie",
            version,
            "--cookie-jar",
            version,
            "--write-out",
            "%header{x-demo-server}",
            "/health",
        ];
        let once = curl(&jar);
        assert!((0..6).all(|_| curl(&jar) == once), "the cookie led elsewhere");
        let of_version =
            |line: &serde_json::Value| line["ssl_version"] == said && line["sni_hostname"] == "app.test";
        let lines = scene.engine.log_lines(13, of_version);
        assert!(
            lines.iter().all(|line| line["ssl_cipher"].as_str().is_some_and(|c| c.contains("AES_256_GCM")))
        );
    }
}

//= test TLS-WRITE-01
#[test]
fn a_client_that_reads_slowly_gets_every_byte_once() {
    let scene = secured("", "", "");
    // Small receive buffers, so that records are cut in the middle again and again.
    let said = scene.python(
        "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); s.settimeout(20)\n\
         c = at(); s.connect(c.getpeername()); c.close()\n\
         t = talk(over=s)\n\
         t.sendall(b'GET /bytes?n=3000000 HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n\
         body = b''\n\
         for _ in range(200): body += t.recv(777); time.sleep(0.001)\n\
         body += rest(t)\n\
         body = body.split(b'\\r\\n\\r\\n', 1)[1]\n\
         p = talk(); p.sendall(b'GET /bytes?n=3000000 HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n\
         print(len(body), body == rest(p).split(b'\\r\\n\\r\\n', 1)[1])\n",
    );
    assert_eq!(said, "3000000 True\n");
}

//= test TLS-CLOSE-01
#[test]
fn a_whole_answer_ends_with_a_word_and_a_cut_one_without() {
    let lab = Lab::new();
    app(&lab);
    let [at, server] = lab.addresses();
    // The second answer lasts until a close, and there is none.
    let _server = Origin::start(server, |mut stream, _| {
        loop {
            if stream.head()?.starts_with("GET /whole") {
                stream.send(origin::ok("whole"))?;
            } else {
                stream.send("HTTP/1.1 200 OK\r\n\r\ncut")?;
                stream.rest()?;
            }
        }
    });
    let text = config::service_with("web", at, "certificates = [\"app\"]")
        + &config::pool("web", "", &[server])
        + &config::profile("body_timeout_ms = 1000")
        + &pki::section("app");
    let _engine = lab.engine(&text);
    let said = python(
        &lab,
        at,
        "for path in ['/whole', '/cut']:\n\
         \x20   for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:\n\
         \x20       t = talk(minimum_version=version, maximum_version=version)\n\
         \x20       t.sendall(b'GET ' + path.encode() + b' HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n')\n\
         \x20       try: print(path, rest(t).split(b'\\r\\n\\r\\n', 1)[1].decode(), 'ended')\n\
         \x20       except (ssl.SSLEOFError, ConnectionResetError): print(path, 'cut')\n",
    );
    assert_eq!(said, "/whole whole ended\n/whole whole ended\n/cut cut\n/cut cut\n");
}

//= test TLS-TCP-01
//= test TLS-CLOSE-02
#[test]
fn a_tcp_service_ends_tls_and_a_stream_that_ends_without_a_word_is_cut() {
    let lab = Lab::new();
    app(&lab);
    let [at, server] = lab.addresses();
    // Says back how much came until the end, or that there was none.
    let ends = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = ends.clone();
    let _server = Origin::start(server, move |mut stream, _| {
        let end = stream.rest();
        let bytes = end.as_ref().map_or(0, Vec::len);
        seen.lock().expect("no panic").push((bytes, end.is_ok()));
        stream.send(format!("got {bytes}"))
    });
    let text = config::service_with("raw", at, "protocol = \"tcp\"\ncertificates = [\"app\"]")
        + &config::pool("raw", "passive_health_monitor = false", &[server])
        + &pki::section("app");
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    ends.lock().expect("no panic").clear();
    let said = python(
        &lab,
        at,
        "i, o = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         s = at(); t = context().wrap_bio(i, o, server_hostname='app.test')\n\
         def step(f):\n\
         \x20   while True:\n\
         \x20       try: r = f()\n\
         \x20       except ssl.SSLWantReadError: r = None\n\
         \x20       d = o.read()\n\
         \x20       if d: s.sendall(d)\n\
         \x20       if r is not None: return r\n\
         \x20       more = s.recv(65536)\n\
         \x20       if not more: raise EOFError\n\
         \x20       i.write(more)\n\
         step(lambda: t.do_handshake() or True)\n\
         for _ in range(50): step(lambda: t.write(b'x' * 20000))\n\
         try: t.unwrap()\n\
         except ssl.SSLWantReadError: pass\n\
         s.sendall(o.read())\n\
         print(step(lambda: t.read(100)).decode())\n\
         p = talk(); p.sendall(b'y' * 1000); socket.socket(fileno=p.detach()).close()\n",
    );
    assert_eq!(said, "got 1000000\n");
    eventually("the server has seen both ends", secs(10), || {
        let ends = ends.lock().expect("no panic");
        ends.contains(&(1_000_000, true)) && ends.iter().any(|(_, whole)| !whole)
    });
    let failed = |line: &serde_json::Value| line["connection_state"] == "the client reset its connection";
    assert_eq!(engine.log_lines(1, failed)[0]["rx_bytes"], 1_000);
}
