//! Other people's judges and clients before the service engine.

use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::{Engine, Lab, Options, Origin, bin, config, pki};

use crate::front::fronts;
use crate::judge::{h2spec, text};

/// An engine over TLS and in clear text at one scripted server.
struct Scripted {
    _engine: Engine,
    _server: Origin,
    at: [SocketAddr; 2],
    _lab: Lab,
}

fn scripted(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Scripted {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", pki::EC, "DNS:app.test", 2);
    let [clear, secured, server] = lab.addresses();
    let server = Origin::answering(server, answer);
    let text = format!(
        "[[http_profile]]\nname = \"two\"\nhttp2 = true\n{}{}{}{}{}",
        config::service_with("clear", clear, "http_profile = \"two\""),
        config::service_with("secured", secured, "http_profile = \"two\"\ncertificates = [\"app\"]"),
        config::pool("clear", "", &[server.address]),
        config::pool("secured", "", &[server.address]),
        pki::section("app"),
    );
    let engine = lab.engine_with(&text, Options::default());
    Scripted { _engine: engine, _server: server, at: [clear, secured], _lab: lab }
}

//= test H2-HOST-10
#[test]
fn h2spec_finds_nothing_in_its_145_cases_in_clear_text_and_over_tls() {
    let program = h2spec();
    let scene = fronts();
    for (at, tls) in [(scene.clear, &[][..]), (scene.secured, &["-t", "-k"])] {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        // Seconds to wait for an answer that must come, on a busy machine; two cases wait for one that must not.
        let args = [&["-h", &host, "-p", &port, "-P", "/bytes?n=100", "-o", "5"], tls].concat();
        let said = text(program.to_str().unwrap(), &args);
        let last = said.lines().rev().find(|line| line.contains("tests,")).unwrap_or("").trim();
        println!("h2spec {tls:?}: {last}");
        assert_eq!(last, "145 tests, 145 passed, 0 skipped, 0 failed", "{said}");
    }
}

#[test]
fn curl_gets_the_same_by_every_version_that_it_can_be_forced_to() {
    let scene = scripted(|head| {
        assert!(head.contains("HTTP/1.1\r\n"));
        Some(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello".to_vec())
    });
    let curl = bin::foreign("curl", "curl");
    for (forced, version, which) in [
        ("--http1.0", "1.1", 0),
        ("--http1.1", "1.1", 0),
        ("--http2", "1.1", 0),
        ("--http2-prior-knowledge", "2", 0),
        ("--http1.0", "1.1", 1),
        ("--http1.1", "1.1", 1),
        ("--http2", "2", 1),
        ("--http2-prior-knowledge", "2", 1),
    ] {
        let url = format!("{}://{}/", ["http", "https"][which], scene.at[which]);
        let out = Command::new(&curl)
            .args(["--silent", "--insecure", "--max-time", "30", forced])
            .args(["--write-out", " %{http_version} %{http_code} %header{x-a}", &url])
            .output()
            .expect("curl starts");
        assert_eq!(String::from_utf8_lossy(&out.stdout), format!("hello {version} 200 b"), "{forced} {url}");
    }
}

#[test]
fn nghttp_sees_interim_answers_trailers_and_heads_through_the_engine() {
    let scene = scripted(|head| {
        let path = head.split(' ').nth(1)?;
        Some(match path {
            "/hint" => b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
                HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                .to_vec(),
            "/trailers" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                5\r\nhello\r\n0\r\nX-Sum: 532eaabd\r\n\r\n"
                .to_vec(),
            _ if head.starts_with("HEAD ") => b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        })
    });
    for at in 0..2 {
        let nghttp = |path: &str, more: &[&str]| {
            let url = format!("{}://{}{path}", ["http", "https"][at], scene.at[at]);
            text("nghttp", &[&["-v", "--no-dep", "-t", "30"], more, &[&url]].concat())
        };
        let said = nghttp("/hint", &[]);
        for there in [":status: 103", "link: </a.css>; rel=preload", ":status: 200"] {
            assert!(said.contains(there), "{there}: {said}");
        }
        let said = nghttp("/trailers", &["-H", "te: trailers"]);
        for there in [":status: 200", "hello", "x-sum: 532eaabd"] {
            assert!(said.contains(there), "{there}: {said}");
        }
        let said = nghttp("/", &["-H", ":method: HEAD"]);
        assert!(
            said.contains("content-length: 5000") && !said.contains("recv DATA frame <length=5"),
            "{said}"
        );
        let said = nghttp("/none", &[]);
        assert!(said.contains(":status: 204") && !said.contains("recv RST_STREAM"), "{said}");
    }
}
