//! What people find of requests in a Controller, by what a service says of its logs.

use std::net::SocketAddr;
use std::time::Instant;

use forebay_e2e::clock::{Clock, Moves};
use forebay_e2e::led::{Led, Options, member};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Controller, Lab, Origin};
use serde_json::{Value, json};

use crate::stage::{ip, server};

/// The fields, as `kind path`.
pub const FIELDS: [&str; 4] = [
    "virtualservice analytics_policy.full_client_logs.enabled",
    "virtualservice analytics_policy.full_client_logs.throttle",
    "virtualservice analytics_policy.significant_log_throttle",
    "virtualservice analytics_policy.full_client_logs.duration",
];

/// Requests of a burst.
const BURST: u32 = 60;
/// How many of them a service tells of in each second: a few, as what asks whether it is there counts too, and fewer than
/// it would by itself.
const TOLD_A_SECOND: u64 = 3;
/// More than the least time for which all is told.
const LATER_S: i64 = 75;

struct Site {
    controller: Controller,
    _engine: Led,
    clock: Clock,
    server: Origin,
    // Last: what lives in it goes first.
    lab: Lab,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new();
        let controller = Controller::start_with(&lab, &["--engine-heartbeat", "1"]);
        let clock = Clock::new(lab.folder(), Moves::AllClocks);
        let engine = member(&lab, &controller, &Options { env: clock.env(), ..Options::default() });
        let server = Origin::answering(lab.address(), |head| {
            let status = if head.starts_with("GET /broken") { "500 Broken" } else { "200 OK" };
            Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
        });
        Site { controller, _engine: engine, clock, server, lab }
    }

    fn make(&self, path: &str, object: &Value) -> String {
        let (status, made) = self.controller.admin().send("POST", &format!("/api/{path}"), object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    }

    /// A service with this policy, but for one field.
    fn service(&self, name: &str, mut policy: Value, without: Option<&str>) -> (String, SocketAddr) {
        let path = without.and_then(|field| field.strip_prefix("virtualservice analytics_policy."));
        match path.map(|path| path.split_once('.').unwrap_or(("", path))) {
            Some(("", last)) => drop(policy.as_object_mut().and_then(|held| held.remove(last))),
            // The API wants a word about it.
            Some((part, "enabled")) => policy[part]["enabled"] = json!(false),
            Some((part, last)) => drop(policy[part].as_object_mut().and_then(|held| held.remove(last))),
            None => {}
        }
        let at = self.lab.address();
        let pool = json!({"name": name, "servers": [server(self.server.address)]});
        let pool = self.make("pool", &pool);
        let vip = json!([{"vip_id": "1", "ip_address": ip(at.ip())}]);
        let addresses = self.make("vsvip", &json!({"name": name, "vip": vip}));
        let service = json!({"name": name, "vsvip_ref": format!("/api/vsvip/{addresses}"), "services": [{"port": at.port()}],
            "pool_ref": format!("/api/pool/{pool}"), "analytics_policy": policy});
        let uuid = self.make("virtualservice", &service);
        eventually("it answers", secs(20), || Client::new(at).get_once("/").is_ok());
        (uuid, at)
    }

    /// How many requests for this path are known of a service.
    fn count(&self, service: &str, path: &str) -> u64 {
        let query =
            format!("/api/analytics/logs?virtualservice={service}&type=1&nf=true&filter=eq(uri_path,{path})");
        let (status, said) = self.controller.admin().get(&query);
        assert_eq!(status, 200, "{said}");
        said["count"].as_u64().expect("a number")
    }
}

/// Names the fields whose effect is not seen where one of them is left out.
pub fn unseen(without: Option<&str>) -> Vec<&'static str> {
    let site = Site::new();
    let all = json!({"full_client_logs": {"enabled": true, "duration": 1, "throttle": 0}, "significant_log_throttle": 0});
    let few = json!({"full_client_logs": {"enabled": true, "duration": 0, "throttle": TOLD_A_SECOND},
        "significant_log_throttle": TOLD_A_SECOND});
    // It tells of what comes last, whatever is left out.
    let always = json!({"full_client_logs": {"enabled": true, "duration": 0, "throttle": 0}, "significant_log_throttle": 0});
    let (all, all_at) = site.service("all", all, without);
    let (few, few_at) = site.service("few", few, without);
    let (always, always_at) = site.service("always", always, None);
    let ask = |at: SocketAddr, path: &str| Client::new(at).get_once(path).expect("an answer");
    let last = |path: &str| {
        ask(always_at, path);
        eventually("all that came before is known", secs(20), || site.count(&always, path) == 1);
    };
    ask(all_at, "/one");
    let began = Instant::now();
    for _ in 0..BURST {
        ask(few_at, "/many");
        ask(few_at, "/broken");
    }
    let most = TOLD_A_SECOND * (began.elapsed().as_secs() + 2);
    last("/first");
    let is_told = site.count(&all, "/one") == 1;
    let within = |path: &str| (1..=most).contains(&site.count(&few, path));
    let (others, significant) = (within("/many"), within("/broken"));
    site.clock.set(LATER_S);
    ask(all_at, "/late");
    last("/second");
    let is_over = is_told && site.count(&all, "/late") == 0;
    let seen = [is_told, others, significant, is_over];
    FIELDS.into_iter().zip(seen).filter(|(_, seen)| !seen).map(|(field, _)| field).collect()
}
