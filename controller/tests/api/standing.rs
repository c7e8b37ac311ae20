//! What is told of how things stand, by engines that tell what the test says and a clock that it moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_controller::engines::{Interface, Peer, Server, Service};
use forebay_controller::stands::{Stands, look};
use forebay_controller::store::{Step, Store};
use serde_json::{Value, json};

use crate::site::{Client, Site};

const NONE: Value = Value::Null;

/// A service with a pool, and engines.
struct Stand {
    site: Site,
    admin: Client,
    pool: String,
    vs: String,
    /// The engines and the numbers of their streams.
    engines: Vec<(String, u64)>,
    now: Instant,
}

fn uuid(object: &Value) -> String {
    object["uuid"].as_str().expect("a uuid").to_owned()
}

fn at(server: usize) -> String {
    format!("10.0.{}.{}:80", server / 250, server % 250 + 1)
}

impl Stand {
    async fn new(name: &str, servers: usize) -> Self {
        let site = Site::new(name).await;
        let admin = site.admin().await;
        let ip = |n: usize| at(n).trim_end_matches(":80").to_owned();
        let list: Vec<Value> =
            (0..servers).map(|n| json!({"ip": {"addr": ip(n), "type": "V4"}, "port": 80})).collect();
        let pool = uuid(&site.make(&admin, "/api/pool", json!({"name": "p", "servers": list})).await);
        let vip = json!([{"vip_id": "1", "ip_address": {"addr": "10.9.0.9", "type": "V4"}}]);
        let vsvip = uuid(&site.make(&admin, "/api/vsvip", json!({"name": "v", "vip": vip})).await);
        let vs = json!({"name": "s", "vsvip_ref": vsvip, "pool_ref": pool, "services": [{"port": 80}]});
        let vs = uuid(&site.make(&admin, "/api/virtualservice", vs).await);
        Stand { site, admin, pool, vs, engines: Vec::new(), now: Instant::now() }
    }

    async fn engine(&mut self, name: &str) {
        let group = "/api/serviceenginegroup?name=Default-Group";
        let engine = json!({"name": name, "se_group_ref": group});
        let uuid = uuid(&self.site.make(&self.admin, "/api/serviceengine", engine).await);
        self.site.app.engines.learn(&self.site.app.objects.now(), &self.site.app.members);
        let number = self.attach(&uuid);
        self.engines.push((uuid, number));
    }

    fn attach(&self, uuid: &str) -> u64 {
        let engines = &self.site.app.engines;
        let number = engines.attach(uuid, tokio::sync::mpsc::channel(1).0, Instant::now());
        let number = number.expect("it is there");
        engines.note(uuid, number, |engine| {
            let addresses = vec![("10.9.0.1".parse().expect("an address"), 24)];
            engine.machine.interfaces = vec![Interface { addresses, is_up: true, ..Interface::default() }];
            engine.has_tables = true;
        });
        number
    }

    /// An engine tells of the servers: those that are up.
    fn tells(&self, engine: usize, up: impl Fn(usize) -> bool, servers: usize) {
        let (uuid, number) = &self.engines[engine];
        let of = |n: usize| match up(n) {
            true => Server { state: "up".to_owned(), why: String::new() },
            false => Server { state: "down".to_owned(), why: "connection refused".to_owned() },
        };
        let has = self.site.app.placement.known().on(uuid);
        self.site.app.engines.note(uuid, *number, |engine| {
            engine.reports += 1;
            engine.servers = (0..servers).map(|n| ((self.pool.clone(), at(n)), of(n))).collect();
            let is_up = (0..servers).any(&up);
            let told = |is_listening| Service { is_up, is_listening, connections: 0 };
            engine.services = has.into_iter().map(|one| (one.vs, told(one.accepts))).collect();
        });
    }

    /// All engines tell the same until the service is placed and served.
    async fn settle(&self, up: impl Fn(usize) -> bool + Copy, servers: usize) {
        for _ in 0..4 {
            self.site.app.place().await.expect("written");
            (0..self.engines.len()).for_each(|engine| self.tells(engine, up, servers));
        }
    }

    /// Looks until there is no more to tell.
    async fn look(&self) {
        while look(&self.site.app, self.now).await.expect("written") {}
    }

    /// What was told so far, the oldest first.
    async fn events(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for page in 1.. {
            let path = format!(
                "/api/analytics/logs?type=2&orderby=report_timestamp&page_size=1000&page={page}\
                 &filter=ne(module,CONFIG)&filter=co(event_id,_)"
            );
            let said = self.site.ask(&self.admin, "GET", &path, &NONE).await;
            assert_eq!(said.status, 200, "{}", said.text);
            let found = said.json["results"].as_array().expect("a list").clone();
            if found.is_empty() {
                break;
            }
            all.extend(found);
        }
        let is_ours = |event: &Value| {
            let id = event["event_id"].as_str().unwrap_or_default();
            id.ends_with("_UP") || id.ends_with("_DOWN")
        };
        all.retain(is_ours);
        all
    }

    async fn ids(&self) -> Vec<String> {
        let of = |event: &Value| event["event_id"].as_str().expect("a text").to_owned();
        self.events().await.iter().map(of).collect()
    }

    /// Another process over the same store, or another Controller that comes to lead.
    async fn again(&mut self) {
        let standing = Stands::open(&self.site.app.store).await.expect("readable");
        Arc::get_mut(&mut self.site.app).expect("nobody else has it").standing = standing;
    }
}

//= test EVENT-STATE-01
//= test EVENT-STATE-02
#[tokio::test]
async fn each_change_is_told_once_with_its_reason_also_over_a_new_start() {
    let mut stand = Stand::new("standing-once", 2).await;
    stand.engine("se").await;
    stand.settle(|_| true, 2).await;
    stand.look().await;
    let mut wanted = vec!["SE_UP", "POOL_UP", "VS_UP"];
    assert_eq!(stand.ids().await, wanted);
    stand.tells(0, |n| n == 1, 2);
    stand.look().await;
    wanted.push("SERVER_DOWN");
    assert_eq!(stand.ids().await, wanted);
    let told = stand.events().await.pop().expect("one");
    assert_eq!((&told["obj_uuid"], &told["obj_type"]), (&json!(stand.pool), &json!("POOL")), "{told}");
    assert_eq!(told["event_details"]["se_hm_pool_details"]["server"]["port"], 80, "{told}");
    assert_eq!(told["event_details"]["se_hm_pool_details"]["percent_servers_up"], "50", "{told}");
    let text = told["event_description"].as_str().expect("a text");
    assert!(text.contains("10.0.0.1:80") && text.contains("connection refused"), "{text}");

    stand.again().await;
    stand.look().await;
    assert_eq!(stand.ids().await, wanted, "it was told");
    // What happens while nobody looks is told by whoever looks next.
    stand.tells(0, |_| false, 2);
    stand.again().await;
    stand.look().await;
    stand.look().await;
    wanted.extend(["SERVER_DOWN", "POOL_DOWN", "VS_DOWN"]);
    assert_eq!(stand.ids().await, wanted);
    let told = stand.events().await.pop().expect("one");
    assert_eq!((&told["obj_uuid"], &told["obj_name"]), (&json!(stand.vs), &json!("s")), "{told}");
    let why = told["event_details"]["se_hm_vs_details"]["reason"].as_str().expect("a text");
    assert!(why.contains("no server of it can be used") && why.contains("connection refused"), "{told}");
    assert_eq!(told["related_uuids"], json!([stand.pool]), "{told}");

    stand.tells(0, |n| n == 0, 2);
    stand.look().await;
    wanted.extend(["SERVER_UP", "POOL_UP", "VS_UP"]);
    assert_eq!(stand.ids().await, wanted);
    // A server that is none any more is not said to be up.
    stand.tells(0, |n| n == 0, 1);
    stand.look().await;
    stand.tells(0, |_| true, 2);
    stand.look().await;
    assert_eq!(stand.ids().await, wanted);
    // Nothing is kept of what is not there any more.
    for path in [format!("/api/virtualservice/{}", stand.vs), format!("/api/pool/{}", stand.pool)] {
        assert_eq!(stand.site.ask(&stand.admin, "DELETE", &path, &NONE).await.status, 204);
    }
    stand.look().await;
    let kept = stand.site.app.store.list("standing/", None, 100).await.expect("readable").entries;
    assert_eq!(kept.len(), 1, "the engine: {kept:?}");
}

//= test EVENT-STATE-01
#[tokio::test]
async fn what_one_engine_of_two_says_is_told_where_the_other_says_it_too() {
    let mut stand = Stand::new("standing-two", 2).await;
    let path = "/api/serviceenginegroup?name=Default-Group";
    let group = stand.site.ask(&stand.admin, "GET", path, &NONE).await.json["results"][0].clone();
    let path = format!("/api/serviceenginegroup/{}", uuid(&group));
    let both = json!({"replace": {"min_scaleout_per_vs": 2}});
    assert_eq!(stand.site.ask(&stand.admin, "PATCH", &path, &both).await.status, 200);
    stand.engine("a").await;
    stand.engine("b").await;
    stand.settle(|_| true, 2).await;
    stand.look().await;
    let before = stand.ids().await;
    stand.tells(0, |_| false, 2);
    stand.look().await;
    assert_eq!(stand.ids().await, before, "the other one reaches them");
    stand.tells(1, |_| false, 2);
    stand.look().await;
    let told = stand.ids().await.split_off(before.len());
    assert_eq!(told, ["SERVER_DOWN", "SERVER_DOWN", "POOL_DOWN", "VS_DOWN"]);
}

//= test EVENT-STATE-01
#[tokio::test]
async fn a_controller_that_begins_waits_for_its_engines_before_it_says_that_anything_is_down() {
    let mut stand = Stand::new("standing-begins", 2).await;
    stand.engine("a").await;
    stand.engine("b").await;
    for (uuid, _) in &stand.engines {
        let group = stand.site.app.engines.get(uuid).expect("known").group.clone();
        let app = &stand.site.app;
        app.members.enter(&app.store, uuid, &group).await.expect("room");
    }
    stand.site.app.engines.learn(&stand.site.app.objects.now(), &stand.site.app.members);
    stand.settle(|_| true, 2).await;
    stand.look().await;
    let before = stand.ids().await;
    // As after a new start: the one that reaches the servers has told nothing yet, and then a part.
    let (good, number) = stand.engines[1].clone();
    let said = stand.site.app.engines.get(&good).expect("known").servers.clone();
    stand.site.app.engines.note(&good, number, |engine| {
        engine.reports = 0;
        engine.servers.clear();
    });
    stand.tells(0, |_| false, 2);
    stand.look().await;
    stand.site.app.engines.note(&good, number, |engine| (engine.reports, engine.is_telling) = (1, true));
    stand.look().await;
    assert_eq!(pools_of(&stand.ids().await), pools_of(&before), "it may know better");
    stand.site.app.engines.note(&good, number, |engine| {
        (engine.reports, engine.is_telling) = (2, false);
        engine.servers = said;
    });
    stand.look().await;
    assert_eq!(pools_of(&stand.ids().await), pools_of(&before), "it does");
    // One that never tells is not waited for.
    stand.site.app.engines.note(&good, number, |engine| {
        engine.reports = 0;
        engine.servers.clear();
    });
    let patience = stand.site.app.engines.get(&good).expect("known").patience;
    stand.now += patience + Duration::from_secs(1);
    let (bad, number) = &stand.engines[0];
    stand.site.app.engines.note(bad, *number, |engine| engine.heard = Some(stand.now));
    stand.look().await;
    let told = stand.ids().await;
    assert_eq!(told.iter().filter(|id| *id == "SERVER_DOWN").count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|id| *id == "SE_DOWN").count(), 1, "{told:?}");
}

/// Those of pools and servers.
fn pools_of(ids: &[String]) -> Vec<&String> {
    ids.iter().filter(|id| id.starts_with("POOL") || id.starts_with("SERVER")).collect()
}

//= test EVENT-STATE-02
#[tokio::test]
async fn a_flood_is_told_piece_by_piece_each_once_and_what_another_one_told_is_not_told_again() {
    const SERVERS: usize = 1_000;
    let mut stand = Stand::new("standing-flood", SERVERS).await;
    stand.engine("se").await;
    stand.settle(|_| true, SERVERS).await;
    stand.look().await;
    stand.tells(0, |_| false, SERVERS);
    let mut looks = 1;
    while look(&stand.site.app, stand.now).await.expect("written") {
        looks += 1;
        if looks == 2 {
            stand.again().await;
        }
    }
    assert!(looks > 2, "{looks}");
    let told = stand.events().await;
    let mut servers = BTreeMap::new();
    for event in told.iter().filter(|event| event["event_id"] == "SERVER_DOWN") {
        let server = &event["event_details"]["se_hm_pool_details"]["server"];
        *servers.entry(server["description"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(servers.len(), SERVERS);
    assert!(servers.values().all(|times| *times == 1), "{servers:?}");
    let ids: Vec<&Value> = told.iter().map(|event| &event["event_id"]).collect();
    for (id, times) in [("POOL_DOWN", 1), ("VS_DOWN", 1)] {
        assert_eq!(ids.iter().filter(|told| **told == id).count(), times, "{id}");
    }
    assert_eq!(ids.last().expect("one"), &"POOL_DOWN", "behind its servers");
    // Another Controller led meanwhile, and told that the service is up.
    let key = format!("standing/virtualservice/{}", stand.vs);
    let store = &stand.site.app.store;
    let said = Step::default().write(key, Some(json!({"up": true}).to_string().into_bytes()));
    store.commit(said).await.expect("room");
    let before = stand.ids().await.len();
    stand.tells(0, |_| true, SERVERS);
    let mut refused = 0;
    loop {
        match look(&stand.site.app, stand.now).await {
            Ok(false) => break,
            Ok(true) => {}
            Err(_) => refused += 1,
        }
    }
    assert_eq!(refused, 1, "it is found where it is to be written");
    let ids = stand.ids().await.split_off(before);
    assert!(!ids.iter().any(|id| id == "VS_UP"), "it was told");
    assert_eq!(ids.iter().filter(|id| *id == "SERVER_UP").count(), SERVERS);
}

//= test EVENT-STATE-03
#[tokio::test]
async fn engines_that_share_tables_and_lose_one_another_say_so() {
    let mut stand = Stand::new("standing-peers", 1).await;
    stand.engine("a").await;
    stand.engine("b").await;
    let app = Arc::clone(&stand.site.app);
    for (uuid, _) in &stand.engines {
        let group = app.engines.get(uuid).expect("known").group.clone();
        app.members.enter(&app.store, uuid, &group).await.expect("room");
    }
    app.engines.learn(&app.objects.now(), &app.members);
    stand.settle(|_| true, 1).await;
    let (first, number) = stand.engines[0].clone();
    let other = stand.engines[1].0.clone();
    let slot = app.engines.get(&other).expect("known").slot.expect("it has one");
    let tells = |is_connected: bool| {
        app.engines.note(&first, number, |engine| {
            engine.peers = vec![Peer { slot, is_connected, waiting: 0, is_equal: is_connected }];
        });
    };
    let peers = async |stand: &Stand| -> Vec<String> {
        let path = "/api/analytics/logs?type=2&orderby=report_timestamp&filter=co(event_id,OBJSYNC)";
        let said = stand.site.ask(&stand.admin, "GET", path, &NONE).await.json;
        let of = |event: &Value| {
            assert_eq!(event["obj_uuid"], json!(first), "{event}");
            let details = &event["event_details"]["se_objsync_peer_down_details"];
            assert_eq!(details["peer_se_uuids"], json!(other), "{event}");
            event["event_id"].as_str().expect("a text").to_owned()
        };
        said["results"].as_array().expect("a list").iter().map(of).collect()
    };
    // What begins takes its time.
    tells(false);
    stand.look().await;
    assert!(peers(&stand).await.is_empty());
    stand.now += Duration::from_secs(11);
    stand.look().await;
    assert_eq!(peers(&stand).await, ["SE_OBJSYNC_PEER_DOWN"]);
    tells(true);
    stand.look().await;
    stand.look().await;
    assert_eq!(peers(&stand).await, ["SE_OBJSYNC_PEER_DOWN", "SE_OBJSYNC_PEER_UP"]);
    tells(false);
    stand.look().await;
    stand.look().await;
    assert_eq!(peers(&stand).await.len(), 3);
}
