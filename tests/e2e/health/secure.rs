//! Monitors over TLS, asked of nginx and OpenSSL.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use forebay_e2e::pki::{self, authority};
use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Options, Origin, Process, bin, config, eventually};

/// A certificate for `app.internal` and an address, signed by an authority and good for so many days from now.
fn certificate(folder: &Path, name: &str, authority: &str, ip: impl std::fmt::Display, days: i32) {
    pki::certificate(folder, name, authority, pki::EC, &format!("DNS:app.internal,IP:{ip}"), days);
}

/// An nginx with a server for each certificate; it tells under `/` which name it was asked for.
fn nginx(lab: &Lab, servers: &[(SocketAddr, &str)]) -> Process {
    let sections: String = servers
        .iter()
        .map(|(at, name)| {
            let tls = match *name {
                "" => format!("listen {at};"),
                name => {
                    format!("listen {at} ssl; ssl_certificate {name}.pem; ssl_certificate_key {name}.key;")
                }
            };
            format!("server {{ {tls} location / {{ return 200 \"asked for <$ssl_server_name>\"; }} }}\n")
        })
        .collect();
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         {sections}}}\n"
    );
    std::fs::write(lab.folder().join("nginx.conf"), text).expect("the lab's folder");
    let mut command = Command::new(bin::foreign("nginx", "nginx"));
    command.arg("-p").arg(lab.folder()).args(["-e", "stderr", "-c", "nginx.conf"]);
    let process = Process::start("nginx", command, lab.folder());
    // A first probe that is refused would be followed by the next one after seconds.
    for (at, _) in servers {
        eventually("nginx listens", secs(10), || TcpStream::connect(at).is_ok());
    }
    process
}

/// Time enough for any answer: the reason is that of the first probe.
const PATIENT: &str = "send_interval_s = 10\nreceive_timeout_s = 9";
/// For what changes, or is a matter of time.
const QUICK: &str = "send_interval_s = 2\nreceive_timeout_s = 1";

/// A pool of one server, judged by an HTTPS monitor of its own with these keys.
fn watched(name: &str, server: SocketAddr, timing: &str, keys: &str) -> String {
    let keys_of_pool = format!("health_monitors = [\"{name}\"]\npassive_health_monitor = false");
    config::pool(name, &keys_of_pool, &[server])
        + &format!(
            "[[health_monitor]]\nname = \"{name}\"\ntype = \"https\"\n{timing}\n\
             successful_checks = 1\nfailed_checks = 1\n{keys}\n"
        )
}

/// Waits until a server is as it should be, and its reason has these words.
#[track_caller]
fn expect(engine: &Engine, server: SocketAddr, up: bool, words: &str) {
    engine.wait_for_server(server, up);
    eventually(&format!("{server}: {words:?}"), secs(15), || engine.why(server).contains(words));
}

//= test HM-HTTPS-01
//= test HM-HTTPS-03
//= test HM-HTTPS-04
#[test]
fn a_certificate_is_judged_by_authority_name_and_time_and_only_where_an_authority_is_named() {
    let lab = Lab::new();
    let folder = lab.folder();
    authority(folder, "ca");
    authority(folder, "stranger");
    certificate(folder, "good", "ca", lab.ip(), 2);
    certificate(folder, "expired", "ca", lab.ip(), -1);
    certificate(folder, "unknown", "stranger", lab.ip(), 2);
    let [good, byip, wrong, expired, unjudged, unknown, own] = lab.addresses();
    let _nginx = nginx(
        &lab,
        &[
            (good, "good"),
            (byip, "good"),
            (wrong, "good"),
            (expired, "expired"),
            (unjudged, "expired"),
            (unknown, "unknown"),
            (own, "stranger"),
        ],
    );
    let ca = "ca_file = \"ca.pem\"";
    let cases = [
        (
            "good",
            good,
            format!("{ca}\nserver_name = \"app.internal\"\nbody_match = \"<app.internal>\""),
            true,
            "",
        ),
        // By its address, which is compared and not sent.
        ("byip", byip, format!("{ca}\nbody_match = \"asked for <>\""), true, ""),
        (
            "wrong",
            wrong,
            format!("{ca}\nserver_name = \"other.internal\""),
            false,
            "not valid for name \"other.internal\"",
        ),
        (
            "expired",
            expired,
            format!("{ca}\nserver_name = \"app.internal\""),
            false,
            "certificate has expired",
        ),
        (
            "unjudged",
            unjudged,
            "server_name = \"any.internal\"\nbody_match = \"<any.internal>\"".into(),
            true,
            "",
        ),
        ("unknown", unknown, ca.into(), false, "signed by none of the authorities"),
        ("own", own, ca.into(), false, "that of an authority and not of a server"),
    ];
    let text = config::service("good", lab.address())
        + &cases.iter().map(|(name, at, keys, ..)| watched(name, *at, PATIENT, keys)).collect::<String>();
    let engine = lab.engine(&text);
    for (_, server, _, up, words) in cases {
        expect(&engine, server, up, words);
    }
}

//= test HM-HTTPS-03
#[test]
fn what_is_no_tls_or_too_old_or_never_answers_is_down_and_said() {
    let lab = Lab::new();
    let folder = lab.folder();
    authority(folder, "ca");
    let [plain, old, stalls, closes] = lab.addresses();
    let _nginx = nginx(&lab, &[(plain, "")]);
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command.args([
        "s_server",
        "-www",
        "-tls1_1",
        "-cipher",
        "ALL:@SECLEVEL=0",
        "-key",
        "ca.key",
        "-cert",
        "ca.pem",
    ]);
    command.args(["-accept", &old.to_string()]);
    let _old = Process::start("openssl", command, folder);
    let _stalls = Origin::silent(stalls);
    let _closes = Origin::start(closes, |_, _| Ok(()));
    eventually("OpenSSL listens", secs(10), || TcpStream::connect(old).is_ok());
    let cases = [
        ("plain", plain, "what the server sent is no TLS"),
        ("old", old, "the server speaks neither TLS 1.2 nor TLS 1.3"),
        ("stalls", stalls, "the handshake did not end within the receive time-out"),
        ("closes", closes, "no TLS:"),
    ];
    let text = config::service("plain", lab.address())
        + &cases
            .iter()
            .map(|(name, at, _)| watched(name, *at, if *name == "stalls" { QUICK } else { PATIENT }, ""))
            .collect::<String>();
    let engine = lab.engine(&text);
    for (_, server, words) in cases {
        expect(&engine, server, false, words);
    }
}

//= test HM-HTTPS-02
#[test]
fn a_file_of_authorities_that_has_changed_is_read_again_and_one_that_is_no_good_changes_nothing() {
    let lab = Lab::new();
    let folder = lab.folder();
    authority(folder, "ca");
    authority(folder, "stranger");
    certificate(folder, "good", "ca", lab.ip(), 2);
    let server = lab.address();
    let _nginx = nginx(&lab, &[(server, "good")]);
    let put = |bytes: &[u8]| {
        std::fs::write(folder.join("fresh"), bytes).expect("the lab's folder");
        std::fs::rename(folder.join("fresh"), folder.join("trusted.pem")).expect("the lab's folder");
    };
    let pem = |name: &str| std::fs::read(folder.join(name)).expect("a certificate");
    put(&pem("ca.pem"));
    let text =
        config::service("web", lab.address()) + &watched("web", server, QUICK, "ca_file = \"trusted.pem\"");
    let engine = lab.engine(&text);
    engine.wait_for_server(server, true);
    put(&pem("stranger.pem"));
    engine.wait_for_server(server, false);
    put(&[pem("stranger.pem"), pem("ca.pem")].concat());
    engine.wait_for_server(server, true);
    put(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    eventually("it is said", secs(15), || engine.process.printed().contains("TLS_FILE_REFUSED"));
    let label = server.to_string();
    let passed = || engine.metric("forebay_health_probes_total", &[("server", &label), ("result", "passed")]);
    let before = passed();
    eventually("probes go on", secs(15), || passed() > before + 1.0);
    engine.wait_for_server(server, true);
    assert_eq!(engine.process.printed().matches("TLS_FILE_REFUSED").count(), 1, "said once");
}

//= test HM-HTTPS-05
//= test HM-HTTPS-03
#[test]
fn a_server_that_demands_a_certificate_gets_the_engines_and_one_without_is_told() {
    let lab = Lab::new();
    let folder = lab.folder();
    authority(folder, "ca");
    authority(folder, "stranger");
    certificate(folder, "server", "ca", lab.ip(), 2);
    certificate(folder, "engine", "ca", lab.ip(), 2);
    certificate(folder, "other", "stranger", lab.ip(), 2);
    std::fs::copy(folder.join("engine.pem"), folder.join("fresh.pem")).expect("the lab's folder");
    std::fs::copy(folder.join("engine.key"), folder.join("fresh.key")).expect("the lab's folder");
    // Under TLS 1.3 a server refuses after the handshake, under TLS 1.2 in it.
    let servers = ["-tls1_3", "-tls1_2"].map(|version| {
        let at = lab.address();
        let mut command = Command::new(bin::foreign("openssl", "openssl"));
        command.args([
            "s_server",
            "-www",
            version,
            "-Verify",
            "1",
            "-verify_return_error",
            "-CAfile",
            "ca.pem",
        ]);
        command.args(["-cert", "server.pem", "-key", "server.key", "-accept", &at.to_string()]);
        (at, Process::start("openssl", command, folder))
    });
    for (at, _) in &servers {
        eventually("OpenSSL listens", secs(10), || TcpStream::connect(at).is_ok());
    }
    let own = |name: &str| {
        format!(
            "ca_file = \"ca.pem\"\nclient_certificate_file = \"{name}.pem\"\nclient_key_file = \"{name}.key\""
        )
    };
    let cases = [
        ("with", 0, own("fresh"), true, ""),
        ("without", 0, "ca_file = \"ca.pem\"".into(), false, "demands a certificate of its client"),
        ("strange", 0, own("other"), false, "ended the handshake with the alert UnknownCA"),
        ("older", 1, own("fresh"), true, ""),
        (
            "olderwithout",
            1,
            "ca_file = \"ca.pem\"".into(),
            false,
            "ended the handshake with the alert HandshakeFailure",
        ),
    ];
    // A monitor's verdict is that of an address, so each case has one of its own and asks the same port.
    let hosts: Vec<SocketAddr> = cases.iter().map(|_| lab.address()).collect();
    let text = config::service("with", lab.address())
        + &cases
            .iter()
            .zip(&hosts)
            .map(|((name, n, keys, ..), host)| {
                watched(name, *host, QUICK, &format!("port = {}\n{keys}", servers[*n].0.port()))
            })
            .collect::<String>();
    let engine = lab.engine(&text);
    for ((.., up, words), host) in cases.iter().zip(&hosts) {
        expect(&engine, *host, *up, words);
    }
    // A renewed certificate is used with the next probe, one without its key never.
    let put = |from: &str, to: &str| {
        std::fs::copy(folder.join(from), folder.join("moved")).expect("the lab's folder");
        std::fs::rename(folder.join("moved"), folder.join(to)).expect("the lab's folder");
    };
    put("other.key", "fresh.key");
    eventually("it is said", secs(15), || engine.process.printed().contains("TLS_FILE_REFUSED"));
    engine.wait_for_server(hosts[0], true);
    put("other.pem", "fresh.pem");
    engine.wait_for_server(hosts[0], false);
    let (pem, key) = ("client_certificate_file", "client_key_file");
    let refused = config::service("with", lab.address())
        + &watched("with", hosts[0], QUICK, &format!("{pem} = \"engine.pem\"\n{key} = \"other.key\""));
    engine.write(&refused);
    let answer = engine.admin(&serde_json::json!({ "command": "reload" })).to_string();
    assert!(answer.contains("client_key_file") && answer.contains("not the key of"), "{answer}");
}

//= test HM-HTTPS-02
#[test]
fn a_file_of_authorities_that_is_not_there_is_said_at_the_start_and_at_a_reload() {
    let lab = Lab::new();
    let server = lab.address();
    let at = lab.address();
    let missing = config::service("web", at) + &watched("web", server, QUICK, "ca_file = \"missing.pem\"");
    let mut engine = Engine::spawn(&lab, &missing, &Options::default());
    assert!(!engine.process.wait(secs(15)).success());
    let said = engine.process.printed();
    assert!(said.contains("health_monitor[0].ca_file: ") && said.contains("missing.pem"), "{said}");
    let engine = lab.engine(&(config::service("web", at) + &watched("web", server, QUICK, "")));
    engine.write(&missing);
    let answer = engine.admin(&serde_json::json!({ "command": "reload" })).to_string();
    assert!(answer.contains("missing.pem"), "{answer}");
}
