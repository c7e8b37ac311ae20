//! What a node answers about what it has itself, to other Controllers and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use forebay_logs::{Failure, Search};
use tokio::sync::Semaphore;

use super::stores::{Held, Stores};
use super::{GROUPS, HOLDERS, NAME, RECORDS, SLOTS, TOTALS, wire};
use crate::api;

/// Questions of logs, and as many of series, that are answered at once: each takes a thread, and the disk. A search may take
/// long, and series are waited for by whoever looks at a page.
const AT_ONCE: usize = 4;
/// Others wait so long for their turn; who asks has gone by then.
const TURN: Duration = Duration::from_secs(2);

/// Answers for a node, whoever leads.
pub struct Answering {
    stores: Arc<Stores>,
    searches: Arc<Semaphore>,
    series: Arc<Semaphore>,
}

/// Why there is no part.
struct No(StatusCode, String);

fn no(status: StatusCode, why: impl std::fmt::Display) -> No {
    No(status, why.to_string())
}

impl Answering {
    /// For what these stores have.
    pub fn new(stores: Arc<Stores>) -> Self {
        let turns = || Arc::new(Semaphore::new(AT_ONCE));
        Answering { stores, searches: turns(), series: turns() }
    }

    /// Says whether a request of another Controller is such a question. A client's request that is passed on has another name in
    /// its target, whatever the client wrote.
    pub fn is_asked(request: &Request) -> bool {
        request.uri().authority().is_some_and(|name| name.as_str() == NAME)
    }

    /// Answers one.
    //= CLUSTER-PART-01
    pub async fn answer(&self, request: Request) -> Response<Body> {
        let No(status, why) = match self.part(request).await {
            Ok(content) => return Response::new(Body::from(content)),
            Err(no) => no,
        };
        let mut response = Response::new(Body::from(why));
        *response.status_mut() = status;
        response
    }

    async fn part(&self, request: Request) -> Result<Vec<u8>, No> {
        let (head, body) = request.into_parts();
        let content =
            api::whole(body, |_| true).await.map_err(|answer| no(answer.status(), "it is too long"))?;
        let late = || no(StatusCode::TOO_MANY_REQUESTS, "it answers others");
        let path = head.uri.path().to_owned();
        let turns = if matches!(&*path, RECORDS | GROUPS) { &self.searches } else { &self.series };
        let turn = tokio::time::timeout(TURN, Arc::clone(turns).acquire_owned()).await;
        let turn = turn.map_err(|_| late())?.map_err(|_| late())?;
        let held = self.stores.open().map_err(|why| no(StatusCode::INTERNAL_SERVER_ERROR, why))?;
        let read = move || {
            // Who asked may have gone: what is read is read to its end, and takes its turn until then.
            let _turn = turn;
            read(&held, &path, &content)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|panic| no(StatusCode::INTERNAL_SERVER_ERROR, panic))?
    }
}

fn read(held: &Held, path: &str, said: &[u8]) -> Result<Vec<u8>, No> {
    let unknown = || no(StatusCode::BAD_REQUEST, "it does not know what it is asked for: upgrade it");
    let of_logs = |failure: Failure| no(StatusCode::INTERNAL_SERVER_ERROR, failure);
    let of_series = |failure: forebay_metrics::Failure| no(StatusCode::INTERNAL_SERVER_ERROR, failure);
    match path {
        RECORDS => {
            let (search, _) = looked(said).ok_or_else(unknown)?;
            let part = held.logs.part(&search, search.before.map(|before| before.at)).map_err(of_logs)?;
            Ok(wire::records(&part))
        }
        GROUPS => {
            let (search, field) = looked(said).ok_or_else(unknown)?;
            let field = field.ok_or_else(unknown)?;
            let top = held.logs.groups(&search, &field).map_err(of_logs)?;
            Ok(wire::groups(top, held.logs.eldest()))
        }
        HOLDERS => {
            let asks = wire::Asked::all(said).ok_or_else(unknown)?;
            let asks: Vec<_> = asks.into_iter().map(|(ask, _)| ask).collect();
            let holders = held.series.holders(&asks).map_err(of_series)?;
            serde_json::to_vec(&holders).map_err(|error| no(StatusCode::INTERNAL_SERVER_ERROR, error))
        }
        SLOTS => {
            let asks = wire::Asked::all(said).ok_or_else(unknown)?;
            let parts = held.series.parts(&asks).map_err(of_series)?;
            wire::slots(parts).ok_or_else(|| {
                no(StatusCode::PAYLOAD_TOO_LARGE, "it has too much of that: ask for fewer points")
            })
        }
        TOTALS => {
            let (keys, range) = wire::AskedTotals::read(said).ok_or_else(unknown)?;
            Ok(wire::totals(held.series.totals(&keys, range).map_err(of_series)?))
        }
        _ => Err(unknown()),
    }
}

fn looked(said: &[u8]) -> Option<(Search, Option<String>)> {
    serde_json::from_slice::<wire::Looked>(said).ok()?.search()
}
