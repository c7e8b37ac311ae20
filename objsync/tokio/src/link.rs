//! A connection with a member, once both know who the other is.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use forebay_core::table::EngineSlot;
use forebay_objsync::wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::identity::Secured;
use crate::limits::READ_BYTES;

/// Bytes from and to one member, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub came: AtomicU64,
    pub went: AtomicU64,
}

/// What connections tell the driver.
pub(crate) enum Told {
    /// A member is there: its connection, and whether it was called (and not the one that calls). `door`: by which
    /// listening socket it came.
    Came { slot: EngineSlot, stream: Box<Secured>, door: Option<u64> },
    /// Whole frames of a connection.
    Frames { slot: EngineSlot, link: u64, bytes: Vec<u8> },
    /// A connection is over.
    Gone { slot: EngineSlot, link: u64, why: String },
    /// A member could not be reached.
    Unreached { slot: EngineSlot, why: String },
}

/// The driver's end of a connection. Ended when dropped.
pub(crate) struct Link {
    /// No other connection has this number.
    pub number: u64,
    /// By which listening socket it came.
    pub door: Option<u64>,
    /// Where its other end is.
    pub remote: Option<SocketAddr>,
    send: mpsc::UnboundedSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl Link {
    /// Begins to read and write.
    pub fn start(
        slot: EngineSlot,
        number: u64,
        door: Option<u64>,
        stream: Secured,
        traffic: Arc<Traffic>,
        tell: mpsc::Sender<Told>,
    ) -> Self {
        let remote = stream.get_ref().0.peer_addr().ok();
        let (read, write) = tokio::io::split(stream);
        let (send, queue) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let (to, by, count) = (tell.clone(), Arc::clone(&traffic), Arc::clone(&queued));
        let writer = tokio::spawn(async move {
            if let Err(why) = write_all(write, queue, &count, &by).await {
                let _ = to.send(Told::Gone { slot, link: number, why }).await;
            }
        });
        let reader = tokio::spawn(async move {
            let why = read_all(read, slot, number, &traffic, &tell).await;
            let _ = tell.send(Told::Gone { slot, link: number, why }).await;
        });
        Self { number, door, remote, send, queued, reader, writer }
    }

    /// Whether something has not been sent yet.
    pub fn waits(&self) -> bool {
        self.queued() > 0
    }

    /// Bytes that have not been sent yet.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Queues a frame. How much waits is the driver's to judge: what one member may hold depends on the others.
    pub fn send(&self, frame: Vec<u8>) {
        let bytes = frame.len();
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        if self.send.send(frame).is_err() {
            // A writer that has ended tells so itself, and holds nothing any more.
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

async fn write_all(
    mut write: WriteHalf<Secured>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: &AtomicUsize,
    traffic: &Traffic,
) -> Result<(), String> {
    while let Some(mut bytes) = queue.recv().await {
        // What waits leaves together, so that small frames share a record.
        while bytes.len() < READ_BYTES
            && let Ok(more) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        write.write_all(&bytes).await.map_err(|error| error.to_string())?;
        write.flush().await.map_err(|error| error.to_string())?;
        queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        traffic.went.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads until the end; gives its reason.
async fn read_all(
    mut read: ReadHalf<Secured>,
    slot: EngineSlot,
    link: u64,
    traffic: &Traffic,
    tell: &mpsc::Sender<Told>,
) -> String {
    let mut held: Vec<u8> = Vec::with_capacity(READ_BYTES);
    loop {
        held.reserve(READ_BYTES);
        match read.read_buf(&mut held).await {
            Ok(0) => return "it ended the connection".to_owned(),
            Ok(got) => traffic.came.fetch_add(got as u64, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return "it has gone".to_owned(),
            Err(error) => return error.to_string(),
        };
        let mut whole = 0;
        loop {
            match wire::split(&held[whole..]) {
                Ok(Some((_, length))) => whole += length,
                Ok(None) => break,
                Err(bad) => return bad.to_string(),
            }
        }
        if whole > 0 {
            // A copy, so that the room to read into stays: most pieces are a thousandth of it.
            let bytes = held[..whole].to_vec();
            held.drain(..whole);
            if tell.send(Told::Frames { slot, link, bytes }).await.is_err() {
                return "the engine stops".to_owned();
            }
        }
    }
}
