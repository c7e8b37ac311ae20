//! A Controller with engines, servers, and a service that was made by its API.

use std::net::SocketAddr;
use std::process::Command;

use forebay_e2e::led::Options;
use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Demo, Lab, Led, bin};
use serde_json::{Value, json};

/// Seconds that clients may go on at an engine that leaves.
pub const LEAVE_S: u64 = 3;

/// All of it. The lab comes last: what lives in it goes first.
pub struct Site {
    pub controller: Controller,
    pub engines: Vec<Led>,
    /// Their uuids.
    pub uuids: Vec<String>,
    pub servers: Vec<Demo>,
    /// Where the service listens.
    pub at: SocketAddr,
    /// Its uuid.
    pub service: String,
    pub pool: String,
    pub lab: Lab,
}

impl Site {
    /// With so many engines, and a service that knows its clients by address and has one engine.
    pub fn new(engines: usize) -> Self {
        Self::on(Lab::new(), engines, |_| String::new())
    }

    /// The same in this lab; `sync`: what the own file of each engine says of object sync beside.
    pub fn on(lab: Lab, engines: usize, sync: impl Fn(usize) -> String) -> Self {
        // An engine is lost after six seconds, not after sixty.
        let controller = Controller::start_with(&lab, &["--engine-heartbeat", "1"]);
        let options = Options { arguments: vec!["--share-addresses".to_owned()], ..Options::default() };
        let led = |n| Led::new(&lab, &controller, &Options { sync: sync(n), ..options.clone() });
        let mut engines: Vec<Led> = (0..engines).map(led).collect();
        let servers = lab.demos(["a", "b", "c"]).into();
        let at = lab.address();
        engines.iter_mut().for_each(|engine| engine.joins(&controller));
        let uuids = engines.iter().map(Led::uuid).collect();
        let mut site = Site {
            controller,
            engines,
            uuids,
            servers,
            at,
            service: String::new(),
            pool: String::new(),
            lab,
        };
        site.group(&json!({"vs_scalein_timeout": LEAVE_S}));
        site.make_service();
        site
    }

    fn make_service(&mut self) {
        let ip = |of: SocketAddr| json!({"addr": of.ip().to_string(), "type": "V4"});
        let server = |demo: &Demo| json!({"ip": ip(demo.address), "port": demo.address.port()});
        self.pool = self.make(
            "pool",
            &json!({
                "name": "web",
                "connection_ramp_duration": 0,
                "application_persistence_profile_ref":
                    "/api/applicationpersistenceprofile?name=System-Persistence-Client-IP",
                "servers": self.servers.iter().map(server).collect::<Vec<_>>(),
            }),
        );
        let vip = json!({"vip_id": "1", "ip_address": ip(self.at)});
        let addresses = self.make("vsvip", &json!({"name": "web", "vip": [vip]}));
        self.service = self.make(
            "virtualservice",
            &json!({
                "name": "web",
                "vsvip_ref": format!("/api/vsvip/{addresses}"),
                "pool_ref": format!("/api/pool/{}", self.pool),
                "services": [{"port": self.at.port()}],
            }),
        );
        eventually("the service is up", secs(20), || self.runtime()["oper_status"]["state"] == "OPER_UP");
    }

    /// Makes an object; gives its uuid.
    pub fn make(&self, path: &str, object: &Value) -> String {
        let (status, made) = self.controller.admin().send("POST", &format!("/api/{path}"), object);
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    }

    /// Sets fields of the engines' group.
    pub fn group(&self, fields: &Value) {
        let all = self.get("serviceenginegroup?name=Default-Group");
        let uuid = all["results"][0]["uuid"].as_str().expect("there is one");
        self.change(&format!("serviceenginegroup/{uuid}"), fields);
    }

    /// Sets fields of an object.
    pub fn change(&self, path: &str, fields: &Value) {
        let (status, said) =
            self.controller.admin().send("PATCH", &format!("/api/{path}"), &json!({"replace": fields}));
        assert_eq!(status, 200, "{said}");
    }

    /// Reads something of the API.
    pub fn get(&self, path: &str) -> Value {
        let (status, said) = self.controller.admin().get(&format!("/api/{path}"));
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    /// How the service is.
    pub fn runtime(&self) -> Value {
        self.get(&format!("virtualservice/{}/runtime", self.service))
    }

    /// Asks for something: `scaleout`, `scalein`, `migrate`, `switchover`.
    pub fn ask(&self, what: &str, fields: Value) {
        let mut said = fields;
        said["vip_id"] = "1".into();
        let path = format!("/api/virtualservice/{}/{what}", self.service);
        let (status, said) = self.controller.admin().send("POST", &path, &said);
        assert_eq!(status, 200, "{what}: {said}");
    }

    /// Waits until what was asked for has ended well.
    pub fn done(&self, state: &str) {
        eventually(&format!("{state} is reached"), secs(20), || {
            let runtime = self.runtime();
            let last = &runtime["vip_summary"][0]["last_scale_status"];
            let is_error = last["state"].as_str().is_some_and(|state| state.ends_with("ERROR"));
            assert!(!is_error, "{last}");
            last["state"] == state
        });
    }

    /// Which engines serve it, the primary first, as places in the list.
    pub fn serving(&self) -> Vec<usize> {
        let runtime = self.runtime();
        let engines = runtime["vip_summary"][0]["service_engine"].as_array().cloned().unwrap_or_default();
        let active = engines.iter().filter(|engine| engine["active_on_se"] == true);
        active.map(|engine| self.place(engine["uuid"].as_str().expect("a uuid"))).collect()
    }

    fn place(&self, uuid: &str) -> usize {
        self.uuids.iter().position(|own| own == uuid).expect("it is one of ours")
    }

    /// Waits until exactly these serve it, the primary first.
    pub fn serve(&self, engines: &[usize]) {
        eventually(&format!("{engines:?} serve"), secs(20), || self.serving() == engines);
    }

    /// Requests that an engine has answered.
    pub fn answered(&self, engine: usize) -> f64 {
        let page = Page::read(self.engines[engine].metrics).unwrap_or_default();
        page.sum("forebay_requests_total", &[])
    }

    /// Waits until an engine answers clients.
    pub fn answers(&self, engine: usize) {
        let before = self.answered(engine);
        eventually("the engine answers clients", secs(20), || self.answered(engine) > before);
    }

    /// Waits until the tables of these engines are the same, as each of them says that has compared: what an engine has
    /// that others lack is no difference.
    pub fn equal(&self, engines: &[usize]) {
        for &at in engines {
            let socket = self.lab.folder().join(format!("{}.sock", self.engines[at].name()));
            eventually("the tables are equal", secs(20), || {
                let mut command = Command::new(bin::path("forebay-se"));
                command.args(["objsync", "verify", "--output", "json", "--socket"]).arg(&socket);
                let done = command.output().expect("it starts");
                let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
                let peers = said["peers"].as_array().cloned().unwrap_or_default();
                let compared = peers.iter().filter(|peer| peer["state"] != "unreachable");
                let differ = |peer: &Value| {
                    let tables = peer["tables"].as_array().cloned().unwrap_or_default();
                    tables.iter().any(|table| table["cells_differ"] != 0)
                };
                compared.clone().count() + 1 >= engines.len() && !compared.into_iter().any(differ)
            });
        }
    }

    /// Names of the events of the service so far, the oldest first.
    pub fn events(&self) -> Vec<String> {
        let all = self.get(&format!(
            "analytics/logs?type=2&page_size=1000&orderby=report_timestamp&filter=eq(obj_uuid,{})",
            self.service
        ));
        let list = all["results"].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|event| event["event_id"].as_str().map(str::to_owned)).collect()
    }
}
