//! The API of placement and scale, with engines that do what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, Response};
use base64::Engine as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{App, Wrote, serve};
use crate::accounts::Accounts;
use crate::channel::Authority;
use crate::cluster::Cluster;
use crate::engines::{Engines, Interface, Members, Server, Service};
use crate::objects::Objects;
use crate::placement::Placement;
use crate::sealed::Seal;
use crate::store::Embedded;
use crate::store::suite::Folder;

pub(super) struct Lab {
    pub(super) app: Arc<App<Embedded>>,
    basic: String,
    engines: Vec<(String, u64)>,
    _folder: Folder,
}

impl Lab {
    pub(super) async fn new() -> Self {
        // Tests of one program have one each.
        static LABS: AtomicU32 = AtomicU32::new(0);
        let folder = Folder::new(&format!("scale-api-{}", LABS.fetch_add(1, Ordering::Relaxed)));
        let store = Embedded::open(&folder.0.join("store")).expect("a store");
        let seal = Seal::open(&folder.0.join("key")).expect("a key");
        let objects = Objects::open(store.clone(), seal).await.expect("empty");
        objects.seed(crate::seeds::all().expect("seeds").into_iter()).await.expect("seeded");
        let accounts = Accounts::new().expect("random numbers");
        let password = objects.first().await.expect("written").expect("the first");
        let placement = Placement::open(&store).await.expect("empty");
        let engines = Engines::default();
        let authority = Authority::open(&store, objects.seal()).await.expect("made");
        let (members, began) = (Members::default(), Instant::now());
        let counted = crate::counted::Counted::default();
        let alerts = crate::alerts::Alerts::default();
        let standing = crate::stands::Stands::open(&store).await.expect("empty");
        let cluster = Cluster::alone([127, 0, 0, 1].into());
        let logs = None;
        let app = App {
            store,
            objects,
            accounts,
            engines,
            placement,
            began,
            members,
            authority,
            counted,
            alerts,
            standing,
            logs,
            cluster,
            idle: super::Idle::default(),
            mirrors: crate::mirror::Mirrors::default(),
            distributors: crate::distributor::Distributors::default(),
        };
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("admin:{password}"));
        Lab { app: Arc::new(app), basic, engines: Vec::new(), _folder: folder }
    }

    async fn answer(&self, method: &str, path: &str, said: &Value) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "controller.test")
            .header("authorization", format!("Basic {}", self.basic));
        let content = if said.is_null() { Body::empty() } else { Body::from(said.to_string()) };
        serve(Arc::clone(&self.app), request.body(content).expect("a request")).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, said: &Value) -> (u16, Value) {
        let answer = self.answer(method, path, said).await;
        let status = answer.status().as_u16();
        let content = answer.into_body().collect().await.expect("content").to_bytes();
        (status, serde_json::from_slice(&content).unwrap_or_default())
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, said) = self.ask("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    pub(super) async fn make(&self, path: &str, object: Value) -> String {
        let (status, said) = self.ask("POST", &format!("/api/{path}"), &object).await;
        assert_eq!(status, 201, "{said}");
        said["uuid"].as_str().expect("a uuid").to_owned()
    }

    async fn engine(&mut self, name: &str) -> String {
        let group = "/api/serviceenginegroup?name=Default-Group";
        let uuid = self.make("serviceengine", json!({"name": name, "se_group_ref": group})).await;
        self.app.engines.learn(&self.app.objects.now(), &Members::default());
        let stream = tokio::sync::mpsc::channel(1).0;
        let number = self.app.engines.attach(&uuid, stream, Instant::now()).expect("it is there");
        self.app.engines.note(&uuid, number, |engine| {
            let addresses = vec![("10.0.0.1".parse().expect("an address"), 24)];
            engine.machine.interfaces = vec![Interface { addresses, is_up: true, ..Interface::default() }];
            engine.has_tables = true;
        });
        self.engines.push((uuid.clone(), number));
        uuid
    }

    /// Engines take what they are told, until there is nothing more to take.
    async fn settle(&self, is_up: bool) {
        for _ in 0..8 {
            self.app.place().await.expect("written");
            let known = self.app.placement.known();
            for (uuid, number) in &self.engines {
                let has = known.on(uuid);
                self.app.engines.note(uuid, *number, |engine| {
                    let told = |accepts| Service { is_up, is_listening: accepts, connections: 0 };
                    engine.services = has.into_iter().map(|one| (one.vs, told(one.accepts))).collect();
                });
            }
        }
    }
}

//= test CLUSTER-STILL-01
#[tokio::test]
async fn an_answer_says_whether_anything_was_written_for_it() {
    let lab = Lab::new().await;
    let pool = json!({"name": "p"});
    let wrote = async |method: &str, path: &str, said: &Value| {
        let answer = lab.answer(method, path, said).await;
        (answer.status().as_u16(), answer.extensions().get::<Wrote>().is_some())
    };
    assert_eq!(wrote("POST", "/api/pool?dry_run=true", &pool).await, (201, false), "it was tried only");
    assert_eq!(wrote("POST", "/api/pool", &pool).await, (201, true));
    assert_eq!(wrote("POST", "/api/pool", &pool).await, (409, false), "it is there");
    assert_eq!(wrote("GET", "/api/pool", &Value::Null).await, (200, false));
    assert_eq!(wrote("POST", "/logout", &json!({})).await, (200, false));
}

//= test SCALE-API-01
//= test SCALE-API-02
//= test SCALE-API-03
//= test SCALE-HEALTH-01
//= test EVENT-LIST-01
#[tokio::test]
async fn clients_see_how_a_service_is_placed_scale_it_and_read_what_happened() {
    let mut lab = Lab::new().await;
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.0.0.9", "type": "V4"}}]);
    let vsvip = lab.make("vsvip", json!({"name": "web-vip", "vip": vip})).await;
    let servers = json!([{"ip": {"addr": "10.0.1.1", "type": "V4"}, "port": 80}, {"ip": {"addr": "10.0.1.2", "type": "V4"}}]);
    let pool = lab.make("pool", json!({"name": "web-pool", "servers": servers})).await;
    let service = json!({"name": "web", "vsvip_ref": vsvip, "pool_ref": pool, "services": [{"port": 80}]});
    let vs = lab.make("virtualservice", service).await;
    let at = format!("/api/virtualservice/{vs}");
    lab.settle(true).await;
    let state = async |lab: &Lab| lab.get(&format!("{at}/runtime")).await["oper_status"].clone();
    let none = state(&lab).await;
    assert_eq!(none["state"], "OPER_RESOURCES", "{none}");
    assert!(
        none["reason"][0].as_str().is_some_and(|why| why.contains("Default-Group has no engines")),
        "{none}"
    );

    let first = lab.engine("se-a").await;
    lab.app.place().await.expect("written");
    assert_eq!(state(&lab).await["state"], "OPER_CREATING");
    lab.settle(false).await;
    let down = state(&lab).await;
    assert_eq!(down["state"], "OPER_DOWN", "{down}");
    lab.settle(true).await;
    assert_eq!(state(&lab).await["state"], "OPER_UP");

    let second = lab.engine("se-b").await;
    let found = lab.get(&format!("{at}/candidatesehostlist")).await;
    assert_eq!(
        found["se_refs"],
        json!([format!("https://controller.test/api/serviceengine/{second}")]),
        "{found}"
    );
    assert_eq!(found["se"][1]["reason"], "the virtual service is on it");
    let refused = lab.ask("POST", &format!("{at}/scaleout"), &json!({})).await;
    assert!(
        refused.0 == 400 && refused.1["error"].as_str().is_some_and(|why| why.contains("vip_id")),
        "{refused:?}"
    );
    let other =
        lab.ask("POST", &format!("{at}/scaleout"), &json!({"vip_id": "1", "to_se_ref": "se-none"})).await;
    assert_eq!((other.0, &other.1["error"]), (400, &json!("ServiceEngine object not found!")));
    assert_eq!(lab.ask("GET", &format!("{at}/scaleout"), &Value::Null).await.0, 405);
    let to = json!({"vip_id": "1", "to_se_ref": format!("/api/serviceengine/{second}")});
    let (status, said) = lab.ask("POST", &format!("{at}/scaleout"), &to).await;
    assert_eq!(
        (status, &said["scale_status"]["state"]),
        (200, &json!("SCALEOUT_AWAITING_SE_PROGRAMMING")),
        "{said}"
    );
    assert_eq!(lab.ask("POST", &format!("{at}/scaleout"), &to).await.0, 400, "one after another");
    lab.settle(true).await;
    let status = lab.get(&format!("{at}/scaleoutstatus")).await;
    let status = &status["vip_scaleout_status"][0];
    assert_eq!(
        (&status["num_se_assigned"], &status["scale_status"]["action_success"]),
        (&json!(2), &json!(true)),
        "{status}"
    );
    let runtime = lab.get(&format!("{at}/runtime/?include_name=true")).await;
    let summary = &runtime["vip_summary"][0];
    assert_eq!(
        (&summary["vip_id"], &summary["percent_ses_up"], &runtime["percent_ses_up"]),
        (&json!("1"), &json!(100), &json!(100))
    );
    let engines = summary["service_engine"].as_array().expect("a list");
    assert_eq!(engines.iter().map(|one| &one["primary"]).collect::<Vec<_>>(), [&json!(true), &json!(false)]);
    assert_eq!(engines[0]["ref"], format!("https://controller.test/api/serviceengine/{first}#se-a"));
    let detail = lab.get(&format!("{at}/runtime/detail")).await;
    assert_eq!(detail["vip_runtime"][0]["fsm_state_name"], "VS_FSM_ACTIVE", "{detail}");
    assert_eq!(
        lab.get(&format!("{at}/placement")).await["vip_placement"][0]["service_engines"][1]["name"],
        "se-b"
    );

    let (uuid, number) = lab.engines[0].clone();
    let server = Server { state: "up".to_owned(), why: String::new() };
    lab.app.engines.note(&uuid, number, |engine| {
        engine.servers.insert((pool.clone(), "10.0.1.1:80".to_owned()), server);
    });
    let of_pool = lab.get(&format!("/api/pool/{pool}/runtime")).await;
    assert_eq!(
        (&of_pool["num_servers"], &of_pool["num_servers_up"], &of_pool["percent_servers_up_total"]),
        (&json!(2), &json!(1), &json!(50))
    );
    assert_eq!(of_pool["oper_status"]["state"], "OPER_UP");
    assert_eq!(
        lab.get(&format!("/api/serviceengine/{first}/runtime")).await["oper_status"]["state"],
        "OPER_UP"
    );
    let inventory = lab.get("/api/virtualservice-inventory?include_name=true&page_size=1").await;
    let entry = &inventory["results"][0];
    assert_eq!(
        (&inventory["count"], &entry["runtime"]["oper_status"]["state"]),
        (&json!(1), &json!("OPER_UP"))
    );
    assert_eq!(entry["config"]["vip"][0]["ip_address"]["addr"], "10.0.0.9");
    assert_eq!(entry["health_score"]["health_score"], 50, "one of two servers is up: {entry}");
    lab.settle(false).await;
    let down = lab.get("/api/virtualservice-inventory").await["results"][0].clone();
    assert_eq!(down["health_score"]["health_score"], 0, "{down}");
    lab.settle(true).await;
    assert_eq!(entry["pools"], json!([format!("https://controller.test/api/pool/{pool}#web-pool")]));
    for (kind, field) in [
        ("pool", "virtualservices"),
        ("serviceengine", "virtualservices"),
        ("serviceenginegroup", "serviceengines"),
    ] {
        let entry = lab.get(&format!("/api/{kind}-inventory")).await["results"][0].clone();
        assert!(
            entry["runtime"].is_object() && entry[field].as_array().is_some_and(|all| !all.is_empty()),
            "{entry}"
        );
    }
    let next = lab.get("/api/serviceengine-inventory?page_size=1").await["next"].clone();
    assert_eq!(next, "https://controller.test/api/serviceengine-inventory?page_size=1&page=2");

    let events =
        lab.get("/api/analytics/logs?type=2&filter=eq(event_id,VS_SCALEOUT_COMPLETE)&page_size=9").await;
    assert_eq!((&events["count"], &events["results"][0]["obj_uuid"]), (&json!(1), &json!(vs)), "{events}");
    let all =
        lab.get("/api/analytics/logs?type=2&filter=co(all,%22web%22)&filter=ne(event_id,VS_ADD_SE)").await;
    assert!(all["count"].as_u64().is_some_and(|count| count >= 3), "{all}");
    assert_eq!(lab.ask("GET", "/api/analytics/logs?type=1", &Value::Null).await.0, 400);
    let (status, last) = lab.ask("POST", &format!("{at}/scalein"), &json!({"vip_id": "1"})).await;
    assert_eq!(status, 200, "{last}");
}

/// Whoever asks for a thing that is not there is told, and is not given another.
//= test SCALE-API-03
//= test API-JOIN-01
//= test API-LIST-02
//= test VIEW-TABLES-02
#[tokio::test]
async fn every_inventory_is_there_and_a_query_joins_how_objects_are() {
    let mut lab = Lab::new().await;
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.0.0.9", "type": "V4"}}]);
    let vsvip = lab.make("vsvip", json!({"name": "v", "vip": vip})).await;
    let servers = json!([{"ip": {"addr": "10.0.1.1", "type": "V4"}, "port": 80}]);
    let pool = lab.make("pool", json!({"name": "p", "servers": servers})).await;
    let other = lab.make("pool", json!({"name": "q"})).await;
    let members = json!([{"pool_ref": other}, {"pool_ref": pool}]);
    let group = lab.make("poolgroup", json!({"name": "g", "members": members})).await;
    let vs = json!({"name": "w", "vsvip_ref": vsvip, "pool_group_ref": group, "services": [{"port": 80}]});
    let vs = lab.make("virtualservice", vs).await;
    let network = lab.make("network", json!({"name": "n"})).await;
    lab.make("cloud", json!({"name": "far", "vtype": "CLOUD_AWS"})).await;
    let entry = async |lab: &Lab, kind: &str, name: &str| {
        let path = format!("/api/{kind}-inventory");
        let found = lab.get(&format!("{path}?name={name}")).await["results"][0].clone();
        let uuid = found["uuid"].as_str().expect("a uuid").to_owned();
        assert_eq!(found["config"]["name"], name, "{found}");
        let alone = lab.get(&format!("{path}/{uuid}/")).await;
        assert_eq!(alone, found, "the same is told of it alone");
        found
    };
    let address = |kind: &str, uuid: &str| json!([format!("https://controller.test/api/{kind}/{uuid}")]);
    assert_eq!(entry(&lab, "poolgroup", "g").await["runtime"]["oper_status"]["state"], "OPER_DOWN");
    lab.engine("se-a").await;
    lab.settle(true).await;
    let (uuid, number) = lab.engines[0].clone();
    let server = Server { state: "up".to_owned(), why: String::new() };
    lab.app.engines.note(&uuid, number, |engine| {
        engine.servers.insert((pool.clone(), "10.0.1.1:80".to_owned()), server);
    });
    let pools = entry(&lab, "poolgroup", "g").await;
    assert_eq!(
        (
            &pools["runtime"]["oper_status"]["state"],
            &pools["runtime"]["num_pools_up"],
            &pools["virtualservices"]
        ),
        (&json!("OPER_UP"), &json!(1), &address("virtualservice", &vs)),
        "{pools}"
    );
    let addresses = entry(&lab, "vsvip", "v").await;
    assert_eq!(addresses["virtualservices"], address("virtualservice", &vs));
    assert_eq!(addresses["runtime"]["oper_status"]["state"], "OPER_UP", "{addresses}");
    let cloud = entry(&lab, "cloud", "Default-Cloud").await;
    assert_eq!(cloud["status"]["state"], "CLOUD_STATE_PLACEMENT_READY", "{cloud}");
    assert_eq!(entry(&lab, "cloud", "far").await["status"]["state"], "CLOUD_STATE_NOT_CONNECTED");
    assert_eq!(entry(&lab, "network", "n").await["uuid"], network);
    let none = lab.get("/api/gslbservice-inventory").await;
    assert_eq!(none, json!({"count": 0, "results": []}));
    assert_eq!(lab.ask("GET", "/api/pool-inventory/pool-none", &Value::Null).await.0, 404);
    assert_eq!(lab.ask("POST", &format!("/api/pool-inventory/{pool}"), &json!({})).await.0, 405);

    for path in ["/api/virtualservice", &format!("/api/virtualservice/{vs}")] {
        let bare = lab.get(path).await;
        let with = lab.get(&format!("{path}?join_subresources=runtime")).await;
        let one = |found: &Value| found.get("results").map_or(found, |all| &all[0])["runtime"].clone();
        assert_eq!(
            (one(&bare), &one(&with)["oper_status"]["state"]),
            (Value::Null, &json!("OPER_UP")),
            "{with}"
        );
        let (status, said) =
            lab.ask("GET", &format!("{path}?join_subresources=runtime,x"), &Value::Null).await;
        assert_eq!(status, 400, "{said}");
    }
    assert_eq!(lab.get("/api/network?join_subresources=runtime").await["results"][0]["runtime"], Value::Null);
    for (path, refused) in [
        ("/api/pool?exclude=name".to_owned(), 400),
        ("/api/pool?limit_by=1".to_owned(), 400),
        (format!("/api/pool/{pool}/persistence?persistence_mask=24"), 400),
        (format!("/api/pool/{pool}/objsync?vs_ref=/api/pool/{pool}"), 400),
        (format!("/api/pool/{pool}/objsync?vs_ref=/api/virtualservice?name=none"), 404),
        (format!("/api/pool/{pool}/objsync?vs_ref=/api/virtualservice?name=w"), 200),
    ] {
        let (status, said) = lab.ask("GET", &path, &Value::Null).await;
        assert_eq!(status, refused, "{path}: {said}");
    }
}

//= test SCALE-POOL-01
#[tokio::test]
async fn a_pool_has_the_addresses_of_its_group_as_servers() {
    let mut lab = Lab::new().await;
    let ip = |last: u8| json!({"addr": format!("10.0.1.{last}"), "type": "V4"});
    let group = lab.make("ipaddrgroup", json!({"name": "g", "addrs": [ip(1), ip(2), ip(3)]})).await;
    let refers = format!("/api/ipaddrgroup/{group}");
    let own = json!([{"ip": ip(1), "port": 8080}, {"ip": ip(9)}]);
    let pool = json!({"name": "p", "default_server_port": 8080, "ipaddrgroup_ref": refers, "servers": own});
    let pool = lab.make("pool", pool).await;
    let alone = lab.make("pool", json!({"name": "q", "ipaddrgroup_ref": refers})).await;
    let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.0.0.9", "type": "V4"}}]);
    let vsvip = lab.make("vsvip", json!({"name": "v", "vip": vip})).await;
    let service = json!({"name": "web", "vsvip_ref": vsvip, "pool_ref": alone, "services": [{"port": 80}]});
    let vs = lab.make("virtualservice", service).await;
    lab.engine("se-a").await;
    lab.settle(true).await;
    let at = |pool: &str| format!("/api/pool/{pool}/runtime");
    let listed = lab.get(&format!("{}/server", at(&pool))).await;
    let places: Vec<String> = listed["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{}:{}", one["ip_addr"]["addr"].as_str().unwrap_or_default(), one["port"]))
        .collect();
    assert_eq!(places, ["10.0.1.1:8080", "10.0.1.9:8080", "10.0.1.2:8080", "10.0.1.3:8080"]);
    let (uuid, number) = lab.engines[0].clone();
    lab.app.engines.note(&uuid, number, |engine| {
        for (last, state) in [(1, "up"), (2, "up"), (3, "down")] {
            let server = Server { state: state.to_owned(), why: String::new() };
            engine.servers.insert((alone.clone(), format!("10.0.1.{last}:80")), server);
        }
    });
    let runtime = lab.get(&at(&alone)).await;
    assert_eq!((&runtime["num_servers"], &runtime["num_servers_up"]), (&json!(3), &json!(2)), "{runtime}");
    assert_eq!(runtime["oper_status"]["state"], "OPER_UP", "{runtime}");
    let entry = lab.get("/api/pool-inventory?name=q").await["results"][0].clone();
    assert_eq!(entry["health_score"]["health_score"], 67, "{entry}");
    // Placement looks whether engines reach them, also those that the group gets later.
    let servers = |lab: &Lab| {
        let known = lab.app.placement.known();
        known.world.wanted[&known.world.of[&vs]].servers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(servers(&lab), ["10.0.1.1", "10.0.1.2", "10.0.1.3"]);
    let (status, said) =
        lab.ask("PATCH", &format!("/api/ipaddrgroup/{group}"), &json!({"replace": {"addrs": [ip(4)]}})).await;
    assert_eq!(status, 200, "{said}");
    lab.app.place().await.expect("written");
    assert_eq!(servers(&lab), ["10.0.1.4"]);
}
