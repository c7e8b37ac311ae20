//! A Controller among others: one leads and writes, each answers by way of that one.

mod front;
mod identity;
mod member;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_etcd::{Client, Endpoint, Tls};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

pub use front::{Front, Role};
pub use identity::{Files, Identity};
pub use member::{Member, Node, Plan};

use crate::backup;
use crate::sealed::Seal;
use crate::start;
use crate::store::{Etcd, Leading};
use crate::{files, logs, notify, server};

/// Between two looks who leads.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What is under way when the lead ends has so long.
const LEAVE: Duration = Duration::from_secs(1);

/// Who leads has so long to resign when it is ended: its lease is over then.
const RESIGN: Duration = Duration::from_secs(5);

/// What a node is started with.
pub struct Settings {
    /// The Controller's folder.
    pub folder: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where engines are let in while this node leads.
    pub listen_engines: SocketAddr,
    /// Engines are to report this often.
    pub heartbeat: Duration,
    /// How much is kept of what engines tell of requests, on the node that leads.
    pub logs: logs::Settings,
    /// Where other Controllers call.
    pub listen_controllers: SocketAddr,
    /// What our keys in etcd begin with.
    pub prefix: String,
    /// Whose etcd it is.
    pub etcd: Whose,
}

/// Whose etcd it is.
pub enum Whose {
    /// Somebody else's, at these endpoints, with these certificates; none: in clear text.
    Outside(Vec<String>, Option<Files>),
    /// Ours: a member on each node.
    Own {
        /// The program.
        program: PathBuf,
        /// Which of the nodes this is.
        own: usize,
        /// All of them.
        nodes: Vec<Node>,
        /// Where members take calls of Controllers, and of one another.
        ports: (u16, u16),
    },
}

/// How etcd is reached, and what is said there of this node.
#[derive(Clone)]
struct Reach {
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    prefix: String,
    shown: Vec<u8>,
}

impl Reach {
    /// With connections of its own: they end with the runtime in which they are made.
    fn leading(&self) -> Leading {
        let client = Client::new(self.endpoints.clone(), self.tls.clone());
        Leading { client, prefix: self.prefix.clone(), shown: self.shown.clone() }
    }
}

/// Runs a node until `stop` ends.
///
/// # Errors
/// As a text that says what to do.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), String> {
    let folder = &settings.folder;
    let key = folder.join(backup::KEY);
    let is_shared = !matches!(&settings.etcd, Whose::Own { nodes, .. } if nodes.len() == 1);
    //= CLUSTER-KEY-01
    if is_shared && !key.exists() {
        return Err(format!(
            "{}: it is not there, and all Controllers of a store share it; make it once \
             (umask 077; head -c 32 /dev/urandom > store.key) and copy it to the folder of every one",
            key.display()
        ));
    }
    let identity = Identity::new(&Seal::open(&key)?, settings.listen_controllers.ip())?;
    let tls = server::certificate(folder, settings.listen)?;
    let bind = async |at: SocketAddr, option: &str| {
        let bound = TcpListener::bind(at).await;
        bound.map_err(|error| format!("{at}: {error}; choose another by {option}"))
    };
    let listener = bind(settings.listen, "--listen").await?;
    let controllers = bind(settings.listen_controllers, "--listen-controllers").await?;
    let (at, inside) = match (listener.local_addr(), controllers.local_addr()) {
        (Ok(at), Ok(inside)) => (at, inside),
        (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
    };
    let shown = json!({"controllers": inside.to_string(), "api": at.to_string()}).to_string().into_bytes();
    let (reach, _member) = reach(&settings, &identity, shown)?;
    let front = Arc::new(Front::new(identity.client()?));
    let (stopped, stopping) = watch::channel(false);
    let ends = |mut stopping: watch::Receiver<bool>| async move {
        let _ = stopping.wait_for(|stops| *stops).await;
    };
    let for_clients = Arc::clone(&front);
    let clients = server::serve(
        move |request| {
            let front = Arc::clone(&for_clients);
            async move { front.client(request).await }
        },
        listener,
        tls,
        ends(stopping.clone()),
    );
    let for_controllers = Arc::clone(&front);
    let others = server::serve(
        move |request| {
            let front = Arc::clone(&for_controllers);
            async move { front.controller(request).await }
        },
        controllers,
        identity.server()?,
        ends(stopping.clone()),
    );
    let (clients, others) = (tokio::spawn(clients), tokio::spawn(others));
    println!("API: https://{at}");
    println!("certificate: {}", server::fingerprint(folder)?);
    println!("controllers: {inside}");
    notify::ready();
    let node = Arc::new(NodeNow { settings, reach, front, stopping });
    // One term at a time, and none when we are gone.
    let place = Arc::new(Semaphore::new(1));
    tokio::select! {
        () = stop => {}
        () = terms(&node, &place) => {}
    }
    notify::stopping();
    stopped.send_replace(true);
    // Who leads resigns, so that another one may at once.
    let _ = tokio::time::timeout(RESIGN, place.acquire()).await;
    let _ = tokio::join!(clients, others);
    Ok(())
}

fn reach(
    settings: &Settings,
    identity: &Identity,
    shown: Vec<u8>,
) -> Result<(Reach, Option<Member>), String> {
    let prefix = settings.prefix.clone();
    let (endpoints, tls, member) = match &settings.etcd {
        Whose::Outside(endpoints, None) => (endpoints.clone(), None, None),
        Whose::Outside(endpoints, Some(files)) => {
            (endpoints.clone(), Some(Tls::of_files(&files.authority, &files.certificate, &files.key)?), None)
        }
        Whose::Own { program, own, nodes, ports } => {
            let data = settings.folder.join("etcd");
            files::make_private(&data)?;
            let files = identity.write(&settings.folder)?;
            let tls = Tls::of_files(&files.authority, &files.certificate, &files.key)?;
            let plan = Plan {
                program: program.clone(),
                folder: data,
                own: *own,
                nodes: nodes.clone(),
                ports: *ports,
                files,
            };
            (plan.endpoints(), Some(tls), Some(Member::start(plan)?))
        }
    };
    let endpoints: Result<Vec<Endpoint>, String> = endpoints.iter().map(|text| text.parse()).collect();
    Ok((Reach { endpoints: endpoints?, tls, prefix, shown }, member))
}

/// A node that runs.
struct NodeNow {
    settings: Settings,
    reach: Reach,
    front: Arc<Front>,
    stopping: watch::Receiver<bool>,
}

/// Follows whoever leads, and leads where nobody does, for ever.
async fn terms(node: &Arc<NodeNow>, place: &Arc<Semaphore>) {
    let (leading, front) = (node.reach.leading(), &node.front);
    let mut said = String::new();
    let mut say = |now: String, is_well: bool| {
        if said != now && !now.is_empty() {
            match is_well {
                true => tracing::info!(event = "CLUSTER_FOLLOWS", leader = now, "another Controller leads"),
                false => tracing::warn!(
                    event = "CLUSTER_NOBODY",
                    why = now,
                    "no Controller leads that this one knows of"
                ),
            }
        }
        said = now;
    };
    loop {
        match leading.leader().await {
            Ok(Some(shown)) => match whose(&shown) {
                Some(at) => {
                    front.set(Role::Follows(at));
                    say(at.to_string(), true);
                }
                None => {
                    let why = "what leads has another form: upgrade this Controller".to_owned();
                    front.set(Role::Nobody(why.clone()));
                    say(why, false);
                }
            },
            Ok(None) => {
                front.set(Role::Nobody("one is about to".to_owned()));
                if let Err(why) = term(node, place).await {
                    front.set(Role::Nobody(why.clone()));
                    say(why, false);
                } else {
                    // Whoever leads next is news.
                    say(String::new(), true);
                }
            }
            Err(refusal) => {
                front.set(Role::Nobody(refusal.to_string()));
                say(refusal.to_string(), false);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where Controllers reach the one that leads.
fn whose(shown: &[u8]) -> Option<SocketAddr> {
    let said: Value = serde_json::from_slice(shown).ok()?;
    said["controllers"].as_str()?.parse().ok()
}

/// One term, in a thread and a runtime of its own: when it ends, nothing of what it had begun is left, no connection of an
/// engine either.
async fn term(node: &Arc<NodeNow>, place: &Arc<Semaphore>) -> Result<(), String> {
    let taken = Arc::clone(place).acquire_owned().await.map_err(|error| error.to_string())?;
    let node = Arc::clone(node);
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("leading".to_owned()).spawn(move || {
        // Timers and sockets are looked at between any two tasks: each engine's configuration takes its time to make, and the lease
        // must not wait for all of them.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
        let said = match runtime {
            Ok(runtime) => {
                let said = runtime.block_on(lead(&node));
                runtime.shutdown_timeout(LEAVE);
                said
            }
            Err(error) => Err(format!("no runtime: {error}")),
        };
        drop(taken);
        // A panic drops it.
        let _ = done.send(said);
    });
    thread.map_err(|error| format!("no thread: {error}"))?;
    ended.await.unwrap_or_else(|_| Err("the Controller's thread ended early".to_owned()))
}

async fn lead(node: &NodeNow) -> Result<(), String> {
    let (leading, mut stopping) = (node.reach.leading(), node.stopping.clone());
    let client = leading.client.clone();
    let Some(store) = leading.lead().await.map_err(|refusal| refusal.to_string())? else { return Ok(()) };
    let done = tokio::select! {
        why = store.lost() => Err(why),
        _ = stopping.wait_for(|stops| *stops) => Ok(()),
        done = serve(node, &store, &client) => done,
    };
    node.front.set(Role::Nobody("this Controller leads no more".to_owned()));
    store.resign().await;
    done
}

/// Leads until something goes wrong.
async fn serve(node: &NodeNow, store: &Etcd, client: &Client) -> Result<(), String> {
    let settings = &node.settings;
    let seal = Seal::open(&settings.folder.join(backup::KEY))?;
    let begun = start::begin(store.clone(), seal, settings.heartbeat, &settings.logs).await?;
    begun.keep_metrics(&settings.folder)?;
    println!("engines: {}", begun.open_door(settings.listen_engines).await?);
    begun.open_socket(settings.folder.clone());
    if let Some(password) = &begun.first {
        println!("user: admin");
        println!("password: {password} (shown this once)");
    }
    let etcd = client.status().await.map(|status| status.version).unwrap_or_default();
    node.front.set(Role::Leads(begun.app));
    tracing::info!(event = "CLUSTER_LEADS", etcd, "this Controller leads");
    std::future::pending().await
}
