//! Other Controllers are asked for their part of logs and series, each by connections of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::presence::Cluster;
use super::relay::{Failed, Relay};
use crate::parts::{self, Told};

/// Who did not answer is not asked again for so long: each question would wait for it.
const AWAY: Duration = Duration::from_secs(2);
/// Who was not waited for so long is not taken for one that does not answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same trouble with a node is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Connections to other Controllers.
pub struct Asking {
    tls: Arc<ClientConfig>,
    nodes: Mutex<BTreeMap<SocketAddr, Node>>,
}

/// One of them.
struct Node {
    relay: Arc<Relay>,
    /// It did not answer, when, and why.
    away: Option<(Instant, String)>,
    told: Option<Instant>,
}

impl Asking {
    /// With no connections yet.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Asking { tls, nodes: Mutex::default() }
    }

    fn node<T>(&self, at: SocketAddr, what: impl FnOnce(&mut Node) -> T) -> T {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let relay = || Arc::new(Relay::new(Arc::clone(&self.tls)));
        what(nodes.entry(at).or_insert_with(|| Node { relay: relay(), away: None, told: None }))
    }

    /// Asks the node at `at`, and waits no longer than `within`.
    async fn ask(
        &self,
        name: &str,
        at: SocketAddr,
        path: &str,
        content: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, String> {
        let (relay, away) = self.node(at, |node| (Arc::clone(&node.relay), node.away.clone()));
        if let Some((_, why)) = away.filter(|(since, _)| since.elapsed() < AWAY) {
            return Err(why);
        }
        let is_long = within >= PATIENCE;
        let late = || Err((format!("it did not answer within {} ms", within.as_millis()), is_long));
        let done = tokio::time::timeout(within, said(&relay, at, path, content)).await;
        let done = done.unwrap_or_else(|_| late());
        self.node(at, |node| {
            node.away = match &done {
                Err((why, true)) => Some((Instant::now(), why.clone())),
                _ => None,
            };
            let is_news = node.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN);
            if let Err((why, _)) = done.as_ref()
                && is_news
            {
                node.told = Some(Instant::now());
                tracing::warn!(
                    event = "CLUSTER_PART_MISSING",
                    node = name,
                    why,
                    "answers are without a Controller's part of logs and series"
                );
            }
        });
        done.map_err(|(why, _)| why)
    }
}

/// What the node says; or why it says nothing, and whether it is of no use to ask again soon.
async fn said(
    relay: &Relay,
    at: SocketAddr,
    path: &str,
    content: Vec<u8>,
) -> Result<Vec<u8>, (String, bool)> {
    let request = Request::post(format!("https://{}{path}", parts::NAME))
        .version(axum::http::Version::HTTP_2)
        .body(Full::new(Bytes::from(content)))
        .map_err(|error| (error.to_string(), false))?;
    let response = relay.pass(at, request, ()).await.map_err(|failed| match failed {
        Failed::Before(why) => (format!("it is not reached: {why}"), true),
        Failed::After(why) => (format!("it did not answer: {why}"), true),
    })?;
    let status = response.status();
    let content = Limited::new(response.into_body(), parts::BYTES_MAX).collect().await;
    let content = content.map_err(|error| (format!("its answer was cut off: {error}"), false))?.to_bytes();
    match status {
        StatusCode::OK => Ok(content.to_vec()),
        // What an older one says to whom it takes for a client.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => {
            Err(("it is older, and does not tell: upgrade it".to_owned(), false))
        }
        _ => Err((String::from_utf8_lossy(&content).chars().take(300).collect(), false)),
    }
}

impl Cluster {
    /// The name of this node.
    pub fn own(&self) -> String {
        self.all().into_iter().find(|one| one.leads).map(|one| one.name).unwrap_or_default()
    }

    /// The names of the others that may have a part of what engines told.
    pub fn others(&self) -> Vec<String> {
        self.away_from_here().into_iter().map(|(name, _)| name).collect()
    }

    fn away_from_here(&self) -> Vec<(String, SocketAddr)> {
        let all = self.all().into_iter().filter(|one| !one.leads);
        all.filter_map(|one| Some((one.name, one.controllers?))).collect()
    }

    /// Asks all others at once for their part, with what `content` says for each, by its name (`None`: not at all), and waits for
    /// them no longer than `within`.
    //= CLUSTER-PART-01
    //= CLUSTER-PART-02
    pub async fn ask(
        &self,
        path: &'static str,
        within: Duration,
        content: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Vec<Told> {
        let Some(asking) = self.asking() else { return Vec::new() };
        let mut open = JoinSet::new();
        for (name, at) in self.away_from_here() {
            let Some(content) = content(&name) else { continue };
            let asking = Arc::clone(asking);
            open.spawn(async move {
                let said = asking.ask(&name, at, path, content, within).await;
                Told { node: name, said }
            });
        }
        let mut all = open.join_all().await;
        all.sort_by(|a, b| a.node.cmp(&b.node));
        all
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
