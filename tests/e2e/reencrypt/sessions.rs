//! Sessions with servers that go on, and what ends them.

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Lab, eventually, wait::secs};

use crate::{alone, app, ask, before, failures, handshakes, nginx};

/// No connection is kept, so each request makes a handshake.
const FRESH: &str = "connection_pool = { idle_connections_max = 0 }";
const JUDGED: &str = "ca_file = \"ca.pem\", server_name = \"app.test\"";

//= test TLS-SERVER-SESSION-01
#[test]
fn a_session_goes_on_in_both_versions_and_not_where_the_profile_says_no() {
    let lab = Lab::new();
    app(&lab);
    let [old, new, web12, web13, without] = lab.addresses();
    let _nginx = nginx(&lab, &[(old, "ssl_protocols TLSv1.2;"), (new, "ssl_protocols TLSv1.3;")]);
    let text = before("web12", web12, &[old], JUDGED, FRESH)
        + &before("web13", web13, &[new], JUDGED, FRESH)
        + &before("without", without, &[old, new], &format!("{JUDGED}, tls_profile = \"no\""), FRESH)
        + "[[tls_profile]]\nname = \"no\"\nsession_lifetime_s = 0\n";
    let engine = lab.engine_with(&text, alone());
    for (name, at) in [("web12", web12), ("web13", web13)] {
        let said: Vec<String> = (0..6).map(|_| ask(at, "x").1).collect();
        assert!(said[0].contains("<.>"), "{said:?}");
        assert!(said[1..].iter().all(|body| body.contains("<r>")), "the server saw each go on: {said:?}");
        assert_eq!((handshakes(&engine, name, "full"), handshakes(&engine, name, "resumed")), (1.0, 5.0));
    }
    assert!((0..4).all(|_| ask(without, "x").1.contains("<.>")));
    assert_eq!(handshakes(&engine, "without", "resumed"), 0.0);
}

//= test TLS-SERVER-RELOAD-01
//= test TLS-SERVER-SESSION-01
//= test TLS-SERVER-REUSE-01
#[test]
fn changed_authorities_count_for_new_connections_and_end_what_was_kept() {
    let lab = Lab::new();
    app(&lab);
    pki::authority(lab.folder(), "stranger");
    let [server, at, fresh] = lab.addresses();
    let _nginx = nginx(&lab, &[(server, "")]);
    let text = before("web", at, &[server], JUDGED, "passive_health_monitor = false")
        + &before("fresh", fresh, &[server], JUDGED, &format!("{FRESH}\npassive_health_monitor = false"));
    let engine = lab.engine_with(&text, alone());
    assert_eq!((ask(at, "x").0, ask(fresh, "x").0), (200, 200));
    let connection = ask(at, "x").1;
    // A change of anything else keeps connections and sessions.
    let more = format!("{text}{}", before("more", lab.address(), &[server], JUDGED, ""));
    engine.load(&more);
    assert_eq!(ask(at, "x").1, connection, "the connection is used on");
    assert!(ask(fresh, "x").1.contains("<r>"), "the session goes on");
    // Another authority: what the old one vouched for is believed no more, kept or not.
    let ca = std::fs::read(lab.folder().join("ca.pem")).expect("it is there");
    std::fs::copy(lab.folder().join("stranger.pem"), lab.folder().join("ca.pem")).expect("the lab's folder");
    let answer = engine.reload();
    assert_eq!(answer["data"]["outcome"], "loaded", "{answer}");
    assert_eq!((ask(at, "x").0, ask(fresh, "x").0), (502, 502));
    assert!(failures(&engine, "web", "unknown_authority") >= 1.0);
    // A file that is no good is refused, and what was read goes on.
    std::fs::write(lab.folder().join("ca.pem"), "nothing").expect("the lab's folder");
    let answer = engine.reload();
    assert!(answer.to_string().contains("holds no certificate"), "{answer}");
    assert_eq!(ask(at, "x").0, 502);
    std::fs::write(lab.folder().join("ca.pem"), ca).expect("the lab's folder");
    engine.reload();
    assert_eq!((ask(at, "x").0, ask(fresh, "x").0), (200, 200));
    assert!(ask(at, "x").1 != connection);
}

//= test TLS-SERVER-01
#[test]
fn a_new_process_reaches_the_same_servers() {
    let lab = Lab::new();
    app(&lab);
    pki::certificate(lab.folder(), "engine", "ca", EC, "DNS:engine.test", 2);
    let [server, at] = lab.addresses();
    let _nginx = nginx(&lab, &[(server, "ssl_verify_client on; ssl_client_certificate ca.pem;")]);
    let text = before("web", at, &[server], &format!("{JUDGED}, certificate = \"engine\""), "")
        + &pki::section("engine");
    let mut engine = lab.engine_with(&text, alone());
    assert_eq!(ask(at, "x").0, 200);
    let mut old = engine.upgrade(&alone());
    eventually("the old process has ended", secs(20), || old.process.ended().is_some());
    let (status, body) = ask(at, "x");
    assert!(status == 200 && body.contains("<CN=engine>"), "{status}: {body}");
    assert_eq!(handshakes(&engine, "web", "full"), 1.0, "of the new process");
}
