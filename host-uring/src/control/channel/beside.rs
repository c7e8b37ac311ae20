//! Ways to the Redis beside this engine, for the Controller's distributor: opened ahead, begun when the first bytes come.

use std::sync::Arc;
use std::time::Duration;

use forebay_objsync_tokio::legacy::{Gate, Place, Stream, through};
use forebay_wire::call::Calls;
use forebay_wire::proto::Chunk;
use forebay_wire::proto::channel_client::ChannelClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::control::State;
use crate::sync::redis::redis;

/// Ways that are open: one that is read, and one that is written.
const WAYS: usize = 2;
/// Pause before another one is opened.
const AGAIN: Duration = Duration::from_millis(200);
/// The same where there is no Redis, or the Controller takes no ways.
const LATER: Duration = Duration::from_secs(1);
/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pieces that wait to be sent.
const WAITING_MAX: usize = 4;

/// Keeps ways open for as long as the answer lives.
//= LEGACY-LED-01
pub(super) fn open(client: &ChannelClient<Calls>, state: &Arc<State>) -> JoinSet<()> {
    let mut ways = JoinSet::new();
    for _ in 0..WAYS {
        let (client, state) = (client.clone(), Arc::clone(state));
        ways.spawn(async move {
            loop {
                let pause = match place(&state).await {
                    Some(place) => one(client.clone(), &place).await,
                    None => LATER,
                };
                tokio::time::sleep(pause).await;
            }
        });
    }
    ways
}

/// The Redis, if tables are shared by way of one.
async fn place(state: &State) -> Option<Place> {
    state.redis()?;
    let objsync = state.tree().objsync.clone();
    // It waits for the disk.
    tokio::task::spawn_blocking(move || redis(&objsync)).await.ok()?.ok()?
}

/// One way, to its end; gives the pause after it.
async fn one(mut client: ChannelClient<Calls>, place: &Place) -> Duration {
    let (send, sent) = mpsc::channel(WAITING_MAX);
    let mut came = match client.beside(ReceiverStream::new(sent)).await {
        Ok(came) => came.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return LATER,
        Err(_) => return AGAIN,
    };
    let Ok(Some(first)) = came.message().await else { return AGAIN };
    // A password is this engine's own business.
    let Ok(stream) = through(place).await else { return AGAIN };
    let (read, write) = tokio::io::split(stream);
    tokio::select! {
        () = there(read, send) => AGAIN,
        refused = back(first, came, write) => match refused {
            Ok(()) => AGAIN,
            Err(why) => {
                tracing::warn!(
                    event = "REDIS_WAY_REFUSED",
                    "what the Controller says to the Redis beside this engine is not passed on: {why}"
                );
                LATER
            }
        },
    }
}

async fn there(mut read: ReadHalf<Box<dyn Stream>>, to: mpsc::Sender<Chunk>) {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = read.read(&mut bytes).await {
        let content = bytes[..count].to_vec();
        if to.send(Chunk { content }).await.is_err() {
            return;
        }
    }
}

/// `Err`: something is said that is not passed on.
//= LEGACY-LED-02
async fn back(
    first: Chunk,
    mut from: Streaming<Chunk>,
    mut write: WriteHalf<Box<dyn Stream>>,
) -> Result<(), String> {
    let mut gate = Gate::default();
    let mut next = Some(first);
    while let Some(chunk) = next {
        let commands = gate.let_through(&chunk.content)?;
        if write.write_all(&commands).await.is_err() {
            return Ok(());
        }
        next = from.message().await.unwrap_or_default();
    }
    Ok(())
}
