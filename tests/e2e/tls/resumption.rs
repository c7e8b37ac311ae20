//! Clients that go on with the secrets of an earlier connection.

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Engine, Lab, Options, config};

use crate::{app, python, secured};

/// Words of a Python program: `again(s)` asks once over a connection that goes on with that of `s`, or begins anew, and
/// gives whether it was resumed, and what the next may go on with.
const AGAIN: &str = "def go(c, session=None, port=None):\n\
\x20   a = at().getpeername()\n\
\x20   s = socket.create_connection((a[0], port or a[1]), 20)\n\
\x20   t = c.wrap_socket(s, server_hostname='app.test', session=session)\n\
\x20   t.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
\x20   got = b''\n\
\x20   while not got.endswith(b'ok\\n'): got += t.recv(4096)\n\
\x20   return t, t.session_reused\n\
versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]\n";

//= test TLS-TICKET-01
//= test TLS-TICKET-04
#[test]
fn both_versions_resume_again_and_again_side_by_side_and_after_a_reload() {
    let scene = secured("", "", "");
    let kept = "for v in versions:\n\
\x20   c = context(minimum_version=v, maximum_version=v)\n\
\x20   t, first = go(c)\n\
\x20   u, second = go(c, t.session)\n\
\x20   w, third = go(c, u.session)\n\
\x20   x, one = go(c, w.session)\n\
\x20   y, other = go(c, w.session)\n\
\x20   print(first, second, third, one, other)\n";
    let said = scene.python(&format!("{AGAIN}{kept}"));
    assert_eq!(said, "False True True True True\n".repeat(2));
    for version in ["1.2", "1.3"] {
        let labels = [("virtual_service", "web"), ("version", version), ("kind", "resumed")];
        assert_eq!(scene.engine.metric("forebay_tls_handshakes_total", &labels), 4.0);
    }
    // A new certificate is no reason to begin anew.
    let over_reload = "for v in versions:\n\
\x20   c = context(minimum_version=v, maximum_version=v)\n\
\x20   t, _ = go(c)\n\
\x20   held.append((c, t))\n";
    let said = std::thread::scope(|scope| {
        let (folder, engine) = (scene.lab.folder().to_owned(), &scene.engine);
        let asked = scope.spawn(|| {
            scene.python(&format!(
                "{AGAIN}import os\nheld = []\n{over_reload}open('asked', 'w').close()\n\
                 while not os.path.exists('loaded'): time.sleep(0.01)\n\
                 print([go(c, t.session)[1] for c, t in held])\n"
            ))
        });
        forebay_e2e::eventually("both have connected", forebay_e2e::wait::secs(20), || {
            folder.join("asked").exists()
        });
        pki::certificate(&folder, "app", "ca", EC, "DNS:app.test", 2);
        assert_eq!(engine.reload()["data"]["outcome"], "loaded");
        std::fs::write(folder.join("loaded"), "").expect("the folder");
        asked.join().expect("no panic")
    });
    assert_eq!(said, "[True, True]\n");
}

pub fn key(name: &str, letter: &str) -> String {
    // Thirty-two different bytes, the first of which tells keys apart.
    let rest = "ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    format!("[[ticket_key]]\nname = \"{name}\"\nkey = \"{letter}A{rest}\"\n")
}

//= test TLS-TICKET-01
//= test TLS-TICKET-03
#[test]
fn engines_that_share_keys_resume_each_others_sessions_and_services_do_not() {
    let lab = Lab::new();
    app(&lab);
    let server = lab.demo("a");
    let [web, other, elsewhere] = lab.addresses();
    let document = |at: &[(&str, std::net::SocketAddr)], keys: &str| {
        let services = at.iter().map(|(name, at)| {
            config::service_with(name, *at, "certificates = [\"app\"]")
                .replace(&format!("pool = \"{name}\""), "pool = \"web\"")
        });
        services.collect::<String>()
            + &config::pool("web", "", &[server.address])
            + &pki::section("app")
            + keys
    };
    let start =
        |text: &str| -> Engine { lab.engine_with(text, Options { workers: 1, ..Options::default() }) };
    let old = key("old", "A");
    let here = start(&document(&[("web", web), ("other", other)], &old));
    let _there = start(&document(&[("web", elsewhere)], &old));
    let (other, elsewhere) = (other.port(), elsewhere.port());
    let said = python(
        &lab,
        web,
        &format!(
            "{AGAIN}for v in versions:\n\
\x20   c = context(minimum_version=v, maximum_version=v)\n\
\x20   t, _ = go(c)\n\
\x20   print(go(c, t.session)[1], go(c, t.session, {elsewhere})[1], go(c, t.session, {other})[1])\n"
        ),
    );
    assert_eq!(said, "True True False\n".repeat(2), "another service's ticket is a whole handshake");
    // A new key in front, then without the old one.
    let with_new = format!("{}{old}", key("new", "B"));
    let rotated = std::thread::scope(|scope| {
        let folder = lab.folder();
        let rotating = scope.spawn(|| {
            python(
                &lab,
                web,
                &format!(
                    "{AGAIN}import os\nheld = []\n\
                     def wait(name):\n\x20   while not os.path.exists(name): time.sleep(0.01)\n\
                     for v in versions:\n\
\x20   c = context(minimum_version=v, maximum_version=v)\n\
\x20   held.append((c, go(c)[0]))\n\
                     open('one', 'w').close(); wait('two')\n\
                     print([go(c, t.session)[1] for c, t in held])\n\
                     open('three', 'w').close(); wait('four')\n\
                     print([go(c, t.session)[1] for c, t in held])\n"
                ),
            )
        });
        let wait = |name: &str| {
            forebay_e2e::eventually("the client has come so far", forebay_e2e::wait::secs(20), || {
                folder.join(name).exists()
            });
        };
        let services = [("web", web)];
        wait("one");
        here.load(&document(&services, &with_new));
        std::fs::write(folder.join("two"), "").expect("the folder");
        wait("three");
        here.load(&document(&services, &key("new", "B")));
        std::fs::write(folder.join("four"), "").expect("the folder");
        rotating.join().expect("no panic")
    });
    assert_eq!(rotated, "[True, True]\n[False, False]\n");
}
