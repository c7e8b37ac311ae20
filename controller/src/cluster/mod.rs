//! A Controller among others: one leads and writes, each answers by way of that one.

mod address;
mod asking;
mod front;
mod grow;
mod guard;
mod guests;
mod identity;
mod join;
mod kept;
mod member;
mod moving;
mod presence;
mod relay;
mod roster;
mod tending;
mod terms;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use forebay_etcd::{Client, Endpoint, Endpoints, Tls};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use address::{Address, judge as judge_address, keep as hold_address, wanted as virtual_addresses};
pub use asking::Asking;
pub(crate) use front::received;
pub use front::{Front, Role};
pub use grow::Grow;
pub use guard::{Guard, release};
pub(crate) use guests::{Guests, whose};
pub use identity::{Files, Identity};
pub use join::{admit, join, token};
pub use kept::Kept;
pub use member::{Member, Node, Plan};
pub use presence::{Cluster, Neighbour};
pub use roster::{Roster, wanted};

use crate::parts::{Answering, Stores};
use crate::sealed::Seal;
use crate::store::Leading;
use crate::{backup, files, local, logs, notify, server};

/// Who leads has so long to resign when it is ended: its lease is over then.
const RESIGN: Duration = Duration::from_secs(5);

/// How a member stands is known within this, or does not matter.
const LOOKED: Duration = Duration::from_millis(300);

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
    /// How much is kept of what engines tell of requests, on this node.
    pub logs: logs::Settings,
    /// Where to metrics are sent while this node leads, if anywhere.
    pub otlp: Option<crate::otlp::Exported>,
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
        /// Which node this is, and which others there are, as the folder says or as it is to say.
        kept: Kept,
    },
}

impl Settings {
    /// The nodes, where each has a member of its own.
    fn kept(&self) -> Option<&Kept> {
        match &self.etcd {
            Whose::Own { kept, .. } => Some(kept),
            Whose::Outside(..) => None,
        }
    }

    /// What this node says of itself; its API and its door for Controllers are there.
    fn own(&self, api: SocketAddr, controllers: SocketAddr) -> presence::Own {
        let (name, address) = match &self.etcd {
            Whose::Own { kept, .. } => (kept.own.name.clone(), kept.own.address),
            Whose::Outside(..) => (controllers.to_string(), controllers.ip()),
        };
        let mut engines = self.listen_engines;
        if engines.ip().is_unspecified() {
            engines.set_ip(address);
        }
        presence::Own { name, address, controllers, api, engines, since: presence::now() }
    }
}

/// How etcd is reached, and what is said there of this node.
#[derive(Clone)]
struct Reach {
    endpoints: Endpoints,
    tls: Option<Tls>,
    prefix: String,
    shown: Vec<u8>,
    /// This node's, of several.
    own_member: Option<Endpoint>,
    /// For a process of its own.
    urls: Vec<String>,
    files: Option<Files>,
}

impl Reach {
    /// With connections of its own: they end with the runtime in which they are made.
    fn leading(&self) -> Leading {
        let client = Client::new(self.endpoints.clone(), self.tls.clone());
        Leading { client, prefix: self.prefix.clone(), shown: self.shown.clone() }
    }

    /// For this node's own member alone, of several.
    fn beside(&self) -> Option<Client> {
        let own = self.own_member.clone()?;
        Some(Client::new(vec![own], self.tls.clone()).apart(LOOKED))
    }

    /// Says whether this node's own member leads the others.
    async fn is_beside(&self) -> bool {
        let Some(own) = self.beside() else { return false };
        let status = own.status().await;
        status.is_ok_and(|status| status.header.is_some_and(|header| header.member_id == status.leader))
    }
}

/// Runs a node until `stop` ends. `address`: what goes with the lead.
///
/// # Errors
/// As a text that says what to do.
pub fn run(
    settings: Settings,
    address: Address,
    stop: Pin<Box<dyn Future<Output = ()>>>,
) -> Pin<Box<dyn Future<Output = Result<(), String>>>> {
    // All that is generic below is compiled here, once, and not anew in each program.
    Box::pin(serve(settings, address, stop))
}

async fn serve(settings: Settings, address: Address, stop: impl Future<Output = ()>) -> Result<(), String> {
    let folder = &settings.folder;
    let key = folder.join(backup::KEY);
    let is_shared = settings.kept().is_none_or(|kept| kept.nodes.len() > 1 && kept.initial.len() > 1);
    //= CLUSTER-KEY-01
    if is_shared && !key.exists() {
        return Err(format!(
            "{}: it is not there, and all Controllers of a store share it; get it from one that runs \
             (forebay-controller join), or make it once (umask 077; head -c 32 /dev/urandom > store.key) and copy it to the \
             folder of every one",
            key.display()
        ));
    }
    let kept = settings.kept().cloned();
    if let Some(kept) = kept.as_ref().filter(|kept| Kept::read(folder).as_ref() != Ok(&Some((*kept).clone())))
    {
        kept.write(folder)?;
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
    moving::mark(folder)?;
    let own = settings.own(at, inside);
    let (reach, member) = reach(&settings, &identity, own.shown())?;
    let guard = Guard::start(&reach.urls, reach.files.as_ref());
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
    let stores = Arc::new(Stores::new(folder.clone(), settings.logs.clone()));
    if let Err(why) = stores.open() {
        // It is tried again by who needs them: this node may follow without.
        tracing::error!(
            event = "CLUSTER_STORES_CLOSED",
            why,
            "logs and series of this Controller cannot be opened"
        );
    }
    let for_controllers = (Arc::clone(&front), Arc::new(Answering::new(Arc::clone(&stores))));
    let others = server::serve(
        move |request| {
            let (front, own) = for_controllers.clone();
            self::inside(front, own, request)
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
    let at_the_machine = {
        let front = Arc::clone(&front);
        tokio::spawn(local::serve(folder.clone(), move || front.app()))
    };
    let (member, is_removed) = (Mutex::new(member), AtomicBool::new(false));
    let asking = Arc::new(Asking::new(identity.client()?));
    let node =
        NodeNow { settings, reach, front, guard, own, stopping, member, is_removed, address, stores, asking };
    let node = Arc::new(node);
    let present = tokio::spawn(presence::say(Arc::clone(&node)));
    let followed = kept.map(|kept| tokio::spawn(tending::follow(Arc::clone(&node), kept)));
    // One term at a time, and none when we are gone.
    let place = Arc::new(Semaphore::new(1));
    let done = tokio::select! {
        () = stop => Ok(()),
        () = terms::terms(&node, &place) => Ok(()),
        why = node.address.lost() => Err(why),
    };
    notify::stopping();
    at_the_machine.abort();
    present.abort();
    if let Some(followed) = followed {
        followed.abort();
    }
    stopped.send_replace(true);
    // Who leads resigns, so that another one may at once.
    let _ = tokio::time::timeout(RESIGN, place.acquire()).await;
    let _ = tokio::join!(clients, others);
    node.stores.close();
    drop(node.member.lock().unwrap_or_else(PoisonError::into_inner).take());
    done
}

/// Answers another Controller: about what this node has itself, or for a client of that one.
async fn inside(front: Arc<Front>, own: Arc<Answering>, request: Request) -> Response<Body> {
    match Answering::is_asked(&request) {
        true => own.answer(request).await,
        false => front.controller(request).await,
    }
}

fn reach(
    settings: &Settings,
    identity: &Identity,
    shown: Vec<u8>,
) -> Result<(Reach, Option<Member>), String> {
    let prefix = settings.prefix.clone();
    let of_files = |files: &Files| Tls::of_files(&files.authority, &files.certificate, &files.key);
    let (urls, tls, files, member) = match &settings.etcd {
        Whose::Outside(urls, files) => {
            (urls.clone(), files.as_ref().map(of_files).transpose()?, files.clone(), None)
        }
        Whose::Own { program, kept } => {
            let data = settings.folder.join("etcd");
            files::make_private(&data)?;
            let files = identity.write(&settings.folder)?;
            let tls = of_files(&files)?;
            let plan =
                Plan { program: program.clone(), folder: data, kept: kept.clone(), files: files.clone() };
            let urls = Member::endpoints(&kept.own_first(), kept.ports);
            (urls, Some(tls), Some(files), Some(Member::start(plan)?))
        }
    };
    let endpoints: Result<Vec<Endpoint>, String> = urls.iter().map(|text| text.parse()).collect();
    let endpoints = endpoints?;
    // That of this node stands first.
    let own_member = endpoints.first().filter(|_| member.is_some()).cloned();
    let endpoints = endpoints.into();
    Ok((Reach { endpoints, tls, prefix, shown, own_member, urls, files }, member))
}

/// A node that runs.
struct NodeNow {
    settings: Settings,
    reach: Reach,
    front: Arc<Front>,
    guard: Guard,
    own: presence::Own,
    stopping: watch::Receiver<bool>,
    /// Its own member, while it is one of the nodes.
    member: Mutex<Option<Member>>,
    is_removed: AtomicBool,
    /// What goes with the lead.
    address: Address,
    /// What this node was told while it led.
    stores: Arc<Stores>,
    /// How others are asked for theirs.
    asking: Arc<Asking>,
}
