//! What no good client sends.

use forebay_e2e::{Controller, Lab};
use serde_json::{Value, json};

//= test API-PATH-01
//= test API-ERROR-01
#[test]
fn slashes_mean_nothing_and_mistakes_are_never_the_controllers() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let admin = controller.admin();
    for path in
        ["/api/pool", "//api//pool/", "/api/pool/?", "/api/pool?&include_name=true&x=1&page_size=1000"]
    {
        let (status, list) = admin.get(path);
        assert_eq!((status, &list["count"]), (200, &json!(0)), "{path}: {list}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let nested = format!("{{\"name\": {}", "{\"a\":".repeat(200) + "1" + &"}".repeat(201));
    let long = json!({"name": "x".repeat(3 << 20)}).to_string();
    for (method, path, content) in [
        ("POST", "/api/pool", "{"),
        ("POST", "/api/pool", "[]"),
        ("POST", "/api/pool", "\u{0}\u{1}\u{2}"),
        ("POST", "/api/pool", &deep),
        ("POST", "/api/pool", &nested),
        ("POST", "/api/pool", &long),
        ("POST", "/api/pool", "{\"name\": 1e999}"),
        ("POST", "/api/pool", "{\"name\": \"\\ud800\"}"),
        ("PUT", "/api/pool/pool-1", "{}"),
        ("PATCH", "/api/pool/pool-1", "{}"),
        ("DELETE", "/api/pool/pool-1", ""),
        ("DELETE", "/api/pool", ""),
        ("TRACE", "/api/pool", ""),
        ("POST", "/api/nothing", "{}"),
        ("GET", "/api/pool?page=0", ""),
        ("GET", "/api/pool?page_size=-1", ""),
        ("GET", "/api/pool?name=%ff", ""),
        ("GET", "/api/pool/..%2f..%2fetc", ""),
        ("GET", "/", ""),
    ] {
        let (status, answer) = admin.ask(method, path, Some(content.as_bytes()));
        let shown: String = content.chars().take(40).collect();
        assert!((400..500).contains(&status) && status != 401, "{method} {path} {shown}: {status} {answer}");
        assert!(answer["error"].is_string(), "{method} {path} {shown}: {answer}");
    }
    let huge = vec![b' '; 5 << 20];
    let (status, _) = admin.ask("POST", "/api/pool", Some(&huge));
    assert_eq!(status, 413);
    assert_eq!(admin.get("/api/pool").1["count"], 0);
}

//= test API-LOGIN-01
//= test API-CSRF-01
#[test]
fn a_session_writes_only_with_its_token_and_never_from_a_foreign_page() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let (status, _) = controller.nobody().get("/api/pool");
    assert_eq!(status, 401);
    let jar = lab.folder().join("cookies");
    let jar = jar.to_str().expect("a path");
    let client = controller.nobody().with(&["--cookie-jar", jar, "--cookie", jar]);
    let (status, said) =
        client.send("POST", "/login", &json!({"username": "admin", "password": controller.password}));
    assert_eq!((status, &said["session_cookie_name"]), (200, &json!("avi-sessionid")), "{said}");
    assert_eq!(client.get("/api/pool").0, 200);
    let text = std::fs::read_to_string(jar).expect("cookies");
    let token = text.lines().find_map(|line| line.split_once("csrftoken\t")).expect("a token").1;
    for name in ["sessionid", "avi-sessionid"] {
        let line = text.lines().find(|line| line.contains(&format!("\t{name}\t"))).expect("a cookie");
        assert!(line.starts_with("#HttpOnly_") && line.contains("TRUE"), "{line}");
    }
    let make = |client: &forebay_e2e::controller::Curl, name: &str| {
        client.send("POST", "/api/pool", &json!({"name": name})).0
    };
    assert_eq!(make(&client, "a"), 403, "no token");
    let other = format!("X-CSRFToken: {}", token.chars().rev().collect::<String>());
    assert_eq!(make(&client.clone().with(&["--header", &other]), "a"), 403, "another token");
    let good = client.clone().with(&["--header", &format!("X-CSRFToken: {token}")]);
    assert_eq!(
        make(&good.clone().with(&["--header", "Origin: https://elsewhere.test"]), "a"),
        403,
        "a foreign page"
    );
    assert_eq!(make(&good, "a"), 201);
    let tenant = good.clone().with(&["--header", "X-Avi-Tenant: nobody's"]);
    let (status, said) = tenant.get("/api/pool");
    assert!(
        status == 403 && said["error"].as_str().is_some_and(|text| text.contains("does not exist")),
        "{said}"
    );
    assert_eq!(good.send("POST", "/logout", &Value::Null).0, 200);
    assert_eq!(good.get("/api/pool").0, 401, "a session that has ended stays so");
}

//= test API-TOKEN-01
#[test]
fn a_token_opens_sessions_until_it_is_deleted_and_is_kept_as_a_digest() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let admin = controller.admin();
    let (status, made) = admin.send("POST", "/api/user-token", &json!({"hours": "240"}));
    assert_eq!(status, 200, "{made}");
    let (token, uuid) = (made["token"].as_str().expect("a token"), made["uuid"].as_str().expect("a uuid"));
    let come = |controller: &Controller, user: &str, token: &str| {
        controller.nobody().send("POST", "/login", &json!({"username": user, "token": token})).0
    };
    assert_eq!(come(&controller, "admin", token), 200);
    assert_eq!(come(&controller, "admin", &token.to_uppercase()), 401);
    assert_eq!(come(&controller, "somebody", token), 401);
    controller.process.kill();
    let bytes = std::fs::read(controller.data.join("store.redb")).expect("a file");
    assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "it stands in the store");
    controller.again(&lab);
    assert_eq!(come(&controller, "admin", token), 200, "it outlives the process");
    let (_, list) = controller.admin().get("/api/user-token");
    assert_eq!(list["results"][0]["uuid"], uuid, "{list}");
    assert_eq!(controller.admin().ask("DELETE", &format!("/api/user-token/{uuid}"), None).0, 204);
    assert_eq!(come(&controller, "admin", token), 401);
}

//= test API-LOGIN-02
#[test]
fn who_tries_passwords_waits_and_a_good_one_does_not_help_meanwhile() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let try_with = |user: &str, password: &str| {
        controller.nobody().send("POST", "/login", &json!({"username": user, "password": password}))
    };
    let mut seen = Vec::new();
    for number in 0..20 {
        let (status, said) = try_with("admin", &format!("wrong-{number}"));
        assert!(matches!(status, 401 | 403), "{said}");
        seen.push(status);
    }
    assert_eq!(seen.iter().filter(|status| **status == 401).count(), 5, "{seen:?}");
    assert_eq!(try_with("admin", &controller.password).0, 403, "it waits");
    let (status, said) = try_with("nobody", "x");
    assert_eq!((status, &said["error"]), (401, &json!("Invalid credentials")), "as of a name that there is");
}

//= test API-WARN-01
//= test API-WARN-02
//= test API-WARN-03
#[test]
fn what_does_nothing_and_what_no_engine_can_do_is_told_beside_the_answer() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let file = lab.folder().join("head");
    let admin = controller.admin().with(&["--dump-header", file.to_str().expect("a path")]);
    let told = |method: &str, path: &str, document: &Value| -> Vec<String> {
        let (status, answer) = admin.send(method, path, document);
        assert!(status < 300, "{method} {path}: {answer}");
        let head = std::fs::read_to_string(&file).expect("a head");
        head.lines().filter_map(|line| line.strip_prefix("x-forebay-warning: ")).map(str::to_owned).collect()
    };
    assert!(told("POST", "/api/pool", &json!({"name": "plain"})).is_empty());
    let idle = told("POST", "/api/pool", &json!({"name": "odd", "capacity_estimation": true}));
    assert_eq!(idle, ["accepted, and nothing acts on it yet: capacity_estimation"]);
    let vip =
        json!({"name": "v", "vip": [{"vip_id": "1", "ip_address": {"addr": "192.0.2.1", "type": "V4"}}]});
    assert!(told("POST", "/api/vsvip", &vip).is_empty());
    let service = |more: Value| {
        let mut service =
            json!({"name": "s", "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=plain"});
        service.as_object_mut().expect("a service").extend(more.as_object().expect("fields").clone());
        service
    };
    let nowhere = told("POST", "/api/virtualservice", &service(json!({})));
    assert_eq!(nowhere.len(), 1, "{nowhere:?}");
    assert!(
        nowhere[0].starts_with("no engine can carry it out: virtualservice \"s\": services:"),
        "{nowhere:?}"
    );
    let (_, list) = admin.get("/api/virtualservice?name=s");
    let path = format!("/api/virtualservice/{}", list["results"][0]["uuid"].as_str().expect("a uuid"));
    assert!(told("PUT", &path, &service(json!({"services": [{"port": 80}]}))).is_empty());
    assert!(told("GET", &path, &Value::Null).is_empty());
    let (_, runtime) = admin.get(&format!("{path}/runtime"));
    assert!(runtime["warnings"].is_null(), "{runtime}");
    // What engines do without is said as long as it is so.
    assert!(told("POST", "/api/pool", &json!({"name": "waits", "request_queue_enabled": true})).is_empty());
    let waits = json!({"services": [{"port": 80}], "pool_ref": "/api/pool?name=waits"});
    let without = told("PUT", &path, &service(waits));
    assert_eq!(without.len(), 1, "{without:?}");
    assert!(
        without[0].starts_with("engines do without: pool \"waits\": request_queue_enabled:"),
        "{without:?}"
    );
    let (_, runtime) = admin.get(&format!("{path}/runtime"));
    let said = runtime["warnings"][0].as_str().unwrap_or_default();
    assert!(said.starts_with("pool \"waits\": request_queue_enabled:"), "{runtime}");
}
