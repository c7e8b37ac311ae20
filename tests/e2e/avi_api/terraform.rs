//! What Terraform's provider for Avi sends, step by step, and what of the answers it counts on.
//!
//! The provider itself is no test of ours: it is built by another language's tools. It was run against a stand-in once, and
//! this is what it sent: paths with a slash too many, `include_name` and `skip_default` with each read and write, whole
//! objects without `_last_modified`, one field that is in no model, and references as it was given them.

use forebay_e2e::controller::Curl;
use forebay_e2e::{Controller, Lab};
use serde_json::{Value, json};

/// With each read and write.
const LOOK: &str = "include_name=true&skip_default=true";

/// A session as the provider holds it.
fn session(lab: &Lab, controller: &Controller) -> Curl {
    let jar = lab.folder().join("cookies");
    let jar = jar.to_str().expect("a path");
    let client = controller.nobody().with(&["--cookie-jar", jar, "--cookie", jar]);
    let credentials = json!({"username": "admin", "password": controller.password});
    let (status, said) = client.send("POST", "/login", &credentials);
    assert!(status == 200 && said["version"]["Version"].is_string(), "{said}");
    let cookies = std::fs::read_to_string(jar).expect("cookies");
    let token = cookies.lines().find_map(|line| line.split_once("csrftoken\t")).expect("a token").1;
    let headers = [
        format!("X-CSRFToken: {token}"),
        format!("Referer: https://{}/", controller.address),
        "X-Avi-Version: 18.2.8".to_owned(),
        "X-Avi-Tenant: admin".to_owned(),
        "Accept-Encoding: application/json".to_owned(),
    ];
    headers.iter().fold(client, |client, header| client.with(&["--header", header]))
}

/// A resource: what its user wrote, and what the provider remembers of it.
struct Resource<'c> {
    client: &'c Curl,
    kind: &'static str,
    /// What stands in its file.
    wanted: Value,
    /// The object's address, by which other resources refer to it; the provider's own name of it.
    id: String,
}

impl<'c> Resource<'c> {
    /// Not found by its name, so it is made; then read.
    fn create(client: &'c Curl, kind: &'static str, wanted: Value) -> Self {
        let name = wanted["name"].as_str().expect("a name");
        let (status, list) = client.get(&format!("//api/{kind}?name={name}&include_name=true"));
        assert!(status == 200 && list["count"] == 0 && list["results"] == json!([]), "{list}");
        let (status, made) = client.send("POST", &format!("//api/{kind}"), &wanted);
        assert_eq!(status, 201, "{made}");
        let id = made["url"].as_str().expect("an address").to_owned();
        let mut resource = Resource { client, kind, wanted, id };
        resource.read();
        resource
    }

    /// Its path: what stands behind the host of its address, without the name.
    fn path(&self) -> String {
        let uuid = self.id.rsplit('/').next().expect("a uuid").split('#').next().expect("a uuid");
        format!("//api/{}/{uuid}", self.kind)
    }

    /// Reads it, and finds what was sent: anything else is drift, which its user is told of each time.
    fn read(&mut self) -> Value {
        let (status, seen) = self.client.get(&format!("{}?{LOOK}", self.path()));
        assert_eq!(status, 200, "{seen}");
        let id = seen["url"].as_str().expect("an address");
        let name = self.wanted["name"].as_str().expect("a name");
        assert!(id.starts_with("https://") && id.ends_with(&format!("#{name}")), "{id}");
        self.id = id.to_owned();
        self.same(&self.wanted, &seen, "");
        seen
    }

    fn same(&self, wanted: &Value, seen: &Value, path: &str) {
        match (wanted, seen) {
            (Value::Object(wanted), Value::Object(seen)) => {
                for (name, value) in wanted.iter().filter(|(name, _)| *name != "ignore_servers") {
                    // What is equal to its default is left out, and the provider knows the default itself.
                    if let Some(seen) = seen.get(name) {
                        self.same(value, seen, &format!("{path}.{name}"));
                    } else {
                        let (_, whole) = self.client.get(&self.path());
                        let place = format!("{path}.{name}").replace('.', "/");
                        let by_default = whole.pointer(&place).cloned().unwrap_or(Value::Null);
                        assert_eq!(&by_default, value, "{} {place}: drift", self.kind);
                    }
                }
            }
            (Value::Array(wanted), Value::Array(seen)) => {
                assert_eq!(wanted.len(), seen.len(), "{} {path}: drift", self.kind);
                for (at, (wanted, seen)) in wanted.iter().zip(seen).enumerate() {
                    self.same(wanted, seen, &format!("{path}.{at}"));
                }
            }
            _ => assert_eq!(wanted, seen, "{} {path}: drift", self.kind),
        }
    }

    /// Sends all of it, with the uuid, and reads it.
    fn update(&mut self, field: &str, value: Value) {
        self.wanted[field] = value;
        let mut sent = self.wanted.clone();
        let path = self.path();
        sent["uuid"] = json!(path.rsplit('/').next().expect("a uuid"));
        let (status, seen) = self.client.send("PUT", &format!("{path}?{LOOK}"), &sent);
        assert_eq!(status, 200, "{seen}");
        self.same(&self.wanted, &seen, "");
        self.read();
    }

    /// Takes it away: 204; it is forgotten as well if it is not there, or if it may not be.
    fn destroy(self) {
        let path = self.path();
        assert_eq!(self.client.ask("DELETE", &path, None), (204, Value::Null));
        assert_eq!(self.client.get(&format!("{path}?{LOOK}")).0, 404);
        assert_eq!(self.client.ask("DELETE", &path, None).0, 404);
    }
}

//= test API-CLIENT-03
//= test API-PATH-01
//= test API-REF-01
//= test API-PATCH-01
//= test API-DELETE-01
#[test]
fn a_plan_of_terraform_is_carried_out_shows_no_drift_and_is_undone() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let client = &session(&lab, &controller);
    // Data sources: by name, with names behind references.
    let find = |kind: &str, name: &str| {
        let (_, list) = client.get(&format!("//api/{kind}?name={name}&include_name=true&skip_default=true"));
        assert_eq!(list["count"], 1, "{list}");
        list["results"][0]["url"].as_str().expect("an address").to_owned()
    };
    let (cloud, monitor) = (find("cloud", "Default-Cloud"), find("healthmonitor", "System-TCP"));
    let tenant = find("tenant", "admin");
    let server =
        |addr: &str| json!({"ip": {"addr": addr, "type": "V4"}, "port": 8080, "ratio": 1, "enabled": true});

    let mut pool = Resource::create(
        client,
        "pool",
        json!({
            "name": "tf-pool", "tenant_ref": tenant, "cloud_ref": cloud, "ignore_servers": false,
            "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN", "default_server_port": 80, "enabled": true,
            "health_monitor_refs": [monitor], "servers": [server("10.0.0.2"), server("10.0.0.1")],
        }),
    );
    let mut vip = Resource::create(
        client,
        "vsvip",
        json!({
            "name": "tf-vip", "tenant_ref": tenant, "cloud_ref": cloud,
            "vip": [{"vip_id": "1", "enabled": true, "ip_address": {"addr": "10.1.0.1", "type": "V4"}}],
        }),
    );
    let mut service = Resource::create(
        client,
        "virtualservice",
        json!({
            "name": "tf-vs", "tenant_ref": tenant, "cloud_ref": cloud, "pool_ref": pool.id, "vsvip_ref": vip.id,
            "services": [{"port": 80, "enable_ssl": false, "port_range_end": 80}], "enabled": true,
        }),
    );
    // A second plan finds nothing to do.
    pool.read();
    vip.read();
    service.read();

    service.update("enabled", json!(false));
    pool.update("lb_algorithm", json!("LB_ALGORITHM_LEAST_CONNECTIONS"));
    vip.read();
    // A resource for a single server patches the pool, and takes its server away again.
    let path = pool.path();
    let one = json!({"servers": [server("10.0.0.3")], "ignore_servers": true});
    let (status, seen) = client.send("PATCH", &path, &json!({"add": one}));
    assert_eq!((status, seen["servers"].as_array().map(Vec::len)), (200, Some(3)), "{seen}");
    let (status, seen) = client.send("PATCH", &path, &json!({"add": one}));
    assert_eq!((status, seen["servers"].as_array().map(Vec::len)), (200, Some(3)), "{seen}");
    let gone = json!({"servers": [{"ip": {"addr": "10.0.0.3", "type": "V4"}, "port": 8080}]});
    let (status, seen) = client.send("PATCH", &path, &json!({"delete": gone}));
    assert_eq!((status, seen["servers"].as_array().map(Vec::len)), (200, Some(2)), "{seen}");
    pool.read();

    // What there is one of only is sent without a uuid, and comes without a list around it.
    let (status, cluster) = client.get(&format!("//api/cluster?{LOOK}"));
    assert_eq!((status, &cluster["name"]), (200, &json!("cluster-0-1")), "{cluster}");
    let sent = json!({"name": "cluster-0-1", "rejoin_nodes_automatically": false});
    let (status, cluster) = client.send("PUT", &format!("//api/cluster?{LOOK}"), &sent);
    assert_eq!((status, &cluster["rejoin_nodes_automatically"]), (200, &json!(false)), "{cluster}");

    // An import reads everything of a kind.
    let (status, list) = client.get("//api/pool/?skip_default=true&include_name=true");
    assert!(status == 200 && list["count"].is_u64() && list["results"].is_array(), "{list}");
    // A mistake ends the plan: anything but 400 would be waited out and tried again.
    let (status, said) = client.send("POST", "//api/pool", &json!({"name": "tf-bad", "server": []}));
    assert!(status == 400 && said["error"].as_str().is_some_and(|text| text.contains("servers")), "{said}");

    // 403 means to the provider that it is gone: it may stand for nothing but an object in use.
    let (status, said) = client.ask("DELETE", &path, None);
    assert!(
        status == 403 && said["error"].as_str().is_some_and(|text| text.contains("referred by")),
        "{said}"
    );
    pool.read();
    service.destroy();
    pool.destroy();
    vip.destroy();
}
