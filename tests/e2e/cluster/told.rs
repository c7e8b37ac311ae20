//! What an engine tells is found wherever it was told: at the one that leads, and at those that led before.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use forebay_e2e::client::Client;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Lab, Origin};
use serde_json::{Value, json};

use crate::site::Site;

/// Requests while each of two leads.
const REQUESTS: (usize, usize) = (6, 4);

/// A service of which every request is told, and nobody but this test asks for anything.
pub struct Told {
    uuid: String,
    at: SocketAddr,
    /// Who led then.
    by: usize,
    _origin: Origin,
}

impl Told {
    /// It has some requests.
    pub fn start(lab: &Lab, site: &Site, leader: usize) -> Self {
        let admin = site.admin(leader);
        let make = |path: &str, object: Value| {
            let (status, made) = admin.send("POST", &format!("/api/{path}"), &object);
            assert_eq!(status, 201, "{made}");
            made
        };
        let (server, at) = (lab.address(), lab.address());
        let origin = Origin::fixed(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let ip = |of: SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
        let servers = json!([{"ip": ip(server), "port": server.port()}]);
        let pool = make("pool", json!({"name": "told", "servers": servers}));
        let vip = json!([{"vip_id": "1", "ip_address": ip(at)}]);
        let addresses = make("vsvip", json!({"name": "told", "vip": vip}));
        let all = json!({"significant_log_throttle": 0, "full_client_logs": {"enabled": true, "duration": 0, "throttle": 0}});
        let service = json!({
            "name": "told", "vsvip_ref": addresses["url"], "pool_ref": pool["url"], "services": [{"port": at.port()}],
            "analytics_policy": all,
        });
        let made = make("virtualservice", service);
        let uuid = made["uuid"].as_str().expect("a uuid").to_owned();
        let told = Told { uuid, at, by: leader, _origin: origin };
        // The first one that is answered counts; before that nobody listens.
        eventually("the service serves", secs(20), || told.asks("before", 0));
        (1..REQUESTS.0).for_each(|nth| assert!(told.asks("before", nth)));
        told
    }

    /// Which the Controller that leads has written; any other one says the same of them.
    pub fn is_written(&self, site: &Site) {
        (0..3).for_each(|node| self.is_found(site, node, &[("before", REQUESTS.0)]));
    }

    /// Other requests come.
    pub fn goes_on(&self) {
        (0..REQUESTS.1).for_each(|nth| assert!(self.asks("after", nth)));
    }

    fn asks(&self, when: &str, nth: usize) -> bool {
        let answer = Client::new(self.at).get_once(&format!("/{when}/{nth}"));
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The one that leads now has what came later, and says that a node's part is missing, whichever node is asked.
    //= test LOG-SEVERAL-03
    pub fn is_missed(&self, site: &Site, node: usize, missing: usize) {
        // Whoever has died may have led no more by then.
        let there = REQUESTS.1 + if self.by == missing { 0 } else { REQUESTS.0 };
        let said = format!("the part of the Controller n{missing} is missing");
        let names = |said: &Value, of: &str| {
            said["missing"].as_array().is_some_and(|all| all.len() == 1)
                && said["missing"][0].as_str().is_some_and(|text| text.contains(of))
        };
        eventually("what is told now, and who is missing", secs(30), || {
            let logs = site.admin(node).get(&self.logs("page_size=100")).1;
            let series = site.admin(node).get(&self.series()).1;
            logs["count"] == there
                && logs["count_is_complete"] == false
                && names(&logs, &said)
                && names(&series, &said)
                && sum(&series) == there as f64
        });
    }

    /// All are found and counted once, by pages as well, at this node.
    //= test LOG-SEVERAL-01
    //= test LOG-SEVERAL-02
    //= test MET-SEVERAL-01
    //= test CLUSTER-PART-01
    pub fn has_all(&self, site: &Site, node: usize) {
        self.is_found(site, node, &[("after", REQUESTS.1), ("before", REQUESTS.0)]);
    }

    fn is_found(&self, site: &Site, node: usize, wanted: &[(&str, usize)]) {
        let paths: Vec<String> = wanted
            .iter()
            .flat_map(|(when, count)| (0..*count).rev().map(move |nth| format!("/{when}/{nth}")))
            .collect();
        let path = |record: &Value| record["uri_path"].as_str().unwrap_or_default().to_owned();
        let admin = site.admin(node);
        let (mut logs, mut series) = (Value::Null, Value::Null);
        eventually("all of it is told", secs(40), || {
            logs = admin.get(&self.logs("page_size=100")).1;
            series = admin.get(&self.series()).1;
            let is_whole = logs["missing"].is_null() && series["missing"].is_null();
            is_whole && logs["count"] == paths.len() && sum(&series) == paths.len() as f64
        });
        assert_eq!(logs["count_is_complete"], true, "{logs}");
        let found: Vec<String> = logs["results"].as_array().expect("a list").iter().map(path).collect();
        assert_eq!(found, paths, "newest first, each once");
        // By pages that end within both parts.
        let (mut found, mut next) = (Vec::new(), self.logs("page_size=4"));
        loop {
            let (status, page) = admin.get(&next);
            assert_eq!(status, 200, "{page}");
            found.extend(page["results"].as_array().expect("a list").iter().map(path));
            match page["next"].as_str() {
                Some(address) => next = address[address.find("/api/").expect("a path")..].to_owned(),
                None => break,
            }
        }
        assert_eq!(found, paths, "no page loses or repeats one");
        let groups = admin.get(&self.logs("groupby=uri_path&page_size=100")).1;
        let groups: BTreeMap<String, u64> = groups["results"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|group| (path(group), group["count"].as_u64().expect("a number")))
            .collect();
        assert!(groups.len() == paths.len() && groups.values().all(|count| *count == 1), "{groups:?}");
    }

    fn logs(&self, more: &str) -> String {
        // Nothing here takes so long, unless the machine does something else.
        format!("/api/analytics/logs?virtualservice={}&type=1&nf=true&timeout=20&{more}", self.uuid)
    }

    fn series(&self) -> String {
        let uuid = &self.uuid;
        format!(
            "/api/analytics/metrics/virtualservice/{uuid}?metric_id=l7_client.sum_total_responses&step=5&limit=360"
        )
    }
}

fn sum(series: &Value) -> f64 {
    series["series"][0]["header"]["statistics"]["sum"].as_f64().unwrap_or(-1.0)
}
