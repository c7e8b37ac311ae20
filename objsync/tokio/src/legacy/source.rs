//! The distributor reads one engine's outbox, and all its entries where somebody wants them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::limits::{BEAT, COPY_BYTES, REDIAL_MAX_MS, REDIAL_MS, SILENT};
use super::names::{Kind, Note, Session, Sign, add, read_value};
use super::relay::{Desk, Hub, Job, Letter};
use super::resp::Reply;
use super::session::{Scan, read_notes};

/// How long a read waits for a note, and while a copy is under way.
const WAITS_MS: (&[u8], &[u8]) = (b"200", b"1");

/// A Redis that was just reached may be new to its engine as well: for so long that does not mean that there is none.
const SETTLES: Duration = Duration::from_millis(REDIAL_MAX_MS + 1_000);

/// Reads for as long as the distributor runs.
pub(super) async fn run(hub: Arc<Hub>, slot: u8) {
    let Some(desk) = hub.desks.get(&slot).cloned() else { return };
    let mut said = String::new();
    let mut redial_ms = REDIAL_MS;
    loop {
        let mut source = Source {
            hub: &hub,
            desk: &desk,
            slot,
            writer: None,
            up: false,
            began: Instant::now(),
            fills: false,
            unheard: None,
            copying: None,
        };
        let why = source.serve().await.err().unwrap_or_default();
        if source.up {
            (redial_ms, said) = (REDIAL_MS, String::new());
        }
        desk.set_session(None);
        // Who waits for its entries has not been told them.
        if let Some(copying) = source.copying.take() {
            desk.put_back(copying.job);
        }
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
    began: Instant,
    /// The engine has yet to write all its entries.
    fills: bool,
    /// Since when no engine was found there; nothing: one was, or that was said.
    unheard: Option<Instant>,
    copying: Option<Copying>,
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
        self.began = Instant::now();
        self.look(&mut conn).await?;
        self.up = true;
        self.unheard = Some(Instant::now());
        tracing::info!(event = "DISTRIBUTOR_REDIS_UP", slot = self.slot, redis = %self.desk.place, "an engine's Redis is read");
        // What was written before it was read is in its entries.
        self.hub.copy_from(self.slot);
        let mut beat = Instant::now() + BEAT;
        loop {
            if Instant::now() >= beat {
                beat = Instant::now() + BEAT;
                self.look(&mut conn).await?;
            }
            if self.copying.is_none() && !self.fills {
                self.copying = self.desk.job().map(|job| Copying { job, scan: Scan::default() });
            }
            if let Some(mut under_way) = self.copying.take_if(|_| !self.fills) {
                let to = Arc::clone(&under_way.job.to);
                // In one connection with the notes: an entry is never older than the notes that were read before it.
                let goes_on = match self.desk.session().filter(|_| to.session().is_some()) {
                    Some(session) if to.has_room() => {
                        match self.copy(&mut conn, &mut under_way, session).await {
                            Ok(goes_on) => goes_on,
                            Err(why) => {
                                self.copying = Some(under_way);
                                return Err(why);
                            }
                        }
                    }
                    Some(_) => true,
                    // There is nothing to tell, or nobody to be told.
                    None => false,
                };
                if goes_on {
                    self.copying = Some(under_way);
                } else {
                    under_way.job.told();
                }
            }
            let wait = if self.copying.is_some() && !self.fills { WAITS_MS.1 } else { WAITS_MS.0 };
            for (_, note) in read_notes(&mut conn, &names.outbox, &mut after, wait).await? {
                self.pass_on(&note);
            }
        }
    }

    /// Whether the engine lives, and whether it is another one than before.
    async fn look(&mut self, conn: &mut Conn) -> Result<(), String> {
        let found = conn.ask(&[b"GET", &self.hub.names.session]).await?;
        let sign = found.bytes().and_then(Sign::of);
        //= LEGACY-WIRING-01
        if let Some(other) = sign.filter(|sign| sign.slot != self.desk.slot) {
            return Err(format!(
                "the engine with slot {} writes to it, not the one with slot {}; check --engine, and that each engine has \
                 a Redis of its own",
                other.slot.get(),
                self.slot
            ));
        }
        self.fills = sign.map_or(self.began.elapsed() < SETTLES, |sign| !sign.stands);
        if let Some(copying) = self.copying.as_mut().filter(|_| self.fills) {
            // What comes back need not be where it stood.
            copying.scan = Scan::default();
        }
        let session = sign.filter(|sign| sign.stands).map(|sign| sign.session);
        let before = self.desk.set_session(session);
        if sign.is_some() {
            self.unheard = None;
        } else if self.unheard.is_some_and(|since| since.elapsed() >= SILENT) {
            self.unheard = None;
            tracing::warn!(
                event = "DISTRIBUTOR_ENGINE_DOWN",
                slot = self.slot,
                group = self.hub.group,
                "no engine of this group writes to its Redis; check --group and --engine, and that it runs"
            );
        }
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
        } else if before.is_some() && !self.fills {
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
        let expected = self
            .writer
            .filter(|(session, _)| *session == note.session)
            .map(|(_, number)| number.wrapping_add(1));
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
