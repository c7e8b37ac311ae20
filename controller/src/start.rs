//! What a Controller begins with, over whichever store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::TcpListener;

use crate::accounts::Accounts;
use crate::alerts::{self, Alerts};
use crate::api::{App, Idle};
use crate::channel::{self, Authority, Channel, Maker};
use crate::cluster::Cluster;
use crate::counted::Counted;
use crate::engines::{Engines, Members};
use crate::objects::Objects;
use crate::placement::{self, Placement};
use crate::sealed::Seal;
use crate::stands::{self, Stands};
use crate::store::Store;
use crate::{distributor, local, mirror, otlp, own, seeds};

/// A Controller that has read all that its store has.
pub struct Begun<S> {
    /// It answers.
    pub app: Arc<App<S>>,
    /// The password of the first user, if this is the first start.
    pub first: Option<String>,
    for_engines: Arc<ServerConfig>,
}

/// Listens where engines are to come.
///
/// # Errors
/// It cannot be listened at.
pub async fn door(wanted: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(wanted).await;
    bound.map_err(|error| format!("{wanted}: {error}; choose another by --listen-engines"))
}

/// Reads everything, makes what is missing, and begins to place services. Engines are to report every `heartbeat`;
/// what they tell of requests is kept in `logs`.
///
/// # Errors
/// As a text that says what to do.
pub async fn begin<S: Store + Clone + 'static>(
    store: S,
    seal: Seal,
    heartbeat: Duration,
    cluster: Cluster,
    logs: Option<Arc<forebay_logs::Store>>,
) -> Result<Begun<S>, String> {
    let accounts = Accounts::new()?;
    let objects = Objects::open(store.clone(), seal).await.map_err(|refusal| refusal.to_string())?;
    // Before anything is sealed: by another key than the store's this refuses.
    let authority = Authority::open(&store, objects.seal()).await.map_err(|refusal| refusal.to_string())?;
    let seeds = seeds::all()?;
    objects.seed(seeds.into_iter()).await.map_err(|denied| format!("built-in objects: {denied:?}"))?;
    let first = objects.first().await.map_err(|denied| format!("the user admin: {denied:?}"))?;
    let placement = Placement::open(&store).await.map_err(|refusal| refusal.to_string())?;
    let members = Members::open(&store).await.map_err(|refusal| refusal.to_string())?;
    let for_engines = authority.server()?;
    let (engines, began) = (Engines::heard_every(heartbeat), Instant::now());
    let alerts = Alerts::open(&store).await.map_err(|refusal| refusal.to_string())?;
    let standing = Stands::open(&store).await.map_err(|refusal| refusal.to_string())?;
    let app = Arc::new(App {
        store,
        objects,
        accounts,
        engines,
        placement,
        began,
        members,
        authority,
        counted: Counted::default(),
        alerts,
        standing,
        cluster,
        logs,
        idle: Idle::default(),
        mirrors: mirror::Mirrors::default(),
        distributors: distributor::Distributors::default(),
    });
    tokio::spawn(channel::keep_known(Arc::clone(&app)));
    tokio::spawn(placement::drive(Arc::clone(&app)));
    tokio::spawn(stands::drive(Arc::clone(&app)));
    tokio::spawn(alerts::drive(Arc::clone(&app)));
    tokio::spawn(alerts::tell(Arc::clone(&app)));
    tokio::spawn(mirror::drive(Arc::clone(&app)));
    tokio::spawn(distributor::drive(Arc::clone(&app)));
    Ok(Begun { app, first, for_engines })
}

impl<S: Store + 'static> Begun<S> {
    /// Keeps what engines count here, and what the Controller itself takes of the machine, whose folder this is.
    pub fn keep_metrics(&self, series: Arc<forebay_metrics::Store>, folder: &Path) {
        self.app.counted.keep(Arc::clone(&series));
        tokio::spawn(own::drive(series, folder.to_owned()));
    }

    /// Sends what engines count and tell to collectors.
    pub fn export(&self, exported: otlp::Exported) {
        if let Some(collector) = exported.metrics {
            tokio::spawn(otlp::drive(Arc::clone(&self.app), collector, exported.every_s));
        }
        if let Some((collector, kept)) = exported.logs.zip(self.app.logs.clone()) {
            tokio::spawn(otlp::drive_logs(kept, collector));
        }
    }

    /// Lets engines in that know one of these versions of the protocol, and says where that is.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open_door(&self, door: TcpListener, speaks: (u32, u32)) -> Result<SocketAddr, String> {
        let at = door.local_addr().map_err(|error| error.to_string())?;
        let engines = Channel::new(Arc::clone(&self.app), Maker::new(Arc::clone(&self.app)));
        let engines = Arc::new(engines.speaking(speaks));
        let tls = Arc::clone(&self.for_engines);
        tokio::spawn(async move {
            if let Err(error) = channel::serve(engines, door, tls, std::future::pending()).await {
                tracing::error!(%error, "no more engines are let in");
            }
        });
        Ok(at)
    }

    /// Serves who is at the machine itself.
    pub fn open_socket(&self, folder: PathBuf) {
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            local::serve(folder, move || Ok(Arc::clone(&app))).await;
        });
    }
}
