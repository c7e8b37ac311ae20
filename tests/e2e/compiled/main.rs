//! What users make of objects, seen with traffic: objects are compiled, and an engine runs what comes of it.

mod behind;
mod changed;
mod children;
mod logged;
mod matches;
mod more;
mod policies;
mod ports;
mod probed;
mod secured;
mod servers;
mod stage;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use forebay_e2e::{Client, Engine, Lab, Options, Origin, Request, pki};
use forebay_model::fields::{Effect, effect};
use serde_json::{Value, json};

use stage::Play;
use world::{Without, World};

/// The services of the one engine of this file, by name, with what makes them differ from a plain one.
struct Scene {
    _engine: Engine,
    origins: [Origin; 2],
    /// Those of pools that are probed.
    watched: [Origin; 2],
    doors: BTreeMap<&'static str, SocketAddr>,
    folder: std::path::PathBuf,
    // Last: what lives in it goes first.
    lab: Lab,
}

fn scene(without: Without<'_>) -> Scene {
    let lab = Lab::new();
    let answering = |name: &'static str| {
        Origin::answering(lab.address(), move |head| {
            let is_tired =
                ["GET /tired ", "POST /tired ", "GET /exact "].iter().any(|begin| head.starts_with(begin));
            if name == "one" && is_tired {
                return Some(b"HTTP/1.1 599 Tired\r\nContent-Length: 0\r\n\r\n".to_vec());
            }
            let body = format!("from {name}\n");
            let head = format!("HTTP/1.1 200 OK\r\nServer: {name}\r\nContent-Length: {}\r\n\r\n", body.len());
            Some((head + &body).into_bytes())
        })
    };
    let origins = ["one", "two"].map(answering);
    let watched = [Origin::answering(lab.address(), |head| Some(tired(head))), answering("two")];
    pki::self_signed(lab.folder(), "shop.test");
    let pem = |name: &str| std::fs::read_to_string(lab.folder().join(name)).expect("it was made");
    let at = |address: SocketAddr| json!({"addr": address.ip().to_string(), "type": "V4"});
    let server = |n: usize| json!({"ip": at(origins[n].address), "port": origins[n].address.port()});
    let valued = |n: usize, value: &str| json!({"ip": at(origins[n].address), "port": origins[n].address.port(), "prst_hdr_val": value});
    let one = |extra: Value| {
        let mut pool = json!({"servers": [server(0)], "connection_ramp_duration": 0});
        pool.as_object_mut().expect("a pool").extend(extra.as_object().expect("fields").clone());
        pool
    };
    let literal = |text: &str| json!({"type": "URI_PARAM_TYPE_TOKENIZED", "tokens": [{"type": "URI_TOKEN_TYPE_STRING", "str_value": text}]});
    let begins = |text: &str| json!({"path": {"match_criteria": "BEGINS_WITH", "match_str": [text]}});
    let rule = |index: u32, extra: Value| {
        let mut rule = json!({"index": index, "name": "r", "enable": true});
        rule.as_object_mut().expect("a rule").extend(extra.as_object().expect("fields").clone());
        rule
    };
    let local = |index: u32, status: u16, target: Value| {
        rule(
            index,
            json!({"match": target, "switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL",
            "status_code": format!("HTTP_LOCAL_RESPONSE_STATUS_CODE_{status}")}}),
        )
    };
    let mut objects = json!({
        "vsvip": {"vsvip-1": {"vip": [{"vip_id": "1", "ip_address": {"addr": lab.ip().to_string(), "type": "V4"}}]}},
        "pool": {
            "pool-plain": one(json!({})),
            "pool-off": one(json!({"servers": [
                {"ip": at(origins[0].address), "port": origins[0].address.port(), "enabled": false}, server(1)]})),
            "pool-two": one(json!({"servers": [server(1)], "default_server_port": 9})),
            "pool-empty": {"fail_action": {"type": "FAIL_ACTION_HTTP_LOCAL_RSP", "local_rsp": {
                "status_code": "FAIL_HTTP_STATUS_CODE_503", "file": {"content_type": "text/plain", "file_content": "soon\n"}}}},
            "pool-cookie": one(json!({
                "servers": [server(0), server(1)], "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN",
                "application_persistence_profile_ref": "/api/applicationpersistenceprofile/applicationpersistenceprofile-1"})),
    "pool-turns": one(json!({"servers": [server(0), server(1)], "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "lb_algo_rr_per_se": true})),
            "pool-address": one(json!({"servers": [server(0), server(1)], "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "lb_algo_rr_per_se": true,
                "application_persistence_profile_ref": "/api/applicationpersistenceprofile/applicationpersistenceprofile-2"})),
            "pool-header": one(json!({"servers": [valued(0, "a"), valued(1, "b")],
                "application_persistence_profile_ref": "/api/applicationpersistenceprofile/applicationpersistenceprofile-3"})),
            "pool-sorry": {"fail_action": {"type": "FAIL_ACTION_HTTP_REDIRECT", "redirect": {"host": "sorry.example", "path": "/busy"}}},
        },
        "poolgroup": {"poolgroup-1": {"members": [
            {"pool_ref": "/api/pool/pool-empty", "priority_label": "10"},
            {"pool_ref": "/api/pool/pool-two", "priority_label": "5"}]}},
        "applicationpersistenceprofile": {
            "applicationpersistenceprofile-1": {
                "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
                "http_cookie_persistence_profile": {"cookie_name": "stays", "http_only": true,
                    "key": [{"name": "k", "aes_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}},
            "applicationpersistenceprofile-2": {"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"},
            "applicationpersistenceprofile-3": {"persistence_type": "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER",
                "hdr_persistence_profile": {"prst_hdr_name": "X-Server"}},
        },
        "applicationprofile": {
            "applicationprofile-proxied": {"type": "APPLICATION_PROFILE_TYPE_L4",
                "tcp_app_profile": {"proxy_protocol_enabled": true}},
            "applicationprofile-habits": {"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": {
                "xff_update": "APPEND_TO_THE_XFF_HEADER", "x_forwarded_proto_enabled": true,
                "client_max_body_size": 1, "max_keepalive_requests": 2}},
            "applicationprofile-secure": {"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": {
                "http_to_https": true, "hsts_enabled": true, "hsts_max_age": 1}},
        },
        "sslkeyandcertificate": {"sslkeyandcertificate-1": {
            "certificate": {"certificate": pem("shop.test.pem")}, "key": pem("shop.test.key")}},
        "networksecuritypolicy": {"networksecuritypolicy-1": {"name": "doors", "rules": [
            {"index": 1, "name": "friend", "enable": true, "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_ALLOW",
             "match": {"client_ip": {"match_criteria": "IS_IN", "addrs": [{"addr": lab.client_ip(1).to_string(), "type": "V4"}]}}},
            {"index": 2, "name": "others", "enable": true, "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY", "match": {}}]}},
        "httppolicyset": {"httppolicyset-1": {
            "http_security_policy": {"rules": [rule(1, json!({"match": begins("/admin/"), "action": {
                "action": "HTTP_SECURITY_ACTION_SEND_RESPONSE", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_404"}}))]},
            "http_request_policy": {"rules": [
                rule(1, json!({"match": begins("/old/"), "redirect_action": {"protocol": "HTTPS", "host": literal("new.example")}})),
                rule(2, json!({"match": begins("/two/"), "switching_action": {
                    "action": "HTTP_SWITCHING_SELECT_POOL", "pool_ref": "/api/pool/pool-two"}})),
                local(4, 404, json!({"hdrs": [{"hdr": "X-Block", "match_criteria": "HDR_EQUALS", "value": ["yes"]}]})),
                local(5, 429, json!({"cookie": {"name": "who", "match_criteria": "HDR_CONTAINS", "value": "evil"}})),
                local(6, 501, json!({"query": {"match_criteria": "QUERY_MATCH_BEGINS_WITH", "match_str": ["debug="]}})),
                local(7, 204, json!({"method": {"match_criteria": "IS_IN", "methods": ["HTTP_METHOD_DELETE"]}})),
                rule(3, json!({"hdr_action": [{"action": "HTTP_ADD_HDR", "hdr": {"name": "X-Env", "value": {"val": "test"}}}]}))]},
            "http_response_policy": {"rules": [rule(1, json!({"hdr_action": [
                {"action": "HTTP_REMOVE_HDR", "hdr": {"name": "Server"}}]}))]}}},
    });
    more::add(&origins, &mut objects);
    servers::add(&origins, &watched, &mut objects);
    let further =
        matches::add(&lab, &mut objects).into_iter().chain(more::services()).chain(servers::services());
    let mut doors = BTreeMap::new();
    let mut services = serde_json::Map::new();
    let first = [
        ("plain", json!({"pool_ref": "/api/pool/pool-plain"})),
        ("off", json!({"pool_ref": "/api/pool/pool-off"})),
        ("empty", json!({"pool_ref": "/api/pool/pool-empty"})),
        ("nothing", json!({})),
        ("group", json!({"pool_group_ref": "/api/poolgroup/poolgroup-1"})),
        ("cookie", json!({"pool_ref": "/api/pool/pool-cookie"})),
        (
            "habits",
            json!({"pool_ref": "/api/pool/pool-plain",
            "application_profile_ref": "/api/applicationprofile/applicationprofile-habits"}),
        ),
        (
            "rules",
            json!({"pool_ref": "/api/pool/pool-plain",
            "http_policies": [{"index": 1, "http_policy_set_ref": "/api/httppolicyset/httppolicyset-1"}]}),
        ),
        (
            "doors",
            json!({"pool_ref": "/api/pool/pool-plain",
            "network_security_policy_ref": "/api/networksecuritypolicy/networksecuritypolicy-1"}),
        ),
        (
            "l4",
            json!({"pool_ref": "/api/pool/pool-two",
            "application_profile_ref": "/api/applicationprofile?name=System-L4-Application"}),
        ),
        ("turns", json!({"pool_ref": "/api/pool/pool-turns"})),
        ("address", json!({"pool_ref": "/api/pool/pool-address"})),
        ("header", json!({"pool_ref": "/api/pool/pool-header"})),
        ("sorry", json!({"pool_ref": "/api/pool/pool-sorry"})),
        (
            "limited",
            json!({"pool_ref": "/api/pool/pool-plain", "requests_rate_limit": {
            "rate_limiter": {"count": 2, "period": 3600}, "action": {"type": "RL_ACTION_LOCAL_RSP"}}}),
        ),
        (
            "proxied",
            json!({"pool_ref": "/api/pool/pool-plain",
            "application_profile_ref": "/api/applicationprofile/applicationprofile-proxied"}),
        ),
        (
            "secure",
            json!({"pool_ref": "/api/pool/pool-plain",
            "application_profile_ref": "/api/applicationprofile/applicationprofile-secure",
            "ssl_key_and_certificate_refs": ["/api/sslkeyandcertificate/sslkeyandcertificate-1"]}),
        ),
    ];
    let newest = json!({"pool_ref": "/api/pool/pool-plain", "ssl_profile_ref": "/api/sslprofile/sslprofile-newest",
        "ssl_key_and_certificate_refs": ["/api/sslkeyandcertificate/sslkeyandcertificate-1"]});
    for (name, more) in first.into_iter().chain(further).chain([("newest", newest)]) {
        let door = lab.address();
        let mut service = json!({"vsvip_ref": "/api/vsvip/vsvip-1", "services": [{"port": door.port()}]});
        service.as_object_mut().expect("a service").extend(more.as_object().expect("fields").clone());
        if name == "newest" {
            service["services"] = json!([{"port": door.port(), "enable_ssl": true}]);
        }
        if name == "secure" {
            let secured = lab.address();
            service["services"] =
                json!([{"port": door.port()}, {"port": secured.port(), "enable_ssl": true}]);
            doors.insert("secured", secured);
        }
        services.insert(format!("virtualservice-{name}"), service);
        doors.insert(name, door);
    }
    services.extend(
        more::children().into_iter().map(|(name, child)| (format!("virtualservice-hosted-{name}"), child)),
    );
    objects["virtualservice"] = Value::Object(services);
    let document = World::of(&objects, without).document(without.is_none());
    let engine = lab.engine_with(&document, Options::default());
    Scene { folder: lab.folder().to_owned(), _engine: engine, origins, watched, doors, lab }
}

/// What a server answers that is not well.
fn tired(head: &str) -> Vec<u8> {
    let body = if head.starts_with("GET / ") { "from one\n" } else { "" };
    let status = if body.is_empty() { "599 Tired" } else { "200 OK" };
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Scene {
    fn client(&self, door: &str) -> Client {
        Client::new(self.doors[door])
    }

    fn text(&self, door: &str, target: &str) -> String {
        self.client(door).get(target).expect("an answer").text()
    }

    fn status(&self, door: &str, request: &Request) -> u16 {
        self.client(door).send(request).expect("an answer").status
    }

    /// The last head that the first server got.
    fn head(&self) -> String {
        self.origins[0].heads().pop().expect("a request").to_ascii_lowercase()
    }
}

/// How the effect of a field is seen.
type Seen = fn(&Scene);

/// Fields, each with how its effect is seen.
const FIELDS: &[(&str, &str, Seen)] = &[
    ("vsvip", "vip[].ip_address.addr", |s| assert_eq!(s.text("plain", "/"), "from one\n")),
    ("virtualservice", "services[].port", |s| assert_eq!(s.text("l4", "/"), "from two\n")),
    ("virtualservice", "pool_group_ref", |s| assert_eq!(s.text("group", "/"), "from two\n")),
    ("virtualservice", "pool_ref", |s| {
        assert!(s.client("nothing").get_once("/").is_err());
        assert_eq!(s.text("plain", "/"), "from one\n");
    }),
    ("pool", "servers[].enabled", |s| {
        for _ in 0..4 {
            assert_eq!(s.text("off", "/"), "from two\n");
        }
    }),
    ("pool", "fail_action.local_rsp.file.file_content", |s| {
        let answer = s.client("empty").get("/").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (503, "soon\n"));
    }),
    ("applicationpersistenceprofile", "http_cookie_persistence_profile.cookie_name", |s| {
        let mut client = s.client("cookie");
        let first = client.get("/").expect("an answer");
        assert!(first.cookie("stays").is_some(), "{first:?}");
        assert!(first.fields("set-cookie").any(|cookie| cookie.contains("HttpOnly")), "{first:?}");
        for _ in 0..4 {
            assert_eq!(client.get("/").expect("an answer").text(), first.text());
        }
    }),
    ("applicationprofile", "http_profile.xff_update", |s| {
        let request = Request::get("/").field("X-Forwarded-For: 192.0.2.9");
        s.client("habits").send(&request).expect("an answer");
        assert!(s.head().contains("x-forwarded-for: 192.0.2.9, 127."), "{}", s.head());
        s.client("plain").send(&request).expect("an answer");
        assert!(!s.head().contains("192.0.2.9"), "{}", s.head());
    }),
    ("applicationprofile", "http_profile.x_forwarded_proto_enabled", |s| {
        s.client("habits").get("/").expect("an answer");
        assert!(s.head().contains("x-forwarded-proto: http\r\n"), "{}", s.head());
        s.client("plain").get("/").expect("an answer");
        assert!(!s.head().contains("x-forwarded-proto"), "{}", s.head());
    }),
    ("applicationprofile", "http_profile.client_max_body_size", |s| {
        let answer = s.client("habits").send(&Request::post("/", vec![b'x'; 1025])).expect("an answer");
        assert_eq!(answer.status, 413);
    }),
    ("applicationprofile", "http_profile.max_keepalive_requests", |s| {
        let mut client = s.client("habits");
        client.get("/").expect("an answer");
        let second = client.get("/").expect("an answer");
        assert_eq!(second.field("connection"), Some("close"), "{second:?}");
    }),
    ("applicationprofile", "http_profile.http_to_https", |s| {
        let answer = s.client("secure").get("/a").expect("an answer");
        assert_eq!(answer.status, 308);
        assert!(answer.field("location").is_some_and(|to| to.starts_with("https://")), "{answer:?}");
    }),
    ("httppolicyset", "http_security_policy.rules[].action.status_code", |s| {
        // Not 403: that is what it is where none is named.
        assert_eq!(s.client("rules").get("/admin/x").expect("an answer").status, 404);
    }),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.host.tokens[].str_value", |s| {
        let answer = s.client("rules").get("/old/x").expect("an answer");
        assert_eq!((answer.status, answer.field("location")), (302, Some("https://new.example/old/x")));
    }),
    ("httppolicyset", "http_request_policy.rules[].switching_action.pool_ref", |s| {
        assert_eq!(s.text("rules", "/two/x"), "from two\n");
    }),
    ("httppolicyset", "http_request_policy.rules[].hdr_action[].hdr.name", |s| {
        let answer = s.client("rules").get("/").expect("an answer");
        assert!(s.head().contains("x-env: test\r\n"), "{}", s.head());
        assert_eq!(answer.field("server"), None, "a response policy took it out");
    }),
    ("networksecuritypolicy", "rules[].action", |s| {
        let friend = s.lab.client_ip(1);
        assert_eq!(s.client("doors").from(friend).get("/").expect("an answer").text(), "from one\n");
        assert!(s.client("doors").from(s.lab.client_ip(2)).get_once("/").is_err());
    }),
    ("pool", "lb_algo_rr_per_se", |s| {
        let seen: Vec<String> = (0..12).map(|_| s.text("turns", "/")).collect();
        assert!(seen.windows(2).all(|two| two[0] != two[1]), "{seen:?}");
    }),
    ("applicationpersistenceprofile", "persistence_type", |s| {
        let first = s.text("address", "/");
        for _ in 0..4 {
            assert_eq!(s.text("address", "/"), first);
        }
        let first = s.client("cookie").get("/").expect("an answer");
        assert!(first.cookie("stays").is_some(), "another type: {first:?}");
    }),
    ("pool", "servers[].prst_hdr_val", |s| {
        // In no order that a balancing of turns has, and more often than chance gets right.
        for value in "aabbabbaaabbbaba".chars() {
            let server = if value == 'a' { "from one\n" } else { "from two\n" };
            let request = Request::get("/").field(format!("X-Server: {value}"));
            assert_eq!(s.client("header").send(&request).expect("an answer").text(), server);
        }
    }),
    ("pool", "fail_action.redirect.host", |s| {
        let answer = s.client("sorry").get("/").expect("an answer");
        assert_eq!((answer.status, answer.field("location")), (302, Some("https://sorry.example/busy")));
    }),
    ("virtualservice", "requests_rate_limit.rate_limiter.count", |s| {
        let statuses: Vec<u16> =
            (0..6).map(|_| s.client("limited").get("/").expect("an answer").status).collect();
        // Two workers, and a request for each; which one a connection comes to is chance.
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert!((1..=2).contains(&passed) && statuses.contains(&429), "{statuses:?}");
    }),
    ("applicationprofile", "tcp_app_profile.proxy_protocol_enabled", |s| {
        s.client("proxied").get("/").expect("an answer");
        assert!(s.head().starts_with("proxy tcp4 127."), "{}", s.head());
    }),
    ("httppolicyset", "http_request_policy.rules[].match.hdrs[].value[]", |s| {
        assert_eq!(s.status("rules", &Request::get("/").field("x-block: yes")), 404);
        assert_eq!(s.status("rules", &Request::get("/").field("x-block: no")), 200);
    }),
    ("httppolicyset", "http_request_policy.rules[].match.cookie.value", |s| {
        assert_eq!(s.status("rules", &Request::get("/").field("Cookie: a=b; who=evil1")), 429);
        assert_eq!(s.status("rules", &Request::get("/").field("Cookie: who=good")), 200);
    }),
    ("httppolicyset", "http_request_policy.rules[].match.query.match_str[]", |s| {
        assert_eq!(s.status("rules", &Request::get("/?debug=1")), 501);
        assert_eq!(s.status("rules", &Request::get("/?a=debug=1")), 200);
    }),
    ("httppolicyset", "http_request_policy.rules[].match.method.methods[]", |s| {
        let request = Request { method: "DELETE".to_owned(), ..Request::get("/") };
        assert_eq!(s.status("rules", &request), 204);
        assert_eq!(s.status("rules", &Request::get("/")), 200);
    }),
    ("sslkeyandcertificate", "certificate.certificate", |s| {
        let words = format!("s_client -connect {} -servername shop.test -tls1_3", s.doors["secured"]);
        let shown = pki::openssl(&s.folder, &words);
        assert!(shown.contains("CN = shop.test") || shown.contains("CN=shop.test"), "{shown}");
    }),
];

//= test COMPILE-WHOLE-01
#[test]
fn what_fields_of_objects_do_is_seen_with_traffic() {
    let scene = scene(None);
    let mut wrong = Vec::new();
    for (kind, path, seen) in rows() {
        // All that is wrong is told at once.
        if catch_unwind(AssertUnwindSafe(|| seen(&scene))).is_err() {
            wrong.push(format!("{kind}.{path}"));
        }
    }
    wrong.extend(matches::seen(&scene));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn rows() -> impl Iterator<Item = &'static (&'static str, &'static str, Seen)> {
    FIELDS.iter().chain(more::FIELDS).chain(servers::FIELDS)
}

/// What is played on engines of their own.
const PLAYS: &[(&str, &Play)] = &[
    ("ports", &ports::PLAY),
    ("policies", &policies::PLAY),
    ("secured", &secured::PLAY),
    ("behind", &behind::PLAY),
    ("probed", &probed::PLAY),
    ("changed", &changed::PLAY),
    ("aged", &changed::AGED),
];

#[test]
fn what_ports_of_services_do_is_seen_with_traffic() {
    stage::play(&ports::PLAY);
}

#[test]
fn what_rules_of_policies_do_is_seen_with_traffic() {
    stage::play(&policies::PLAY);
}

#[test]
fn what_objects_of_tls_do_is_seen_with_traffic() {
    stage::play(&secured::PLAY);
}

#[test]
fn what_pools_do_is_seen_with_traffic() {
    stage::play(&behind::PLAY);
}

#[test]
fn what_children_say_of_themselves_and_who_comes_by_several_ports_is_seen_with_traffic() {
    let stage = stage::Stage::start(&children::PLAY, None);
    let unseen = |(_, seen): &&children::Look| catch_unwind(AssertUnwindSafe(|| seen(&stage))).is_err();
    let wrong: Vec<&str> = children::LOOKS.iter().filter(unseen).map(|(field, _)| *field).collect();
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_monitors_do_is_seen_with_traffic() {
    stage::play(&probed::PLAY);
}

#[test]
fn what_a_change_of_objects_and_time_do_is_seen_with_traffic() {
    stage::play(&changed::PLAY);
    stage::play(&changed::AGED);
}

#[test]
fn what_services_say_of_their_logs_is_seen_with_traffic() {
    assert_eq!(logged::unseen(None), [""; 0]);
}

/// Says whether a look is not satisfied.
type Missed = Box<dyn Fn() -> bool + Send + Sync>;

/// For each field: where nothing is compiled of it, its look is not satisfied.
fn looks() -> Vec<(String, Missed)> {
    let mut looks: Vec<(String, Missed)> = Vec::new();
    for (kind, path, seen) in rows() {
        let missed = move || stage::missed(|| scene(Some((kind, path))), seen);
        looks.push((format!("first {kind} {path}"), Box::new(missed)));
    }
    for path in matches::fields() {
        let name = format!("matches httppolicyset {path}");
        let missed = move || {
            let seen = |scene: &Scene| assert!(matches::seen(scene).is_empty());
            stage::missed(|| scene(Some(("httppolicyset", &path))), seen)
        };
        looks.push((name, Box::new(missed)));
    }
    for (name, play) in PLAYS {
        for (field, seen) in
            play.rows.iter().flat_map(|(fields, seen)| fields.iter().map(move |field| (*field, *seen)))
        {
            looks.push((format!("{name} {field}"), Box::new(move || stage::is_missed(play, field, seen))));
        }
    }
    for (field, seen) in children::LOOKS {
        let missed = move || stage::is_missed(&children::PLAY, field, *seen);
        looks.push((format!("children {field}"), Box::new(missed)));
    }
    for field in logged::FIELDS {
        let missed = move || logged::unseen(Some(field)).contains(&field);
        looks.push((format!("logged {field}"), Box::new(missed)));
    }
    looks
}

/// Of so many looks one, where not all are wanted.
const EVERY: usize = 100;
/// Looks that are made at the same time, each with an engine of its own.
const AT_ONCE: usize = 3;

/// `FOREBAY_FIELDS` chooses some of them by a part of their names, and `FOREBAY_LONG` all.
#[test]
fn a_field_that_is_not_compiled_is_missed() {
    let named = std::env::var("FOREBAY_FIELDS").unwrap_or_default();
    let every = if named.is_empty() { forebay_e2e::long_or(1, EVERY) } else { 1 };
    let looks = looks();
    let chosen: Vec<_> = looks.iter().step_by(every).filter(|(name, _)| name.contains(&named)).collect();
    let (next, unseen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, is_missed)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if !is_missed() {
                        unseen.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                    }
                }
            });
        }
    });
    let unseen = unseen.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(unseen.is_empty(), "{unseen:#?}");
}

#[test]
fn the_list_of_fields_that_are_seen_with_traffic_is_that_of_these_tests() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let of_plays = PLAYS.iter().flat_map(|(_, play)| play.rows.iter().flat_map(|(fields, _)| fields.iter()));
    let all = rows().map(|(kind, path, _)| format!("{kind} {path}\n"));
    for line in all.chain(of_plays.chain(&logged::FIELDS).map(|field| format!("{field}\n"))) {
        assert!(shown.insert(line.clone()), "{line} is there twice");
    }
    shown.extend(matches::fields().into_iter().map(|path| format!("httppolicyset {path}\n")));
    for line in &shown {
        let (kind, path) = line.trim_end().split_once(' ').expect("a kind and a path");
        assert!(matches!(effect(kind, path), Effect::Engine(_)), "{kind}.{path}");
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../model/src/fields/seen.txt");
    let text: String = shown.into_iter().collect();
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(file, &text).expect("the list is written");
    }
    assert!(std::fs::read_to_string(file).expect("the list") == text, "{file}: FOREBAY_BLESS=1 writes it");
}
