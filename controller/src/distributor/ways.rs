//! Ways to the Redises beside engines: each engine opens them and waits until one is used. Who distributes takes one for each
//! connection.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forebay_objsync_tokio::legacy::{Reach, Reached, Stream};
use forebay_wire::limits::PATIENCE;
use forebay_wire::proto::Chunk;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tonic::{Status, Streaming};

use crate::aside::Budget;

/// Ways that wait for one engine's Redis: one that is read, one that is written, and those that come again before it is known
/// that the last ones are over.
const WAITING_MAX: usize = 4;
/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A way that an engine has opened.
pub struct Way {
    to: mpsc::Sender<Result<Chunk, Status>>,
    from: Streaming<Chunk>,
}

/// All ways that wait, by the uuids of engines.
#[derive(Default)]
pub struct Ways {
    waiting: Mutex<BTreeMap<String, VecDeque<Way>>>,
    more: Notify,
}

impl Ways {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Way>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An engine has opened one. The oldest of too many goes.
    //= LEGACY-LED-01
    pub fn offer(&self, engine: &str, to: mpsc::Sender<Result<Chunk, Status>>, from: Streaming<Chunk>) {
        let mut waiting = self.held();
        waiting.retain(|_, ways| {
            ways.retain(|way| !way.to.is_closed());
            !ways.is_empty()
        });
        let ways = waiting.entry(engine.to_owned()).or_default();
        if ways.len() >= WAITING_MAX {
            ways.pop_front();
        }
        ways.push_back(Way { to, from });
        drop(waiting);
        self.more.notify_waiters();
    }

    /// The one that waits for the shortest time: what was opened before may be over.
    fn take(&self, engine: &str) -> Option<Way> {
        let mut waiting = self.held();
        let ways = waiting.get_mut(engine)?;
        ways.retain(|way| !way.to.is_closed());
        ways.pop_back()
    }

    async fn wait_for(&self, engine: &str) -> Way {
        loop {
            let more = self.more.notified();
            let mut more = std::pin::pin!(more);
            // From here on nothing is missed.
            more.as_mut().enable();
            if let Some(way) = self.take(engine) {
                return way;
            }
            more.await;
        }
    }
}

/// How one engine's Redis is reached.
pub struct By {
    ways: Arc<Ways>,
    engine: String,
    budget: Arc<Budget>,
}

impl By {
    /// By the ways that this engine opens, and no faster than `budget` says.
    pub fn new(ways: Arc<Ways>, engine: String, budget: Arc<Budget>) -> Self {
        By { ways, engine, budget }
    }
}

impl Reach for By {
    fn reach(&self) -> Reached<'_> {
        Box::pin(async move {
            let way = tokio::time::timeout(PATIENCE, self.ways.wait_for(&self.engine)).await;
            let way = way.map_err(|_| io::Error::other("the engine has opened no way to it"))?;
            let (here, there) = tokio::io::duplex(CHUNK_BYTES);
            tokio::spawn(carry(way, there, Arc::clone(&self.budget)));
            Ok(Box::new(here) as Box<dyn Stream>)
        })
    }
}

/// Carries bytes both ways until either end has enough.
async fn carry(way: Way, end: DuplexStream, budget: Arc<Budget>) {
    let (read, write) = tokio::io::split(end);
    tokio::select! {
        () = there(read, way.to) => {}
        () = back(way.from, write, &budget) => {}
    }
}

async fn there(mut read: ReadHalf<DuplexStream>, to: mpsc::Sender<Result<Chunk, Status>>) {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = read.read(&mut bytes).await {
        let content = bytes[..count].to_vec();
        if to.send(Ok(Chunk { content })).await.is_err() {
            return;
        }
    }
}

async fn back(mut from: Streaming<Chunk>, mut write: WriteHalf<DuplexStream>, budget: &Budget) {
    while let Ok(Some(chunk)) = from.message().await {
        loop {
            let pause = budget.pause(Instant::now());
            if pause.is_zero() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        if write.write_all(&chunk.content).await.is_err() {
            return;
        }
    }
}
