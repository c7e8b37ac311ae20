//! What one tenant hears of an engine that serves others too: an engine that answers, and every path that leads to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use forebay_controller::engines::{Interface, Members, Question, Server, Service, Untaken};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::site::{Client, Said, Site};

const NONE: Value = Value::Null;
const BLUE: &str = "virtualservice-of-blue";
const RED: &str = "virtualservice-of-red";
/// A client of the blue service, and that service's address.
const CLIENT: &str = "198.51.100.77";
const VIP: &str = "10.0.0.66";

/// What engines are asked for by their admin socket, as `what`.
const WHATS: [&str; 5] =
    ["keyvalsummary", "keyvalsummaryobjsync", "pool_internal", "pool_objsync", "serviceengine_objsync"];

/// Answers as an engine does: of everything that it has, as far as the question does not say otherwise.
fn answer(request: &Value) -> Value {
    let what = request["what"].as_str().unwrap_or_default();
    let pool = |name: &str, client: &str| json!({"se_uuid": "se", "pool": name, "persistence_entry": [{"client_ip": client}]});
    // Of one pool, or of those of one service.
    let filter = &request["filter"];
    let wanted = filter["pool"].as_str().or(filter["service"].as_str());
    let tenant = wanted.and_then(|name| name.split_once('-')).map(|(_, tenant)| tenant.to_owned());
    let is_wanted = |row: &Value| {
        let pool = row["pool"].as_str().unwrap_or_default();
        tenant.as_ref().is_none_or(|tenant| pool.ends_with(tenant.as_str()))
    };
    let pools = [pool("pool-of-blue", CLIENT), pool("pool-of-red", "198.51.100.1")];
    let pools: Vec<Value> = pools.into_iter().filter(is_wanted).collect();
    let differ = format!("other servers: pool pool-of-blue of service {BLUE}");
    let data = match what {
        "serviceengine_objsync" => json!({"peers": [{"seuuid": "slot-1", "tables_differ": [differ]}]}),
        _ => json!({what: pools}),
    };
    json!({"ok": true, "data": data})
}

/// What an answer has of the other tenant.
fn leaks(said: &Said) -> Vec<&'static str> {
    ["of-blue", CLIENT, VIP].into_iter().filter(|word| said.text.contains(word)).collect()
}

/// A service, its pool and its address, with names and uuids that end in `of-<tenant>`.
async fn service(site: &Site, admin: &Client, tenant: &str, address: &str) {
    let name = format!("of-{tenant}");
    site.make(admin, "/api/tenant", json!({"name": name, "uuid": format!("tenant-{name}")})).await;
    let client = Client { tenant: Some(name.clone()), ..admin.clone() };
    let uuid = |kind: &str| format!("{kind}-{name}");
    let servers = json!([{"ip": {"addr": "10.0.1.1", "type": "V4"}, "port": 80}]);
    let pool = json!({"name": name, "uuid": uuid("pool"), "servers": servers});
    site.make(&client, "/api/pool", pool).await;
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": address, "type": "V4"}}]);
    site.make(&client, "/api/vsvip", json!({"name": name, "uuid": uuid("vsvip"), "vip": vip})).await;
    let service = json!({
        "name": name, "uuid": uuid("virtualservice"), "services": [{"port": 80}],
        "vsvip_ref": format!("/api/vsvip/{}", uuid("vsvip")), "pool_ref": format!("/api/pool/{}", uuid("pool")),
    });
    site.make(&client, "/api/virtualservice", service).await;
}

/// An engine with both services, which has much to say of both.
async fn engine(site: &Site, admin: &Client) -> String {
    let engine = json!({"name": "se", "se_group_ref": "/api/serviceenginegroup?name=Default-Group"});
    let uuid = site.make(admin, "/api/serviceengine", engine).await["uuid"].as_str().expect("one").to_owned();
    site.app.engines.learn(&site.app.objects.now(), &Members::default());
    let (questions, mut asked) = mpsc::channel::<Question>(16);
    tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            let _ = question.answer.send(Ok(answer(&question.request)));
        }
    });
    let number = site.app.engines.attach(&uuid, questions, Instant::now()).expect("it is there");
    site.app.engines.note(&uuid, number, |engine| {
        let addresses = ["10.0.0.1", VIP, "10.0.0.99"].map(|text| (text.parse().expect("an address"), 24));
        let addresses = addresses.to_vec();
        engine.machine.interfaces = vec![Interface { addresses, is_up: true, ..Interface::default() }];
        engine.machine.routes = vec![(VIP.parse().expect("an address"), 32)];
        engine.has_tables = true;
    });
    site.app.place().await.expect("written");
    site.app.engines.note(&uuid, number, |engine| {
        let why = |of: &str| vec![format!("{of}: no")];
        engine.problems = vec![format!("virtual_service.{BLUE}: no"), "pool.pool-of-blue: no".to_owned()];
        engine.unmade = why(BLUE);
        engine.left_out = BTreeMap::from([(BLUE.to_owned(), why(BLUE)), (RED.to_owned(), why(RED))]);
        let untaken = |of: &str| Untaken { is_left_out: false, why: why(of), may_mend: false };
        engine.untaken = BTreeMap::from([
            (BLUE.to_owned(), untaken(BLUE)),
            ("virtualservice-of-blue-2".to_owned(), untaken(BLUE)),
            (RED.to_owned(), untaken(RED)),
        ]);
        let told = Service { is_up: true, is_listening: true, connections: 1 };
        engine.services = [BLUE, RED].map(|name| (name.to_owned(), told.clone())).into();
        let server = Server { state: "up".to_owned(), why: String::new() };
        let servers = ["pool-of-blue", "pool-of-red"];
        let servers = servers.map(|pool| ((pool.to_owned(), "10.0.1.1:80".to_owned()), server.clone()));
        engine.servers = servers.into();
    });
    uuid
}

//= test API-TENANT-01
//= test CHAN-SEEN-02
#[tokio::test]
async fn of_an_engine_that_serves_others_too_a_tenant_hears_nothing_of_them() {
    let site = Site::new("others").await;
    site.app.counted.keep(forebay_controller::counted::open(&site.folder).expect("room"));
    let admin = site.admin().await;
    service(&site, &admin, "blue", VIP).await;
    service(&site, &admin, "red", "10.0.0.99").await;
    let engine = engine(&site, &admin).await;
    let group = site.ask(&admin, "GET", "/api/serviceenginegroup?name=Default-Group", &NONE).await;
    let group = group.json["results"][0]["uuid"].as_str().expect("one").to_owned();
    let mut readers = Vec::new();
    for role in ["Tenant-Admin", "Application-Admin", "Application-Operator"] {
        let access = json!([{"role_ref": format!("/api/role?name={role}"), "tenant_ref": "/api/tenant/tenant-of-red"}]);
        site.user(&admin, role, access).await;
        let client = site.login(role, &format!("password-{role}")).await;
        readers.push(Client { tenant: Some("*".to_owned()), ..client.clone() });
        readers.push(client);
    }
    let below = [
        "",
        "/runtime",
        "/runtime/detail",
        "/runtime/internal",
        "/runtime/server",
        "/runtime/server/detail",
        "/channel",
        "/objsync",
        "/persistence",
        "/keyvalsummary",
        "/keyvalsummaryobjsync",
        "/placement",
        "/candidatesehostlist",
        "/scaleoutstatus",
        "/mirror",
        "/cpu",
        "/meminfo",
        "/interface",
        "/flowtable",
        "/vshash",
        "/hmon",
        "/algo",
        "/keyval",
        "/placement/detail",
        "/connpool",
    ];
    let mut paths = Vec::new();
    let own = |kind: &str| format!("{kind}-of-red");
    for (kind, uuid) in [
        ("serviceengine", engine.clone()),
        ("serviceenginegroup", group),
        ("virtualservice", own("virtualservice")),
        ("pool", own("pool")),
    ] {
        for below in below {
            paths.push(format!("/api/{kind}/{uuid}{below}?include_name=true&page_size=1000"));
        }
        for below in ["objsync", "channel", "runtime/internal", "persistence", "keyvalsummary"] {
            paths.extend(WHATS.map(|what| format!("/api/{kind}/{uuid}/{below}?what={what}")));
        }
        paths.push(format!("/api/{kind}-inventory?include_name=true"));
        paths.push(format!("/api/{kind}?include_name=true&search=blue"));
        paths.push(format!("/api/analytics/healthscore/{kind}/{uuid}"));
        paths.push(format!("/api/analytics/metrics/{kind}/{uuid}?metric_id=l4_client.avg_bandwidth"));
        paths.push(format!("/api/analytics/prometheus-metrics/{kind}?tenant=of-red,of-bl"));
    }
    paths.push("/api/analytics/logs?type=2&page_size=1000".to_owned());
    paths.push("/api/alert".to_owned());
    let mut leaking = BTreeSet::new();
    for client in &readers {
        for path in &paths {
            let said = site.ask(client, "GET", path, &NONE).await;
            let found = leaks(&said);
            if !found.is_empty() || said.status >= 500 {
                leaking.insert(format!("{path}: {} {found:?}", said.status));
            }
        }
        assert!(leaking.is_empty(), "{leaking:#?}");
        let (red, blue) = (format!("/api/virtualservice/{RED}"), format!("/api/virtualservice/{BLUE}"));
        for (path, wanted) in [(red, 200), (blue, 404)] {
            assert_eq!(site.ask(client, "GET", &(path + "/runtime"), &NONE).await.status, wanted);
        }
        // One's own is there, and of the rest how many there are.
        let said = site.ask(client, "GET", &format!("/api/serviceengine/{engine}/channel"), &NONE).await;
        let told = &said.json["configuration"];
        assert_eq!(
            (&told["left_out"], &told["as_before"]),
            (&json!({RED: [format!("{RED}: no")]}), &json!({RED: [format!("{RED}: no")]})),
            "{}",
            said.text
        );
        assert_eq!(
            told["not_shown"],
            json!({"problems": 2, "not_made": 1, "left_out": 1, "as_before": 2}),
            "{}",
            said.text
        );
        let machine = &said.json["machine"];
        assert_eq!(machine["interfaces"][0]["addresses"], json!(["10.0.0.1/24", "10.0.0.99/24"]));
        let said = site.ask(client, "GET", &format!("/api/serviceengine/{engine}/runtime"), &NONE).await;
        let reason = &said.json["oper_status"]["reason"];
        assert!(reason[0].as_str().is_some_and(|why| why.ends_with(": 2")), "{}", said.text);
    }
    let clients = format!("/api/pool/{}/persistence", own("pool"));
    let said = site.ask(&readers[1], "GET", &clients, &NONE).await;
    assert!(said.text.contains("198.51.100.1\""), "one's own clients: {}", said.text);

    // Who may see all of it does.
    let said = site.ask(&admin, "GET", &format!("/api/serviceengine/{engine}/channel"), &NONE).await;
    assert!(said.text.contains(VIP) && said.text.contains("pool-of-blue"), "{}", said.text);
    let told = &said.json["configuration"];
    assert_eq!(told["as_before"].as_object().map(serde_json::Map::len), Some(3), "{}", said.text);
    for (path, word) in [("runtime", "pool-of-blue"), ("objsync", "pool-of-blue"), ("channel", BLUE)] {
        let said = site.ask(&admin, "GET", &format!("/api/serviceengine/{engine}/{path}"), &NONE).await;
        assert!(said.text.contains(word), "{path}: {}", said.text);
    }
    let wrong = format!("/api/serviceengine/{engine}/objsync?what=pool_internal");
    let said = site.ask(&admin, "GET", &wrong, &NONE).await;
    assert!(said.status == 400 && said.text.contains("runtime/internal"), "{}", said.text);
}

/// What an engine had lately may still be in its words.
//= test CHAN-SEEN-02
#[tokio::test]
async fn what_an_engine_had_until_a_moment_ago_is_not_told_to_those_who_never_saw_it() {
    let site = Site::new("lately").await;
    let admin = site.admin().await;
    service(&site, &admin, "red", "10.0.0.99").await;
    let engine = engine(&site, &admin).await;
    let access =
        json!([{"role_ref": "/api/role?name=Tenant-Admin", "tenant_ref": "/api/tenant/tenant-of-red"}]);
    site.user(&admin, "ruby", access).await;
    let ruby = site.login("ruby", "password-ruby").await;
    let number = 1;
    let has = |names: &'static [&'static str], services: &'static [&'static str]| {
        let sections = names.iter().map(|name| (format!("virtual_service/{name}"), String::new())).collect();
        let sections = Arc::new(sections);
        site.app.engines.note(&engine, number, |engine| {
            let given = Arc::make_mut(&mut engine.given);
            given.give(&sections, std::iter::empty(), Instant::now());
            engine.left_out.clear();
            engine.untaken.clear();
            let told = Service { is_up: true, is_listening: true, connections: 1 };
            engine.services = services.iter().map(|name| ((*name).to_owned(), told.clone())).collect();
            engine.problems = vec![format!("virtual_service.{BLUE}: no")];
        })
    };
    let problems = async || {
        let said = site.ask(&ruby, "GET", &format!("/api/serviceengine/{engine}/channel"), &NONE).await;
        said.json["configuration"]["problems"].as_array().map_or(0, Vec::len)
    };
    assert!(has(&[RED], &[RED]));
    assert_eq!(problems().await, 1, "all that it has is seen");
    assert!(has(&[RED], &[RED, "virtualservice-of-blue/tls"]));
    assert_eq!(problems().await, 0, "it tells of another one");
    assert!(has(&[RED, BLUE], &[RED]));
    assert_eq!(problems().await, 0, "it is to have another one");
    assert!(has(&[RED], &[RED]));
    assert_eq!(problems().await, 0, "it had another one");
}
