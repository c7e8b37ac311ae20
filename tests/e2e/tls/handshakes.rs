//! Handshakes that fail, and those that only look as if they would.

use std::time::Instant;

use forebay_e2e::Wire;
use forebay_e2e::wait::{eventually, secs};

use crate::{s_client, secured};

//= test TLS-HANDSHAKE-01
#[test]
fn a_handshake_whose_bytes_come_one_by_one_is_made() {
    let scene = secured("", "", "");
    let said = scene.python(
        "i, o = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         s = at(); t = context().wrap_bio(i, o, server_hostname='app.test')\n\
         def step(f):\n\
         \x20   while True:\n\
         \x20       try: r = f()\n\
         \x20       except ssl.SSLWantReadError: r = None\n\
         \x20       for b in o.read(): s.sendall(bytes([b]))\n\
         \x20       if r is not None: return r\n\
         \x20       i.write(s.recv(1))\n\
         step(lambda: t.do_handshake() or True)\n\
         step(lambda: t.write(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'))\n\
         print(step(lambda: t.read(1000)).split()[1].decode())\n",
    );
    assert_eq!(said, "200\n");
}

//= test TLS-HANDSHAKE-02
//= test TLS-LOG-02
#[test]
fn a_failed_handshake_is_counted_and_logged_by_its_reason() {
    let profile = "[[tls_profile]]\nname = \"short\"\nhandshake_timeout_ms = 2000\n";
    let scene = secured("tls_profile = \"short\"", "", profile);
    let count = |why: &str| {
        scene
            .engine
            .metric("forebay_tls_handshake_failures_total", &[("virtual_service", "web"), ("why", why)])
    };
    let unbegun = count("unbegun");
    // A client that says nothing, one that stops in the middle, and one that never had TLS in mind.
    let began = Instant::now();
    let mut silent = Wire::connect(scene.at).expect("it listens");
    let mut half = Wire::connect(scene.at).expect("it listens");
    half.send([0x16, 3, 1, 2, 0, 1]).expect("sent");
    let mut plain = Wire::connect(scene.at).expect("it listens");
    plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert!(plain.closes_within(secs(10)), "what is no TLS is closed");
    assert!(silent.closes_within(secs(10)) && half.closes_within(secs(10)));
    assert!(began.elapsed() >= secs(2), "they had their time");
    // One that leaves without a byte is counted and not logged; one that leaves after some has its line.
    let looks = [(); 2].map(|()| Wire::connect(scene.at).expect("it listens"));
    let ports = looks.each_ref().map(|look| look.stream().local_addr().expect("bound").port());
    let [ended, reset] = looks;
    drop(ended);
    reset.reset();
    let mut leaver = Wire::connect(scene.at).expect("it listens");
    leaver.send([0x16, 3, 1, 2, 0, 1]).expect("sent");
    let left = leaver.stream().local_addr().expect("bound").port();
    drop(leaver);
    // Its authority is not known to the client.
    let untrusted = scene.try_curl(&["--cacert", "/dev/null", "/health"]);
    assert!(!untrusted.status.success());
    let stranger = s_client(&scene.lab, scene.at, "-tls1_3 -verify_return_error -CAfile app.pem -brief");
    assert!(stranger.contains("verify"), "{stranger}");
    let old = s_client(&scene.lab, scene.at, "-tls1_1 -cipher ALL:@SECLEVEL=0");
    assert!(old.contains("alert"), "{old}");
    let other = s_client(&scene.lab, scene.at, "-tls1_2 -cipher AES256-SHA:@SECLEVEL=0");
    assert!(other.contains("alert handshake failure"), "{other}");
    eventually("each is counted", secs(10), || {
        count("late") >= 2.0
            && count("no_tls") == 1.0
            && count("unbegun") >= unbegun + 1.0
            && count("gone") >= 1.0
            && count("alert") >= 1.0
            && count("version") == 1.0
            && count("nothing_in_common") == 1.0
    });
    for (said, lines) in [
        ("its TLS handshake was not over in time", 2),
        ("what it sent is no TLS", 1),
        ("the client ended the TLS handshake", 1),
        ("it speaks no version of TLS that is spoken here", 1),
        ("no cipher suite, group or certificate suits both", 1),
    ] {
        scene.engine.log_lines(lines, |line| line["connection_state"] == said);
    }
    let half = scene.engine.log_lines(1, |line| line["client_src_port"] == left);
    assert_eq!(half[0]["connection_state"], "it ended before its TLS handshake was over");
    assert!(scene.engine.metric("forebay_timeouts_total", &[("kind", "tls_handshake")]) >= 2.0);
    assert_eq!(scene.curl(&["/health"]), "ok\n", "others are served");
    // What came before is in the log by now.
    scene.engine.log_lines(1, |line| line["uri_path"] == "/health");
    let looked = |line: &serde_json::Value| ports.iter().any(|port| line["client_src_port"] == *port);
    assert!(!scene.engine.log().iter().any(looked), "who left without a byte is not logged");
    let made = [("virtual_service", "web"), ("version", "1.3"), ("kind", "full")];
    assert!(scene.engine.metric("forebay_tls_handshakes_total", &made) >= 1.0);
}

//= test TLS-HANDSHAKE-01
#[test]
fn a_client_whom_a_proxy_names_before_the_handshake_is_the_one_in_the_log() {
    let scene = secured("proxy_protocol = { from = [\"127.0.0.0/8\"] }", "", "");
    // The header in a segment of its own, and in one with the handshake's first bytes.
    let said = scene.python(
        "ask = b'GET /echo HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'\n\
         s = at(); s.sendall(b'PROXY TCP4 203.0.113.9 198.51.100.2 4711 443\\r\\n')\n\
         t = talk(over=s); t.sendall(ask); print(b'203.0.113.9' in rest(t))\n\
         i, o = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         s = at(); t = context().wrap_bio(i, o, server_hostname='app.test')\n\
         first = b'PROXY TCP6 2001:db8::9 2001:db8::2 4712 443\\r\\n'\n\
         def step(f):\n\
         \x20   global first\n\
         \x20   while True:\n\
         \x20       try: r = f()\n\
         \x20       except ssl.SSLWantReadError: r = None\n\
         \x20       if o.pending: s.sendall(first + o.read()); first = b''\n\
         \x20       if r is not None: return r\n\
         \x20       i.write(s.recv(65536))\n\
         step(lambda: t.do_handshake() or True)\n\
         step(lambda: t.write(ask))\n\
         print(step(lambda: t.read(1000)).split()[1].decode())\n",
    );
    assert_eq!(said, "True\n200\n");
    for (client, port) in [("203.0.113.9", 4711), ("2001:db8::9", 4712)] {
        let line = &scene.engine.log_lines(1, |line| line["client_ip"] == client)[0];
        assert_eq!(line["client_src_port"], port, "{line}");
        assert_eq!(line["ssl_version"], "TLSv1.3", "{line}");
        assert_eq!(line["sni_hostname"], "app.test", "{line}");
        assert_eq!(line["client_dest_port"], 443, "{line}");
    }
    assert_eq!(scene.engine.metric("forebay_proxy_headers_refused_total", &[("why", "untrusted")]), 0.0);
}

//= test TLS-PROFILE-01
#[test]
fn a_profile_bounds_versions_suites_and_groups_and_orders_them() {
    let profile = "[[tls_profile]]\nname = \"own\"\nmax_version = \"1.2\"\ngroups = [\"secp384r1\", \"x25519\"]\n\
                   cipher_suites = [\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\"]\n";
    let scene = secured("tls_profile = \"own\"", "", profile);
    let said = s_client(&scene.lab, scene.at, "-servername app.test");
    assert!(said.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "our order counts: {said}");
    let said = s_client(&scene.lab, scene.at, "-groups X25519:P-256");
    assert!(said.contains("X25519"), "{said}");
    for refused in ["-tls1_3", "-cipher ECDHE-ECDSA-CHACHA20-POLY1305", "-groups P-256"] {
        let said = s_client(&scene.lab, scene.at, refused);
        assert!(said.contains("Cipher is (NONE)"), "{refused}: {said}");
    }
}
