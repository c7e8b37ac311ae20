//! More fields: who is probed and how, who is tried again, how clients are known, how long they may take.

use std::process::{Command, Stdio};

use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Origin, Request, Wire, bin};
use serde_json::{Value, json};

use super::{Scene, Seen};

/// How long clients of the service `brief` may say nothing, and how long they may take for a head, milliseconds.
const IDLE_MS: u64 = 200;
const HEAD_MS: u64 = 1_600;
/// Between the two.
const BETWEEN_MS: u64 = 900;

/// The objects that these stand on. `watched` are servers of which the second one is well and the first one is not.
pub fn add(origins: &[Origin; 2], watched: &[Origin; 2], objects: &mut Value) {
    let server = |of: &Origin| json!({"ip": {"addr": of.address.ip().to_string(), "type": "V4"}, "port": of.address.port()});
    let both = [server(&origins[0]), server(&origins[1])];
    let mut put = |kind: &str, uuid: String, object: Value| objects[kind][uuid] = object;
    let monitors = [
        (
            "body",
            json!({"type": "HEALTH_MONITOR_HTTP", "http_monitor": {"http_response": "from two", "http_response_code": ["HTTP_ANY"]}}),
        ),
        (
            "path",
            json!({"type": "HEALTH_MONITOR_HTTP", "http_monitor": {"http_request": "GET /tired HTTP/1.0", "http_response_code": ["HTTP_2XX"]}}),
        ),
        (
            "exact",
            json!({"type": "HEALTH_MONITOR_HTTP", "http_monitor": {"exact_http_request": true, "http_response_code": ["HTTP_2XX"],
            "http_request": "GET /exact HTTP/1.1\r\nHost: x\r\nX-Exact: yes\r\n\r\n"}}),
        ),
        (
            "bytes",
            json!({"type": "HEALTH_MONITOR_TCP", "tcp_monitor": {"tcp_request": "GET / HTTP/1.0\r\n\r\n", "tcp_response": "from two"}}),
        ),
    ];
    for (name, mut monitor) in monitors {
        for (field, value) in
            [("send_interval", 2), ("receive_timeout", 1), ("failed_checks", 1), ("successful_checks", 1)]
        {
            monitor[field] = json!(value);
        }
        put("healthmonitor", format!("healthmonitor-{name}"), monitor);
        let pool = json!({"servers": [server(&watched[0]), server(&watched[1])], "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN",
            "lb_algo_rr_per_se": true, "health_monitor_refs": [format!("/api/healthmonitor/healthmonitor-{name}")]});
        put("pool", format!("pool-watched-{name}"), pool);
    }
    let turns = |more: Value| {
        let mut pool =
            json!({"servers": both, "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "lb_algo_rr_per_se": true});
        pool.as_object_mut().expect("a pool").extend(more.as_object().expect("fields").clone());
        pool
    };
    let again =
        |by: Value| json!({"server_reselect": {"enabled": true, "num_retries": 2, "svr_resp_code": by}});
    put("pool", "pool-block".to_owned(), turns(again(json!({"resp_code_block": ["HTTP_RSP_5XX"]}))));
    let mut posts = again(json!({"codes": [599]}));
    posts["server_reselect"]["retry_nonidempotent"] = json!(true);
    put("pool", "pool-posts".to_owned(), turns(posts));
    let mut heavy = turns(json!({}));
    heavy["servers"][1]["ratio"] = json!(3);
    put("pool", "pool-heavy".to_owned(), heavy);
    let local = json!({"type": "FAIL_ACTION_HTTP_LOCAL_RSP", "local_rsp": {
        "status_code": "FAIL_HTTP_STATUS_CODE_200", "file": {"content_type": "text/plain", "file_content": "group\n"}}});
    put(
        "poolgroup",
        "poolgroup-said".to_owned(),
        json!({"members": [{"pool_ref": "/api/pool/pool-none"}], "fail_action": local}),
    );
    let kinds = [
        (
            "kept",
            json!({"persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE", "http_cookie_persistence_profile": {
            "cookie_name": "kept", "always_send_cookie": true, "is_persistent_cookie": true, "timeout": 10,
            "key": [{"name": "k", "aes_key": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}]}}),
        ),
        (
            "net",
            json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "ip_persistence_profile": {"ip_mask": 24}}),
        ),
    ];
    for (name, profile) in kinds {
        put("applicationpersistenceprofile", format!("applicationpersistenceprofile-{name}"), profile);
        let by = format!("/api/applicationpersistenceprofile/applicationpersistenceprofile-{name}");
        put("pool", format!("pool-{name}"), turns(json!({"application_persistence_profile_ref": by})));
    }
    let brief = json!({"keepalive_timeout": IDLE_MS, "client_header_timeout": HEAD_MS,
        "client_max_request_size": 1, "websockets_enabled": false});
    let often = json!({"max_rps_cip": 10});
    for (name, http) in [("brief", brief), ("often", often)] {
        put(
            "applicationprofile",
            format!("applicationprofile-{name}"),
            json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": http}),
        );
    }
    let of_client = json!({"rate_limiter": {"count": 2, "period": 3600},
        "action": {"type": "RL_ACTION_LOCAL_RSP", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403"}});
    put(
        "applicationprofile",
        "applicationprofile-rates".to_owned(),
        json!({"type": "APPLICATION_PROFILE_TYPE_HTTP",
        "dos_rl_profile": {"rl_profile": {"client_ip_requests_rate_limit": of_client}}}),
    );
    put(
        "sslprofile",
        "sslprofile-newest".to_owned(),
        json!({"accepted_versions": [{"type": "SSL_VERSION_TLS1_3"}]}),
    );
    for (name, status) in [("first", 404), ("second", 429)] {
        let rule = json!({"index": 1, "name": "r", "enable": true, "switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL",
            "status_code": format!("HTTP_LOCAL_RESPONSE_STATUS_CODE_{status}")}});
        put(
            "httppolicyset",
            format!("httppolicyset-{name}"),
            json!({"http_request_policy": {"rules": [rule]}}),
        );
    }
}

/// Services, by the names of their doors.
pub fn services() -> Vec<(&'static str, Value)> {
    let pool = |name: &str| json!({"pool_ref": format!("/api/pool/pool-{name}")});
    let with = |field: &str, value: Value| {
        let mut service = pool("plain");
        service[field] = value;
        service
    };
    let profile = |name: &str| {
        with("application_profile_ref", json!(format!("/api/applicationprofile/applicationprofile-{name}")))
    };
    let set = |name: &str, index: u32| json!({"index": index, "http_policy_set_ref": format!("/api/httppolicyset/httppolicyset-{name}")});
    vec![
        ("watched-body", pool("watched-body")),
        ("watched-path", pool("watched-path")),
        ("watched-exact", pool("watched-exact")),
        ("watched-bytes", pool("watched-bytes")),
        ("block", pool("block")),
        ("posts", pool("posts")),
        ("heavy", pool("heavy")),
        ("kept", pool("kept")),
        ("net", pool("net")),
        ("said", json!({"pool_group_ref": "/api/poolgroup/poolgroup-said"})),
        ("brief", profile("brief")),
        ("often", profile("often")),
        ("rates", profile("rates")),
        ("ordered", with("http_policies", json!([set("second", 2), set("first", 1)]))),
    ]
}

/// Waits until the server that is not well is asked no more.
fn watched(s: &Scene, name: &str) {
    let door = format!("watched-{name}");
    let all = |text: &str| (0..4).all(|_| s.text(&door, "/") == text);
    eventually("who is not well is out", secs(10), || all("from two\n"));
}

fn exact(s: &Scene) {
    watched(s, "exact");
    let heads = s.watched[0].heads();
    let sent = "GET /exact HTTP/1.1\r\nHost: x\r\nX-Exact: yes\r\n\r\n";
    assert!(heads.iter().any(|head| head.trim_end() == sent.trim_end()), "{heads:?}");
}

fn tried_again(s: &Scene, door: &str, request: &Request) {
    for _ in 0..4 {
        assert_eq!(s.client(door).send(request).expect("an answer").text(), "from two\n");
    }
}

fn kept(s: &Scene) {
    let mut client = s.client("kept");
    for _ in 0..2 {
        let answer = client.get("/").expect("an answer");
        let cookie = answer.fields("set-cookie").next().expect("with each answer").to_ascii_lowercase();
        assert!(cookie.starts_with("kept=") && cookie.contains("max-age=600"), "{cookie}");
    }
    let mut plain = s.client("cookie");
    let first = plain.get("/").expect("an answer");
    assert!(
        !first.fields("set-cookie").any(|cookie| cookie.to_ascii_lowercase().contains("max-age")),
        "{first:?}"
    );
    assert!(plain.get("/").expect("an answer").field("set-cookie").is_none(), "it has it");
}

/// Sends a request, or a part of one: whether the connection is closed between the two times, and not before, or before
/// both; that of a service without such times is there all the while.
fn is_brief(s: &Scene, sent: &str, is_first: bool) {
    let [mut brief, mut plain] = ["brief", "plain"].map(|door| {
        let mut wire = Wire::connect(s.doors[door]).expect("it listens");
        wire.send(sent).expect("sent");
        wire
    });
    assert_eq!(brief.closes_within(ms(BETWEEN_MS)), is_first, "{sent:?}");
    assert!(brief.closes_within(ms(HEAD_MS * 2)), "{sent:?}");
    assert!(!plain.closes_within(ms(50)), "{sent:?}");
}

fn local(s: &Scene) {
    let answer = s.client("said").get("/").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "group\n"));
}

fn shakes_hands(s: &Scene, door: &str, version: &str) -> bool {
    let mut command = Command::new(bin::foreign("openssl", "openssl"));
    command.args(["s_client", "-servername", "shop.test", "-connect"]).arg(s.doors[door].to_string());
    let done = command.arg(format!("-{version}")).stdin(Stdio::null()).output().expect("openssl starts");
    let shown = String::from_utf8_lossy(&done.stdout);
    done.status.success() && (shown.contains("CN = shop.test") || shown.contains("CN=shop.test"))
}

fn secured(s: &Scene) {
    assert!(shakes_hands(s, "secured", "tls1_2") && shakes_hands(s, "secured", "tls1_3"));
    assert!(s.client("secure").get("/").is_ok(), "and its other port speaks plainly");
}

/// Fields, each with how its effect is seen.
pub const FIELDS: &[(&str, &str, Seen)] = &[
    ("pool", "health_monitor_refs[]", |s| watched(s, "body")),
    ("healthmonitor", "type", |s| watched(s, "bytes")),
    ("healthmonitor", "http_monitor.http_response", |s| watched(s, "body")),
    ("healthmonitor", "http_monitor.http_request", |s| watched(s, "path")),
    ("healthmonitor", "http_monitor.exact_http_request", exact),
    ("healthmonitor", "tcp_monitor.tcp_request", |s| watched(s, "bytes")),
    ("healthmonitor", "tcp_monitor.tcp_response", |s| watched(s, "bytes")),
    ("pool", "server_reselect.svr_resp_code.resp_code_block[]", |s| {
        tried_again(s, "block", &Request::get("/tired"))
    }),
    ("pool", "server_reselect.retry_nonidempotent", |s| {
        tried_again(s, "posts", &Request::post("/tired", ""));
        let statuses: Vec<u16> = (0..4).map(|_| s.status("again", &Request::post("/tired", ""))).collect();
        assert!(statuses.contains(&599), "{statuses:?}");
    }),
    ("pool", "servers[].ratio", |s| {
        let two = (0..8).filter(|_| s.text("heavy", "/") == "from two\n").count();
        assert_eq!(two, 6);
    }),
    ("pool", "application_persistence_profile_ref", |s| {
        let all: std::collections::BTreeSet<String> = (0..4).map(|_| s.text("address", "/")).collect();
        assert_eq!(all.len(), 1, "{all:?}");
    }),
    ("poolgroup", "fail_action.local_rsp.file.file_content", local),
    ("poolgroup", "fail_action.local_rsp.status_code", local),
    ("applicationpersistenceprofile", "http_cookie_persistence_profile.always_send_cookie", kept),
    ("applicationpersistenceprofile", "http_cookie_persistence_profile.is_persistent_cookie", kept),
    ("applicationpersistenceprofile", "http_cookie_persistence_profile.timeout", kept),
    ("applicationpersistenceprofile", "http_cookie_persistence_profile.http_only", |s| {
        let with = s.client("cookie").get("/").expect("an answer");
        let without = s.client("kept").get("/").expect("an answer");
        let is_hidden = |answer: &forebay_e2e::Answer| {
            answer.fields("set-cookie").any(|cookie| cookie.contains("HttpOnly"))
        };
        assert!(is_hidden(&with) && !is_hidden(&without), "{with:?} {without:?}");
    }),
    ("applicationpersistenceprofile", "hdr_persistence_profile.prst_hdr_name", |s| {
        let of = |name: &str| {
            s.client("header").send(&Request::get("/").field(format!("{name}: b"))).expect("an answer").text()
        };
        assert!((0..4).all(|_| of("X-Server") == "from two\n"));
        assert!((0..8).any(|_| of("X-Other") == "from one\n"), "another header says nothing");
    }),
    ("applicationpersistenceprofile", "ip_persistence_profile.ip_mask", |s| {
        let from = |n: u32| s.client("net").from(s.lab.client_ip(n)).get("/").expect("an answer").text();
        let first = from(20);
        assert!((21..27).all(|n| from(n) == first), "they are of one network");
    }),
    ("applicationprofile", "http_profile.keepalive_timeout", |s| {
        is_brief(s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true);
    }),
    ("applicationprofile", "http_profile.client_header_timeout", |s| {
        is_brief(s, "GET / HTTP/1.1\r\nHost: x\r\n", false);
    }),
    ("applicationprofile", "http_profile.client_max_request_size", |s| {
        let two = |name: &str| format!("{name}: {}", "x".repeat(600));
        let request = Request::get("/").field(two("X-A")).field(two("X-B"));
        assert_eq!((s.status("brief", &request), s.status("plain", &request)), (431, 200));
    }),
    ("applicationprofile", "http_profile.websockets_enabled", |s| {
        let request = Request::get("/")
            .field("Connection: Upgrade")
            .field("Upgrade: websocket")
            .field("Sec-WebSocket-Version: 13")
            .field("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
        s.client("plain").send(&request).expect("an answer");
        assert!(s.head().contains("upgrade: websocket"), "{}", s.head());
        let before = s.head();
        let _ = s.client("brief").send(&request);
        assert!(s.head() == before || !s.head().contains("upgrade: websocket"), "{}", s.head());
    }),
    ("applicationprofile", "http_profile.max_rps_cip", |s| {
        // On one connection, and so at one worker, which has a part of the count.
        let statuses = |door: &str| {
            let mut client = s.client(door);
            (0..40).map(|_| client.get("/").expect("an answer").status).collect::<Vec<u16>>()
        };
        assert!(statuses("often").contains(&429) && !statuses("plain").contains(&429));
    }),
    (
        "applicationprofile",
        "dos_rl_profile.rl_profile.client_ip_requests_rate_limit.rate_limiter.count",
        |s| rates(s, 30),
    ),
    ("applicationprofile", "dos_rl_profile.rl_profile.client_ip_requests_rate_limit.action.type", |s| {
        rates(s, 40)
    }),
    (
        "applicationprofile",
        "dos_rl_profile.rl_profile.client_ip_requests_rate_limit.action.status_code",
        |s| rates(s, 50),
    ),
    ("virtualservice", "application_profile_ref", |s| {
        let many = (0..12).fold(Request::get("/"), |request, at| request.field(format!("X-{at}: y")));
        assert_eq!((s.status("sized", &many), s.status("plain", &many)), (431, 200));
    }),
    ("virtualservice", "http_policies[].index", |s| assert_eq!(s.status("ordered", &Request::get("/")), 404)),
    ("virtualservice", "services[].enable_ssl", secured),
    ("virtualservice", "ssl_key_and_certificate_refs[]", secured),
    ("sslkeyandcertificate", "key", secured),
    ("virtualservice", "ssl_profile_ref", newest),
    ("sslprofile", "accepted_versions[].type", newest),
];

/// A client that asks too often is told so, and another one is not.
fn rates(s: &Scene, n: u32) {
    let ask = |n: u32| s.client("rates").from(s.lab.client_ip(n)).get("/").expect("an answer").status;
    // Two workers, and a part of the count for each; which one a connection comes to is chance.
    let all: Vec<u16> = (0..8).map(|_| ask(n)).collect();
    assert!(all[0] == 200 && all.contains(&403), "{all:?}");
    assert_eq!(ask(n + 1), 200);
}

fn newest(s: &Scene) {
    assert!(shakes_hands(s, "newest", "tls1_3") && !shakes_hands(s, "newest", "tls1_2"));
}
