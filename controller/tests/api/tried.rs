//! Writes that are tried only, and what they must not lose.

use serde_json::{Value, json};

use crate::site::{Client, Site};

const NONE: Value = Value::Null;

fn at(object: &Value, kind: &str) -> String {
    format!("/api/{kind}/{}", object["uuid"].as_str().expect("a uuid"))
}

/// All that there is: objects and events.
async fn all(site: &Site, admin: &Client) -> (u64, String) {
    let events = site.ask(admin, "GET", "/api/analytics/logs?type=2&page_size=1", &NONE).await;
    let revision = site.app.objects.now().changed();
    (revision, events.json["count"].to_string())
}

//= test API-DRY-01
#[tokio::test]
async fn a_write_that_is_tried_is_judged_whole_and_changes_nothing() {
    let site = Site::new("tried").await;
    let admin = site.admin().await;
    let pool = site.make(&admin, "/api/pool", json!({"name": "p"})).await;
    let idle = site.make(&admin, "/api/pool", json!({"name": "idle"})).await;
    let used = json!({"name": "g", "members": [{"pool_ref": pool["url"]}]});
    site.make(&admin, "/api/poolgroup", used).await;
    site.user(
        &admin,
        "opal",
        json!([{"role_ref": "/api/role?name=Application-Operator", "all_tenants": true}]),
    )
    .await;
    let opal = site.login("opal", "password-opal").await;
    let mut stale = pool.clone();
    stale["_last_modified"] = json!("1");
    let servers: Vec<Value> =
        (0..5001).map(|n| json!({"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": n})).collect();
    let before = all(&site, &admin).await;
    for (who, method, path, content, wanted) in [
        (&admin, "POST", "/api/pool".to_owned(), json!({"name": "new"}), 201),
        (&admin, "POST", "/api/pool".to_owned(), json!({"name": "p"}), 409),
        (&admin, "POST", "/api/pool".to_owned(), json!({"nme": "p"}), 400),
        (
            &admin,
            "POST",
            "/api/poolgroup".to_owned(),
            json!({"name": "h", "members": [{"pool_ref": "/api/pool?name=none"}]}),
            400,
        ),
        (&admin, "POST", "/api/pool".to_owned(), json!({"name": "new", "servers": servers}), 400),
        (&admin, "POST", "/api/user".to_owned(), json!({"name": "u", "password": "short"}), 400),
        (&opal, "POST", "/api/pool".to_owned(), json!({"name": "new"}), 403),
        (&admin, "PUT", at(&pool, "pool"), json!({"name": "q"}), 200),
        (&admin, "PUT", at(&pool, "pool"), stale, 412),
        (&admin, "PATCH", at(&pool, "pool"), json!({"replace": {"default_server_port": 8081}}), 200),
        (&admin, "PATCH", at(&pool, "pool"), json!({"replace": {"default_server_port": 0}}), 400),
        (&admin, "DELETE", at(&pool, "pool"), NONE, 403),
        (&admin, "DELETE", at(&idle, "pool"), NONE, 204),
        (&admin, "DELETE", "/api/pool/pool-none".to_owned(), NONE, 404),
        (
            &admin,
            "PATCH",
            "/api/systemconfiguration".to_owned(),
            json!({"replace": {"default_license_tier": "x"}}),
            400,
        ),
        (
            &admin,
            "PATCH",
            "/api/systemconfiguration".to_owned(),
            json!({"replace": {"description": "x"}}),
            200,
        ),
    ] {
        let said = site.ask(who, method, &format!("{path}?dry_run=true"), &content).await;
        assert_eq!(said.status, wanted, "{method} {path}: {}", said.text);
        assert_eq!(said.is_tried, wanted < 300, "{method} {path}");
        assert_eq!(all(&site, &admin).await, before, "{method} {path}");
    }
    let said = site
        .ask(&admin, "PATCH", &(at(&pool, "pool") + "?dry_run"), &json!({"replace": {"name": "q"}}))
        .await;
    assert_eq!((said.status, &said.json["name"]), (200, &json!("q")), "as it would be: {}", said.text);
    // A service that is not there is judged as one that is.
    let service = json!({"name": "s", "services": [{"port": 80}]});
    let tried = site.ask(&admin, "POST", "/api/virtualservice?dry_run=true", &service).await;
    assert_eq!(tried.status, 201, "{}", tried.text);
    assert_eq!(all(&site, &admin).await, before);
    let made = site.ask(&admin, "POST", "/api/virtualservice?dry_run=false", &service).await;
    assert_eq!((made.status, made.is_tried), (201, false), "{}", made.text);
    assert_eq!(tried.warnings.len(), made.warnings.len(), "{:?} {:?}", tried.warnings, made.warnings);
    assert!(!made.warnings.is_empty());
    // What could be meant so is never made.
    let before = all(&site, &admin).await;
    for (query, wanted) in [
        ("dry_run=true&dry_run=false", 201),
        ("dry_run=false&dry_run", 201),
        ("dryRun=true", 400),
        ("Dry-Run=all", 400),
        ("dry_run=yes", 400),
    ] {
        let said = site.ask(&admin, "POST", &format!("/api/pool?{query}"), &json!({"name": "maybe"})).await;
        assert_eq!(said.status, wanted, "{query}: {}", said.text);
        assert_eq!(all(&site, &admin).await, before, "{query}");
    }
    // Elsewhere it is refused, and nothing is done.
    let before = all(&site, &admin).await;
    let below = at(&made.json, "virtualservice") + "/retryplacement";
    for (method, path) in [
        ("POST", "/api/user-token"),
        ("POST", "/api/se-token"),
        ("POST", "/api/configuration/import"),
        ("PUT", "/api/useraccount"),
        ("POST", &below),
        ("POST", "/api/pool"),
    ] {
        let value = if path == "/api/pool" { "maybe" } else { "true" };
        let content = json!({"name": "maybe", "hours": 1, "full_name": "x"});
        let said = site.ask(&admin, method, &format!("{path}?dry_run={value}"), &content).await;
        assert!(said.status == 400 && said.text.contains("dry_run"), "{path}: {} {}", said.status, said.text);
        assert_eq!(all(&site, &admin).await, before, "{path}");
    }
}

//= test API-FIELD-03
#[tokio::test]
async fn a_secret_is_neither_lost_nor_stored_plain() {
    let site = Site::new("masks").await;
    let admin = site.admin().await;
    let profile = json!({
        "name": "p", "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
        "http_cookie_persistence_profile": {"key": [{"name": "a", "aes_key": "b2Zh"}, {"name": "b", "aes_key": "b2Zi"}]},
    });
    let kind = "applicationpersistenceprofile";
    let made = site.make(&admin, &format!("/api/{kind}"), profile).await;
    let keys = || {
        let held = site.app.objects.now().named(kind, "p").next().cloned().expect("it is there");
        site.app.objects.opened(&held)["http_cookie_persistence_profile"]["key"].clone()
    };
    let mut sent = made.clone();
    sent["http_cookie_persistence_profile"]["key"][1]["name"] = json!("renamed");
    let said = site.ask(&admin, "PUT", &at(&made, kind), &sent).await;
    let place = "http_cookie_persistence_profile.key[1].aes_key";
    assert_eq!((said.status, &said.json["problems"][0]["path"]), (400, &json!(place)), "{}", said.text);
    assert_eq!(keys(), json!([{"name": "a", "aes_key": "b2Zh"}, {"name": "b", "aes_key": "b2Zi"}]));
    sent["http_cookie_persistence_profile"]["key"] = json!([{"name": "b", "aes_key": "<sensitive>"}]);
    let said = site.ask(&admin, "PUT", &at(&made, kind), &sent).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(keys(), json!([{"name": "b", "aes_key": "b2Zi"}]), "the others' keys stay with them");
    // A copy has what its maker knows.
    let mut copy = said.json.clone();
    copy["name"] = json!("copy");
    copy.as_object_mut().expect("an object").remove("uuid");
    assert_eq!(site.ask(&admin, "POST", &format!("/api/{kind}"), &copy).await.status, 201);

    let script =
        site.make(&admin, "/api/alertscriptconfig", json!({"name": "s", "action_script": "x"})).await;
    let parameter = |name: &str, is_sensitive: bool| json!({"name": name, "value": format!("value of {name}"), "is_sensitive": is_sensitive});
    let profile = json!({"name": "acme", "run_script_ref": script["url"],
        "script_params": [parameter("user", false), parameter("password", true)]});
    let made = site.make(&admin, "/api/certificatemanagementprofile", profile).await;
    assert_eq!(made["script_params"][0]["value"], "value of user");
    assert_eq!(made["script_params"][1]["value"], "<sensitive>");
    let said = site.ask(&admin, "PUT", &at(&made, "certificatemanagementprofile"), &made).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let held = {
        let now = site.app.objects.now();
        now.named("certificatemanagementprofile", "acme").next().cloned().expect("it is there")
    };
    let stored = String::from_utf8_lossy(&held.bytes).into_owned();
    assert!(stored.contains("value of user") && !stored.contains("value of password"), "{stored}");
    assert_eq!(site.app.objects.opened(&held)["script_params"][1]["value"], "value of password");
    let change =
        json!({"json_patch": [{"op": "replace", "path": "/script_params/1/is_sensitive", "value": false}]});
    let said = site.ask(&admin, "PATCH", &at(&made, "certificatemanagementprofile"), &change).await;
    assert_eq!((said.status, &said.json["problems"][0]["path"]), (400, &json!("script_params[1].value")));
}
