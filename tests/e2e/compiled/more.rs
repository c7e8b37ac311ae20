//! More fields: what a pool without servers answers, cookies, what rules do, ports that lead to pools of their own, children.

use forebay_e2e::{Origin, Request};
use serde_json::{Value, json};

use super::{Scene, Seen};

/// The objects that these stand on.
pub fn add(origins: &[Origin; 2], objects: &mut Value) {
    let server = |n: usize| {
        let at = origins[n].address;
        json!({"ip": {"addr": at.ip().to_string(), "type": "V4"}, "port": at.port()})
    };
    let put = |objects: &mut Value, kind: &str, uuid: &str, object: Value| objects[kind][uuid] = object;
    let redirect = json!({"host": "sorry.example", "protocol": "HTTP", "path": "/busy", "query": "why=full",
        "status_code": "HTTP_REDIRECT_STATUS_CODE_307"});
    put(
        objects,
        "pool",
        "pool-away",
        json!({"fail_action": {"type": "FAIL_ACTION_HTTP_REDIRECT", "redirect": redirect}}),
    );
    let answer = json!({"status_code": "FAIL_HTTP_STATUS_CODE_200", "file": {"content_type": "text/plain", "file_content": "later\n"}});
    put(
        objects,
        "pool",
        "pool-later",
        json!({"fail_action": {"type": "FAIL_ACTION_HTTP_LOCAL_RSP", "local_rsp": answer}}),
    );
    put(objects, "pool", "pool-none", json!({"enabled": false, "servers": [server(0)]}));
    let mut portless = server(1);
    portless.as_object_mut().expect("a server").remove("port");
    let port = origins[1].address.port();
    put(objects, "pool", "pool-port", json!({"servers": [portless], "default_server_port": port}));
    let hashed = json!({"servers": [server(0), server(1)], "lb_algorithm": "LB_ALGORITHM_CONSISTENT_HASH",
        "lb_algorithm_hash": "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER", "lb_algorithm_consistent_hash_hdr": "X-Key"});
    put(objects, "pool", "pool-hash", hashed);
    let again = json!({"servers": [server(0), server(1)], "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "lb_algo_rr_per_se": true,
        "server_reselect": {"enabled": true, "num_retries": 2, "svr_resp_code": {"codes": [599]}}});
    put(objects, "pool", "pool-again", again);
    let members = json!([{"pool_ref": "/api/pool/pool-plain", "ratio": 5, "deployment_state": "OUT_OF_SERVICE"},
        {"pool_ref": "/api/pool/pool-two", "ratio": 1}]);
    put(objects, "poolgroup", "poolgroup-ratio", json!({"members": members}));
    let few = json!({"members": [{"pool_ref": "/api/pool/pool-none"}],
        "fail_action": {"type": "FAIL_ACTION_HTTP_REDIRECT", "redirect": redirect}});
    put(objects, "poolgroup", "poolgroup-few", few);
    let sized = json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "http_profile": {"client_max_header_size": 1,
        "max_header_count": 12, "xff_enabled": false}});
    put(objects, "applicationprofile", "applicationprofile-sized", sized);
    let token = |text: &str| json!([{"type": "URI_TOKEN_TYPE_STRING", "str_value": text}]);
    let text = |text: &str| json!({"type": "URI_PARAM_TYPE_TOKENIZED", "tokens": token(text)});
    let mut rules = Vec::new();
    for extra in [
        json!({"redirect_action": {"protocol": "HTTP", "port": 8080, "host": text("there.example"), "path": text("moved"),
            "keep_query": false, "status_code": "HTTP_REDIRECT_STATUS_CODE_307"}}),
        json!({"rewrite_url_action": {"path": text("within"), "query": {"keep_query": false, "add_string": "a=1"}}}),
        json!({"switching_action": {"action": "HTTP_SWITCHING_SELECT_POOLGROUP", "pool_group_ref": "/api/poolgroup/poolgroup-ratio"}}),
        json!({"switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_429",
            "file": {"content_type": "text/csv", "file_content": "a,b\n"}}}),
        json!({"hdr_action": [{"action": "HTTP_REPLACE_HDR", "hdr": {"name": "X-A", "value": {"val": "new"}}},
            {"action": "HTTP_REMOVE_HDR", "hdr": {"name": "X-B"}}]}),
        json!({"switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL", "other_status_code": 418}}),
    ] {
        let at = rules.len();
        let mut rule = json!({"index": at + 1, "name": "r", "enable": true,
            "match": {"path": {"match_criteria": "BEGINS_WITH", "match_str": [format!("/{at}/")]}}});
        rule.as_object_mut().expect("a rule").extend(extra.as_object().expect("fields").clone());
        rules.push(rule);
    }
    let closed = json!({"index": 1, "name": "closed", "enable": true, "action": {"action": "HTTP_SECURITY_ACTION_CLOSE_CONN"},
        "match": {"path": {"match_criteria": "BEGINS_WITH", "match_str": ["/closed/"]}}});
    let said = json!({"index": 2, "name": "said", "enable": true, "action": {"action": "HTTP_SECURITY_ACTION_SEND_RESPONSE",
        "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_404", "file": {"content_type": "text/csv", "file_content": "c,d\n"}},
        "match": {"path": {"match_criteria": "BEGINS_WITH", "match_str": ["/said/"]}}});
    let set = json!({"http_security_policy": {"rules": [closed, said]}, "http_request_policy": {"rules": rules}, "http_response_policy": {"rules": [
        {"index": 1, "name": "r", "enable": true, "hdr_action": [{"action": "HTTP_REPLACE_HDR", "hdr": {"name": "Server", "value": {"val": "mine"}}}]}]}});
    put(objects, "httppolicyset", "httppolicyset-does", set);
}

/// Services, by the names of their doors.
pub fn services() -> Vec<(&'static str, Value)> {
    let pool = |name: &str| json!({"pool_ref": format!("/api/pool/pool-{name}")});
    vec![
        ("away", pool("away")),
        ("later", pool("later")),
        ("none", pool("none")),
        ("port", pool("port")),
        ("hash", pool("hash")),
        ("again", pool("again")),
        ("ratio", json!({"pool_group_ref": "/api/poolgroup/poolgroup-ratio"})),
        ("few", json!({"pool_group_ref": "/api/poolgroup/poolgroup-few"})),
        (
            "sized",
            json!({"pool_ref": "/api/pool/pool-plain",
            "application_profile_ref": "/api/applicationprofile/applicationprofile-sized"}),
        ),
        (
            "does",
            json!({"pool_ref": "/api/pool/pool-plain",
            "http_policies": [{"index": 1, "http_policy_set_ref": "/api/httppolicyset/httppolicyset-does"}]}),
        ),
        (
            "hosted",
            json!({"type": "VS_TYPE_VH_PARENT", "vh_type": "VS_TYPE_VH_ENHANCED", "pool_ref": "/api/pool/pool-plain"}),
        ),
    ]
}

/// Children of the service `hosted`: they have no door of their own.
pub fn children() -> Vec<(&'static str, Value)> {
    let path = json!({"path": {"match_criteria": "BEGINS_WITH", "match_str": ["/cart/"]}});
    let mut all = vec![
        (
            "two",
            json!({"pool_ref": "/api/pool/pool-two", "vh_domain_name": ["two.example"],
            "http_policies": [{"index": 1, "http_policy_set_ref": "/api/httppolicyset/httppolicyset-does"}]}),
        ),
        (
            "cart",
            json!({"pool_ref": "/api/pool/pool-two",
            "vh_matches": [{"host": "shop.example", "rules": [{"name": "cart", "matches": path}]},
                {"host": "old.example", "path": [{"match_criteria": "EQUALS", "match_str": ["/cart"]}]}]}),
        ),
        (
            "off",
            json!({"pool_ref": "/api/pool/pool-two", "vh_domain_name": ["off.example"], "enabled": false}),
        ),
    ];
    for (_, child) in &mut all {
        child["type"] = json!("VS_TYPE_VH_CHILD");
        child["vh_type"] = json!("VS_TYPE_VH_ENHANCED");
        child["vh_parent_vs_ref"] = json!("/api/virtualservice/virtualservice-hosted");
    }
    all
}

fn away(s: &Scene, door: &str) {
    let answer = s.client(door).get("/").expect("an answer");
    assert_eq!((answer.status, answer.field("location")), (307, Some("http://sorry.example/busy?why=full")));
}

fn later(s: &Scene) {
    let answer = s.client("later").get("/").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "later\n"));
}

fn moved(s: &Scene) {
    let answer = s.client("does").get("/0/x?q").expect("an answer");
    assert_eq!((answer.status, answer.field("location")), (307, Some("http://there.example:8080/moved")));
}

fn within(s: &Scene) {
    s.client("does").get("/1/x?q").expect("an answer");
    assert!(s.head().starts_with("get /within?a=1 "), "{}", s.head());
}

fn local(s: &Scene) {
    let answer = s.client("does").get("/3/x").expect("an answer");
    assert_eq!((answer.status, answer.field("content-type")), (429, Some("text/csv")));
    assert_eq!(answer.text(), "a,b\n");
}

fn said(s: &Scene) {
    let answer = s.client("does").get("/said/x").expect("an answer");
    assert_eq!((answer.status, answer.field("content-type")), (404, Some("text/csv")));
    assert_eq!(answer.text(), "c,d\n");
}

fn edited(s: &Scene) {
    let request = Request::get("/4/x").field("X-A: old").field("X-B: old");
    let answer = s.client("does").send(&request).expect("an answer");
    assert!(s.head().contains("x-a: new\r\n") && !s.head().contains("x-b"), "{}", s.head());
    assert_eq!(answer.field("server"), Some("mine"));
    let without = s.client("rules").get("/").expect("an answer");
    assert_eq!(without.field("server"), None, "one that is taken out is not one without a text");
}

fn hosted(s: &Scene, host: &str, path: &str) -> Option<String> {
    let request = Request::get(path).field(format!("Host: {host}"));
    s.client("hosted").send(&request).ok().map(|answer| answer.text())
}

//= test COMPILE-CHILD-01
fn by_host(s: &Scene) {
    for (host, path, server) in [
        ("two.example", "/", Some("from two\n")),
        ("TWO.example:80", "/x", Some("from two\n")),
        ("other.example", "/", Some("from one\n")),
        ("shop.example", "/", Some("from one\n")),
        ("shop.example", "/cart/1", Some("from two\n")),
        ("shop.example", "/x/cart/1", Some("from one\n")),
        ("old.example", "/cart", Some("from two\n")),
        ("old.example", "/cart/1", Some("from one\n")),
        ("off.example", "/", None),
    ] {
        assert_eq!(hosted(s, host, path).as_deref(), server, "{host}{path}");
    }
    // A child's rules are its own hosts' alone.
    assert_eq!(hosted(s, "two.example", "/said/x").as_deref(), Some("c,d\n"));
    assert_eq!(hosted(s, "other.example", "/said/x").as_deref(), Some("from one\n"));
}

/// Fields, each with how its effect is seen.
pub const FIELDS: &[(&str, &str, Seen)] = &[
    ("pool", "fail_action.type", later),
    ("pool", "fail_action.redirect.protocol", |s| away(s, "away")),
    ("pool", "fail_action.redirect.path", |s| away(s, "away")),
    ("pool", "fail_action.redirect.query", |s| away(s, "away")),
    ("pool", "fail_action.redirect.status_code", |s| away(s, "away")),
    ("pool", "fail_action.local_rsp.status_code", later),
    ("pool", "enabled", |s| assert!(s.client("none").get_once("/").is_err())),
    ("pool", "default_server_port", |s| assert_eq!(s.text("port", "/"), "from two\n")),
    ("pool", "servers[].ip.addr", |s| assert_eq!(s.text("plain", "/"), "from one\n")),
    ("pool", "servers[].port", |s| assert_eq!(s.text("group", "/"), "from two\n")),
    ("pool", "lb_algorithm", hash),
    ("pool", "lb_algorithm_hash", hash),
    ("pool", "lb_algorithm_consistent_hash_hdr", hash),
    ("pool", "server_reselect.enabled", again),
    ("pool", "server_reselect.svr_resp_code.codes[]", again),
    ("poolgroup", "members[].pool_ref", |s| assert_eq!(s.text("ratio", "/"), "from two\n")),
    ("poolgroup", "members[].deployment_state", |s| {
        for _ in 0..6 {
            assert_eq!(s.text("ratio", "/"), "from two\n");
        }
    }),
    ("poolgroup", "fail_action.type", |s| away(s, "few")),
    ("poolgroup", "fail_action.redirect.host", |s| away(s, "few")),
    ("poolgroup", "fail_action.redirect.protocol", |s| away(s, "few")),
    ("poolgroup", "fail_action.redirect.path", |s| away(s, "few")),
    ("poolgroup", "fail_action.redirect.query", |s| away(s, "few")),
    ("poolgroup", "fail_action.redirect.status_code", |s| away(s, "few")),
    ("applicationprofile", "http_profile.client_max_header_size", |s| {
        let long = Request::get("/").field(format!("X-Long: {}", "x".repeat(1100)));
        assert_eq!((s.status("sized", &long), s.status("plain", &long)), (431, 200));
    }),
    ("applicationprofile", "http_profile.max_header_count", |s| {
        let many = (0..12).fold(Request::get("/"), |request, at| request.field(format!("X-{at}: y")));
        assert_eq!((s.status("sized", &many), s.status("plain", &many)), (431, 200));
    }),
    ("applicationprofile", "http_profile.xff_enabled", |s| {
        s.client("sized").send(&Request::get("/").field("X-Forwarded-For: 192.0.2.9")).expect("an answer");
        assert!(s.head().contains("x-forwarded-for: 192.0.2.9\r\n"), "{}", s.head());
    }),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.protocol", moved),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.port", moved),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.keep_query", moved),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.status_code", moved),
    ("httppolicyset", "http_request_policy.rules[].redirect_action.path.tokens[].str_value", moved),
    ("httppolicyset", "http_request_policy.rules[].rewrite_url_action.path.tokens[].str_value", within),
    ("httppolicyset", "http_request_policy.rules[].rewrite_url_action.query.keep_query", within),
    ("httppolicyset", "http_request_policy.rules[].rewrite_url_action.query.add_string", within),
    ("httppolicyset", "http_request_policy.rules[].switching_action.action", |s| {
        local(s);
        assert_eq!(s.text("does", "/2/x"), "from two\n");
    }),
    ("httppolicyset", "http_request_policy.rules[].switching_action.status_code", local),
    ("httppolicyset", "http_request_policy.rules[].switching_action.file.content_type", local),
    ("httppolicyset", "http_request_policy.rules[].switching_action.file.file_content", local),
    ("httppolicyset", "http_request_policy.rules[].switching_action.other_status_code", |s| {
        assert_eq!(s.status("does", &Request::get("/5/x")), 418);
    }),
    ("httppolicyset", "http_request_policy.rules[].switching_action.pool_group_ref", |s| {
        assert_eq!(s.text("does", "/2/x"), "from two\n");
    }),
    ("httppolicyset", "http_request_policy.rules[].hdr_action[].action", edited),
    ("httppolicyset", "http_request_policy.rules[].hdr_action[].hdr.value.val", edited),
    ("httppolicyset", "http_response_policy.rules[].hdr_action[].action", edited),
    ("httppolicyset", "http_response_policy.rules[].hdr_action[].hdr.name", edited),
    ("httppolicyset", "http_response_policy.rules[].hdr_action[].hdr.value.val", edited),
    ("httppolicyset", "http_security_policy.rules[].action.action", |s| {
        assert!(s.client("does").get_once("/closed/x").is_err());
    }),
    ("httppolicyset", "http_security_policy.rules[].action.file.content_type", said),
    ("httppolicyset", "http_security_policy.rules[].action.file.file_content", said),
    ("virtualservice", "http_policies[].http_policy_set_ref", said),
    ("virtualservice", "vsvip_ref", |s| assert_eq!(s.text("plain", "/"), "from one\n")),
    ("virtualservice", "network_security_policy_ref", |s| {
        assert!(s.client("doors").from(s.lab.client_ip(2)).get_once("/").is_err());
    }),
    ("virtualservice", "type", by_host),
    ("virtualservice", "vh_parent_vs_ref", by_host),
    ("virtualservice", "vh_domain_name[]", by_host),
    ("virtualservice", "vh_matches[].host", by_host),
    ("virtualservice", "vh_matches[].path[].match_criteria", by_host),
    ("virtualservice", "vh_matches[].path[].match_str[]", by_host),
    ("virtualservice", "vh_matches[].rules[].matches.path.match_criteria", by_host),
    ("virtualservice", "vh_matches[].rules[].matches.path.match_str[]", by_host),
];

fn hash(s: &Scene) {
    let of = |key: usize| {
        let request = Request::get(&format!("/{key}")).field(format!("X-Key: k{}", key % 20));
        s.client("hash").send(&request).expect("an answer").text()
    };
    let first: Vec<String> = (0..20).map(of).collect();
    assert!(
        first.contains(&"from one\n".to_owned()) && first.contains(&"from two\n".to_owned()),
        "{first:?}"
    );
    // The same header, and another path: the same server.
    assert_eq!((20..40).map(of).collect::<Vec<_>>(), first);
}

fn again(s: &Scene) {
    // The first server answers this path by 599, and the second one is asked then.
    for _ in 0..4 {
        assert_eq!(s.text("again", "/tired"), "from two\n");
    }
    assert_eq!(s.status("plain", &Request::get("/tired")), 599);
}
