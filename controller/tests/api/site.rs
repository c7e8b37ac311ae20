//! A Controller within the test: its store, its objects and its API, without a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Request};
use forebay_controller::accounts::Accounts;
use forebay_controller::alerts::Alerts;
use forebay_controller::api::{self, App, Peer};
use forebay_controller::channel::Authority;
use forebay_controller::cluster::Cluster;
use forebay_controller::counted::Counted;
use forebay_controller::engines::{Engines, Members};
use forebay_controller::objects::Objects;
use forebay_controller::placement::Placement;
use forebay_controller::sealed::Seal;
use forebay_controller::stands::Stands;
use forebay_controller::store::Embedded;
use forebay_controller::{backup, logs, seeds};
use forebay_model::{Object, example, kind, kinds};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// A Controller and its folder.
pub struct Site {
    pub app: Arc<App<Embedded>>,
    pub password: String,
    pub folder: PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Who has come in, and as which tenant they ask.
#[derive(Clone)]
pub struct Client {
    pub cookie: String,
    pub csrf: String,
    pub tenant: Option<String>,
    pub uuid: Option<String>,
}

/// An answer: its status, its content, and the same as text.
pub struct Said {
    pub status: u16,
    pub json: Value,
    pub text: String,
    pub cookies: Vec<String>,
    pub warnings: Vec<String>,
    pub is_tried: bool,
}

impl Site {
    pub async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("forebay-roles-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a place for files");
        let store = Embedded::open(&folder.join(backup::STORE)).expect("new");
        let seal = Seal::open(&folder.join(backup::KEY)).expect("made");
        let objects = Objects::open(store.clone(), seal).await.expect("readable");
        objects.seed(seeds::all().expect("seeds").into_iter()).await.expect("seeds fit");
        let password = objects.first().await.expect("room").expect("the first start");
        let accounts = Accounts::new().expect("random numbers");
        let placement = Placement::open(&store).await.expect("empty");
        let standing = Stands::open(&store).await.expect("empty");
        let authority = Authority::open(&store, objects.seal()).await.expect("made");
        let logs =
            logs::Settings { folder: folder.join(logs::FOLDER), hours: 24, bytes: 1 << 30, export: None };
        let logs = Some(logs::open(&logs).expect("a folder"));
        Site {
            app: Arc::new(App {
                store,
                objects,
                accounts,
                engines: Engines::default(),
                placement,
                began: Instant::now(),
                members: Members::default(),
                authority,
                logs,
                counted: Counted::default(),
                alerts: Alerts::default(),
                standing,
                cluster: Cluster::alone([127, 0, 0, 1].into()),
                idle: api::Idle::default(),
                mirrors: forebay_controller::mirror::Mirrors::default(),
                distributors: forebay_controller::distributor::Distributors::default(),
            }),
            password,
            folder,
        }
    }

    pub async fn raw(&self, request: Request<Body>) -> Said {
        let response = api::serve(self.app.clone(), request).await;
        let status = response.status().as_u16();
        let fields = |name: &str| -> Vec<String> {
            let fields = response.headers().get_all(name).iter();
            fields.filter_map(|line| line.to_str().ok().map(str::to_owned)).collect()
        };
        let (cookies, warnings) = (fields("set-cookie"), fields("x-forebay-warning"));
        let is_tried = fields("x-forebay-dry-run") == ["true"];
        let bytes = response.into_body().collect().await.expect("content").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Said { status, json, text, cookies, warnings, is_tried }
    }

    pub async fn login_from(&self, from: &str, user: &str, password: &str) -> Said {
        self.login_with(&json!({"username": user, "password": password}), from).await
    }

    pub async fn login_with(&self, content: &Value, from: &str) -> Said {
        let request =
            Request::builder().method(Method::POST).uri("/login").header("content-type", "application/json");
        let mut request = request.body(Body::from(content.to_string())).expect("a request");
        request.extensions_mut().insert(Peer(from.parse().expect("an address")));
        self.raw(request).await
    }

    pub async fn try_login(&self, user: &str, password: &str) -> Result<Client, Said> {
        let said = self.login_from("192.0.2.1", user, password).await;
        if said.status != 200 {
            return Err(said);
        }
        let cookie = |name: &str| {
            let front = format!("{name}=");
            let line = said.cookies.iter().find(|line| line.starts_with(&front)).expect("a cookie");
            line[front.len()..].split(';').next().expect("a value").to_owned()
        };
        Ok(Client { cookie: cookie("sessionid"), csrf: cookie("csrftoken"), tenant: None, uuid: None })
    }

    pub async fn login(&self, user: &str, password: &str) -> Client {
        match self.try_login(user, password).await {
            Ok(client) => client,
            Err(said) => panic!("{user}: {} {}", said.status, said.text),
        }
    }

    pub async fn admin(&self) -> Client {
        self.login("admin", &self.password).await
    }

    pub async fn ask(&self, client: &Client, method: &str, path: &str, content: &Value) -> Said {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path.replace(' ', "%20"))
            .header("host", "controller.test")
            .header("cookie", format!("sessionid={}", client.cookie))
            .header("x-csrftoken", &client.csrf);
        if let Some(tenant) = &client.tenant {
            request = request.header("x-avi-tenant", tenant);
        }
        if let Some(uuid) = &client.uuid {
            request = request.header("x-avi-tenant-uuid", uuid);
        }
        let body = if content.is_null() { Body::empty() } else { Body::from(content.to_string()) };
        let mut request = request.body(body).expect("a request");
        request.extensions_mut().insert(Peer("192.0.2.1".parse().expect("an address")));
        self.raw(request).await
    }

    /// Asks for what has to be done.
    pub async fn make(&self, client: &Client, path: &str, content: Value) -> Value {
        let said = self.ask(client, "POST", path, &content).await;
        assert_eq!(said.status, 201, "{path} {content}: {}", said.text);
        said.json
    }

    /// A user with these roles; the password is `password-<name>`.
    pub async fn user(&self, admin: &Client, name: &str, access: Value) -> Value {
        let user =
            json!({"name": name, "username": name, "password": format!("password-{name}"), "access": access});
        self.make(admin, "/api/user", user).await
    }

    /// An object of every kind that belongs to a tenant, with the uuid `<kind>-1` and the name `hidden-<kind>`.
    pub async fn one_of_each(&self, client: &Client) -> Vec<&'static str> {
        let mut left: Vec<_> = kinds().filter(|kind| belongs_to_a_tenant(kind)).collect();
        let mut made = Vec::new();
        loop {
            let before = left.len();
            let mut still = Vec::new();
            for kind in left {
                let said = self
                    .ask(client, "POST", &format!("/api/{}", kind.path), &Value::Object(hidden(kind.path)))
                    .await;
                match said.status {
                    201 => made.push(kind.path),
                    _ => still.push((kind, said.text)),
                }
            }
            if still.is_empty() {
                return made;
            }
            assert!(
                still.len() < before,
                "{:?}",
                still.iter().map(|(kind, text)| (kind.path, text)).collect::<Vec<_>>()
            );
            left = still.into_iter().map(|(kind, _)| kind).collect();
        }
    }
}

pub fn belongs_to_a_tenant(kind: &forebay_model::Kind) -> bool {
    use forebay_model::kind::Scope;
    matches!(kind.scope, Scope::Tenant | Scope::Cloud)
}

/// The least object of a kind, as [`Site::one_of_each`] makes it.
pub fn hidden(path: &str) -> Object {
    let kind = kind(path).expect("a kind");
    let mut object = example::least(kind);
    object.insert("uuid".to_owned(), json!(format!("{path}-1")));
    if kind.field("name").is_some() {
        object.insert("name".to_owned(), json!(format!("hidden-{path}")));
    }
    object
}
