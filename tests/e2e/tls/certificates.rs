//! Which certificate a client is shown, and certificates that change.

use forebay_e2e::pki::{self, EC, RSA};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, config};

use crate::{s_client, secured};

/// The name of the certificate that a client is shown which asks for a name in some way.
fn shown(lab: &Lab, at: std::net::SocketAddr, words: &str) -> String {
    let said = s_client(lab, at, words);
    let subject = said.lines().find_map(|line| line.strip_prefix("subject=CN = "));
    subject.unwrap_or_else(|| panic!("{words}: {said}")).to_owned()
}

//= test TLS-SNI-01
//= test TLS-SNI-02
#[test]
fn a_client_is_shown_the_certificate_that_fits_its_name_and_its_kind() {
    let lab = Lab::new();
    let folder = lab.folder();
    pki::authority(folder, "ca");
    let own = [
        ("first", EC, "DNS:first.test"),
        ("exact-rsa", RSA, "DNS:a.wild.test"),
        ("exact-ec", EC, "DNS:a.wild.test"),
        ("wild", EC, "DNS:*.wild.test,DNS:other.test"),
    ];
    for (name, kind, names) in own {
        pki::certificate(folder, name, "ca", kind, names, 2);
    }
    let server = lab.demo("a");
    let at = lab.address();
    let names = own.map(|(name, ..)| format!("\"{name}\"")).join(", ");
    let text = config::service_with("web", at, &format!("certificates = [{names}]"))
        + &config::pool("web", "", &[server.address])
        + &own.map(|(name, ..)| pki::section(name)).concat();
    let _engine = lab.engine(&text);
    for (words, certificate) in [
        ("-servername first.test", "first"),
        ("-servername A.Wild.Test", "exact-ec"),
        ("-servername a.wild.test -sigalgs rsa_pss_rsae_sha256", "exact-rsa"),
        ("-servername a.wild.test -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "exact-rsa"),
        ("-servername b.wild.test", "wild"),
        ("-servername other.test -tls1_2", "wild"),
        // One label only, and not the name itself.
        ("-servername c.b.wild.test", "first"),
        ("-servername wild.test", "first"),
        ("-servername nobody.test", "first"),
        ("-noservername", "first"),
    ] {
        assert_eq!(shown(&lab, at, words), certificate, "{words}");
    }
}

//= test TLS-RELOAD-01
//= test TLS-RELOAD-02
#[test]
fn a_changed_certificate_is_shown_to_new_clients_and_touches_no_connection() {
    let scene = secured("", "", "");
    let (lab, at) = (&scene.lab, scene.at);
    let serial = || {
        let said = s_client(lab, at, "-servername app.test");
        let (_, rest) = said.split_once("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{said}"));
        rest.split_once("-----END").expect("its end").0.to_owned()
    };
    let first = serial();
    // One connection that is used before it all and after.
    let driver = std::thread::scope(|scope| {
        let alive = scope.spawn(|| {
            scene.python(
                "import os\n\
                 t = talk()\n\
                 t.settimeout(20)\n\
                 def ask():\n\
                 \x20   t.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
                 \x20   got = b''\n\
                 \x20   while not got.endswith(b'ok\\n'):\n\
                 \x20       more = t.recv(4096)\n\
                 \x20       assert more, 'it ended'\n\
                 \x20       got += more\n\
                 ask()\n\
                 open('asked', 'w').close()\n\
                 until = time.monotonic() + 60\n\
                 while not os.path.exists('loaded') and time.monotonic() < until: time.sleep(0.01)\n\
                 ask()\n\
                 print('alive')\n",
            )
        });
        eventually("the client has used its connection", secs(20), || lab.folder().join("asked").exists());
        assert_eq!(scene.engine.reload()["data"]["outcome"], "unchanged", "nothing has changed");
        pki::certificate(lab.folder(), "app", "ca", EC, "DNS:app.test", 2);
        assert_eq!(scene.engine.reload()["data"]["outcome"], "loaded");
        let second = serial();
        assert_ne!(second, first, "a new client is shown the new one");
        // A key that is not the certificate's: refused, and nothing changes.
        pki::openssl(lab.folder(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out app.key");
        let refused = scene.engine.reload().to_string();
        assert!(refused.contains("it is not the key of the certificate in"), "{refused}");
        assert_eq!(serial(), second, "the one before goes on");
        std::fs::write(lab.folder().join("loaded"), "").expect("the folder");
        alive.join().expect("no panic")
    });
    assert_eq!(driver, "alive\n");
}

//= test TLS-RELOAD-01
#[test]
fn a_watched_configuration_follows_its_certificates() {
    let lab = Lab::new();
    crate::app(&lab);
    let server = lab.demo("a");
    let at = lab.address();
    let text = config::service_with("web", at, "certificates = [\"app\"]")
        + &config::pool("web", "", &[server.address])
        + &pki::section("app");
    let options = forebay_e2e::Options { engine: "watch_config = true".to_owned(), ..Default::default() };
    let engine = lab.engine_with(&text, options);
    let before = s_client(&lab, at, "");
    pki::certificate(lab.folder(), "app", "ca", RSA, "DNS:app.test", 2);
    eventually("the new one is shown", secs(20), || s_client(&lab, at, "").contains("RSA"));
    assert!(!before.contains("RSA"), "{before}");
    assert!(engine.metric("forebay_config_generation", &[]) >= 2.0);
}
