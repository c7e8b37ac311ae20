//! What becomes of clients when objects change, and when time passes.

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::wait::{eventually, eventually_some, secs};
use serde_json::json;

use crate::stage::{Play, Row, Set, Stage, at};

pub const PLAY: Play = Play { workers: 1, has_clock: false, make, rows: ROWS };
/// The same with a clock that is moved.
pub const AGED: Play = Play { workers: 1, has_clock: true, make: make_aged, rows: AGED_ROWS };

/// The least time that entries live, as configured a minute, and a little more: the engine's clock is coarse. Seconds.
const MORE_THAN_A_MINUTE: i64 = 75;
/// Clients, or sessions, that are remembered: enough that chance does not send all of them to the same servers again.
const COUNT: u32 = 24;

const RENAMED_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OLD_KEY: &str = "EBESExQVFhcYGRobHB0eHwABAgMEBQYHCAkKCwwNDg8=";
const NEW_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

fn make(set: &mut Set) {
    let turns = |more: serde_json::Value| {
        let turns = json!({"lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN"});
        crate::stage::with(turns, more)
    };
    let by = |name: &str| at("applicationpersistenceprofile", name);
    set.put(
        "applicationpersistenceprofile",
        "address",
        json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"}),
    );
    for (name, key) in [("renamed", RENAMED_KEY), ("rekeyed", OLD_KEY)] {
        let key = json!([{"name": "first", "aes_key": key}]);
        set.put(
            "applicationpersistenceprofile",
            name,
            json!({"persistence_type": "PERSISTENCE_TYPE_HTTP_COOKIE",
            "http_cookie_persistence_profile": {"cookie_name": "stays", "key": key}}),
        );
        let pool = turns(json!({"application_persistence_profile_ref": by(name)}));
        set.pool(name, &[&format!("{name}-one"), &format!("{name}-two")], pool);
        set.service(name, json!({}));
    }
    let stays = turns(json!({"application_persistence_profile_ref": by("address"),
        "server_disable_type": "ALLOW_NEW_CONNECTION_IF_PERSISTENCE_PRESENT"}));
    set.pool("stays", &["stays-one", "stays-two"], stays);
    let (first, mut second) = (set.origin("ramp-one"), set.origin("ramp-two"));
    second["enabled"] = json!(false);
    set.put("pool", "ramp", turns(json!({"servers": [first, second], "connection_ramp_duration": 0})));
    set.pool("cut", &["cut"], json!({"graceful_disable_timeout": 0}));
    set.pool("cut-sec", &["cut-sec"], json!({"graceful_disable_timeout_sec": 0}));
    for name in ["stays", "ramp", "cut", "cut-sec"] {
        set.service(name, json!({}));
    }
}

/// What is seen is seen of one change, as all of it is one configuration.
struct Found {
    stays: bool,
    cut: [bool; 2],
    ramp: bool,
    renamed: bool,
    rekeyed: bool,
}

fn changed(s: &Stage) -> Found {
    let bound = eventually_some("a client of the first server", secs(5), || {
        (1..40)
            .find(|n| s.from("stays", *n).is_some_and(|answer| answer.field("x-server") == Some("stays-one")))
    });
    let mut clients = ["renamed", "rekeyed"].map(|door| s.client(door));
    for client in &mut clients {
        assert!(client.get("/").expect("an answer").cookie("stays").is_some());
        assert!(client.get("/").expect("an answer").cookie("stays").is_none(), "it has one");
    }
    let cut = std::thread::scope(|scope| {
        let held = ["cut", "cut-sec"].map(|door| scope.spawn(move || s.client(door).get_once("/wait/6000")));
        for pool in ["pool-cut", "pool-cut-sec"] {
            let active = || s.engine.metric("forebay_server_requests_active", &[("pool", pool)]);
            eventually("it is under way", secs(5), || active() >= 1.0);
        }
        s.change(|objects| {
            for pool in ["pool-stays", "pool-cut", "pool-cut-sec"] {
                objects["pool"][pool]["servers"][0]["enabled"] = json!(false);
            }
            objects["pool"]["pool-ramp"]["servers"][1]["enabled"] = json!(true);
            let profiles = &mut objects["applicationpersistenceprofile"];
            let part = "http_cookie_persistence_profile";
            profiles["applicationpersistenceprofile-renamed"][part]["key"][0]["name"] = json!("second");
            profiles["applicationpersistenceprofile-rekeyed"][part]["key"][0]["aes_key"] = json!(NEW_KEY);
        });
        held.map(|held| !held.join().expect("no panic").is_ok_and(|answer| answer.status == 200))
    });
    let stayed = s.from("stays", bound).is_some_and(|answer| answer.field("x-server") == Some("stays-one"));
    let ramp = s.all("ramp", 20).iter().filter(|name| *name == "ramp-two").count() >= 8;
    let [renamed, rekeyed] =
        clients.map(|mut client| client.get("/").expect("an answer").cookie("stays").is_some());
    Found { stays: stayed, cut, ramp, renamed, rekeyed }
}

const ROWS: &[Row] = &[(
    &[
        "pool server_disable_type",
        "pool graceful_disable_timeout",
        "pool graceful_disable_timeout_sec",
        "pool connection_ramp_duration",
        "applicationpersistenceprofile http_cookie_persistence_profile.key[].name",
        "applicationpersistenceprofile http_cookie_persistence_profile.key[].aes_key",
    ],
    |s| {
        let found = changed(s);
        assert!(found.stays, "a client that is bound to a server that was disabled goes on");
        assert_eq!(found.cut, [true; 2], "what was under way at a server that was disabled is cut at once");
        assert!(found.ramp, "a server that was enabled has its whole share at once");
        assert!(found.renamed && found.rekeyed, "a cookie that another key has sealed is not known");
    },
)];

fn make_aged(set: &mut Set) {
    let minute = json!({"persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "ip_persistence_profile": {"ip_persistent_timeout": 1}});
    set.put("applicationpersistenceprofile", "address", minute);
    set.put(
        "applicationpersistenceprofile",
        "session",
        json!({"persistence_type": "PERSISTENCE_TYPE_APP_COOKIE",
        "app_cookie_persistence_profile": {"prst_hdr_name": "app", "timeout": 1}}),
    );
    for name in ["address", "session"] {
        let by = json!({"lb_algorithm": "LB_ALGORITHM_RANDOM",
            "application_persistence_profile_ref": at("applicationpersistenceprofile", name)});
        set.pool(name, &["one", "two"], by);
        set.service(name, json!({}));
    }
}

/// Who serves each client, by its address, and each session.
fn homes(s: &Stage, sessions: &[String]) -> (Vec<String>, Vec<String>) {
    let who = |answer: forebay_e2e::Answer| answer.field("x-server").unwrap_or_default().to_owned();
    let by_address = (1..=COUNT).map(|n| who(s.from("address", n).expect("an answer"))).collect();
    let by_session = sessions.iter().map(|session| {
        let mut client = s.client("session").with_cookie("app", session);
        who(client.get_once("/").expect("an answer"))
    });
    (by_address, by_session.collect())
}

fn aged(s: &Stage) {
    let first = |n: u32| {
        let answer = s.client("session").get_once(&format!("/{n}")).expect("an answer");
        answer.cookie("app").expect("the server's").to_owned()
    };
    let sessions: Vec<String> = (0..COUNT).map(first).collect();
    let before = homes(s, &sessions);
    for (home, session) in before.1.iter().zip(&sessions) {
        assert!(session.starts_with(home.as_str()), "{session} is of another server than {home}");
    }
    assert_eq!(homes(s, &sessions), before, "they are remembered");
    let ended = || s.engine.metric("forebay_client_connections_open", &[]) == 0.0;
    eventually("the engine has seen the ends", secs(10), ended);
    Clock::new(s.lab.folder(), Moves::AllClocks).set(MORE_THAN_A_MINUTE);
    let after = homes(s, &sessions);
    assert!(after.0 != before.0, "addresses are forgotten after their time");
    assert!(after.1 != before.1, "and so are sessions");
}

const AGED_ROWS: &[Row] = &[(
    &[
        "applicationpersistenceprofile ip_persistence_profile.ip_persistent_timeout",
        "applicationpersistenceprofile app_cookie_persistence_profile.prst_hdr_name",
        "applicationpersistenceprofile app_cookie_persistence_profile.timeout",
    ],
    aged,
)];
