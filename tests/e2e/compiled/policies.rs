//! What rules of policies are judged by that is not the request itself, in which order, and how often they let pass.

use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Request, pki};
use serde_json::{Value, json};

use crate::stage::{Play, Row, Set, Stage, at, begins, ip, with};

pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: ROWS };

fn make(set: &mut Set) {
    set.pool("one", &["one"], json!({}));
    pki::self_signed(set.lab.folder(), "app.test");
    set.certificate("app.test", json!({}));
    let (plain, tls) = (set.door("both"), set.door("both-tls"));
    let mut all = json!({});
    for policy in ["security", "request", "response"] {
        all[format!("http_{policy}_policy")] = json!({"rules": rules(policy, plain)});
    }
    let security = all["http_security_policy"]["rules"].as_array_mut().expect("rules");
    security.extend(rates().into_iter().enumerate().map(|(n, extra)| {
        with(
            json!({"index": 20 + n, "name": "rate", "enable": true, "match": begins(&format!("/rate-{n}/"))}),
            extra,
        )
    }));
    let request = all["http_request_policy"]["rules"].as_array_mut().expect("rules");
    request.extend(tokens().into_iter().enumerate().map(|(n, extra)| {
        with(json!({"index": 20 + n, "name": "token", "enable": true, "match": begins(&format!("/token-{n}/"))}), extra)
    }));
    set.put("httppolicyset", "all", all);
    set.service("both", json!({"pool_ref": at("pool", "one"), "services": [{"port": plain}, {"port": tls, "enable_ssl": true}],
        "ssl_key_and_certificate_refs": [at("sslkeyandcertificate", "app.test")],
        "http_policies": [{"index": 1, "http_policy_set_ref": at("httppolicyset", "all")}]}));
    limits(set);
    doors(set);
}

/// Rules of each policy: by the port, by the protocol, in their order, and by their names.
fn rules(policy: &str, plain: u16) -> Vec<Value> {
    let path = |word: &str| begins(&format!("/{policy}-{word}/"));
    let mut rules = Vec::new();
    let mut rule = |index: u32, by: Value, value: &str| {
        let done = match policy {
            "security" => json!({"action": {"action": "HTTP_SECURITY_ACTION_SEND_RESPONSE",
                "status_code": format!("HTTP_LOCAL_RESPONSE_STATUS_CODE_{value}")}}),
            "request" => json!({"switching_action": {"action": "HTTP_SWITCHING_SELECT_LOCAL",
                "status_code": format!("HTTP_LOCAL_RESPONSE_STATUS_CODE_{value}")}}),
            _ => {
                json!({"hdr_action": [{"action": "HTTP_REPLACE_HDR", "hdr": {"name": "X-Held", "value": {"val": value}}}]})
            }
        };
        let name = format!("the-{policy}-{index}");
        rules.push(with(json!({"index": index, "name": name, "enable": true, "match": by}), done));
    };
    let port = json!({"vs_port": {"match_criteria": "IS_NOT_IN", "ports": [plain]}});
    rule(1, with(path("port"), port), "403");
    let protocol = json!({"protocol": {"match_criteria": "IS_NOT_IN", "protocols": "HTTPS"}});
    rule(2, with(path("protocol"), protocol), "403");
    // Of those that answer the first one counts, of those that write the last one.
    let (first, second) = if policy == "response" { ("429", "404") } else { ("404", "429") };
    rule(5, path("order"), second);
    rule(4, path("order"), first);
    rules
}

/// What `rate_profile`s let pass: by their count and period, with a burst, and for each client.
fn rates() -> Vec<Value> {
    let limit = |limiter: Value, more: Value| {
        let action =
            json!({"type": "RL_ACTION_LOCAL_RSP", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403"});
        let profile = with(json!({"rate_limiter": limiter, "action": action}), more);
        json!({"action": {"action": "HTTP_SECURITY_ACTION_RATE_LIMIT", "rate_profile": profile}})
    };
    vec![
        limit(json!({"count": 2, "period": 3600}), json!({})),
        limit(json!({"count": 1, "period": 3600, "burst_sz": 5}), json!({})),
        limit(json!({"count": 1, "period": 3600}), json!({"per_client_ip": true})),
    ]
}

/// A redirect and a new path that are made of parts of the request, and of texts.
fn tokens() -> Vec<Value> {
    let of = |kind: &str| json!({"type": "URI_PARAM_TYPE_TOKENIZED", "tokens": [{"type": format!("URI_TOKEN_TYPE_{kind}")}]});
    vec![
        json!({"redirect_action": {"protocol": "HTTPS", "host": of("HOST"), "path": of("PATH")}}),
        json!({"rewrite_url_action": {"path": of("PATH"), "query": {"keep_query": false, "add_string": "a=1"}}}),
    ]
}

/// Limits of services and of application profiles.
fn limits(set: &mut Set) {
    let action = json!({"type": "RL_ACTION_LOCAL_RSP", "status_code": "HTTP_LOCAL_RESPONSE_STATUS_CODE_403"});
    let limit = |limiter: Value| json!({"rate_limiter": limiter, "action": action});
    let few = limit(json!({"count": 2, "period": 3600}));
    let burst = limit(json!({"count": 1, "period": 3600, "burst_sz": 5}));
    let one = json!({"pool_ref": at("pool", "one")});
    for (name, limit) in [("few", few), ("burst", burst)] {
        set.service(name, with(one.clone(), json!({"requests_rate_limit": limit})));
        let profile = json!({"rl_profile": {"client_ip_requests_rate_limit": limit}});
        let profile = json!({"type": "APPLICATION_PROFILE_TYPE_HTTP", "dos_rl_profile": profile});
        set.put("applicationprofile", name, profile);
        let by_client = json!({"application_profile_ref": at("applicationprofile", name)});
        set.service(&format!("{name}-client"), with(one.clone(), by_client));
    }
}

/// Services whose policy keeps the first client out and lets the ninth in, each in a way of its own.
fn doors(set: &mut Set) {
    let (first, ninth, net) = (set.lab.client_ip(1), set.lab.client_ip(9), set.lab.client_ip(0));
    set.put("ipaddrgroup", "first", json!({"addrs": [ip(first)]}));
    let deny = |index: u32, by: Value| {
        json!({"index": index, "name": format!("keeps-out-{index}"), "enable": true, "match": by,
            "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY"})
    };
    let client = |by: Value| json!({"client_ip": by});
    let one = json!({"match_criteria": "IS_IN", "addrs": [ip(first)]});
    let mut policies = vec![
        ("addrs", json!([deny(1, client(one.clone()))])),
        ("not", json!([deny(1, client(json!({"match_criteria": "IS_NOT_IN", "addrs": [ip(ninth)]})))])),
        (
            "ranges",
            json!([deny(
                1,
                client(
                    json!({"match_criteria": "IS_IN", "ranges": [{"begin": ip(first), "end": ip(first)}]})
                )
            )]),
        ),
        // The first three addresses of the network.
        (
            "prefixes",
            json!([deny(
                1,
                client(json!({"match_criteria": "IS_IN", "prefixes": [{"ip_addr": ip(net), "mask": 30}]}))
            )]),
        ),
        (
            "group",
            json!([deny(
                1,
                client(json!({"match_criteria": "IS_IN", "group_refs": [at("ipaddrgroup", "first")]}))
            )]),
        ),
    ];
    let mut allow = deny(1, client(json!({"match_criteria": "IS_IN", "addrs": [ip(ninth)]})));
    allow["action"] = json!("NETWORK_SECURITY_POLICY_ACTION_TYPE_ALLOW");
    policies.push(("turns", json!([deny(2, json!({})), allow])));
    let mut on = deny(2, client(one));
    on["name"] = json!("on");
    let mut off = deny(1, json!({}));
    off["enable"] = json!(false);
    policies.push(("off", json!([off, on])));
    let rate = json!({"index": 1, "name": "rate", "enable": true, "match": {}, "rl_param": {"max_rate": 5, "burst_size": 0},
        "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT"});
    let mut burst = rate.clone();
    burst["rl_param"] = json!({"max_rate": 1, "burst_size": 5});
    policies.extend([("rate", json!([rate])), ("rate-burst", json!([burst]))]);
    for (name, rules) in policies {
        set.put("networksecuritypolicy", name, json!({"rules": rules}));
        let policy = json!({"network_security_policy_ref": at("networksecuritypolicy", name)});
        set.service(name, with(json!({"pool_ref": at("pool", "one")}), policy));
    }
    let (open, shut) = (set.door("port"), set.door("port-shut"));
    let others = json!({"vs_port": {"match_criteria": "IS_NOT_IN", "ports": [open]}});
    set.put("networksecuritypolicy", "port", json!({"rules": [deny(1, others)]}));
    set.service("port", json!({"pool_ref": at("pool", "one"), "services": [{"port": open}, {"port": shut, "enable_http2": true}],
        "network_security_policy_ref": at("networksecuritypolicy", "port")}));
}

/// Whether a rule of a policy held for what came to a port of the service.
fn held(s: &Stage, policy: &str, door: &str, target: &str) -> bool {
    let text = match door {
        "both" => {
            let answer = s.get("both", target);
            format!("{} X-Held: {}", answer.status, answer.field("x-held").unwrap_or_default())
        }
        _ => s.curl("both-tls", target, &["--http1.1"]).1,
    };
    let text = text.to_ascii_lowercase();
    if policy == "response" {
        text.contains("x-held: 403")
    } else {
        text.trim_start_matches("http/1.1 ").starts_with("403")
    }
}

fn by_port(s: &Stage, policy: &str) {
    let target = format!("/{policy}-port/");
    assert!(held(s, policy, "tls", &target) && !held(s, policy, "both", &target));
}

fn by_protocol(s: &Stage, policy: &str) {
    let target = format!("/{policy}-protocol/");
    assert!(held(s, policy, "both", &target) && !held(s, policy, "tls", &target));
}

fn in_order(s: &Stage, policy: &str) {
    let answer = s.get("both", &format!("/{policy}-order/"));
    match policy {
        "response" => assert_eq!(answer.field("x-held"), Some("404")),
        _ => assert_eq!(answer.status, 404),
    }
}

/// The engine names the rule by which it did what it did.
fn named(s: &Stage, policy: &str) {
    let path = format!("/{policy}-protocol/named");
    s.get("both", &path);
    let line = &s.engine.log_lines(1, |line| line["uri_path"] == path.as_str())[0];
    let rule = line["http_request_policy_rule_name"].as_str().unwrap_or_default();
    assert!(rule.ends_with(&format!("the-{policy}-2")), "{line}");
}

/// The same of what edits an answer.
//= test OBS-LOG-10
fn edited(s: &Stage) {
    let path = "/response-protocol/edited";
    s.get("both", path);
    let line = &s.engine.log_lines(1, |line| line["uri_path"] == path)[0];
    let rule = line["http_response_policy_rule_name"].as_str().unwrap_or_default();
    assert!(rule.ends_with("the-response-2"), "{line}");
    s.get("both", "/edited-by-nobody");
    let line = &s.engine.log_lines(1, |line| line["uri_path"] == "/edited-by-nobody")[0];
    assert!(line.get("http_response_policy_rule_name").is_none(), "{line}");
}

/// Statuses of so many requests on one connection.
fn statuses(client: &mut Client, target: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get(target).expect("an answer").status).collect()
}

/// Two pass, and after a second not one more.
fn few(s: &Stage, door: &str, target: &str) {
    let mut client = s.client(door);
    assert_eq!(statuses(&mut client, target, 4), [200, 200, 403, 403]);
    // Sleep: the second in which a limit of the usual period would let others pass.
    std::thread::sleep(ms(1_200));
    assert_eq!(statuses(&mut client, target, 1), [403]);
}

fn burst(s: &Stage, door: &str, target: &str) {
    let all = statuses(&mut s.client(door), target, 12);
    let passed = all.iter().filter(|status| **status == 200).count();
    assert!((4..=7).contains(&passed) && all[11] == 403, "{all:?}");
}

fn each_client(s: &Stage) {
    let ask = |n: u32| {
        let mut client = s.client("both").from(s.lab.client_ip(n));
        client.send(&Request::get("/rate-2/x").last()).expect("an answer").status
    };
    assert_eq!([ask(1), ask(1), ask(2), ask(2)], [200, 403, 200, 403]);
}

fn keeps_out(s: &Stage, door: &str) {
    assert!(s.from(door, 1).is_none() && s.from(door, 9).is_some(), "{door}");
}

/// How many connections, each with a request, pass within a second, of which all but the last ones do. A machine that is
/// busy may need another try, as another client.
fn passed(s: &Stage, door: &str) -> usize {
    let timed = |client: u32| {
        let began = Instant::now();
        let passed = (0..12).filter(|_| s.from(door, client).is_some()).count();
        (began.elapsed() < secs(1)).then_some(passed)
    };
    (30..40).find_map(timed).expect("twelve requests within a second")
}

fn redirected(s: &Stage) {
    let answer = s.send("both", &Request::get("/token-0/x?q").field("Host: here.example"));
    assert_eq!(answer.field("location"), Some("https://here.example/token-0/x?q"));
}

fn rewritten(s: &Stage) {
    let text = s.get("both", "/token-1/x?q").text();
    assert!(text.starts_with("one GET /token-1/x?a=1 "), "{text}");
}

macro_rules! of_policy {
    ($policy:literal, $at:literal) => {
        [
            (
                &[
                    concat!("httppolicyset ", $at, ".match.vs_port.match_criteria"),
                    concat!("httppolicyset ", $at, ".match.vs_port.ports[]"),
                ],
                |s| by_port(s, $policy),
            ),
            (
                &[
                    concat!("httppolicyset ", $at, ".match.protocol.match_criteria"),
                    concat!("httppolicyset ", $at, ".match.protocol.protocols"),
                ],
                |s| by_protocol(s, $policy),
            ),
            (&[concat!("httppolicyset ", $at, ".index")], |s| in_order(s, $policy)),
        ]
    };
}

const SECURITY: [Row; 3] = of_policy!("security", "http_security_policy.rules[]");
const REQUEST: [Row; 3] = of_policy!("request", "http_request_policy.rules[]");
const RESPONSE: [Row; 3] = of_policy!("response", "http_response_policy.rules[]");

const ROWS: &[Row] = &[
    SECURITY[0],
    SECURITY[1],
    SECURITY[2],
    REQUEST[0],
    REQUEST[1],
    REQUEST[2],
    RESPONSE[0],
    RESPONSE[1],
    RESPONSE[2],
    (&["httppolicyset http_security_policy.rules[].name"], |s| named(s, "security")),
    (&["httppolicyset http_request_policy.rules[].name"], |s| named(s, "request")),
    (&["httppolicyset http_response_policy.rules[].name"], edited),
    (
        &[
            "httppolicyset http_security_policy.rules[].action.rate_profile.rate_limiter.count",
            "httppolicyset http_security_policy.rules[].action.rate_profile.rate_limiter.period",
            "httppolicyset http_security_policy.rules[].action.rate_profile.action.type",
            "httppolicyset http_security_policy.rules[].action.rate_profile.action.status_code",
        ],
        |s| few(s, "both", "/rate-0/"),
    ),
    (&["httppolicyset http_security_policy.rules[].action.rate_profile.rate_limiter.burst_sz"], |s| {
        burst(s, "both", "/rate-1/");
    }),
    (&["httppolicyset http_security_policy.rules[].action.rate_profile.per_client_ip"], each_client),
    (
        &[
            "virtualservice requests_rate_limit.rate_limiter.period",
            "virtualservice requests_rate_limit.action.type",
            "virtualservice requests_rate_limit.action.status_code",
        ],
        |s| few(s, "few", "/"),
    ),
    (&["virtualservice requests_rate_limit.rate_limiter.burst_sz"], |s| burst(s, "burst", "/")),
    (
        &["applicationprofile dos_rl_profile.rl_profile.client_ip_requests_rate_limit.rate_limiter.period"],
        |s| {
            few(s, "few-client", "/");
        },
    ),
    (
        &["applicationprofile dos_rl_profile.rl_profile.client_ip_requests_rate_limit.rate_limiter.burst_sz"],
        |s| {
            burst(s, "burst-client", "/");
        },
    ),
    (
        &[
            "httppolicyset http_request_policy.rules[].redirect_action.host.tokens[].type",
            "httppolicyset http_request_policy.rules[].redirect_action.path.tokens[].type",
        ],
        redirected,
    ),
    (&["httppolicyset http_request_policy.rules[].rewrite_url_action.path.tokens[].type"], rewritten),
    (&["networksecuritypolicy rules[].match.client_ip.addrs[].addr"], |s| keeps_out(s, "addrs")),
    (&["networksecuritypolicy rules[].match.client_ip.match_criteria"], |s| keeps_out(s, "not")),
    (
        &[
            "networksecuritypolicy rules[].match.client_ip.ranges[].begin.addr",
            "networksecuritypolicy rules[].match.client_ip.ranges[].end.addr",
        ],
        |s| keeps_out(s, "ranges"),
    ),
    (
        &[
            "networksecuritypolicy rules[].match.client_ip.prefixes[].ip_addr.addr",
            "networksecuritypolicy rules[].match.client_ip.prefixes[].mask",
        ],
        |s| keeps_out(s, "prefixes"),
    ),
    (&["networksecuritypolicy rules[].match.client_ip.group_refs[]"], |s| keeps_out(s, "group")),
    (&["networksecuritypolicy rules[].index"], |s| keeps_out(s, "turns")),
    (&["networksecuritypolicy rules[].enable"], |s| keeps_out(s, "off")),
    (&["networksecuritypolicy rules[].name"], |s| {
        assert!(s.from("off", 1).is_none());
        s.engine.log_lines(1, |line| line["http_request_policy_rule_name"] == "network/2 on");
    }),
    (
        &[
            "networksecuritypolicy rules[].match.vs_port.match_criteria",
            "networksecuritypolicy rules[].match.vs_port.ports[]",
        ],
        |s| assert!(s.is_closed("port-shut") && !s.is_closed("port")),
    ),
    (&["networksecuritypolicy rules[].rl_param.max_rate"], |s| {
        let passed = passed(s, "rate");
        assert!((4..=10).contains(&passed), "{passed}");
    }),
    (&["networksecuritypolicy rules[].rl_param.burst_size"], |s| {
        let passed = passed(s, "rate-burst");
        assert!((4..=8).contains(&passed), "{passed}");
    }),
];
