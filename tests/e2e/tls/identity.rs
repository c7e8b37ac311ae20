//! Clients that show certificates.

use std::net::SocketAddr;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::wait::secs;
use forebay_e2e::{Demo, Engine, Lab, Options, config, eventually};

use crate::{app, python, s_client};

/// Services before one demo server: `web` lets in nobody without a certificate, `maybe` whoever shows none, `open` asks
/// nobody, `clear` speaks no TLS.
struct Scene {
    engine: Engine,
    at: [SocketAddr; 4],
    server: Demo,
    lab: Lab,
}

/// Names of header fields that servers are told.
const HEADERS: &str = "headers = { subject = \"X-Client-Subject\", issuer = \"X-Client-Issuer\", serial = \"X-Client-Serial\", fingerprint = \"X-Client-Fingerprint\", not_before = \"X-Client-From\", not_after = \"X-Client-Until\", certificate = \"X-Client-Cert\" }";

/// Words of a Python program: `ask(name)` is what a client gets that shows a certificate: the echo of its request, or the
/// alert that it is sent.
const ASK: &str = "import json, os, urllib.parse\n\
versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]\n\
def ask(name, v=None, head='', port=None):\n\
\x20   c = context(minimum_version=v or versions[0], maximum_version=v or versions[1])\n\
\x20   if name: c.load_cert_chain(name + '.pem', name.split('-')[0] + '.key')\n\
\x20   a = at().getpeername()\n\
\x20   try:\n\
\x20       t = c.wrap_socket(socket.create_connection((a[0], port or a[1]), 20), server_hostname='app.test')\n\
\x20       t.sendall(f'GET /echo HTTP/1.1\\r\\nHost: x\\r\\n{head}Connection: close\\r\\n\\r\\n'.encode())\n\
\x20       return json.loads(rest(t).split(b'\\r\\n\\r\\n', 1)[1])['headers']\n\
\x20   except ssl.SSLError as e: return e.reason\n\
def told(headers): return {k.lower(): v for k, v in headers if 'client' in k.lower()} if isinstance(headers, list) else headers\n";

impl Scene {
    /// The services, the profile of those that ask having these keys.
    fn new(profile: &str) -> Self {
        let lab = Lab::new();
        let folder = lab.folder();
        app(&lab);
        for name in ["staff", "guests", "other"] {
            pki::authority(folder, name);
        }
        pki::below(folder, "mid", "staff");
        pki::below(folder, "low", "mid");
        let of = |name: &str, authority: &str, days| {
            pki::certificate(folder, name, authority, EC, &format!("DNS:{name}"), days);
        };
        of("anna", "staff", 2);
        of("bert", "mid", 2);
        of("cora", "low", 2);
        of("dora", "other", 2);
        of("emil", "staff", -1);
        of("fred", "staff", 2);
        of("hugo", "guests", 2);
        pki::authority(folder, "gina");
        pki::self_signed(folder, "ines");
        pki::signed(folder, "srv", "staff", EC, "extendedKeyUsage=serverAuth", 2);
        let join = |into: &str, parts: &[&str]| {
            let part =
                |name: &&str| std::fs::read_to_string(folder.join(format!("{name}.pem"))).expect("made");
            std::fs::write(folder.join(into), parts.iter().map(part).collect::<String>())
                .expect("the folder");
        };
        join("bert-chain.pem", &["bert", "mid"]);
        join("cora-chain.pem", &["cora", "low", "mid"]);
        join("trusted.pem", &["staff", "guests"]);
        pki::revoke(folder, "staff", &["fred"], 24);
        let server = lab.demo("a");
        let at = lab.addresses();
        let text = Self::document(&at, server.address, profile);
        let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
        Scene { engine, at, server, lab }
    }

    fn document(at: &[SocketAddr; 4], server: SocketAddr, profile: &str) -> String {
        let [web, maybe, open, clear] = at;
        let asks = |mode: &str| {
            format!(
                "certificates = [\"app\"]\nclient_certificate = {{ mode = \"{mode}\", pki_profile = \"all\", {HEADERS} }}"
            )
        };
        let service = |name: &str, at: &SocketAddr, keys: &str| {
            config::service_with(name, *at, keys).replace(&format!("pool = \"{name}\""), "pool = \"web\"")
        };
        service("web", web, &asks("require"))
            + &service("maybe", maybe, &asks("request"))
            + &service("open", open, "certificates = [\"app\"]")
            + &service("clear", clear, &format!("client_certificate = {{ {HEADERS} }}"))
            + &config::pool("web", "", &[server])
            + &pki::section("app")
            + &format!("[[pki_profile]]\nname = \"all\"\nca_file = \"trusted.pem\"\n{profile}\n")
            + "[[ticket_key]]\nname = \"shared\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n"
    }

    fn python(&self, script: &str) -> String {
        python(&self.lab, self.at[0], &format!("{ASK}{script}"))
    }

    fn refused(&self, service: &str, why: &str) -> f64 {
        let labels = [("virtual_service", service), ("why", why)];
        self.engine.metric("forebay_tls_handshake_failures_total", &labels)
    }
}

//= test TLS-CLIENT-01
//= test TLS-CLIENT-04
#[test]
fn who_shows_no_good_certificate_is_refused_with_the_reason_and_who_does_is_told_of() {
    let scene = Scene::new("crl_files = [\"staff.crl\"]\nwithout_crl = \"accept\"\ndepth_max = 1");
    let said = scene.python(
        "for v in versions:\n\
\x20   for name in ['anna', 'bert-chain', 'hugo']: print(told(ask(name, v))['x-client-subject'])\n\
\x20   for name in ['bert', 'cora-chain', 'dora', 'emil', 'fred', 'gina', 'ines', 'srv', None]: print(name, ask(name, v))\n",
    );
    let refused = |nobody: &str| {
        format!(
            "CN=anna\nCN=bert\nCN=hugo\nbert TLSV1_ALERT_UNKNOWN_CA\n\
             cora-chain SSLV3_ALERT_CERTIFICATE_UNKNOWN\ndora TLSV1_ALERT_UNKNOWN_CA\n\
             emil SSLV3_ALERT_CERTIFICATE_EXPIRED\nfred SSLV3_ALERT_CERTIFICATE_REVOKED\n\
             gina SSLV3_ALERT_CERTIFICATE_UNKNOWN\nines TLSV1_ALERT_UNKNOWN_CA\nsrv SSLV3_ALERT_UNSUPPORTED_CERTIFICATE\nNone {nobody}\n"
        )
    };
    let nobody = "TLSV13_ALERT_CERTIFICATE_REQUIRED";
    assert_eq!(said, refused(nobody) + &refused(nobody));
    for (why, count, text) in [
        ("no_certificate", 2, "it shows no certificate, and nobody is let in without"),
        ("certificate_untrusted", 6, "its certificate is of no authority that is trusted"),
        ("certificate_expired", 2, "its certificate has expired, or is not valid yet"),
        ("certificate_revoked", 2, "its certificate was revoked"),
        ("certificate_too_deep", 2, "too many authorities stand above its certificate"),
        ("certificate_unfit", 4, "its certificate cannot be read, or is not for clients"),
    ] {
        eventually(why, secs(10), || scene.refused("web", why) == f64::from(count));
        scene.engine.log_lines(count as usize, |line| line["connection_state"] == text);
    }
    let print = pki::openssl(scene.lab.folder(), "x509 -in anna.pem -noout -fingerprint -sha256");
    let print = print.trim().rsplit('=').next().expect("a digest").replace(':', "").to_lowercase();
    let line = &scene.engine.log_lines(2, |line| line["ssl_client_subject"] == "CN=anna")[0];
    assert_eq!(line["ssl_client_fingerprint"], print);
    // A foreign client that is no Python.
    let said = s_client(&scene.lab, scene.at[0], "-tls1_2 -cert anna.pem -key anna.key -brief");
    assert!(said.contains("Protocol version: TLSv1.2"), "{said}");
    let said = s_client(&scene.lab, scene.at[0], "-tls1_2 -cert dora.pem -key dora.key -brief");
    assert!(said.contains("alert unknown ca"), "{said}");
}

//= test TLS-CLIENT-02
//= test TLS-CLIENT-05
#[test]
fn servers_are_told_who_the_client_is_and_never_what_it_says_of_itself() {
    let scene = Scene::new("");
    let [_, maybe, open, clear] = scene.at.map(|at| at.port());
    // Names in any case and with `_` for `-`, and one that asks for the field to be taken off the request.
    let said = scene.python(&format!(
        "forged = ''.join(n + ': forged\\r\\n' for n in ['X-Client-Subject', 'x-client-subject', 'X_Client_Subject', 'X-CLIENT_CERT', 'X-Client-Serial', 'X-Client-From'])\n\
         hop = 'Connection: X-Client-Subject\\r\\n'\n\
         import subprocess\n\
         x = lambda *a: subprocess.run(['openssl', 'x509', '-in', 'anna.pem', '-noout', *a], capture_output=True, text=True).stdout.strip().split('=', 1)[1]\n\
         date = lambda a: time.strftime('%Y-%m-%dT%H:%M:%SZ', time.strptime(x(a), '%b %d %H:%M:%S %Y %Z'))\n\
         for v in versions:\n\
\x20   for port in [None, {maybe}]:\n\
\x20       got = ask('anna', v, forged + hop, port)\n\
\x20       who = told(got)\n\
\x20       print(len([k for k, _ in got if 'client' in k.lower()]), 'forged' in str(got))\n\
\x20       print(who['x-client-subject'], who['x-client-issuer'], who['x-client-serial'] == x('-serial').lower())\n\
\x20       print(urllib.parse.unquote(who['x-client-cert']) == open('anna.pem').read())\n\
\x20       print(who['x-client-from'] == date('-startdate'), who['x-client-until'] == date('-enddate'))\n\
\x20   print(told(ask(None, v, forged, {maybe})), ask('dora', v, forged, {maybe}))\n\
\x20   print(len(told(ask(None, v, forged, {open}))))\n\
         s = socket.create_connection((at().getpeername()[0], {clear}), 20)\n\
         s.sendall(f'GET /echo HTTP/1.1\\r\\nHost: x\\r\\n{{forged}}Connection: close\\r\\n\\r\\n'.encode())\n\
         print(b'forged' in rest(s))\n",
    ));
    let told = "7 False\nCN=anna CN=staff True\nTrue\nTrue True\n".repeat(2);
    // The service that names no such fields passes them on: nothing is removed that nobody named.
    let want = format!("{told}{{}} TLSV1_ALERT_UNKNOWN_CA\n5\n");
    assert_eq!(said, want.repeat(2) + "False\n");
    // Who shows nobody is let in, and stands in no record as somebody.
    let lines =
        scene.engine.log_lines(4, |line| line["virtualservice"] == "maybe" && line["response_code"] == 200);
    let named = lines.iter().filter(|line| line["ssl_client_subject"] == "CN=anna").count();
    assert_eq!(named, 2, "{lines:?}");
}

//= test TLS-CLIENT-03
//= test TLS-CLIENT-CHECK-02
#[test]
fn lists_of_revocations_are_read_again_and_missing_or_old_ones_are_as_the_profile_says() {
    let scene = Scene::new("crl_files = [\"staff.crl\"]");
    let folder = scene.lab.folder();
    let outcome = || {
        scene.python(
            "print(*(got if isinstance(got, str) else 'in' for got in map(ask, ['anna', 'fred', 'hugo'])))\n",
        )
    };
    assert_eq!(outcome(), "in SSLV3_ALERT_CERTIFICATE_REVOKED TLSV1_ALERT_UNKNOWN_CA\n");
    assert!(scene.refused("web", "certificate_unchecked") >= 1.0, "nobody says whether hugo was revoked");
    // A list of another authority in the same file, and a connection that stands while its client is revoked.
    let load = |profile: &str| {
        scene.engine.load(&Scene::document(&scene.at, scene.server.address, profile));
    };
    pki::revoke(folder, "guests", &[], 24);
    let lists =
        ["staff.crl", "guests.crl"].map(|file| std::fs::read_to_string(folder.join(file)).expect("made"));
    std::fs::write(folder.join("both.crl"), lists.concat()).expect("the folder");
    load("crl_files = [\"both.crl\"]");
    // Each authority's list, and when it should be renewed.
    //= test TLS-CLIENT-07
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    for issuer in ["CN=staff", "CN=guests"] {
        let labels = [("virtual_service", "web"), ("pki_profile", "all"), ("issuer", issuer)];
        let left = scene.engine.metric("forebay_tls_crl_next_update_seconds", &labels) - now.as_secs_f64();
        assert!((23.9 * 3600.0..=24.1 * 3600.0).contains(&left), "{issuer}: {left} s");
    }
    assert_eq!(outcome(), "in SSLV3_ALERT_CERTIFICATE_REVOKED in\n");
    let stood = std::thread::scope(|scope| {
        let standing = scope.spawn(|| {
            scene.python(
                "c = context(); c.load_cert_chain('anna.pem', 'anna.key')\n\
                 t = c.wrap_socket(at(), server_hostname='app.test')\n\
                 def go():\n\
\x20   t.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
\x20   got = b''\n\
\x20   while not got.endswith(b'ok\\n'):\n\
\x20       more = t.recv(4096)\n\
\x20       assert more, 'the connection was closed'\n\
\x20       got += more\n\
                 go(); open('stands', 'w').close()\n\
                 while not os.path.exists('revoked'): time.sleep(0.01)\n\
                 go(); print(told(ask('anna')))\n",
            )
        });
        eventually("a client stands", secs(20), || folder.join("stands").exists());
        pki::revoke(folder, "staff", &["anna"], 24);
        load("crl_files = [\"staff.crl\", \"guests.crl\"]");
        std::fs::write(folder.join("revoked"), "").expect("the folder");
        standing.join().expect("no panic")
    });
    assert_eq!(stood, "SSLV3_ALERT_CERTIFICATE_REVOKED\n", "of new connections; the one that stood goes on");
    // A list in DER form that should have been renewed by now.
    pki::revoke(folder, "guests", &[], -1);
    pki::openssl(folder, "crl -in guests.crl -outform DER -out guests.der");
    load("crl_files = [\"staff.crl\", \"guests.der\"]");
    assert_eq!(
        outcome(),
        "SSLV3_ALERT_CERTIFICATE_REVOKED SSLV3_ALERT_CERTIFICATE_REVOKED TLSV1_ALERT_UNKNOWN_CA\n"
    );
    load("crl_files = [\"staff.crl\", \"guests.der\"]\nexpired_crl = \"accept\"");
    assert_eq!(outcome(), "SSLV3_ALERT_CERTIFICATE_REVOKED SSLV3_ALERT_CERTIFICATE_REVOKED in\n");
    // An authority in the middle is revoked: that counts where the profile says so.
    pki::revoke(folder, "staff", &["mid"], 24);
    pki::revoke(folder, "mid", &[], 24);
    let middle = || scene.python("got = ask('bert-chain'); print(got if isinstance(got, str) else 'in')\n");
    load("crl_files = [\"staff.crl\", \"mid.crl\"]");
    assert_eq!(middle(), "in\n");
    load("crl_files = [\"staff.crl\", \"mid.crl\"]\nvalidate_only_leaf_crl = false");
    assert_eq!(middle(), "SSLV3_ALERT_CERTIFICATE_REVOKED\n");
    // A list that is gone is a problem of the whole configuration, and what was read before goes on.
    std::fs::remove_file(folder.join("mid.crl")).expect("the folder");
    let refused = scene.engine.reload();
    assert!(refused.to_string().contains("mid.crl: there is no such file"), "{refused}");
    assert_eq!(middle(), "SSLV3_ALERT_CERTIFICATE_REVOKED\n");
}

//= test TLS-CLIENT-06
#[test]
fn a_session_of_who_was_not_asked_is_none_where_clients_are_asked() {
    let scene = Scene::new("");
    let open = scene.at[2].port();
    let said = scene.python(&format!(
        "def go(port, name, session, v):\n\
\x20   c = made[v]\n\
\x20   a = at().getpeername()\n\
\x20   t = c.wrap_socket(socket.create_connection((a[0], port or a[1]), 20), server_hostname='app.test', session=session)\n\
\x20   t.sendall(b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
\x20   got = b''\n\
\x20   while not got.endswith(b'ok\\n'):\n\
\x20       more = t.recv(4096)\n\
\x20       if not more: break\n\
\x20       got += more\n\
\x20   return t.session, t.session_reused\n\
         for named in [None, 'anna']:\n\
\x20   made = {{v: context(minimum_version=v, maximum_version=v) for v in versions}}\n\
\x20   if named: [c.load_cert_chain('anna.pem', 'anna.key') for c in made.values()]\n\
\x20   for v in versions:\n\
\x20       session, _ = go({open}, named, None, v)\n\
\x20       print(session.has_ticket, go({open}, named, session, v)[1])\n\
\x20       try: mine, reused = go(None, named, session, v); print(reused, mine.has_ticket, go(None, named, mine, v)[1])\n\
\x20       except ssl.SSLError as e: print(e.reason)\n",
    ));
    let refused = "True True\nTLSV13_ALERT_CERTIFICATE_REQUIRED\n".repeat(2);
    assert_eq!(said, refused + &"True True\nFalse False False\n".repeat(2));
}
