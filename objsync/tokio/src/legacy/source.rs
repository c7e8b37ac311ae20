//! The distributor reads one engine's outbox, and all its entries where somebody wants them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::limits::{BEAT, COPY_BYTES, REDIAL_MAX_MS, REDIAL_MS};
use super::names::{Kind, Note, Session, add, read_value};
use super::relay::{Desk, Hub, Job, Letter};
use super::resp::Reply;
use super::session::{Scan, read_notes};

/// How long a read waits for a note, and while a copy is under way.
const WAITS_MS: (&[u8], &[u8]) = (b"200", b"1");

/// Reads for as long as the distributor runs.
pub(super) async fn run(hub: Arc<Hub>, slot: u8) {
    let Some(desk) = hub.desks.get(&slot).cloned() else { return };
    let mut said = String::new();
    let mut redial_ms = REDIAL_MS;
    loop {
        let mut source = Source { hub: &hub, desk: &desk, slot, writer: None, up: false };
        let why = source.serve().await.err().unwrap_or_default();
        if source.up {
            (redial_ms, said) = (REDIAL_MS, String::new());
        }
        desk.is_read.store(false, Ordering::Release);
        desk.set_session(None);
        // Who waits for its entries waits no longer.
        drop(desk.jobs());
        if said != why {
            tracing::warn!(
                event = "DISTRIBUTOR_REDIS_DOWN",
                slot,
                redis = %desk.place,
                "an engine's Redis cannot be read: {why}"
            );
            said = why;
        }
        tokio::time::sleep(Duration::from_millis(redial_ms)).await;
        redial_ms = (redial_ms * 2).min(REDIAL_MAX_MS);
    }
}

struct Source<'h> {
    hub: &'h Hub,
    desk: &'h Arc<Desk>,
    slot: u8,
    /// Whose note was read last, and its number.
    writer: Option<(Session, u64)>,
    up: bool,
}

/// A copy under way.
struct Copying {
    job: Arc<Job>,
    scan: Scan,
}

impl Source<'_> {
    async fn serve(&mut self) -> Result<(), String> {
        let names = &self.hub.names;
        let mut conn = Conn::open(&self.desk.place).await?;
        let last = conn.ask(&[b"XREVRANGE", &names.outbox, b"+", b"-", b"COUNT", b"1"]).await?;
        let last = last.list().first().and_then(|one| one.list().first()).and_then(Reply::bytes);
        let mut after = last.unwrap_or(b"0-0").to_vec();
        self.up = true;
        self.desk.is_read.store(true, Ordering::Release);
        tracing::info!(event = "DISTRIBUTOR_REDIS_UP", slot = self.slot, redis = %self.desk.place, "an engine's Redis is read");
        // What was written before it was read is in its entries.
        self.hub.copy_from(self.slot);
        let mut beat = Instant::now();
        let mut waiting: Vec<Arc<Job>> = Vec::new();
        let mut copying: Option<Copying> = None;
        loop {
            if Instant::now() >= beat {
                beat = Instant::now() + BEAT;
                self.look(&mut conn).await?;
            }
            waiting.extend(self.desk.jobs());
            if copying.is_none() {
                copying = waiting.pop().map(|job| Copying { job, scan: Scan::default() });
            }
            if let Some(under_way) = &mut copying {
                let to = &under_way.job.to;
                // In one connection with the notes: an entry is never older than the notes that were read before it.
                let goes_on = match self.desk.session().filter(|_| to.session().is_some()) {
                    Some(session) => !to.has_room() || self.copy(&mut conn, under_way, session).await?,
                    None => false,
                };
                if !goes_on {
                    copying = None;
                }
            }
            let wait = if copying.is_some() || !waiting.is_empty() { WAITS_MS.1 } else { WAITS_MS.0 };
            for (_, note) in read_notes(&mut conn, &names.outbox, &mut after, wait).await? {
                self.pass_on(&note);
            }
        }
    }

    /// Whether the engine lives, and whether it is another one than before.
    async fn look(&mut self, conn: &mut Conn) -> Result<(), String> {
        let found = conn.ask(&[b"GET", &self.hub.names.session]).await?;
        let session = found.bytes().and_then(Session::of);
        let before = self.desk.set_session(session);
        if let Some(session) = session {
            self.hub.tell(Kind::Alive, self.desk.slot, session, &Arc::from([]));
            if before != Some(session) {
                tracing::info!(
                    event = "DISTRIBUTOR_ENGINE_UP",
                    slot = self.slot,
                    "an engine begins anew: it is told all"
                );
                self.desk.clear();
                self.hub.copy_to(self.slot);
                self.hub.copy_from(self.slot);
            }
        } else if before.is_some() {
            tracing::warn!(
                event = "DISTRIBUTOR_ENGINE_DOWN",
                slot = self.slot,
                "an engine has not been heard of for 15 s"
            );
        }
        Ok(())
    }

    /// Gives a note of the engine to the others.
    //= LEGACY-GAP-01
    fn pass_on(&mut self, bytes: &[u8]) {
        let Some(note) = Note::of(bytes).filter(|note| note.from == self.desk.slot) else { return };
        let expected =
            self.writer.filter(|(session, _)| *session == note.session).map(|(_, number)| number + 1);
        if expected.is_some_and(|expected| expected != note.number) {
            tracing::warn!(
                event = "DISTRIBUTOR_LOST",
                slot = self.slot,
                "notes of an engine were lost: all its entries are copied"
            );
            self.hub.copy_from(self.slot);
        }
        self.writer = Some((note.session, note.number));
        self.hub.tell(Kind::Entries, self.desk.slot, note.session, &Arc::from(note.body));
    }

    /// Copies a page; `false`: that was all.
    async fn copy(&self, conn: &mut Conn, copying: &mut Copying, session: Session) -> Result<bool, String> {
        let Some(page) = copying.scan.next(conn, &self.hub.names).await? else { return Ok(false) };
        let mut body = Vec::with_capacity(COPY_BYTES);
        let send = |body: &mut Vec<u8>| {
            let letter = Letter {
                kind: Kind::Entries,
                from: self.desk.slot,
                session,
                body: Arc::from(std::mem::take(body)),
            };
            copying.job.to.push(letter);
        };
        for (_, value, left) in &page {
            if let Some((away, frame)) = read_value(value, *left) {
                add(&mut body, away, frame);
            }
            if body.len() >= COPY_BYTES {
                send(&mut body);
            }
        }
        if !body.is_empty() {
            send(&mut body);
        }
        Ok(true)
    }
}
