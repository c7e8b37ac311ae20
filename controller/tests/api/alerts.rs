//! Alerts, by a clock that the test moves.

use std::sync::Arc;

use forebay_controller::alerts::{Alerts, look, look_from};
use forebay_controller::store::{Step, Store};
use forebay_logs::Batch;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::metrics::{Stand, stand};
use crate::site::{Client, Site};

const NONE: Value = Value::Null;

async fn alerts(site: &Site, who: &Client, rest: &str) -> Vec<Value> {
    let said = site.ask(who, "GET", &format!("/api/alert{rest}"), &NONE).await;
    assert_eq!(said.status, 200, "{}", said.text);
    said.json["results"].as_array().expect("a list").clone()
}

fn on_events(name: &str, more: Value) -> Value {
    let mut config = json!({
        "name": name,
        "source": "EVENT_LOGS",
        "category": "REALTIME",
        "throttle": 100,
        "expiry_time": 1_000,
        "alert_rule": {"sys_event_rule": [{"event_id": "CONFIG_UPDATE"}]},
    });
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    config
}

//= test ALERT-RAISE-01
//= test ALERT-THROTTLE-01
//= test ALERT-EXPIRE-01
//= test ALERT-API-01
#[tokio::test]
async fn alerts_are_raised_once_shown_and_over() {
    let site = Site::new("alerts").await;
    let admin = site.admin().await;
    let actions = json!({"name": "high", "level": "ALERT_HIGH", "external_only": false});
    let actions = site.make(&admin, "/api/actiongroupconfig", actions).await;
    let about =
        json!({"object_type": "POOL", "action_group_ref": actions["url"], "summary": "a pool changed"});
    site.make(&admin, "/api/alertconfig", on_events("changed", about)).await;
    let off = site.make(&admin, "/api/alertconfig", on_events("off", json!({"enabled": false}))).await;
    let often =
        json!({"category": "ROLLINGWINDOW", "threshold": 3, "rolling_window": 60, "object_type": "POOL"});
    site.make(&admin, "/api/alertconfig", on_events("often", often)).await;
    let pool = site.make(&admin, "/api/pool", json!({"name": "p"})).await;
    let other = site.make(&admin, "/api/pool", json!({"name": "q"})).await;
    let uuid = |object: &Value| object["uuid"].as_str().expect("a uuid").to_owned();
    look(&site.app, 1_000).await.expect("written");
    assert!(alerts(&site, &admin, "").await.is_empty(), "nothing was changed yet");
    let mut port = 1_000;
    let mut change = async |object: &Value| {
        port += 1;
        let at = format!("/api/pool/{}", uuid(object));
        let said = site.ask(&admin, "PATCH", &at, &json!({"replace": {"default_server_port": port}})).await;
        assert_eq!(said.status, 200, "{}", said.text);
    };
    change(&pool).await;
    look(&site.app, 1_010).await.expect("written");
    look(&site.app, 1_011).await.expect("written");
    let found = alerts(&site, &admin, "").await;
    assert_eq!(found.len(), 1, "{found:?}");
    let alert = &found[0];
    assert_eq!((&alert["name"], &alert["level"]), (&json!("changed"), &json!("ALERT_HIGH")), "{alert}");
    assert_eq!((&alert["obj_uuid"], &alert["obj_type"]), (&pool["uuid"], &json!("POOL")), "{alert}");
    assert!(alert["description"].as_str().is_some_and(|text| text.contains("CONFIG_UPDATE")), "{alert}");
    assert!(alert.get("labels").is_none(), "{alert}");
    // The same object again within the time, and another one.
    change(&pool).await;
    change(&other).await;
    look(&site.app, 1_050).await.expect("written");
    assert_eq!(alerts(&site, &admin, "?name=changed").await.len(), 2);
    assert_eq!(alerts(&site, &admin, &format!("?obj_uuid={}", uuid(&other))).await.len(), 1);
    assert!(alerts(&site, &admin, "?name=often").await.is_empty());
    change(&pool).await;
    look(&site.app, 1_060).await.expect("written");
    assert_eq!(alerts(&site, &admin, "?name=often").await.len(), 1, "three times within a minute");
    change(&pool).await;
    look(&site.app, 1_110).await.expect("written");
    assert_eq!(alerts(&site, &admin, "?name=changed").await.len(), 3, "a hundred seconds later");
    let inventory = site.ask(&admin, "GET", "/api/pool-inventory?name=p", &NONE).await.json;
    assert_eq!(
        inventory["results"][0]["alert"],
        json!({"low": 1, "medium": 0, "high": 2, "level": "ALERT_HIGH"})
    );
    // They outlive the process.
    let again = Alerts::open(&site.app.store).await.expect("readable");
    assert_eq!(again.all(), site.app.alerts.all());
    let first = alerts(&site, &admin, "?page_size=1").await.remove(0);
    let at = format!("/api/alert/{}", uuid(&first));
    assert_eq!(site.ask(&admin, "GET", &at, &NONE).await.status, 200);
    assert_eq!(site.ask(&admin, "DELETE", &at, &NONE).await.status, 204);
    assert_eq!(site.ask(&admin, "GET", &at, &NONE).await.status, 404);
    look(&site.app, 2_055).await.expect("written");
    assert_eq!(alerts(&site, &admin, "").await.len(), 1, "the others are over");
    assert_eq!(off["enabled"], false);
    // Who hears nothing of pools hears nothing of their alerts.
    site.make(&admin, "/api/tenant", json!({"name": "other"})).await;
    let access = json!([{"tenant_ref": "/api/tenant?name=other", "role_ref": "/api/role?name=Tenant-Admin"}]);
    site.user(&admin, "olga", access).await;
    let mut olga = site.login("olga", "password-olga").await;
    olga.tenant = Some("other".to_owned());
    assert!(alerts(&site, &olga, "").await.is_empty());
}

//= test ALERT-ONCE-01
#[tokio::test]
async fn no_event_is_passed_over_however_late_it_is_written_and_however_many_there_are() {
    let site = Site::new("alerts-late").await;
    let admin = site.admin().await;
    site.make(
        &admin,
        "/api/alertconfig",
        on_events("down", json!({"alert_rule": {"sys_event_rule": [{"event_id": "VS_DOWN"}]}})),
    )
    .await;
    let event = |n: usize| {
        let event = json!({"event_id": "VS_DOWN", "obj_uuid": format!("virtualservice-{n}"), "obj_type": "VIRTUALSERVICE", "tenant": "admin"});
        event.as_object().cloned().expect("an object")
    };
    let ring = &site.app.placement.events;
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::try_from(now.as_micros()).expect("a moment")
    };
    // Two events have their moments, and the store is slow with the first one.
    let (slow, _) = ring.add(Step::default(), event(1), now());
    let (quick, _) = ring.add(Step::default(), event(2), now());
    site.app.store.commit(quick).await.expect("room");
    // By a clock by which these are older than a second: what is younger is looked at again in any case.
    let settled = || now() + 1_000_000;
    look_from(&site.app, 1_000, settled()).await.expect("written");
    let found = alerts(&site, &admin, "").await;
    assert!(found.len() == 1 && found[0]["obj_uuid"] == "virtualservice-2", "{found:?}");
    site.app.store.commit(slow).await.expect("room");
    look_from(&site.app, 1_010, settled()).await.expect("written");
    look_from(&site.app, 1_300, settled()).await.expect("written");
    let found = alerts(&site, &admin, "").await;
    assert!(found.len() == 2 && found[0]["obj_uuid"] == "virtualservice-1", "each once: {found:?}");
    // More than one look raises.
    for n in 100..220 {
        ring.commit(&site.app.store, Step::default(), event(n)).await.expect("room");
    }
    for (look_at, raised) in [(1_400, 52), (1_401, 102), (1_402, 122), (1_600, 122)] {
        look_from(&site.app, look_at, settled()).await.expect("written");
        assert_eq!(site.app.alerts.all().len(), raised);
    }
}

//= test ALERT-ONCE-01
#[tokio::test]
async fn who_comes_to_lead_raises_what_the_one_before_had_not_seen_and_nothing_twice() {
    let mut site = Site::new("alerts-led").await;
    let admin = site.admin().await;
    let down = json!({"throttle": 0, "alert_rule": {"sys_event_rule": [{"event_id": "VS_DOWN"}]}});
    for name in ["one", "other"] {
        site.make(&admin, "/api/alertconfig", on_events(name, down.clone())).await;
    }
    let write = async |site: &Site, n: usize| {
        let event = json!({"event_id": "VS_DOWN", "obj_uuid": format!("virtualservice-{n}"), "obj_type": "VIRTUALSERVICE", "tenant": "admin"});
        let event = event.as_object().cloned().expect("an object");
        site.app.placement.events.commit(&site.app.store, Step::default(), event).await.expect("room");
    };
    write(&site, 1).await;
    look(&site.app, 1_000).await.expect("written");
    // This one is written when nobody looks any more.
    write(&site, 2).await;
    for now in [1_010, 1_020] {
        let again = Alerts::open(&site.app.store).await.expect("readable");
        std::sync::Arc::get_mut(&mut site.app).expect("nobody else has it").alerts = again;
        look(&site.app, now).await.expect("written");
        look(&site.app, now + 1).await.expect("written");
        let mut found: Vec<String> = alerts(&site, &admin, "")
            .await
            .iter()
            .map(|alert| format!("{} {}", alert["name"], alert["obj_uuid"]))
            .collect();
        found.sort();
        let both = |n: usize| ["one", "other"].map(|name| format!("\"{name}\" \"virtualservice-{n}\""));
        let mut wanted = [both(1), both(2)].concat();
        wanted.sort();
        assert_eq!(found, wanted);
    }
    // Nor what somebody has taken away.
    let uuid = alerts(&site, &admin, "").await[0]["uuid"].as_str().expect("a uuid").to_owned();
    assert_eq!(site.ask(&admin, "DELETE", &format!("/api/alert/{uuid}"), &Value::Null).await.status, 204);
    let again = Alerts::open(&site.app.store).await.expect("readable");
    std::sync::Arc::get_mut(&mut site.app).expect("nobody else has it").alerts = again;
    look(&site.app, 1_030).await.expect("written");
    let found = alerts(&site, &admin, "").await;
    assert!(found.len() == 3 && found.iter().all(|alert| alert["uuid"] != uuid.as_str()), "{found:?}");
}

//= test ALERT-RAISE-01
#[tokio::test]
async fn metrics_beyond_a_threshold_raise_alerts() {
    let Stand { site, admin, vs, .. } = stand("alerts-metrics").await;
    let config = |name: &str, category: &str, threshold: u64| {
        json!({
            "name": name, "source": "METRICS", "category": category, "object_type": "VIRTUALSERVICE", "throttle": 0,
            "alert_rule": {"metrics_rule": [{
                "metric_id": "l7_client.sum_total_responses", "duration": 60,
                "metric_threshold": {"comparator": "ALERT_OP_GT", "threshold": threshold},
            }]},
        })
    };
    for (name, category, threshold) in
        [("many", "REALTIME", 164), ("more", "REALTIME", 165), ("crossed", "WATERMARK", 100)]
    {
        site.make(&admin, "/api/alertconfig", config(name, category, threshold)).await;
    }
    look(&site.app, 1_000).await.expect("written");
    look(&site.app, 1_005).await.expect("written");
    let found = alerts(&site, &admin, "").await;
    let count = |name: &str| found.iter().filter(|alert| alert["name"] == name).count();
    assert_eq!((count("many"), count("more"), count("crossed")), (2, 0, 1), "{found:?}");
    assert!(
        found.iter().all(|alert| alert["obj_uuid"] == vs.as_str() && alert["level"] == "ALERT_LOW"),
        "{found:?}"
    );
    assert!(found[0]["reason"].as_str().is_some_and(|why| why.contains("is 165.000")), "{found:?}");
}

/// Records of a service as an engine tells them, written by way of what lets them in.
fn records(stand: &Stand, records: &[Value]) {
    let store = stand.site.app.logs.clone().expect("logs are kept");
    let lines: String = records
        .iter()
        .map(|more| {
            let mut record = json!({
                "report_timestamp": forebay_logs::stamp(crate::logs::now()), "virtualservice": stand.vs,
                "client_ip": "10.1.2.3", "significant": true,
            });
            record.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            format!("{record}\n")
        })
        .collect();
    let admit = forebay_controller::logs::admit(&stand.site.app, &stand.se);
    let batch = Batch { lines: lines.into_bytes(), admit: Some(admit), ..Batch::default() };
    store.try_offer(batch).expect("room");
    store.flush();
    assert_eq!(store.counts().refused, 0);
}

//= test ALERT-LOGS-01
#[tokio::test]
async fn records_that_are_asked_for_raise_alerts_when_they_come() {
    let stand = stand("alerts-logs").await;
    let Stand { site, admin, vs, .. } = &stand;
    let on = |name: &str, source: &str, conditions: &str, more: Value| {
        let mut config = json!({
            "name": name, "source": source, "category": "REALTIME", "throttle": 100,
            "alert_rule": {"conn_app_log_rule": {"filter_string": conditions}},
        });
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        config
    };
    for bad in ["", "response_code > 500", "zz(response_code,500)"] {
        let said = site.ask(admin, "POST", "/api/alertconfig", &on("bad", "APP_LOGS", bad, json!({}))).await;
        assert!(said.status == 400 && said.text.contains("ge(response_code,500)"), "{bad}: {}", said.text);
    }
    let failing = "co(significant_log,ADF_RESPONSE_CODE_5XX)&filter=eq(client_ip,10.0.0.0/8)";
    site.make(admin, "/api/alertconfig", on("failing", "APP_LOGS", failing, json!({}))).await;
    let either = json!({"alert_rule": {"operator": "OPERATOR_OR", "conn_app_log_rule": {"filter_string": "sw(uri_path,/a)&co(host,shop)"}}});
    site.make(admin, "/api/alertconfig", on("either", "APP_LOGS", failing, either)).await;
    let often = json!({"category": "ROLLINGWINDOW", "threshold": 3, "rolling_window": 60});
    site.make(admin, "/api/alertconfig", on("often", "APP_LOGS", failing, often)).await;
    let other = json!({"obj_uuid": stand.other});
    site.make(admin, "/api/alertconfig", on("other", "APP_LOGS", failing, other)).await;
    site.make(
        admin,
        "/api/alertconfig",
        on("reset", "CONN_LOGS", "co(significant_log,SENT_RESET)", json!({})),
    )
    .await;
    // As engines say it.
    let words = ["the client got a 5xx", "the server refused the connection"];
    let failed = json!({
        "response_code": 503, "method": "GET", "host": "x", "uri_path": "/pay", "significance": words,
        "request_state": words[1],
    });
    // Nobody asked for it yet.
    records(&stand, std::slice::from_ref(&failed));
    look(&site.app, 1_000).await.expect("written");
    assert!(alerts(site, admin, "").await.is_empty());
    let well = json!({"response_code": 200, "method": "GET", "host": "x", "uri_path": "/pay"});
    let far = json!({"response_code": 503, "client_ip": "192.0.2.1", "uri_path": "/b"});
    let reset = json!({"connection_state": "the client reset its connection"});
    records(&stand, &[well, far, failed.clone(), failed.clone(), reset]);
    look(&site.app, 1_005).await.expect("written");
    let names = |found: &[Value]| {
        let mut names: Vec<_> =
            found.iter().map(|alert| alert["name"].as_str().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    };
    let found = alerts(site, admin, "").await;
    assert_eq!(names(&found), ["failing", "reset"], "{found:?}");
    let failing = found.iter().find(|alert| alert["name"] == "failing").expect("one");
    assert_eq!((&failing["obj_uuid"], &failing["obj_type"]), (&json!(vs), &json!("VIRTUALSERVICE")));
    let why = failing["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("2 records, the first: ") && why.contains("GET x /pay, answered 503"), "{why}");
    // The third within the minute, and another condition of two.
    records(&stand, &[failed, json!({"response_code": 200, "host": "x", "uri_path": "/a/b"})]);
    look(&site.app, 1_010).await.expect("written");
    assert_eq!(names(&alerts(site, admin, "").await), ["either", "failing", "often", "reset"]);
    look(&site.app, 1_200).await.expect("written");
    assert_eq!(alerts(site, admin, "").await.len(), 4, "each record once");
}

//= test ALERT-SYSLOG-01
#[tokio::test]
async fn alerts_are_told_to_syslog_servers_over_every_transport() {
    let site = Site::new("alerts-syslog").await;
    let admin = site.admin().await;
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let secured = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = |at: std::io::Result<std::net::SocketAddr>| at.expect("bound").port();
    let authority = json!({"name": "ca", "ca_certs": [{"certificate": signed.cert.pem()}]});
    let authority = site.make(&admin, "/api/pkiprofile", authority).await["url"].clone();
    let servers = json!([
        {"syslog_server": "127.0.0.1", "syslog_server_port": port(udp.local_addr()), "udp": true},
        {"syslog_server": "127.0.0.2", "syslog_server_port": 9, "udp": false},
        {"syslog_server": "localhost", "syslog_server_port": port(secured.local_addr()), "udp": false, "tls_enable": true,
         "pkiprofile_ref": authority, "format": "SYSLOG_RFC5424"},
    ]);
    let more = json!([
        {"syslog_server": "127.0.0.1", "syslog_server_port": port(plain.local_addr()), "udp": false, "format": "SYSLOG_JSON"},
        // It shows a certificate of nobody whom this machine trusts.
        {"syslog_server": "localhost", "syslog_server_port": port(other.local_addr()), "udp": false, "tls_enable": true},
    ]);
    let mut configs = Vec::new();
    for (name, servers, is_external) in [("one", servers, false), ("two", more, true)] {
        let syslog = json!({"name": name, "sender_hostname": "ctl", "syslog_servers": servers});
        let syslog = site.make(&admin, "/api/alertsyslogconfig", syslog).await["url"].clone();
        let actions = json!({"name": name, "level": "ALERT_HIGH", "external_only": is_external, "syslog_config_ref": syslog});
        let actions = site.make(&admin, "/api/actiongroupconfig", actions).await["url"].clone();
        let about = json!({"object_type": "POOL", "action_group_ref": actions, "summary": "a pool changed"});
        configs.push(site.make(&admin, "/api/alertconfig", on_events(name, about)).await);
    }
    let telling = tokio::spawn(forebay_controller::alerts::tell(site.app.clone()));
    let pool = site.make(&admin, "/api/pool", json!({"name": "p"})).await;
    let at = format!("/api/pool/{}", pool["uuid"].as_str().expect("a uuid"));
    site.ask(&admin, "PATCH", &at, &json!({"replace": {"default_server_port": 81}})).await;
    look(&site.app, 1_000).await.expect("written");
    let kept = alerts(&site, &admin, "").await;
    assert!(kept.len() == 1 && kept[0]["name"] == "one", "the other one is for others only: {kept:?}");
    let heard = async {
        let mut bytes = [0; 2_000];
        let length = udp.recv(&mut bytes).await.expect("a datagram");
        let datagram = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let (mut stream, _) = plain.accept().await.expect("a connection");
        let mut line = String::new();
        stream.read_to_string(&mut line).await.expect("text");
        let server = |cert: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            let key =
                rustls::pki_types::PrivateKeyDer::try_from(cert.signing_key.serialize_der()).expect("a key");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![cert.cert.der().clone()], key)
                .expect("a certificate");
            tokio_rustls::TlsAcceptor::from(Arc::new(config))
        };
        let acceptor = server(&signed);
        let (stream, _) = secured.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("it trusts us");
        let mut tls = String::new();
        stream.read_to_string(&mut tls).await.expect("text");
        let (stream, _) = other.accept().await.expect("a connection");
        assert!(acceptor.accept(stream).await.is_err(), "nobody speaks for it");
        (datagram, line, tls)
    };
    let (datagram, line, tls) =
        tokio::time::timeout(std::time::Duration::from_secs(30), heard).await.expect("all are told");
    let words = "[ALERT_HIGH: one] a pool changed: pool p: CONFIG_UPDATE";
    assert!(
        datagram.starts_with("<130>") && datagram.contains(&format!("ctl forebay: {words}")),
        "{datagram}"
    );
    let (length, tls) = tls.split_once(' ').expect("its length");
    assert_eq!(length.parse(), Ok(tls.len()));
    assert!(
        tls.starts_with("<130>1 2") && tls.contains(" ctl forebay - ALERT - ") && tls.contains(words),
        "{tls}"
    );
    let (length, line) = line.split_once(' ').expect("its length");
    assert_eq!(length.parse(), Ok(line.len()));
    let object: Value = serde_json::from_str(&line[line.find('{').expect("an object")..]).expect("an object");
    assert_eq!((&object["name"], &object["obj_uuid"]), (&json!("two"), &pool["uuid"]), "{line}");
    telling.abort();
    assert_eq!(configs.len(), 2);
}
