//! How requests reach the API, whichever way they come.

use axum::body::Body;
use axum::http::Request;
use forebay_controller::api::Peer;
use serde_json::{Value, json};

use crate::site::Site;

const NONE: Value = Value::Null;

//= test API-HOST-01
//= test API-CSRF-01
#[tokio::test]
async fn a_host_is_the_same_one_by_http_2_as_by_http_1() {
    let site = Site::new("front").await;
    let admin = site.admin().await;
    for name in ["a", "b"] {
        site.make(&admin, "/api/pool", json!({"name": name})).await;
    }
    let ask = async |uri: &str, host: Option<&str>, origin: Option<&str>| {
        let mut request = Request::builder().uri(uri).header("cookie", format!("sessionid={}", admin.cookie));
        for (name, value) in [("host", host), ("origin", origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Peer("192.0.2.1".parse().expect("an address")));
        site.raw(request).await
    };
    let path = "/api/pool?page_size=1";
    let by_2 = format!("https://controller.test:8443{path}");
    let (own, other) = (Some("https://controller.test:8443"), Some("https://elsewhere.test"));
    for (uri, host) in
        [(path, Some("controller.test:8443")), (by_2.as_str(), None), (by_2.as_str(), Some("elsewhere.test"))]
    {
        for (origin, wanted) in [(None, 200), (own, 200), (other, 403), (Some("null"), 403)] {
            let said = ask(uri, host, origin).await;
            assert_eq!(said.status, wanted, "{uri} {host:?} {origin:?}: {}", said.text);
            if wanted == 200 {
                let next = said.json["next"].as_str().expect("a second page");
                assert!(next.starts_with("https://controller.test:8443/api/pool?"), "{next}");
            }
        }
    }
    let said = ask(path, None, own).await;
    assert_eq!(said.status, 403, "who names no host shows no page of it");
    let said = ask(&format!("https://who@controller.test:8443{path}"), None, own).await;
    assert_eq!(said.status, 200, "{}", said.text);
}

//= test API-TOKEN-01
#[tokio::test]
async fn hours_that_are_none_are_refused() {
    let site = Site::new("hours").await;
    let admin = site.admin().await;
    for path in ["/api/user-token", "/api/se-token"] {
        for bad in [json!("abc"), json!(-1), json!(1.5), json!(true), json!("")] {
            let said = site.ask(&admin, "POST", path, &json!({"hours": bad})).await;
            assert_eq!(said.status, 400, "{path} {bad}: {}", said.text);
            assert!(said.text.contains("whole number"), "{}", said.text);
        }
        for good in [json!("2"), json!(2), NONE] {
            let said = site.ask(&admin, "POST", path, &json!({"hours": good})).await;
            assert!(matches!(said.status, 200 | 201), "{path} {good}: {}", said.text);
        }
    }
}

//= test API-LIST-01
#[tokio::test]
async fn no_search_looks_into_what_is_sealed() {
    let site = Site::new("search").await;
    let admin = site.admin().await;
    let key = json!({"name": "k", "key": "very private", "certificate": {"certificate": "pem"}});
    site.make(&admin, "/api/sslkeyandcertificate", key).await;
    let count = async |query: &str| {
        let said = site.ask(&admin, "GET", &format!("/api/{query}"), &NONE).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json["count"].as_u64().expect("a count")
    };
    // What is sealed is base64: each letter of it would be found in some object, and in which ones tells of it.
    let sealed = {
        let now = site.app.objects.now();
        let held = now.named("sslkeyandcertificate", "k").next().cloned().expect("it is there");
        held.object()["key"]["sealed"].as_str().expect("sealed").to_owned()
    };
    for (search, part) in [("search", sealed[4..16].to_owned()), ("isearch", sealed[4..16].to_lowercase())] {
        let part = part.replace('+', "%2B").replace('/', "%2F");
        assert_eq!(count(&format!("sslkeyandcertificate?{search}={part}")).await, 0, "{part}");
        assert_eq!(count(&format!("sslkeyandcertificate?{search}=(key,{part})")).await, 0, "{part}");
    }
    assert_eq!(count("sslkeyandcertificate?search=(name,k)").await, 1);
    assert_eq!(count("sslkeyandcertificate?search=pem").await, 1);
    // What JSON writes otherwise is found as it was said, in any case where that is asked for.
    site.make(&admin, "/api/pool", json!({"name": "a \"quoted\" \u{d6}l\\weg", "description": "two\nlines"}))
        .await;
    for (search, times) in [
        ("search=%22quoted%22", 1),
        ("search=%C3%96l%5Cw", 1),
        ("search=two%0Alines", 1),
        ("search=QUOTED", 0),
        ("isearch=QUOTED%22%20%C3%B6L%5C", 1),
        ("isearch=QUOTED%22%C3%B6L", 0),
        ("search=description", 0),
    ] {
        assert_eq!(count(&format!("pool?{search}")).await, times, "{search}");
    }
}

//= test API-ROLE-06
#[tokio::test]
async fn an_administrator_gives_a_role_of_another_tenant_for_that_tenant() {
    let site = Site::new("other-role").await;
    let admin = site.admin().await;
    for name in ["red", "blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    }
    let red = crate::site::Client { tenant: Some("red".to_owned()), ..admin.clone() };
    let privileges = json!([{"resource": "PERMISSION_POOL", "type": "READ_ACCESS"}]);
    let role = site.make(&red, "/api/role", json!({"name": "look", "privileges": privileges})).await;
    let uuid = role["uuid"].as_str().expect("a uuid");
    for (number, (role, tenant, wanted)) in [
        (role["url"].clone(), json!("/api/tenant/tenant-red"), 201),
        (json!("/api/role?name=look"), json!("/api/tenant?name=red"), 201),
        (json!("/api/role?name=look"), json!("/api/tenant?name=blue"), 400),
        (json!(format!("/api/role/{uuid}")), json!("/api/tenant?name=blue"), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("u{number}");
        let access = json!([{"role_ref": role, "tenant_ref": tenant}]);
        let user = json!({"name": name, "password": "long enough", "access": access});
        let said = site.ask(&admin, "POST", "/api/user", &user).await;
        assert_eq!(said.status, wanted, "{access}: {}", said.text);
    }
    let user = site.login("u1", "long enough").await;
    assert_eq!(site.ask(&user, "GET", "/api/pool", &NONE).await.status, 200);
}
