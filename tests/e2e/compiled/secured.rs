//! TLS with clients: what is spoken, what is shown, and who is let in by a certificate.

use forebay_e2e::pki::{self, EC};
use serde_json::{Value, json};

use crate::stage::{Play, Row, Set, Stage, at, with};

pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: ROWS };

/// What servers are told of the client.
const WHO: &str = "x-who: cn=";

fn make(set: &mut Set) {
    set.pool("one", &["one"], json!({}));
    let folder = set.lab.folder();
    pki::authority(folder, "ca");
    pki::below(folder, "mid", "ca");
    pki::certificate(folder, "app.test", "mid", EC, "DNS:app.test", 2);
    for name in ["staff", "others"] {
        pki::authority(folder, name);
    }
    pki::below(folder, "low", "staff");
    for (name, authority) in [("anna", "staff"), ("fred", "staff"), ("bert", "low"), ("olga", "others")] {
        pki::certificate(folder, name, authority, EC, &format!("DNS:{name}"), 2);
    }
    pki::below(folder, "out", "staff");
    pki::certificate(folder, "carl", "out", EC, "DNS:carl", 2);
    for (name, authority) in [("bert", "low"), ("carl", "out")] {
        let both = set.file(&format!("{name}.pem")) + &set.file(&format!("{authority}.pem"));
        std::fs::write(set.lab.folder().join(format!("{name}-chain.pem")), both).expect("the lab's folder");
    }
    let folder = set.lab.folder();
    pki::revoke(folder, "staff", &["fred", "out"], 24);
    for authority in ["low", "out"] {
        pki::revoke(folder, authority, &[], 24);
    }
    pki::revoke(folder, "others", &[], -1);
    set.put(
        "sslkeyandcertificate",
        "mid",
        json!({"certificate": {"certificate": set.file("mid.pem")},
        "type": "SSL_CERTIFICATE_TYPE_CA"}),
    );
    set.certificate("app.test", json!({"ca_certs": [{"ca_ref": at("sslkeyandcertificate", "mid")}]}));
    let folded = |name: &str| pki::openssl(set.lab.folder(), &format!("base64 -A -in {name}"));
    let pair = json!({"certificate": {"certificate": folded("app.test.pem")}, "certificate_base64": true,
        "key": folded("app.test.key"), "key_base64": true});
    set.put("sslkeyandcertificate", "folded", pair);
    let one = json!({"pool_ref": at("pool", "one")});
    set.secured("folded", &["folded"], one.clone());
    let hsts = json!({"hsts_enabled": true, "hsts_max_age": 3, "hsts_subdomains_enabled": false});
    application(set, "hsts", &hsts);
    let profile = json!({"application_profile_ref": at("applicationprofile", "hsts")});
    set.secured("hsts", &["app.test"], with(one.clone(), profile));
    followed(set);
    spoken(set, &one);
    known(set, &one);
}

/// A server without TLS, of a pool that has some where clients have.
fn followed(set: &mut Set) {
    let more = json!({"use_service_ssl_mode": true, "ssl_profile_ref": at("sslprofile", "newer")});
    set.pool("mode", &["one"], more);
    let (plain, secured) = (set.door("mode"), set.door("mode-tls"));
    set.service(
        "mode",
        json!({"services": [{"port": plain}, {"port": secured, "enable_ssl": true}],
            "ssl_key_and_certificate_refs": [at("sslkeyandcertificate", "app.test")]}),
    );
}

fn application(set: &mut Set, name: &str, http: &Value) {
    set.put(
        "applicationprofile",
        name,
        json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": http}),
    );
}

/// Versions, cipher suites, groups and sessions.
fn spoken(set: &mut Set, one: &Value) {
    let versions = |which: &[&str]| -> Value {
        which.iter().map(|version| json!({"type": format!("SSL_VERSION_TLS1_{version}")})).collect()
    };
    for (name, profile) in [
        (
            "older",
            json!({"accepted_versions": versions(&["2"]), "accepted_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}),
        ),
        ("newer", json!({"accepted_versions": versions(&["3"]), "ciphersuites": "TLS_AES_128_GCM_SHA256"})),
        (
            "listed",
            json!({"accepted_versions": versions(&["2"]),
            "cipher_enums": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}),
        ),
        ("curve", json!({"accepted_versions": versions(&["3"]), "ec_named_curve": "P-384"})),
        ("early", json!({"accepted_versions": versions(&["2", "3"]), "enable_early_data": true})),
        ("forgets", json!({"accepted_versions": versions(&["2"]), "enable_ssl_session_reuse": false})),
        ("short", json!({"accepted_versions": versions(&["2"]), "ssl_session_timeout": 600})),
    ] {
        set.put("sslprofile", name, profile);
        let profile = json!({"ssl_profile_ref": at("sslprofile", name)});
        set.secured(name, &["app.test"], with(one.clone(), profile));
    }
}

/// Services that ask clients for certificates.
fn known(set: &mut Set, one: &Value) {
    let staff = set.file("staff.pem");
    let lists: Vec<Value> = ["staff", "low", "out"]
        .iter()
        .map(|name| json!({"body": set.file(&format!("{name}.crl"))}))
        .collect();
    let authority = |text: &str| json!([{"certificate": text}]);
    let old = json!([{"body": set.file("others.crl")}]);
    for (name, profile) in [
        ("staff", json!({"ca_certs": authority(&staff), "crls": lists})),
        ("unlisted", json!({"ca_certs": authority(&staff), "crls": lists, "crl_check": false})),
        ("whole", json!({"ca_certs": authority(&staff), "crls": lists, "validate_only_leaf_crl": false})),
        (
            "old",
            json!({"ca_certs": authority(&set.file("others.pem")), "crls": old, "allow_pki_errors": ["ALLOW_EXPIRED_CRL"]}),
        ),
    ] {
        set.put("pkiprofile", name, profile);
        let header = json!([{"request_header": "X-Who", "request_header_value": "HTTP_POLICY_VAR_SSL_CLIENT_SUBJECT"}]);
        application(
            set,
            name,
            &json!({"ssl_client_certificate_mode": "SSL_CLIENT_CERTIFICATE_REQUIRE",
            "pki_profile_ref": at("pkiprofile", name), "ssl_client_certificate_action": {"headers": header}}),
        );
        let profile = json!({"application_profile_ref": at("applicationprofile", name)});
        set.secured(name, &["app.test"], with(one.clone(), profile));
    }
    set.put("applicationprofile", "bytes", json!({"type": "APPLICATION_PROFILE_TYPE_SSL", "tcp_app_profile": {
        "ssl_client_certificate_mode": "SSL_CLIENT_CERTIFICATE_REQUIRE", "pki_profile_ref": at("pkiprofile", "staff")}}));
    let profile = json!({"application_profile_ref": at("applicationprofile", "bytes")});
    set.secured("bytes", &["app.test"], with(one.clone(), profile));
}

fn hsts(s: &Stage) {
    let (_, text) = s.curl("hsts", "/", &[]);
    let said = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("strict-transport-security").then(|| value.trim().to_owned())
    });
    assert_eq!(said.as_deref(), Some("max-age=259200"), "{text}");
}

/// What a handshake says, and what it may not.
fn says(s: &Stage, door: &str, words: &str, text: &str) {
    let (_, said) = s.handshake(door, words);
    assert!(said.contains(text), "{door} {words}: no {text:?} in {said}");
}

/// What the server was told of who shows this certificate; `None`: nobody was let in.
fn shown(s: &Stage, door: &str, name: &str) -> Option<String> {
    let (certificate, key) = (format!("{name}.pem"), format!("{}.key", name.trim_end_matches("-chain")));
    let words = ["--cert", &certificate, "--key", &key];
    let (is_heard, text) = s.curl(door, "/", if name.is_empty() { &[] } else { &words });
    is_heard.then(|| text.to_ascii_lowercase())
}

fn is_let_in(s: &Stage, door: &str, name: &str) -> bool {
    shown(s, door, name).is_some()
}

fn asked(s: &Stage, door: &str) {
    assert!(is_let_in(s, door, "anna"), "anna is of the staff");
    assert!(!is_let_in(s, door, "olga") && !is_let_in(s, door, ""), "and others are not");
}

fn told(s: &Stage) {
    let text = shown(s, "staff", "anna").expect("anna is of the staff");
    assert!(text.contains(&format!("{WHO}anna")), "{text}");
}

const ROWS: &[Row] = &[
    (&["pool use_service_ssl_mode"], |s| {
        assert_eq!(s.who("mode"), "one");
        // The server speaks no TLS, and is asked for it.
        let (_, text) = s.curl("mode-tls", "/", &[]);
        assert!(text.contains("HTTP/") && !text.to_ascii_lowercase().contains("x-server: one"), "{text}");
    }),
    (
        &[
            "applicationprofile http_profile.hsts_enabled",
            "applicationprofile http_profile.hsts_max_age",
            "applicationprofile http_profile.hsts_subdomains_enabled",
        ],
        hsts,
    ),
    (&["sslprofile accepted_ciphers"], |s| {
        says(s, "older", "-tls1_2", "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256")
    }),
    (&["sslprofile ciphersuites"], |s| says(s, "newer", "-tls1_3", "Cipher is TLS_AES_128_GCM_SHA256")),
    (&["sslprofile cipher_enums[]"], |s| {
        says(s, "listed", "-tls1_2", "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256")
    }),
    (&["sslprofile ec_named_curve"], |s| {
        assert!(s.handshake("curve", "-groups P-384").0 && !s.handshake("curve", "-groups P-256").0);
    }),
    (&["sslprofile enable_early_data"], early),
    (&["sslprofile enable_ssl_session_reuse"], |s| {
        let (is_made, said) = s.handshake("forgets", "-tls1_2");
        assert!(is_made && !said.contains("TLS session ticket"), "{said}");
    }),
    (&["sslprofile ssl_session_timeout"], |s| says(s, "short", "-tls1_2", "lifetime hint: 600 (seconds)")),
    (&["sslkeyandcertificate certificate_base64", "sslkeyandcertificate key_base64"], |s| {
        let (_, said) = s.handshake("folded", "");
        assert!(said.contains("CN = app.test") || said.contains("CN=app.test"), "{said}");
    }),
    (&["sslkeyandcertificate ca_certs[].ca_ref"], |s| {
        let (is_believed, said) = s.curl("short", "/", &["--cacert", "ca.pem"]);
        assert!(is_believed, "{said}");
    }),
    (
        &[
            "applicationprofile http_profile.ssl_client_certificate_mode",
            "applicationprofile http_profile.pki_profile_ref",
            "pkiprofile ca_certs[].certificate",
        ],
        |s| asked(s, "staff"),
    ),
    (
        &[
            "applicationprofile http_profile.ssl_client_certificate_action.headers[].request_header",
            "applicationprofile http_profile.ssl_client_certificate_action.headers[].request_header_value",
        ],
        told,
    ),
    (
        &[
            "applicationprofile tcp_app_profile.ssl_client_certificate_mode",
            "applicationprofile tcp_app_profile.pki_profile_ref",
        ],
        |s| asked(s, "bytes"),
    ),
    (&["pkiprofile crls[].body"], |s| {
        assert!(is_let_in(s, "staff", "anna") && !is_let_in(s, "staff", "fred"))
    }),
    (&["pkiprofile crl_check"], |s| assert!(is_let_in(s, "unlisted", "fred"))),
    (&["pkiprofile validate_only_leaf_crl"], |s| {
        assert!(is_let_in(s, "whole", "bert-chain") && !is_let_in(s, "whole", "carl-chain"));
        assert!(is_let_in(s, "staff", "carl-chain"), "where only the client's own certificate counts");
    }),
    (&["pkiprofile allow_pki_errors[]"], |s| assert!(is_let_in(s, "old", "olga"))),
];

/// A session that is good for early data says so.
fn early(s: &Stage) {
    s.typed(
        "early",
        "-tls1_3 -ign_eof -sess_out early.session",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let said = pki::openssl(s.lab.folder(), "sess_id -in early.session -noout -text");
    assert!(said.contains("Max Early Data") && !said.contains("Max Early Data: 0"), "{said}");
}
