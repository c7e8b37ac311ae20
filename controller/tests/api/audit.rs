//! Every write, told.

use crate::site::{Client, Site};
use forebay_model::kind;
use serde_json::{Value, json};

const NONE: Value = Value::Null;

//= test API-AUDIT-01
//= test API-AUDIT-03
#[tokio::test]
async fn every_write_is_told_with_what_it_changed() {
    let site = Site::new("audit").await;
    let admin = site.admin().await;
    let made = site.one_of_each(&admin).await;
    let logs = "/api/analytics/logs?type=2&page_size=10000";
    let events = async |filter: &str| {
        let said = site.ask(&admin, "GET", &format!("{logs}{filter}"), &NONE).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json["results"].as_array().expect("a list").clone()
    };
    for path in &made {
        let kind = kind(path).expect("a kind");
        let one = format!("/api/{path}/{path}-1");
        let change = json!({"replace": {"description": "another"}});
        let said = site.ask(&admin, "PATCH", &one, &change).await;
        assert_eq!(said.status, 200, "{path}: {}", said.text);
        let told = events(&format!("&filter=eq(obj_uuid,{path}-1)")).await;
        let ids: Vec<&str> = told.iter().filter_map(|event| event["event_id"].as_str()).collect();
        assert_eq!(ids, ["CONFIG_UPDATE", "CONFIG_CREATE"], "{path}: the newest first");
        let details = &told[0]["event_details"]["config_update_details"];
        assert_eq!(
            (&details["user"], &details["client"]),
            (&json!("admin"), &json!("192.0.2.1")),
            "{details}"
        );
        let diff = details["diff"].as_array().expect("a list");
        let field = diff.iter().find(|field| field["field"] == "description").expect("what was changed");
        assert_eq!(field["new"], "another", "{path}");
        // What the server puts in beside it are defaults at the most.
        assert!(diff.len() <= 1 + kind.fields.len(), "{path}: {diff:?}");
    }
    // A refused write is no event; a secret is none either.
    let count = events("").await.len();
    assert_eq!(site.ask(&admin, "POST", "/api/pool", &json!({"nom": "x"})).await.status, 400);
    assert_eq!(site.ask(&admin, "DELETE", "/api/pool/pool-none", &NONE).await.status, 404);
    assert_eq!(events("").await.len(), count);

    let key = json!({"name": "k", "key": "very private", "certificate": {"certificate": "pem"}});
    let made = site.make(&admin, "/api/sslkeyandcertificate", key).await;
    let path = format!("/api/sslkeyandcertificate/{}", made["uuid"].as_str().expect("a uuid"));
    assert_eq!(
        site.ask(&admin, "PATCH", &path, &json!({"replace": {"key": "very private too"}})).await.status,
        200
    );
    assert_eq!(site.ask(&admin, "DELETE", &path, &NONE).await.status, 204);
    let told = events("&filter=eq(obj_name,k)").await;
    assert_eq!(told.len(), 3);
    let text = json!(told).to_string();
    assert!(
        text.contains("<sensitive>") && !text.contains("very private") && !text.contains("sealed"),
        "{text}"
    );
    // Pages.
    let page = site.ask(&admin, "GET", "/api/analytics/logs?type=2&page_size=3&page=2", &NONE).await.json;
    let all = events("").await;
    assert_eq!(page["results"][0]["report_timestamp"], all[3]["report_timestamp"]);
    assert!(page["next"].as_str().is_some_and(|next| next.ends_with("page=3")), "{}", page["next"]);
    // A wrong password, by whom and from where; and nothing for who may not look at users.
    assert!(site.try_login("admin", "not that one").await.is_err());
    let told = events("&filter=eq(event_id,USER_LOGIN)&filter=co(all,wrong)").await;
    assert_eq!(told[0]["event_details"]["config_user_login_details"]["client_ip"], "192.0.2.1", "{told:?}");
    let access = json!([{"role_ref": "/api/role?name=Application-Operator", "all_tenants": true}]);
    site.user(&admin, "opal", access).await;
    let opal: Client = site.login("opal", "password-opal").await;
    let said = site.ask(&opal, "GET", logs, &NONE).await;
    assert_eq!(said.status, 200);
    assert!(said.text.contains("hidden-pool") && !said.text.contains("USER_LOGIN"), "{}", said.text.len());
    assert!(!said.text.contains("SSLKEYANDCERTIFICATE"), "a kind that the role does not read");
    // A role that reads nothing hears of nothing.
    let role = site.make(&admin, "/api/role", json!({"name": "nothing"})).await;
    site.user(&admin, "nora", json!([{"role_ref": role["url"], "tenant_ref": "/api/tenant/admin"}])).await;
    let nora = site.login("nora", "password-nora").await;
    let said = site.ask(&nora, "GET", logs, &NONE).await;
    assert_eq!(said.status, 403, "{}", said.text);
}
