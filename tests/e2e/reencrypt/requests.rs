//! Requests and streams to servers over TLS.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::wire::exchange;
use forebay_e2e::{Client, Lab, Origin, Request, Wire, bin, config, eventually};

use crate::{alone, app, ask, before, failures, handshakes, nginx, python};

const JUDGED: &str = "ca_file = \"ca.pem\", server_name = \"app.test\"";

/// Bytes that do not compress and differ everywhere.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

//= test TLS-SERVER-01
#[test]
fn requests_and_large_content_go_over_both_versions_and_connections_are_kept() {
    let lab = Lab::new();
    app(&lab);
    let [old, new, web12, web13] = lab.addresses();
    let _nginx = nginx(&lab, &[(old, "ssl_protocols TLSv1.2;"), (new, "ssl_protocols TLSv1.3;")]);
    let text = before("web12", web12, &[old], JUDGED, "") + &before("web13", web13, &[new], JUDGED, "");
    let engine = lab.engine_with(&text, alone());
    let content = noise(3 << 20);
    for (name, at, version) in [("web12", web12, "TLSv1.2"), ("web13", web13, "TLSv1.3")] {
        let mut client = Client::new(at).patience(secs(20));
        for _ in 0..20 {
            let answer = client.get("/").expect("an answer");
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains(version), "{}", answer.text());
        }
        let target = format!("/files/{name}");
        let put = Request { method: "PUT".into(), body: Some(content.clone()), ..Request::get(&target) };
        assert_eq!(client.send(&put).expect("an answer").status, 201);
        let there = std::fs::read(lab.folder().join("files").join(name)).expect("it was put there");
        assert!(there == content, "what arrived is what was sent");
        let back = client.get(&target).expect("an answer");
        assert!(back.body == content, "what comes back is what is there: {} bytes", back.body.len());
        assert_eq!(handshakes(&engine, name, "full"), 1.0, "one connection served them all");
    }
}

//= test TLS-SERVER-01
#[test]
fn requests_of_http2_go_to_servers_over_tls_as_well() {
    let lab = Lab::new();
    app(&lab);
    let [server, at] = lab.addresses();
    let _nginx = nginx(&lab, &[(server, "")]);
    let text = before("web", at, &[server], JUDGED, "") + &config::profile("http2 = true");
    let engine = lab.engine_with(&text, alone());
    let content = noise(2 << 20);
    std::fs::write(lab.folder().join("content"), &content).expect("the lab's folder");
    let url = format!("http://{at}/files/put");
    let curl = |more: &[&str]| {
        let mut command = Command::new(bin::foreign("curl", "curl"));
        command.args(["--silent", "--show-error", "--fail", "--max-time", "30", "--http2-prior-knowledge"]);
        let done = command.args(more).current_dir(lab.folder()).output().expect("curl starts");
        assert!(done.status.success(), "{more:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    curl(&["--upload-file", "content", &url]);
    assert!(std::fs::read(lab.folder().join("files/put")).expect("it was put there") == content);
    assert!(curl(&[&url]) == content, "what comes back is what is there");
    assert!(handshakes(&engine, "web", "full") >= 1.0);
}

//= test TLS-SERVER-CLOSE-01
#[test]
fn an_answer_that_ends_without_a_word_is_cut_and_one_that_ends_with_one_is_whole() {
    let lab = Lab::new();
    app(&lab);
    let [server, at] = lab.addresses();
    let serve = "h = head(t)\n\
        t.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\nuntil the end')\n\
        if h.startswith(b'GET /whole'): t.unwrap()\n\
        s = t.detach(); import os; os.close(s)";
    let _server = python(&lab, server, "", serve);
    let engine = lab.engine_with(&before("web", at, &[server], JUDGED, ""), alone());
    let get =
        |path: &str| exchange(at, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    let whole = get("/whole").expect("a whole answer");
    assert!(whole.contains("until the end"), "{whole}");
    let cut = get("/cut");
    let is_cut = match &cut {
        // Our own framing says that it is not whole.
        Ok(text) => {
            text.to_lowercase().contains("transfer-encoding: chunked") && !text.ends_with("0\r\n\r\n")
        }
        Err(_) => true,
    };
    assert!(is_cut, "{cut:?}");
    let lines = engine.log_lines(1, |line| line["uri_path"] == "/cut");
    let said = lines[0]["request_state"].as_str().unwrap_or_default();
    assert!(said.contains("in the middle of the answer"), "{said}");
}

//= test TLS-SERVER-FAIL-01
//= test TLS-SERVER-01
#[test]
fn a_server_that_makes_no_handshake_is_left_for_another_one() {
    let lab = Lab::new();
    app(&lab);
    let [good, silent, plain, shut, at, only] = lab.addresses();
    let _nginx = nginx(&lab, &[(good, "")]);
    let _silent = Origin::silent(silent);
    let _plain = Origin::answering(plain, |_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let _plain_talker = Origin::start(shut, |mut wire, _| wire.send("220 hello\r\n"));
    let turns = "algorithm = \"round_robin\"\nround_robin_per_engine = true\npassive_health_monitor = false";
    let text = before("web", at, &[good, silent, shut], JUDGED, turns)
        + &before("only", only, &[silent], JUDGED, "server_reselect = { num_retries = 0 }")
        + &config::profile("connect_timeout_ms = 2500");
    let engine = lab.engine_with(&text, alone());
    for _ in 0..6 {
        assert_eq!(ask(at, "x").0, 200);
    }
    assert!(failures(&engine, "web", "late") >= 1.0);
    assert!(failures(&engine, "web", "no_tls") + failures(&engine, "web", "gone") >= 1.0);
    assert_eq!(ask(only, "x").0, 504, "its time is over");
    let failed = engine.metric("forebay_server_connect_failures_total", &[("pool", "only")]);
    assert_eq!(failed, 1.0, "it counts as a failed connect");
}

//= test TLS-SERVER-CLOSE-01
//= test TLS-SERVER-01
#[test]
fn a_server_killed_in_the_middle_cuts_its_answer_and_the_next_request_is_served_elsewhere() {
    let lab = Lab::new();
    app(&lab);
    let [first, second, at] = lab.addresses();
    let serve = "head(t)\n\
        t.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 1000000\\r\\n\\r\\n' + b'x' * 1000)\n\
        time.sleep(60)";
    let mut dying = python(&lab, first, "", serve);
    let _nginx = nginx(&lab, &[(second, "")]);
    // The first one is asked first.
    let turns = "algorithm = \"round_robin\"\nround_robin_per_engine = true\npassive_health_monitor = false";
    let text = before("web", at, &[first, second], JUDGED, turns);
    let engine = lab.engine_with(&text, alone());
    let mut wire = Wire::connect(at).expect("it listens");
    wire.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").expect("it takes a request");
    wire.until(b"xxxx").expect("the answer has begun");
    dying.kill();
    assert!(wire.rest().is_err() || wire.ahead().len() < 1_000_000, "a cut answer is not whole");
    let lines = engine.log_lines(1, |line| line["uri_path"] == "/long");
    let said = lines[0]["request_state"].as_str().unwrap_or_default();
    assert!(said.contains("in the middle of the answer"), "{said}");
    for _ in 0..4 {
        assert_eq!(ask(at, "x").0, 200, "the other one serves");
    }
}

//= test TLS-SERVER-TCP-01
#[test]
fn a_tcp_service_speaks_tls_to_its_servers_after_the_header_that_names_the_client() {
    let lab = Lab::new();
    app(&lab);
    let [web, echo, at, echoing, wrong] = lab.addresses();
    let _nginx = nginx(&lab, &[(web, "proxy_protocol;")]);
    // Says back all that it was told, once it has heard the end.
    let serve = "b = b''\n\
        while True:\n\
        \x20   m = t.recv(65536)\n\
        \x20   if not m: break\n\
        \x20   b += m\n\
        t.sendall(b); t.unwrap()";
    let _echo = python(&lab, echo, "", serve);
    let tcp = |name: &str, at: SocketAddr, server: SocketAddr, tls: &str, keys: &str| {
        config::service_with(name, at, "protocol = \"tcp\"")
            + &config::pool(name, &format!("tls = {{ {tls} }}\n{keys}"), &[server])
    };
    let text = tcp("web", at, web, JUDGED, "send_proxy_protocol = \"v2\"")
        + &tcp("echo", echoing, echo, JUDGED, "")
        + &tcp(
            "wrong",
            wrong,
            echo,
            "ca_file = \"ca.pem\", server_name = \"other.test\"",
            "passive_health_monitor = false",
        );
    let engine = lab.engine_with(&text, alone());
    let client = lab.client_ip(1);
    let mut wire = Wire::connect_from(client, at).expect("it listens");
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it takes a request");
    let answer = String::from_utf8_lossy(&wire.rest().expect("an answer")).into_owned();
    assert!(answer.contains(&format!("<{client}>")), "the client's address: {answer}");
    let content = noise(2 << 20);
    let mut wire = Wire::connect(echoing).expect("it listens");
    wire.patience(secs(20));
    let copy = wire.stream().try_clone().expect("a second handle");
    let sent = content.clone();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut &copy, &sent)?;
        copy.shutdown(std::net::Shutdown::Write)
    });
    let mut back = Vec::new();
    wire.stream().try_clone().expect("a second handle").read_to_end(&mut back).expect("a whole stream");
    sender.join().expect("no panic").expect("all was sent");
    assert!(back == content, "{} bytes came back", back.len());
    // Nothing of a client reaches a server that is not believed.
    // It may be reset before it is looked at.
    if let Ok(mut wire) = Wire::connect(wrong) {
        assert!(wire.closes_within(secs(10)), "no server took it");
    }
    eventually("it was tried", secs(10), || failures(&engine, "wrong", "other_name") >= 1.0);
    let is_said = |line: &serde_json::Value| line["virtualservice"] == "wrong";
    let said = engine.log_lines(1, is_said)[0].to_string();
    assert!(said.contains("not for the name"), "{said}");
}
