//! What an operator decides about a server while the engine runs.

use forebay_e2e::lively::{echoes, websocket};
use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Client, Engine, Lab, config};
use serde_json::Value;

use crate::web;

fn servers(engine: &Engine) -> Value {
    serde_json::from_str(&engine.ask(&["servers", "--output", "json"])).expect("JSON")
}

//= test OBS-OVERRIDE-01
#[test]
fn a_drained_server_keeps_who_is_there_and_gets_nobody_new_until_the_reset() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let keys = "graceful_disable_timeout_min = 1";
    // One WebSocket at each.
    let engine = lab.engine(&web(at, keys, &[a.address, b.address]));
    let mut chats = [websocket(at), websocket(at)];
    let name = format!("web/{}", a.address);
    let said = engine.ask(&["drain", &name]);
    assert!(said.contains("draining"), "{said}");
    for _ in 0..10 {
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b");
    }
    assert!(chats.iter_mut().all(echoes), "who is there stays");
    let said = engine.ask(&["drain", &name, "--reset"]);
    assert!(said.contains("as the configuration says"), "{said}");
    let mut asked = (0..10).map(|_| Client::new(at).get_once("/").expect("served").server().to_owned());
    assert!(asked.any(|server| server == "a"), "it serves again");
    assert!(chats.iter_mut().all(echoes));
}

//= test OBS-OVERRIDE-01
#[test]
fn a_disabled_server_is_left_at_once_also_by_clients_that_are_bound_to_it() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let keys =
        "persistence = \"p\"\ngraceful_disable_timeout_min = 60\nserver_disable = \"allow_persistent\"";
    let document = web(at, keys, &[a.address, b.address]) + &config::persistence("p", "client_ip", "");
    let engine = lab.engine(&document);
    let ask = |n: u32| {
        let mut client = Client::new(at).from(lab.client_ip(n)).without_jar();
        client.get_once("/").expect("served").server().to_owned()
    };
    let bound: Vec<u32> = (1..=8).filter(|n| ask(*n) == "a").collect();
    assert!(!bound.is_empty() && bound.len() < 8);
    // This machine's own address is bound to one of the two as well.
    let mut chat = websocket(at);
    let mine = Client::new(at).without_jar().get_once("/").expect("served").server().to_owned();
    let (out, other) = if mine == "a" { (a.address, "b") } else { (b.address, "a") };
    engine.ask(&["disable", &format!("web/{out}")]);
    assert!(chat.closes_within(secs(5)), "what is under way is cut, whatever the grace");
    assert!((1..=8).all(|n| ask(n) == other), "bound or not, everybody goes to the other one");
    engine.ask(&["enable", &format!("web/{out}")]);
    assert!((1..=8).all(|n| ask(n) == other), "they are bound there now");
    let mut again = websocket(at);
    assert!(!again.closes_within(ms(200)));
}

//= test OBS-OVERRIDE-01
#[test]
fn a_decision_holds_over_reloads_and_is_shown_and_logged_with_who() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address, b.address]));
    let only_b = || (0..6).all(|_| Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "b"));
    engine.ask(&["drain", &format!("web/{}", a.address)]);
    engine.load(&web(at, "algorithm = \"round_robin\"", &[a.address, b.address]));
    assert!(only_b(), "the document says that it is enabled, the operator does not");
    let shown = servers(&engine);
    let line = shown["servers"].as_array().and_then(|list| list.first()).expect("the first");
    assert_eq!((&line["override"], &line["enabled"]), (&Value::from("draining"), &Value::from(false)));
    assert!(engine.ask(&["servers"]).contains("draining*"));
    let printed = engine.process.printed();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("proc"));
    let event = printed.lines().find(|line| line.contains("SERVER_OVERRIDE")).expect("an event");
    assert!(event.contains(&format!("uid={uid}")) && event.contains("pid="), "{event}");
    // Enabled against the document.
    let pool = config::pool_of("web", "", &[(a.address, "enabled = false"), (b.address, "")]);
    engine.load(&(config::service("web", at) + &pool));
    engine.ask(&["enable", &format!("web/{}", a.address)]);
    eventually("the document says no, the operator yes", secs(5), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "a")
    });
    for (name, code) in
        [("web/192.0.2.9:1", "not_found"), ("wob/192.0.2.9:1", "not_found"), ("nonsense", "usage")]
    {
        let request = serde_json::json!({ "command": "server", "server": name, "want": "drain" });
        assert_eq!(engine.admin(&request)["error"]["code"], code, "{name}");
    }
}

//= test OBS-EVENT-01
#[test]
fn a_pool_whose_last_server_is_drained_is_down_and_up_again_after_it() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address, b.address]));
    let said = |event: &str| engine.process.printed().lines().filter(|line| line.contains(event)).count();
    let all = |event: &str| ["POOL", "VS"].map(|what| said(&format!("event=\"{what}_{event}\"")));
    engine.ask(&["drain", &format!("web/{}", a.address)]);
    assert_eq!(all("DOWN"), [0, 0], "there is one more");
    engine.ask(&["disable", &format!("web/{}", b.address)]);
    assert_eq!(all("DOWN"), [1, 1]);
    engine.ask(&["drain", &format!("web/{}", b.address)]);
    assert_eq!((all("DOWN"), all("UP")), ([1, 1], [0, 0]), "nothing new");
    engine.ask(&["enable", &format!("web/{}", a.address)]);
    assert_eq!((all("DOWN"), all("UP")), ([1, 1], [1, 1]));
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
}

//= test OBS-EVENT-01
#[test]
fn a_reload_that_takes_a_pools_last_server_out_says_so() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let enabled = |first: bool, second: bool| {
        let keys = |yes: bool| if yes { "" } else { "enabled = false" };
        config::service("web", at)
            + &config::pool_of("web", "", &[(a.address, keys(first)), (b.address, keys(second))])
    };
    let engine = lab.engine(&enabled(true, true));
    let said = |event: &str| engine.process.printed().lines().filter(|line| line.contains(event)).count();
    let all = || ["POOL_DOWN", "VS_DOWN", "POOL_UP", "VS_UP"].map(|what| said(&format!("event=\"{what}\"")));
    for (first, second, want) in [
        (false, true, [0, 0, 0, 0]),
        (false, false, [1, 1, 0, 0]),
        (true, false, [1, 1, 1, 1]),
        (false, true, [1, 1, 1, 1]),
    ] {
        engine.load(&enabled(first, second));
        // A line that was written before the answer may still be on its way.
        eventually(&format!("events are {want:?}"), secs(5), || all() == want);
    }
}
