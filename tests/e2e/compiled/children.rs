//! Children that are served otherwise than their parent, and clients who come by several ports of one service.

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Request, bin};
use serde_json::{Value, json};
use std::process::Command;

use crate::stage::{Play, Set, Stage, at, with};

/// The looks are those of [`LOOKS`]: the fields that they are about are seen elsewhere as well.
pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: &[] };

/// A field, and a look that is not satisfied without it.
pub type Look = (&'static str, fn(&Stage));

/// What is looked at.
pub const LOOKS: &[Look] = &[
    ("virtualservice application_profile_ref", by_application),
    ("virtualservice ssl_profile_ref", by_tls),
    ("pool server_timeout", by_pool),
    ("applicationpersistenceprofile persistence_type", comes_back),
];

fn make(set: &mut Set) {
    let folder = set.lab.folder();
    pki::authority(folder, "ca");
    pki::certificate(folder, "app.test", "ca", EC, "DNS:app.test,DNS:own.test,DNS:else.test", 2);
    set.certificate("app.test", json!({}));
    set.pool("one", &["one"], json!({}));
    set.pool("two", &["two"], json!({}));
    set.pool("slow", &["two"], json!({"server_timeout": 300}));
    hosting(set);
    for (name, kind, own) in [
        (
            "cookie",
            "HTTP_COOKIE",
            json!({"http_cookie_persistence_profile": {"cookie_name": "stays",
                "key": [{"name": "k", "aes_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}}),
        ),
        ("address", "CLIENT_IP_ADDRESS", json!({})),
    ] {
        let profile = with(json!({"persistence_type": format!("PERSISTENCE_TYPE_{kind}")}), own);
        set.put("applicationpersistenceprofile", name, profile);
        let kept = at("applicationpersistenceprofile", name);
        let turns =
            json!({"lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "application_persistence_profile_ref": kept});
        set.pool(name, &["one", "two"], turns);
        let ports = both(set, name);
        set.service(name, ports);
    }
}

/// A port without TLS, and one with: doors of this name, and with `-tls` behind it.
fn both(set: &mut Set, name: &str) -> Value {
    let (plain, secured) = (set.door(name), set.door(&format!("{name}-tls")));
    json!({"services": [{"port": plain}, {"port": secured, "enable_ssl": true}],
        "ssl_key_and_certificate_refs": [at("sslkeyandcertificate", "app.test")]})
}

/// A parent, and children of which one has profiles of its own and one a pool that does not wait for long.
fn hosting(set: &mut Set) {
    let own = json!({"x_forwarded_proto_enabled": true, "client_max_body_size": 1, "http_to_https": true,
        "hsts_enabled": true, "hsts_max_age": 3, "hsts_subdomains_enabled": false});
    set.put(
        "applicationprofile",
        "own",
        json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": own}),
    );
    let newest = json!([{"type": "SSL_VERSION_TLS1_3"}]);
    set.put("sslprofile", "newest", json!({"accepted_versions": newest}));
    let ports = both(set, "hosting");
    let kind =
        json!({"type": "VS_TYPE_VH_PARENT", "vh_type": "VS_TYPE_VH_ENHANCED", "pool_ref": at("pool", "one")});
    set.service("hosting", with(ports, kind));
    for (name, more) in [
        (
            "own",
            json!({"pool_ref": at("pool", "two"), "application_profile_ref": at("applicationprofile", "own"),
            "ssl_profile_ref": at("sslprofile", "newest")}),
        ),
        ("else", json!({"pool_ref": at("pool", "two")})),
        ("slow", json!({"pool_ref": at("pool", "slow")})),
    ] {
        let child = json!({"type": "VS_TYPE_VH_CHILD", "vh_type": "VS_TYPE_VH_ENHANCED",
            "vh_parent_vs_ref": at("virtualservice", "hosting"), "vh_domain_name": [format!("{name}.test")]});
        set.put("virtualservice", name, with(child, more));
    }
}

/// What is answered to a request for a host by a connection that asked for a name.
fn asked(s: &Stage, name: &str, host: &str, head: &str) -> String {
    let text = format!("{head} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    s.typed("hosting-tls", &format!("-servername {name} -quiet -ign_eof"), &text).1.to_ascii_lowercase()
}

//= test COMPILE-CHILD-03
//= test SE-HOST-01
fn by_application(s: &Stage) {
    for (host, status) in [("own.test", 308), ("OWN.test.", 308), ("else.test", 200), ("app.test", 200)] {
        let answer = s.send("hosting", &Request::get("/a").field(format!("Host: {host}")));
        assert_eq!(answer.status, status, "{host}");
    }
    let own = asked(s, "own.test", "own.test", "GET /");
    assert!(own.contains("strict-transport-security: max-age=259200\r\n"), "{own}");
    assert!(own.contains("x-server: two") && own.contains("x-forwarded-proto: https"), "{own}");
    let other = asked(s, "else.test", "else.test", "GET /");
    assert!(other.contains("x-server: two"), "{other}");
    assert!(!other.contains("strict-transport") && !other.contains("x-forwarded-proto"), "{other}");
    let long = asked(s, "own.test", "own.test", "POST / HTTP/1.1\r\nContent-Length: 1025\r\nX-Rest: POST /");
    assert!(long.contains("http/1.1 413 "), "{long}");
}

//= test COMPILE-CHILD-03
//= test TLS-HOST-01
//= test TLS-HOST-02
fn by_tls(s: &Stage) {
    for (name, words, is_spoken) in [
        ("own.test", "-tls1_2", false),
        ("OWN.TEST", "-tls1_2", false),
        ("own.test", "-tls1_3", true),
        ("else.test", "-tls1_2", true),
        ("nobody.test", "-tls1_2", true),
    ] {
        let (is_made, said) = s.handshake("hosting-tls", &format!("-servername {name} {words}"));
        assert_eq!(is_made, is_spoken, "{name} {words}: {said}");
    }
    // What comes for it by another name's connection would be past its profile.
    for (name, host) in [("else.test", "own.test"), ("nobody.test", "own.test"), ("own.test", "else.test")] {
        let answer = asked(s, name, host, "GET /");
        assert!(answer.contains("http/1.1 421 ") && !answer.contains("x-server"), "{name} {host}: {answer}");
    }
    // What is no TLS is told so by the handshake, as elsewhere.
    let answer = s.client("hosting-tls").get_once("/");
    assert!(answer.is_err(), "{answer:?}");
}

//= test COMPILE-CHILD-03
fn by_pool(s: &Stage) {
    let status = |host: &str| {
        let request = Request::get("/wait/1500").field(format!("Host: {host}"));
        s.send("hosting", &request).status
    };
    assert_eq!((status("slow.test"), status("else.test")), (504, 200));
}

//= test COMPILE-PERSIST-01
//= test PERS-NAME-01
fn comes_back(s: &Stage) {
    let first = s.get("cookie", "/");
    let server = first.field("x-server").expect("a server").to_owned();
    let cookie = format!("stays={}", first.cookie("stays").expect("it is given one"));
    for _ in 0..4 {
        let (_, text) = s.curl("cookie-tls", "/", &["--cookie", &cookie]);
        assert!(text.to_ascii_lowercase().contains(&format!("x-server: {server}\r\n")), "{server}: {text}");
    }
    // In another order, so that turns that begin anew would lead elsewhere.
    let clients = [1, 2, 3, 4, 5];
    let who = |n: &u32| s.from("address", *n).expect("an answer").field("x-server").map(str::to_owned);
    let servers: Vec<_> = clients.iter().map(who).collect();
    for place in [1, 2, 3, 4, 0] {
        let from = s.lab.client_ip(clients[place]).to_string();
        let url = format!("https://{}/", s.at("address-tls"));
        let mut command = Command::new(bin::foreign("curl", "curl"));
        let told = command.args(["--silent", "--include", "--insecure", "--interface", &from, &url]).output();
        let text = String::from_utf8_lossy(&told.expect("curl starts").stdout).to_ascii_lowercase();
        let server = servers[place].as_deref().unwrap_or_default();
        assert!(text.contains(&format!("x-server: {server}\r\n")), "{server}: {text}");
    }
}
