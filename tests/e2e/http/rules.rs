//! Rules of a service, and pool groups, on traffic.

use std::net::SocketAddr;

use forebay_e2e::client::read_answer;
use forebay_e2e::scene::tally;
use forebay_e2e::wire::exchange;
use forebay_e2e::{Client, Demo, Engine, Lab, Request, Wire, config};

/// Two pools of one server each, `main` (server a) and `other` (server b); the service has these rules.
fn ruled(rules: &str) -> Ruled {
    let lab = Lab::new();
    let servers = Vec::from(lab.demos(["a", "b"]));
    let at = lab.address();
    let text =
        format!("[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\"]\npool = \"main\"\n{rules}\n")
            + &config::pool("main", "", &[servers[0].address])
            + &config::pool("other", "", &[servers[1].address]);
    let engine = lab.engine(&text);
    Ruled { engine, _servers: servers, at, lab }
}

struct Ruled {
    engine: Engine,
    _servers: Vec<Demo>,
    at: SocketAddr,
    lab: Lab,
}

fn rule(name: &str, when: &str, then: &str) -> String {
    format!("[[virtual_service.rules]]\nname = \"{name}\"\nwhen = {{ {when} }}\nthen = [{then}]\n")
}

#[test]
fn requests_are_routed_by_host() {
    let scene = ruled(&rule("r", "host = { equals = [\"other.example\"] }", "{ pool = \"other\" }"));
    for (target, host, server) in [
        ("/", "other.example", "b"),
        ("/", "Other.EXAMPLE:8080", "b"),
        ("/", "other.example.", "b"),
        // The target's host counts, not the field.
        ("http://other.example/", "x", "b"),
        ("http://x/", "other.example", "a"),
        ("/", "another.example", "a"),
        ("/", "other.example.org", "a"),
        ("/other.example", "x", "a"),
    ] {
        let mut wire = Wire::connect(scene.at).unwrap();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        let (answer, _) = read_answer(&mut wire, false).unwrap();
        assert_eq!((answer.status, answer.server()), (200, server), "{target} of {host}");
    }
}

#[test]
fn requests_are_routed_by_path_method_query_header_cookie_and_address() {
    let cases = [
        ("path = { begins_with = [\"/api/\"] }", Request::get("/api/x"), true),
        ("path = { begins_with = [\"/api/\"] }", Request::get("/app/x"), false),
        ("path = { glob = [\"/img/*.png\"] }", Request::get("/img/a/b.png"), true),
        ("method = [\"POST\"]", Request::post("/", "x"), true),
        ("method = [\"POST\"]", Request::get("/"), false),
        ("query = { contains = [\"v=2\"] }", Request::get("/?v=2"), true),
        (
            "header = [{ name = \"x-tenant\", value = { equals = [\"blue\"] } }]",
            Request::get("/").field("X-Tenant: blue"),
            true,
        ),
        (
            "header = [{ name = \"x-tenant\", value = { equals = [\"blue\"] } }]",
            Request::get("/").field("X-Tenant: red"),
            false,
        ),
        (
            "cookie = [{ name = \"beta\", value = { equals = [\"1\"] } }]",
            Request::get("/").field("Cookie: a=b; beta=1"),
            true,
        ),
        ("client = { within = [\"127.0.0.0/8\"] }", Request::get("/"), true),
        ("client = { within = [\"10.0.0.0/8\"] }", Request::get("/"), false),
    ];
    for (when, request, fits) in cases {
        let scene = ruled(&rule("r", when, "{ pool = \"other\" }"));
        let answer = Client::new(scene.at).send(&request).unwrap();
        assert_eq!(
            answer.server(),
            if fits { "b" } else { "a" },
            "{when} on {} {}",
            request.method,
            request.target
        );
    }
}

#[test]
fn a_rule_can_answer_redirect_and_close() {
    let rules = rule(
        "no",
        "path = { begins_with = [\"/admin/\"] }",
        "{ respond = { status = 403, body = \"not here\" } }",
    ) + &rule(
        "moved",
        "path = { equals = [\"/old\"] }",
        "{ redirect = { status = 308, scheme = \"https\", host = \"new.example\" } }",
    ) + &rule("shut", "path = { equals = [\"/shut\"] }", "\"close\"");
    let scene = ruled(&rules);
    let mut client = Client::new(scene.at);
    for disguised in ["/admin/x", "/%61dmin/x", "//admin/x", "/a/../admin/x", "/admin;v=1/x"] {
        let answer = client.get(disguised).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "not here"), "{disguised}");
    }
    let answer = client.get("/old?q=1").unwrap();
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://new.example/old?q=1")));
    assert!(client.get("/shut").is_err(), "closed without an answer");
    assert_eq!(client.get("/").unwrap().server(), "a");
}

//= test POL-REDIRECT-02
#[test]
fn a_redirect_without_a_host_leads_back_to_the_service() {
    let scene = ruled(&rule("moved", "", "{ redirect = { status = 302, path = \"/red\" } }"));
    let answer = exchange(scene.at, "GET /a HTTP/1.0\r\n\r\n").unwrap();
    assert!(answer.contains(&format!("\r\nLocation: http://{}/red\r\n", scene.at)), "{answer}");
}

//= test OBS-LOG-09
#[test]
fn the_log_names_the_rule_that_ended_a_request() {
    let rules = rule("mark", "", "{ header = { set = [\"request\", \"x-a\", \"1\"] } }")
        + &rule("no admin", "path = { begins_with = [\"/admin\"] }", "{ respond = { status = 403 } }")
        + &rule(
            "few",
            "path = { equals = [\"/few\"] }",
            "{ rate_limit = { count = 1, period_ms = 3600000 } }",
        );
    let scene = ruled(&rules);
    let mut client = Client::new(scene.at);
    for target in ["/admin/x", "/few", "/few", "/"] {
        client.get(target).unwrap();
    }
    let named: Vec<(u64, Option<String>)> = scene
        .engine
        .log_lines(4, |_| true)
        .iter()
        .map(|line| {
            let rule = line["http_request_policy_rule_name"].as_str().map(str::to_owned);
            (line["response_code"].as_u64().unwrap(), rule)
        })
        .collect();
    let rule = |name: &str| Some(name.to_owned());
    assert_eq!(named, [(403, rule("no admin")), (200, None), (429, rule("few")), (200, None)]);
}

#[test]
fn a_rule_can_rewrite_path_query_and_fields() {
    let then = "{ replace_prefix = [\"/v1\", \"/v2\"] }, { set_query = \"x=1\" }, { header = { set = [\"request\", \"x-added\", \"yes\"] } }, { header = { remove = [\"request\", \"x-secret\"] } }, { header = { add = [\"response\", \"x-back\", \"yes\"] } }";
    let scene = ruled(&rule("r", "path = { begins_with = [\"/v1/\"] }", then));
    let answer = Client::new(scene.at).send(&Request::get("/v1/a?b=c").field("X-Secret: 7")).unwrap();
    assert_eq!(answer.field("x-back"), Some("yes"));
    let echo = answer.json();
    assert_eq!((echo["path"].as_str(), echo["query"].as_str()), (Some("/v2/a"), Some("x=1")), "{echo}");
    let headers = echo["headers"].to_string();
    assert!(headers.contains("[\"x-added\",\"yes\"]") && !headers.contains("x-secret"), "{headers}");
}

#[test]
fn the_workers_share_the_count_of_a_rate_limit_in_equal_parts() {
    let limit = "{ rate_limit = { count = 10, period_ms = 3600000, per = \"client\" } }";
    let scene = ruled(&rule("r", "", limit));
    for n in 1..3 {
        let mut client = Client::new(scene.at).from(scene.lab.client_ip(n));
        let got: Vec<u16> = (0..40).map(|_| client.get("/").unwrap().status).collect();
        // One connection is with one of the two workers, and gets its half.
        assert_eq!(got[..5], [200; 5], "client {n}: {got:?}");
        assert_eq!(got[5..], [429; 35], "client {n}: {got:?}");
    }
    // By connections of their own to either worker the whole count passes, and no more.
    let mut client = Client::new(scene.at).from(scene.lab.client_ip(3));
    let got: Vec<u16> = (0..80).map(|_| client.get_once("/").unwrap().status).collect();
    let count = |status| got.iter().filter(|s| **s == status).count();
    assert_eq!((count(200), count(429)), (10, 70), "{got:?}");
}

#[test]
fn a_pool_group_shares_by_ratio_and_falls_through_by_priority() {
    let lab = Lab::new();
    let mut servers = lab.demos(["a", "b", "c"]);
    let at = lab.address();
    let keys = "health_monitors = [\"m\"]";
    let text = format!("[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\"]\npool_group = \"g\"\n")
        + &config::pool("one", keys, &[servers[0].address])
        + &config::pool("two", keys, &[servers[1].address])
        + &config::pool("spare", keys, &[servers[2].address])
        + &config::monitor("m")
        + "[[pool_group]]\nname = \"g\"\nservers_up_min = 2\nmember = [{ pool = \"one\", ratio = 3, priority = 10 }, { pool = \"two\", ratio = 1, priority = 10 }, { pool = \"spare\", priority = 5 }]\n";
    let engine = lab.engine(&text);
    for server in &servers {
        engine.wait_for_server(server.address, true);
    }
    let ask = |n: usize| tally((0..n).map(|_| Client::new(at).get_once("/").unwrap().server().to_owned()));
    let shares = ask(400);
    assert_eq!(shares.len(), 2, "the spare pool rests: {shares:?}");
    assert!((240..=360).contains(&shares["a"]), "three to one: {shares:?}");
    // One server of two is too few for the highest priority alone, and none leaves it to the next.
    for (n, serve) in [(0, &["b", "c"][..]), (1, &["c"])] {
        servers[n].process.kill();
        engine.wait_for_state(servers[n].address, "down");
        assert_eq!(ask(40).into_keys().collect::<Vec<_>>(), serve, "after {} of two", n + 1);
    }
}

#[test]
fn named_lists_of_texts_and_networks_decide() {
    let lab = Lab::new();
    let servers = Vec::from(lab.demos(["a", "b"]));
    let at = lab.address();
    let text = |hosts: &str, networks: &str| {
        let rules = rule(
            "both",
            "host = { in_group = [\"tenants\"] }, client = { in_group = [\"offices\"] }",
            "{ pool = \"other\" }",
        );
        format!(
            "[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\"]\npool = \"main\"\n{rules}\n\
             [[string_group]]\nname = \"tenants\"\nvalues = [{hosts}]\n\
             [[address_group]]\nname = \"offices\"\nprefixes = [{networks}]\n"
        ) + &config::pool("main", "", &[servers[0].address])
            + &config::pool("other", "", &[servers[1].address])
    };
    let engine = lab.engine(&text("\"red.example\", \"blue.example\"", "\"192.0.2.0/24\", \"127.0.0.0/8\""));
    let asked = |host: &str| {
        let mut wire = Wire::connect(at).unwrap();
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap();
        read_answer(&mut wire, false).unwrap().0.server().to_owned()
    };
    assert_eq!(["red.example", "blue.example", "green.example"].map(asked), ["b", "b", "a"]);
    engine.load(&text("\"green.example\"", "\"127.0.0.0/8\""));
    assert_eq!(["red.example", "green.example"].map(asked), ["a", "b"], "the lists are loaded again");
    engine.load(&text("\"green.example\"", "\"192.0.2.0/24\""));
    assert_eq!(asked("green.example"), "a", "a client that stands in none of the networks");
}
