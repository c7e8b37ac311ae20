//! Whom the engine believes, and who it says that it is.

use forebay_e2e::Lab;
use forebay_e2e::pki::{self, EC};

use crate::{alone, app, ask, before, failures, nginx, python};

//= test TLS-SERVER-VERIFY-01
//= test TLS-SERVER-FAIL-01
#[test]
fn a_server_is_believed_by_its_authority_its_name_and_its_time() {
    let lab = Lab::new();
    app(&lab);
    pki::authority(lab.folder(), "stranger");
    pki::certificate(lab.folder(), "old", "ca", EC, "DNS:app.test", -1);
    pki::certificate(lab.folder(), "odd", "stranger", EC, "DNS:app.test", 2);
    pki::certificate(lab.folder(), "byip", "ca", EC, &format!("IP:{}", lab.ip()), 2);
    let [good, old, odd, byip] = lab.addresses();
    let of = |name: &str| format!("ssl_certificate {name}.pem; ssl_certificate_key {name}.key;");
    let _nginx = nginx(&lab, &[(good, ""), (old, &of("old")), (odd, &of("odd")), (byip, &of("byip"))]);
    let cases = [
        ("right", good, "ca_file = \"ca.pem\", server_name = \"app.test\"", ""),
        ("wrong", good, "ca_file = \"ca.pem\", server_name = \"other.test\"", "other_name"),
        (
            "anyname",
            good,
            "ca_file = \"ca.pem\", server_name = \"other.test\", host_check_enabled = false",
            "",
        ),
        ("expired", old, "ca_file = \"ca.pem\", server_name = \"app.test\"", "expired"),
        ("expired-anyname", old, "ca_file = \"ca.pem\", host_check_enabled = false", "expired"),
        ("unknown", odd, "ca_file = \"ca.pem\", server_name = \"app.test\"", "unknown_authority"),
        ("unknown-anyname", odd, "ca_file = \"ca.pem\", host_check_enabled = false", "unknown_authority"),
        ("unjudged", odd, "verify = false, server_name = \"other.test\"", ""),
        ("unjudged-old", old, "verify = false", ""),
        ("byip", byip, "ca_file = \"ca.pem\", sni_enabled = false", ""),
        ("byip-not", good, "ca_file = \"ca.pem\", sni_enabled = false", "other_name"),
    ];
    let ats = cases.map(|_| lab.address());
    let text: String = cases
        .iter()
        .zip(ats)
        .map(|((name, server, tls, _), at)| before(name, at, &[*server], tls, ""))
        .collect();
    let engine = lab.engine(&text);
    for ((name, _, _, why), at) in cases.into_iter().zip(ats) {
        let host = if name.starts_with("byip") { lab.ip().to_string() } else { "app.test".to_owned() };
        let (status, body) = ask(at, &host);
        if why.is_empty() {
            assert_eq!(status, 200, "{name}: {body}");
            continue;
        }
        assert_eq!(status, 502, "{name}: {body}");
        assert!(failures(&engine, name, why) >= 1.0, "{name}: {why}");
        let lines = engine.log_lines(1, |line| line["virtualservice"] == name);
        let said = lines[0]["request_state"].as_str().unwrap_or_default();
        assert!(said.contains("certificate"), "{name}: {said}");
    }
}

//= test TLS-SERVER-CERT-01
#[test]
fn a_server_that_asks_who_we_are_sees_our_certificate() {
    let lab = Lab::new();
    app(&lab);
    pki::authority(lab.folder(), "owners");
    pki::certificate(lab.folder(), "engine", "owners", EC, "DNS:engine.test", 2);
    pki::certificate(lab.folder(), "other", "ca", EC, "DNS:engine.test", 2);
    let asks = "ssl_verify_client on; ssl_client_certificate owners.pem;";
    let [nginx_at, old, new, shown, nobody, refused12, refused13] = lab.addresses();
    let _nginx = nginx(&lab, &[(nginx_at, asks)]);
    // These end the handshake; nginx answers 400.
    let demand = |version: &str| {
        format!(
            "c.verify_mode = ssl.CERT_REQUIRED; c.load_verify_locations('owners.pem'); \
             c.minimum_version = c.maximum_version = ssl.TLSVersion.{version}"
        )
    };
    let serve = "head(t); t.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')";
    let _old = python(&lab, old, &demand("TLSv1_2"), serve);
    let _new = python(&lab, new, &demand("TLSv1_3"), serve);
    let tls = "ca_file = \"ca.pem\", server_name = \"app.test\"";
    let own = format!("{tls}, certificate = \"engine\"");
    let engine = lab.engine(
        &(before(
            "shown",
            shown,
            &[nginx_at, old, new],
            &own,
            "algorithm = \"round_robin\"\nround_robin_per_engine = true",
        ) + &before("nobody", nobody, &[nginx_at], tls, "")
            + &before("refused12", refused12, &[old], &format!("{tls}, certificate = \"other\""), "")
            + &before("refused13", refused13, &[new], tls, "")
            + &pki::section("engine")
            + &pki::section("other")),
    );
    let bodies: Vec<String> = (0..3).map(|_| ask(shown, "x")).map(|(_, body)| body).collect();
    assert!(bodies.iter().any(|body| body.contains("<CN=engine>")), "{bodies:?}");
    assert_eq!(bodies.iter().filter(|body| *body == "ok").count(), 2, "{bodies:?}");
    assert_eq!(ask(nobody, "x").0, 400);
    for (name, at) in [("refused12", refused12), ("refused13", refused13)] {
        assert_eq!(ask(at, "x").0, 502, "{name}");
        assert!(failures(&engine, name, "our_certificate") >= 1.0, "{name}");
        let lines = engine.log_lines(1, |line| line["virtualservice"] == name);
        let said = lines[0]["request_state"].as_str().unwrap_or_default();
        assert!(said.contains("certificate of us"), "{name}: {said}");
    }
}

//= test TLS-SERVER-BLAME-01
//= test TLS-SERVER-NAME-01
#[test]
fn names_that_clients_make_up_take_no_server_out_of_service() {
    let lab = Lab::new();
    app(&lab);
    let [server, at] = lab.addresses();
    let _nginx = nginx(&lab, &[(server, "")]);
    let text = before("web", at, &[server], "ca_file = \"ca.pem\"", "server_reselect = { num_retries = 0 }");
    let engine = lab.engine_with(&text, alone());
    for n in 0..60 {
        assert_eq!(ask(at, &format!("made-up-{n}.test")).0, 502);
    }
    for n in 0..4 {
        let (status, body) = ask(at, if n % 2 == 0 { "app.test:80" } else { "APP.test" });
        assert_eq!(status, 200, "{n}: {body}");
        assert!(body.starts_with("<app.test>"), "{n}: {body}");
    }
    assert_eq!(ask(at, &"a".repeat(70)).0, 502);
    assert_eq!(failures(&engine, "web", "other_name"), 60.0);
    assert_eq!(failures(&engine, "web", "no_name"), 1.0);
    let failed = engine.metric("forebay_server_connect_failures_total", &[("pool", "web")]);
    assert_eq!(failed, 0.0, "a name of the client's choice counts against the server");
}

//= test TLS-SERVER-NAME-01
//= test TLS-SERVER-REUSE-01
#[test]
fn a_connection_serves_only_requests_for_the_name_that_it_was_made_for() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", EC, "DNS:one.test,DNS:two.test", 2);
    let [server, byname, fixed, untold] = lab.addresses();
    let _nginx = nginx(&lab, &[(server, "")]);
    let text = before("byname", byname, &[server], "ca_file = \"ca.pem\"", "")
        + &before("fixed", fixed, &[server], "ca_file = \"ca.pem\", server_name = \"two.test\"", "")
        + &before("untold", untold, &[server], "verify = false, sni_enabled = false", "");
    let _engine = lab.engine_with(&text, alone());
    let asked = |at, host: &str| {
        let (status, body) = ask(at, host);
        assert_eq!(status, 200, "{host}: {body}");
        let mut words = body.split(['<', '>']).filter(|word| *word != " ");
        let name = words.nth(1).unwrap_or_default().to_owned();
        (name, words.nth(3).unwrap_or_default().to_owned())
    };
    let (first, second) = (asked(byname, "one.test"), asked(byname, "two.test"));
    assert_eq!((first.0.as_str(), second.0.as_str()), ("one.test", "two.test"));
    assert_ne!(first.1, second.1, "a connection of its own");
    for _ in 0..3 {
        assert_eq!(asked(byname, "one.test:8443"), first);
        assert_eq!(asked(byname, "TWO.test."), second);
    }
    // Where names make no difference, none is made.
    let once = asked(fixed, "one.test");
    assert_eq!(once.0, "two.test");
    assert_eq!(asked(fixed, "another.test"), once);
    let once = asked(untold, "one.test");
    assert_eq!(once.0, "");
    assert_eq!(asked(untold, "another.test"), once);
}

//= test TLS-SERVER-CHECK-02
#[test]
fn check_warns_of_servers_that_nobody_judges_and_refuses_files_that_are_no_good() {
    let lab = Lab::new();
    let [server, at] = lab.addresses();
    std::fs::write(lab.folder().join("empty.pem"), "nothing\n").expect("the lab's folder");
    let check = |tls: &str| {
        let text = format!("version = 1\n{}", before("web", at, &[server], tls, ""));
        std::fs::write(lab.folder().join("se.toml"), text).expect("the lab's folder");
        let mut command = std::process::Command::new(forebay_e2e::bin::path("forebay-se"));
        command.args(["check", "--config", "se.toml"]).current_dir(lab.folder());
        let done = command.output().expect("it starts");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (is_right, said) = check("verify = false");
    assert!(is_right && said.contains("warning") && said.contains("whoever answers is believed"), "{said}");
    for (tls, words) in [
        ("ca_file = \"empty.pem\"", "holds no certificate"),
        ("ca_file = \"missing.pem\"", "missing.pem"),
        ("server_name = \"app.test\"", "nothing says which certificates are believed"),
    ] {
        let (is_right, said) = check(tls);
        assert!(!is_right && said.contains(words), "{tls}: {said}");
    }
}
