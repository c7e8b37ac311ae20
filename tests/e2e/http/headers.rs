//! What is added to and removed from a message on its way.

use std::sync::{Arc, Mutex};

use forebay_e2e::{Origin, Request, Wire, config, origin};

use crate::Proxied;

fn lines(head: &str) -> Vec<String> {
    head.trim_end().split("\r\n").skip(1).map(str::to_ascii_lowercase).collect()
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_end_here() {
    let p = Proxied::one("", |_| {
        Some(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Back\r\nX-Back: 1\r\nKeep-Alive: timeout=5\r\nX-Stays: 1\r\n\r\nhi"
                .to_vec(),
        )
    });
    let request = Request::get("/")
        .field("Connection: X-Mine, keep-alive")
        .field("X-Mine: 1")
        .field("Keep-Alive: 5")
        .field("Proxy-Connection: keep-alive")
        .field("TE: trailers")
        .field("X-Stays: 1");
    let answer = p.client().send(&request).unwrap();
    let sent = lines(&p.heads()[0]);
    for gone in ["x-mine:", "keep-alive:", "proxy-connection:"] {
        assert!(!sent.iter().any(|l| l.starts_with(gone)), "{gone} {sent:?}");
    }
    assert!(sent.contains(&"x-stays: 1".to_owned()), "{sent:?}");
    assert_eq!(answer.field("x-back"), None);
    assert_eq!(answer.field("keep-alive"), None);
    assert_eq!(answer.field("x-stays"), Some("1"));
}

#[test]
fn the_server_learns_client_protocol_and_port() {
    let p = Proxied::one("", |_| Some(origin::ok("hi")));
    let ip = p.lab.client_ip(9);
    p.client().from(ip).send(&Request::get("/").field("X-Forwarded-For: 192.0.2.1")).unwrap();
    let sent = lines(&p.heads()[0]);
    assert!(sent.contains(&format!("x-forwarded-for: 192.0.2.1, {ip}")), "{sent:?}");
    assert!(sent.contains(&"x-forwarded-proto: http".to_owned()), "{sent:?}");
    assert!(sent.contains(&format!("x-forwarded-port: {}", p.at.port())), "{sent:?}");
    assert!(sent.iter().any(|l| l.starts_with("via: 1.1 forebay")), "{sent:?}");
}

#[test]
fn forwarded_for_follows_its_profile() {
    for (mode, want) in [
        ("replace", Some("x-forwarded-for: {ip}")),
        ("keep", Some("x-forwarded-for: 192.0.2.1")),
        ("remove", None),
    ] {
        let p = Proxied::one(&config::profile(&format!("x_forwarded_for = \"{mode}\"")), |_| {
            Some(origin::ok("hi"))
        });
        let ip = p.lab.client_ip(9);
        p.client().from(ip).send(&Request::get("/").field("X-Forwarded-For: 192.0.2.1")).unwrap();
        let sent = lines(&p.heads()[0]);
        let found = sent.iter().find(|l| l.starts_with("x-forwarded-for:")).cloned();
        assert_eq!(found, want.map(|w| w.replace("{ip}", &ip.to_string())), "{mode}");
    }
}

/// What a server gets of these fields under a profile.
fn forwarded_under(profile: &str, fields: &[&str]) -> Vec<String> {
    let p = Proxied::one(&config::profile(profile), |_| Some(origin::ok("hi")));
    let request = fields.iter().fold(Request::get("/"), |request, field| request.field(*field));
    p.client().from(p.lab.client_ip(9)).send(&request).unwrap();
    let (ip, port) = (p.lab.client_ip(9).to_string(), p.at.port().to_string());
    let mut got: Vec<String> = lines(&p.heads()[0])
        .into_iter()
        .filter(|l| l.starts_with("x-forwarded-p") || l.starts_with("forwarded:"))
        .map(|l| l.replace(&ip, "IP").replace(&port, "PORT"))
        .collect();
    got.sort();
    got
}

//= test SE-FORWARD-01
#[test]
fn a_stranger_is_not_believed_about_anything_that_the_profile_replaces() {
    let claims = ["Forwarded: for=6.6.6.6;proto=https", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443"];
    let ours = ["x-forwarded-port: PORT", "x-forwarded-proto: http"];
    for (profile, forwarded) in [
        ("", Some("forwarded: for=6.6.6.6;proto=https, for=IP;proto=http")),
        ("x_forwarded_for = \"replace\"", None),
        ("x_forwarded_for = \"remove\"", None),
        ("x_forwarded_for = \"keep\"", Some("forwarded: for=6.6.6.6;proto=https")),
        ("x_forwarded_for = \"replace\"\nforwarded = true", Some("forwarded: for=IP;proto=http")),
        ("forwarded = true", Some("forwarded: for=6.6.6.6;proto=https, for=IP;proto=http")),
    ] {
        let want: Vec<&str> = forwarded.into_iter().chain(ours).collect();
        assert_eq!(forwarded_under(profile, &claims), want, "{profile}");
    }
    assert_eq!(forwarded_under("", &["Forwarded: for=\""]), ours, "nothing stands behind an open quotation");
    let proxy = "trusted_proxies = [\"127.0.0.0/8\"]";
    assert_eq!(
        forwarded_under(proxy, &claims[1..]),
        ["x-forwarded-port: 443", "x-forwarded-proto: https"],
        "a trusted proxy ends the TLS before us"
    );
    assert_eq!(forwarded_under(proxy, &[]), ours);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let profile = config::profile("trusted_proxies = [\"127.0.0.0/8\"]");
    let p = Proxied::one(&profile, |_| Some(origin::ok("hi")));
    p.client().send(&Request::get("/").field("X-Forwarded-For: 192.0.2.77")).unwrap();
    let line = p.engine.log_lines(1, |_| true).remove(0);
    assert_eq!(line["client_ip"], "192.0.2.77", "{line}");
}

#[test]
fn trailers_of_a_request_and_an_answer_pass_by_rule() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let p = Proxied::new::<1>("", "", move |_, address| {
        let kept = kept.clone();
        Origin::start(address, move |mut wire, _| {
            loop {
                let head = wire.head()?;
                if head.starts_with("POST ") {
                    // Up to the end of the trailer section.
                    let content = String::from_utf8_lossy(&wire.until(b"\r\n\r\n")?).into_owned();
                    kept.lock().unwrap().push(content);
                }
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")?;
                wire.send("2\r\nhi\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n")?;
            }
        })
    });
    let ask = |request: &str| {
        let mut wire = Wire::connect(p.at).unwrap();
        wire.send(request).unwrap();
        wire.head().unwrap();
        String::from_utf8(wire.until(b"\r\n\r\n").unwrap()).unwrap()
    };
    // Framing never comes in a trailer.
    let takes = ask("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!(takes, "2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n");
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "2\r\nhi\r\n0\r\n\r\n", "who does not take them");
    ask(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Digest: 5\r\nTransfer-Encoding: gzip\r\nHost: y\r\n\r\n",
    );
    assert_eq!(*seen.lock().unwrap(), ["3\r\nabc\r\n0\r\nX-Digest: 5\r\n\r\n"]);
}
