//! The whole story of a service, with clients that ask all the while.

use std::time::Instant;

use forebay_e2e::Wire;
use forebay_e2e::led::Options;
use forebay_e2e::lively::{echoes, websocket_from};
use forebay_e2e::wait::{eventually, secs};
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::site::{LEAVE_S, Site};
use crate::views;

/// Clients that ask all the while, each with an address of its own.
const CLIENTS: u32 = 12;
/// Bytes of a download.
const DOWNLOAD: usize = 16 << 20;

fn engine(site: &Site, at: usize) -> Value {
    json!(format!("/api/serviceengine/{}", site.uuids[at]))
}

//= test SCALE-OUT-01
//= test SCALE-IN-01
//= test SCALE-IN-02
//= test SE-CUT-03
//= test SCALE-MIGRATE-01
//= test SCALE-SWITCH-01
//= test PLACE-LOST-01
//= test PLACE-DISABLE-01
//= test PLACE-TOLD-01
//= test CHAN-SHARE-01
//= test CHAN-TABLES-01
//= test RELOAD-STANDBY-01
#[test]
fn a_service_is_scaled_moved_and_healed_and_only_requests_on_the_killed_engine_fail() {
    let mut site = Site::new(3);
    let clients = Clients::default();
    std::thread::scope(|scope| {
        let over = clients.until_dropped();
        for n in 0..CLIENTS {
            let (clients, from, at) = (&clients, site.lab.client_ip(n), site.at);
            scope.spawn(move || clients.ask(from, at));
        }
        clients.go_on();
        leave_out(&site);
        scale_out_and_in(&site, &clients);
        move_about(&site, &clients);
        let excused = lose_one(&mut site, &clients);
        drain(&mut site, &clients, excused);
        drop(over);
    });
}

fn scale_out_and_in(site: &Site, clients: &Clients) {
    let [first] = site.serving()[..] else { panic!("one engine has it") };
    let [second, _] = others(first);
    site.ask("scaleout", json!({"to_se_ref": engine(site, second)}));
    site.done("SCALEOUT_SUCCESS");
    site.serve(&[first, second]);
    site.answers(second);
    site.equal(&[first, second]);
    clients.are_well(None);
    views::are_told(site, [first, second], CLIENTS);

    site.ask("switchover", json!({"se_uuid": site.uuids[second]}));
    site.serve(&[second, first]);
    clients.go_on();
    clients.are_well(None);

    // Some are on either engine.
    let (before, mut flows) = (site.answered(first), Vec::new());
    for n in 100..116 {
        flows.push(websocket_from(site.lab.client_ip(n), site.at).0);
    }
    assert!(site.answered(first) > before);
    let mut short: Vec<Wire> = (120..128).map(|n| download(site, n)).collect();
    let long: Vec<Wire> = (130..142).map(|n| download(site, n)).collect();
    let asked = Instant::now();
    site.ask("scalein", json!({"from_se_ref": engine(site, first)}));
    eventually("it is being left", secs(10), || {
        let runtime = site.runtime();
        runtime["vip_summary"][0]["scale_status"]["state"] == "SCALEIN_AWAITING_SE_PRE_RELEASE"
    });
    assert!(flows.iter_mut().all(echoes), "what is open goes on");
    assert!(short.iter_mut().all(|one| one.exactly(DOWNLOAD).is_ok()), "and ends well within its time");
    site.done("SCALEIN_SUCCESS");
    assert!(asked.elapsed() >= secs(LEAVE_S), "clients have their time");
    site.serve(&[second]);
    // Who is still there when it is over is cut, and counted; nobody is at the other engine.
    let cut = flows.iter_mut().map(echoes).filter(|echoes| !echoes).count();
    let broken = long.into_iter().map(|mut one| one.exactly(DOWNLOAD)).filter(Result::is_err).count();
    assert!((1..16).contains(&cut) && (1..12).contains(&broken), "{cut} and {broken} were cut");
    let told = site.get(&format!(
        "analytics/logs?type=2&page_size=10&filter=eq(event_id,SE_VS_DEL_FLOWS_DISRUPTED)&filter=eq(obj_uuid,{})",
        site.service
    ));
    let details = &told["results"][0]["event_details"]["se_vs_del_flows_disrupted"];
    assert_eq!(details["num_vs_flows_disrupted"], cut + broken, "{told}");
    assert_eq!(
        (&details["deleted_vs_name"], &details["reporting_se_name"]),
        (&json!("web"), &json!(site.engines[first].name()))
    );
    let seen = site.answered(first);
    clients.go_on();
    assert!((site.answered(first) - seen).abs() < 0.5, "nobody asks it any more");
    clients.are_well(None);
    let events = site.events();
    for id in
        ["VS_ADD_SE", "SE_SCALEOUT_READY", "VS_SCALEOUT_COMPLETE", "VS_SWITCHOVER", "VS_SCALEIN_COMPLETE"]
    {
        assert!(events.iter().any(|event| event == id), "{id}: {events:?}");
    }
}

/// A download that has begun, of which nothing but the head was read: more than fits between server and client.
fn download(site: &Site, client: u32) -> Wire {
    let mut wire = Wire::connect_from(site.lab.client_ip(client), site.at).expect("it listens");
    wire.patience(secs(20));
    wire.send(format!("GET /bytes?n={DOWNLOAD} HTTP/1.1\r\nHost: x\r\n\r\n")).expect("sent");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    wire
}

fn others(than: usize) -> [usize; 2] {
    [(than + 1) % 3, (than + 2) % 3]
}

fn move_about(site: &Site, clients: &Clients) {
    let [from] = site.serving()[..] else { panic!("one engine has it") };
    let [_, to] = others(from);
    site.ask("migrate", json!({"to_se_ref": engine(site, to)}));
    site.done("MIGRATE_SUCCESS");
    site.serve(&[to]);
    site.answers(to);
    clients.are_well(None);
}

/// An engine of two dies, and the third one takes its place.
fn lose_one(site: &mut Site, clients: &Clients) -> (Instant, Instant) {
    let [first] = site.serving()[..] else { panic!("one engine has it") };
    let [second, third] = others(first);
    site.ask("scaleout", json!({"to_se_ref": engine(site, second)}));
    site.done("SCALEOUT_SUCCESS");
    site.serve(&[first, second]);
    site.answers(second);
    clients.are_well(None);
    let began = Instant::now();
    site.engines[first].process.kill();
    eventually("the kernel has taken its sockets back", secs(20), || listening(site) == 1);
    let excused = (began, Instant::now());
    clients.go_on();
    site.serve(&[second, third]);
    site.answers(third);
    site.equal(&[second, third]);
    clients.are_well(Some(excused));
    let events = site.events();
    assert!(events.iter().any(|event| event == "VS_REMOVED_SE"), "{events:?}");
    excused
}

/// One of two is disabled: the one that was killed is back and takes its place.
fn drain(site: &mut Site, clients: &Clients, excused: (Instant, Instant)) {
    let serving = site.serving();
    let [left, stays] = serving[..] else { panic!("two engines have it") };
    let back = 3 - left - stays;
    let options = Options { arguments: vec!["--share-addresses".to_owned()], ..Options::default() };
    let (lab, engines) = (&site.lab, site.controller.engines);
    site.engines[back].again(lab, engines, &options);
    site.change(
        &format!("serviceengine/{}", site.uuids[left]),
        &json!({"enable_state": "SE_STATE_DISABLED"}),
    );
    site.serve(&[stays, back]);
    site.answers(back);
    site.equal(&[stays, back]);
    clients.go_on();
    clients.are_well(Some(excused));
}

/// How many sockets listen where the service does: each engine has one worker.
fn listening(site: &Site) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let std::net::SocketAddr::V4(at) = site.at else { panic!("labs have IPv4") };
    let own = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let is_ours = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(own.as_str()) && words.nth(1) == Some("0A")
    };
    table.lines().filter(is_ours).count()
}

/// A service that no engine can do says why, and nothing happens to the others, nor later to the one that shares its address.
//= test CHAN-LEFT-01
//= test SCALE-LEFT-OUT-01
fn leave_out(site: &Site) {
    let key = json!([{"name": "k", "aes_key": "too short"}]);
    let cookie = json!({"cookie_name": "C", "key": key});
    let profile = json!({"name": "odd", "persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE", "http_cookie_persistence_profile": cookie});
    site.make("applicationpersistenceprofile", &profile);
    let by = "/api/applicationpersistenceprofile?name=odd";
    site.make("pool", &json!({"name": "odd", "application_persistence_profile_ref": by}));
    let service = json!({
        "name": "odd", "vsvip_ref": "/api/vsvip?name=web", "pool_ref": "/api/pool?name=odd",
        "services": [{"port": 9}],
    });
    let uuid = site.make("virtualservice", &service);
    eventually("it says why", secs(10), || {
        let runtime = site.get(&format!("virtualservice/{uuid}/runtime"));
        let why = runtime["oper_status"]["reason"].to_string();
        runtime["oper_status"]["state"] == "OPER_DOWN" && why.contains("32 random bytes")
    });
    assert_eq!(site.runtime()["oper_status"]["state"], "OPER_UP");
}
