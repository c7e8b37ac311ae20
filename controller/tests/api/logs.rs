//! Logs of requests: who sees them, and how they are asked for.

use serde_json::{Value, json};

use crate::site::{Client, Site};

const NONE: Value = Value::Null;

fn lines(service: &str, count: usize) -> Vec<u8> {
    let one = |nth: usize| {
        let at = forebay_logs::stamp(now() - 60_000_000 + nth as i64 * 1_000);
        let code = if nth.is_multiple_of(10) { 503 } else { 200 };
        let record = json!({
            "report_timestamp": at, "virtualservice": service, "client_ip": format!("10.0.{}.1", nth % 7), "method": "GET",
            "uri_path": format!("/p/{}", nth % 20), "response_code": code, "significant": code == 503,
            "total_time": f64::from(u32::try_from(nth).expect("few")), "secretly": format!("of-{service}"),
        });
        format!("{record}\n")
    };
    (0..count).map(one).collect::<String>().into_bytes()
}

pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("not yet")
}

async fn service(site: &Site, client: &Client, name: &str) -> String {
    let vip =
        json!({"name": name, "vip": [{"vip_id": "1", "ip_address": {"addr": "192.0.2.1", "type": "V4"}}]});
    let vip = site.make(client, "/api/vsvip", vip).await;
    let made = json!({"name": name, "services": [{"port": 80}], "vsvip_ref": vip["url"]});
    let made = site.make(client, "/api/virtualservice", made).await;
    made["uuid"].as_str().expect("a uuid").to_owned()
}

async fn get(site: &Site, client: &Client, query: &str) -> Value {
    let said = site.ask(client, "GET", &format!("/api/analytics/logs?{query}"), &NONE).await;
    assert_eq!(said.status, 200, "{query}: {}", said.text);
    said.json
}

//= test LOG-SEE-01
#[tokio::test]
async fn who_may_not_read_a_service_hears_nothing_of_its_requests() {
    let site = Site::new("logs-tenants").await;
    let mut admin = site.admin().await;
    for name in ["red", "blue"] {
        site.make(&admin, "/api/tenant", json!({"name": name})).await;
    }
    admin.tenant = Some("blue".to_owned());
    let ours = service(&site, &admin, "ours").await;
    let kept = site.app.logs.as_ref().expect("logs are kept");
    kept.offer(lines(&ours, 50)).expect("room");
    kept.flush();
    admin.tenant = None;
    let access = |role: &str, tenant: &str| json!([{"role_ref": format!("/api/role?name={role}"), "tenant_ref": format!("/api/tenant?name={tenant}")}]);
    let pools = json!([{"resource": "PERMISSION_POOL", "type": "READ_ACCESS"}]);
    site.make(&admin, "/api/role", json!({"name": "pools", "privileges": pools})).await;
    for (user, role, tenant, wanted) in [
        ("theirs", "Tenant-Admin", "red", 404),
        ("own", "Tenant-Admin", "blue", 200),
        ("pools", "pools", "blue", 403),
    ] {
        site.user(&admin, user, access(role, tenant)).await;
        let mut client = site.login(user, &format!("password-{user}")).await;
        client.tenant = Some(tenant.to_owned());
        for by in [ours.as_str(), "ours"] {
            for query in ["nf=true", "type=1&nf=true", "nf=true&groupby=secretly", "type=0"] {
                let path = format!("/api/analytics/logs?virtualservice={by}&{query}");
                let said = site.ask(&client, "GET", &path, &NONE).await;
                assert_eq!(said.status, wanted, "{user} {path}: {}", said.text);
                assert!(user == "own" || !said.text.contains("of-"), "{user} {path}: {}", said.text);
            }
        }
    }
    let said = site.ask(&admin, "GET", "/api/analytics/logs?type=1", &NONE).await;
    assert!(said.status == 400 && said.text.contains("name the service"), "{}", said.text);
}

//= test LOG-SEE-02
#[tokio::test]
async fn pages_groups_orders_and_mistakes() {
    let site = Site::new("logs-pages").await;
    let admin = site.admin().await;
    let web = service(&site, &admin, "web").await;
    let kept = site.app.logs.as_ref().expect("logs are kept");
    kept.offer(lines(&web, 100)).expect("room");
    kept.offer(lines("virtualservice-other", 100)).expect("room");
    kept.flush();
    // Significant ones alone, as Avi has it; others; all.
    for (query, count) in [("", 10), ("&nf=true&adf=false", 90), ("&nf=true", 100), ("&adf=false", 0)] {
        let said = get(&site, &admin, &format!("virtualservice=web&type=1{query}")).await;
        assert_eq!(
            (&said["count"], &said["percent_remaining"]),
            (&count.into(), &0.0.into()),
            "{query}: {said}"
        );
    }
    let all = format!("virtualservice={web}&type=1&nf=true");
    // By pages, and by where an answer ended: each once.
    let number = |record: &Value| record["total_time"].as_f64().expect("a number");
    let mut seen = Vec::new();
    for page in 1..=4 {
        let said = get(&site, &admin, &format!("{all}&page_size=25&page={page}")).await;
        seen.extend(said["results"].as_array().expect("a list").iter().map(number));
        assert_eq!((&said["count"], &said["count_is_complete"]), (&100.into(), &true.into()));
    }
    let newest_first: Vec<f64> = (0..100).rev().map(f64::from).collect();
    assert_eq!(seen, newest_first);
    let (mut seen, mut next) = (Vec::new(), format!("/api/analytics/logs?{all}&page_size=30"));
    loop {
        let said = site.ask(&admin, "GET", &next, &NONE).await.json;
        seen.extend(said["results"].as_array().expect("a list").iter().map(number));
        match said["next"].as_str() {
            Some(address) => next = address[address.find("/api/").expect("a path")..].to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, newest_first);
    let slow =
        get(&site, &admin, &format!("{all}&orderby=-total_time&page_size=3&cols=total_time,uri_path")).await;
    let one = |n: u32| json!({"total_time": f64::from(n), "uri_path": format!("/p/{}", n % 20)});
    assert_eq!(slow["results"], json!([one(99), one(98), one(97)]));
    let groups = get(&site, &admin, &format!("{all}&groupby=response_code")).await;
    assert_eq!(
        groups["results"],
        json!([{"response_code": 200, "count": 90}, {"response_code": 503, "count": 10}])
    );
    let few =
        get(&site, &admin, &format!("{all}&filter=eq(client_ip,10.0.3.0/24)&filter=ge(total_time,90)")).await;
    assert_eq!(few["count"], 1, "{few}");
    for wrong in [
        "filter=eq(a)",
        "filter=zz(a,b)",
        "filter=gt(response_code,x)",
        "page_size=0",
        "page=100000",
        "timeout=-1",
        "continue=1",
        "start=yesterday",
        "type=7",
    ] {
        let path = format!("/api/analytics/logs?virtualservice={web}&{wrong}");
        let said = site.ask(&admin, "GET", &path, &NONE).await;
        assert_eq!(said.status, 400, "{wrong}: {}", said.text);
    }
}

//= test LOG-TAKE-02
#[tokio::test]
async fn records_are_let_in_where_the_engine_has_the_service_and_say_what_the_controller_knows() {
    let site = Site::new("logs-admit").await;
    let admin = site.admin().await;
    let web = service(&site, &admin, "web").await;
    let engine = json!({"name": "se", "se_group_ref": "/api/serviceenginegroup?name=Default-Group"});
    let engine =
        site.make(&admin, "/api/serviceengine", engine).await["uuid"].as_str().expect("a uuid").to_owned();
    crate::metrics::give(&site, &engine, &[]);
    let fields = || json!({"virtualservice": web.as_str()}).as_object().cloned().expect("fields");
    let mut none = forebay_controller::logs::admit(&site.app, &engine);
    assert_eq!(none(&mut fields()), None, "it does not have it");
    crate::metrics::give(&site, &engine, &[&format!("virtual_service/{web}/tls/443")]);
    let mut admit = forebay_controller::logs::admit(&site.app, &engine);
    let mut fields = json!({
        "virtualservice": format!("{web}/tls/443"), "service_engine": "somebody-else", "pool_name": "pool-none/tcp",
    });
    let owner = admit(fields.as_object_mut().expect("fields")).expect("it is let in");
    assert_eq!(owner, "admin", "it counts to its tenant");
    // Names of pools that it does not have are none: they would fill the hour.
    let mut wanted =
        json!({"virtualservice": web, "service_engine": engine, "service_engine_name": "se", "adf": false});
    assert_eq!(fields, wanted);
    crate::metrics::give(&site, &engine, &[&format!("virtual_service/{web}/tls/443"), "pool/pool-gone/tcp"]);
    let mut admit = forebay_controller::logs::admit(&site.app, &engine);
    let mut fields = json!({"virtualservice": web, "pool_name": "pool-gone/tcp"});
    assert!(admit(fields.as_object_mut().expect("fields")).is_some());
    (wanted["pool"], wanted["pool_name"]) = ("pool-gone".into(), "pool-gone".into());
    assert_eq!(fields, wanted);
    for odd in [json!({}), json!({"virtualservice": 7}), json!({"virtualservice": "virtualservice-none"})] {
        let mut fields = odd.as_object().cloned().expect("fields");
        assert_eq!(admit(&mut fields), None, "{odd}");
    }
}
