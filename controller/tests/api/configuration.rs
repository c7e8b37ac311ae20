//! The configuration as one document: out of one Controller, into another.

use crate::site::{Client, Site};
use serde_json::{Value, json};

const NONE: Value = Value::Null;

/// What an export has, with what differs from site to site left out: uuids of what each site made itself.
fn comparable(document: &Value) -> Vec<String> {
    let mut all: Vec<String> = document
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(kind, _)| *kind != "META")
        .flat_map(|(kind, held)| {
            held.as_array()
                .expect("a list")
                .iter()
                .map(move |held| format!("{kind} {} {}", held["name"], held["tenant_ref"]))
        })
        .collect();
    all.sort();
    all
}

//= test API-EXPORT-01
//= test API-IMPORT-01
#[tokio::test]
async fn a_configuration_goes_from_one_controller_to_another() {
    let (from, to) = (Site::new("export").await, Site::new("import").await);
    let (admin, other) = (from.admin().await, to.admin().await);
    from.make(&admin, "/api/tenant", json!({"name": "red", "uuid": "tenant-red"})).await;
    let red = Client { tenant: Some("red".to_owned()), ..admin.clone() };
    let count = from.one_of_each(&red).await.len();
    let key = json!({"name": "k", "key": "very private", "certificate": {"certificate": "pem"}});
    from.make(&admin, "/api/sslkeyandcertificate", key).await;
    from.user(
        &admin,
        "ann",
        json!([{"role_ref": "/api/role?name=Tenant-Admin", "tenant_ref": "/api/tenant/tenant-red"}]),
    )
    .await;
    let secret = json!({"passphrase": "a passphrase for tests"});
    let said = from.ask(&admin, "POST", "/api/configuration/export?full_system=true", &secret).await;
    assert_eq!(said.status, 200, "{}", said.text);
    for word in ["very private", "argon2", "password-ann", "<sensitive>"] {
        assert!(!said.text.contains(word), "{word}");
    }
    let masked = from.ask(&admin, "GET", "/api/configuration/export", &NONE).await;
    assert!(masked.text.contains("<sensitive>") && !masked.text.contains("very private"));

    let before = to.ask(&other, "GET", "/api/configuration/export", &NONE).await.json;
    let bring =
        |passphrase: &str, document: &Value| json!({"configuration": document, "passphrase": passphrase});
    let mut wrong = said.json.clone();
    wrong["Pool"][0]["default_server_port"] = json!(0);
    for (content, word) in [
        (bring("another passphrase", &said.json), "does not open"),
        (bring("a passphrase for tests", &wrong), "nothing was written"),
        (json!({"configuration": {"META": {"form": 2}}}), "form 1"),
        (json!({}), "configuration"),
    ] {
        let refused = to.ask(&other, "POST", "/api/configuration/import", &content).await;
        assert!(
            refused.status == 400 && refused.text.contains(word),
            "{word}: {} {}",
            refused.status,
            refused.text
        );
        assert_eq!(
            comparable(&to.ask(&other, "GET", "/api/configuration/export", &NONE).await.json),
            comparable(&before)
        );
    }
    let content = bring("a passphrase for tests", &said.json);
    let done = to.ask(&other, "POST", "/api/configuration/import", &content).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(done.json["created"].as_u64() >= u64::try_from(count + 3).ok(), "{}", done.text);
    let after = to.ask(&other, "GET", "/api/configuration/export", &NONE).await.json;
    assert_eq!(comparable(&after), comparable(&masked.json));
    let again = to.ask(&other, "POST", "/api/configuration/import", &content).await;
    assert_eq!((again.status, &again.json["created"]), (200, &json!(0)), "{}", again.text);
    // The secret came along: sealed anew for that site, it opens under its passphrase only.
    let held = {
        let now = to.app.objects.now();
        now.named("sslkeyandcertificate", "k").next().cloned().expect("it is there")
    };
    assert_eq!(to.app.objects.opened(&held)["key"], "very private");
    assert!(to.try_login("ann", "password-ann").await.is_err(), "passwords stay where they are");
    assert!(to.try_login("admin", &to.password).await.is_ok());
    // What an earlier version took goes along, and may be changed: not to more than it was.
    let pool = |names: usize| {
        let servers: Vec<Value> = (0..names)
            .map(|n| json!({"ip": {"addr": format!("s{n}.test"), "type": "DNS"}, "port": 80}))
            .collect();
        json!({"name": "many", "uuid": "pool-many", "servers": servers})
    };
    let refused = to.ask(&other, "POST", "/api/pool", &pool(600)).await;
    assert!(refused.status == 400 && refused.text.contains("500 are the most"), "{}", refused.text);
    let of_before = json!({"configuration": {"META": {"form": 1}, "Pool": [pool(600)]}});
    let done = to.ask(&other, "POST", "/api/configuration/import", &of_before).await;
    assert_eq!((done.status, &done.json["created"]), (200, &json!(1)), "{}", done.text);
    let said =
        to.ask(&other, "PATCH", "/api/pool/pool-many", &json!({"replace": {"description": "d"}})).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(to.ask(&other, "PUT", "/api/pool/pool-many", &pool(550)).await.status, 200);
    let more = to.ask(&other, "PUT", "/api/pool/pool-many", &pool(600)).await;
    assert!(more.status == 400 && more.text.contains("550 are the most"), "{}", more.text);
    // Not for everybody.
    let access = json!([{"role_ref": "/api/role?name=Tenant-Admin", "all_tenants": true}]);
    from.user(&admin, "bob", access).await;
    let bob = from.login("bob", "password-bob").await;
    for (method, path) in [("GET", "export"), ("POST", "export"), ("POST", "import")] {
        let said = from.ask(&bob, method, &format!("/api/configuration/{path}"), &json!({})).await;
        assert_eq!(said.status, 403, "{method} {path}: {}", said.text);
    }
}
