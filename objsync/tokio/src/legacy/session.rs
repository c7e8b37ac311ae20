//! One connection of an engine with its Redis: two sockets, one to write, one that waits for notes.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::conn::{Conn, Place};
use super::limits::{BEAT, BLOCK_MS, PATIENCE, READ_NOTES, SILENT_MS};
use super::names::{Names, Sign};
use super::resp::Reply;

/// Commands that go out together.
pub(super) struct Batch {
    /// As they are sent.
    pub commands: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// The first one asks who has written there.
    pub asks: bool,
}

/// What a session tells the engine.
pub(super) enum Told {
    /// What stood in Redis before: when its engine was here last (milliseconds since 1970), then page by page keys, values and
    /// the life that these have left (milliseconds).
    Seen(Option<u64>),
    /// See [`Told::Seen`].
    Page(Vec<(Vec<u8>, Vec<u8>, i64)>),
    /// The connection stands: which Redis it is, and who takes what is to be written.
    Up { number: u32, run: String, write: mpsc::Sender<Batch> },
    /// Notes, and where they stood.
    Notes { number: u32, notes: Vec<(Vec<u8>, Vec<u8>)> },
}

/// What a session tells the engine beside that: it does not wait behind notes.
pub(super) enum Done {
    /// A batch is written.
    Written { number: u32 },
    /// The session is over.
    Down { number: u32, why: String },
}

/// Who is told.
pub(super) type Tell = (mpsc::Sender<Told>, mpsc::Sender<Done>);

/// What is done with the entries that stand in a Redis.
pub(super) enum Before {
    /// They are told first.
    Load,
    /// They stay if it is this start of Redis, and are removed otherwise.
    Keep(Option<String>),
}

/// Runs until the connection is lost. `me`: what is said there of this engine meanwhile.
pub(super) async fn run(place: Place, names: Names, me: Sign, before: Before, tell: Tell) {
    let number = me.session.number;
    let why = match serve(&place, &names, me, before, &tell).await {
        Ok(()) => "the engine stops".to_owned(),
        Err(why) => why,
    };
    // Who would hear it may have gone.
    let _ = tell.1.send(Done::Down { number, why }).await;
}

async fn serve(
    place: &Place,
    names: &Names,
    me: Sign,
    before: Before,
    (tell, done): &Tell,
) -> Result<(), String> {
    let number = me.session.number;
    let gone = |_| "the engine stops".to_owned();
    let mut writer = Conn::open(place).await?;
    let reader = Conn::open(place).await?;
    let run = run_id(&mut writer).await?;
    let mut sign = Alive { me, names, next: Instant::now() };
    sign.says(&mut writer).await?;
    if let Before::Load = before {
        let seen = writer.ask(&[b"GET", &names.seen]).await?;
        let seen = seen.bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        tell.send(Told::Seen(seen)).await.map_err(gone)?;
        let mut scan = Scan::default();
        while let Some(page) = scan.next(&mut writer, names).await? {
            tell.send(Told::Page(page)).await.map_err(gone)?;
            sign.says(&mut writer).await?;
        }
    }
    //= LEGACY-REFILL-01
    if matches!(before, Before::Keep(filled) if filled.as_ref() != Some(&run)) {
        let mut scan = Scan::default();
        while let Some(keys) = scan.keys(&mut writer, names).await? {
            for key in &keys {
                writer.say(&[b"UNLINK", key]);
            }
            writer.replies().await?;
            sign.says(&mut writer).await?;
        }
    }
    // Whatever stands there was for a session before; all of it is told anew.
    writer.ask(&[b"DEL", &names.inbox]).await?;
    let (write, batches) = mpsc::channel(1);
    tell.send(Told::Up { number, run, write }).await.map_err(gone)?;
    tokio::try_join!(write_all(writer, batches, me, done), read_all(reader, names, number, tell))?;
    Ok(())
}

/// Says that the engine lives while it reads and removes what stood there, which may take longer than that is believed.
struct Alive<'a> {
    me: Sign,
    names: &'a Names,
    next: Instant,
}

impl Alive<'_> {
    /// Says so, if it is time again.
    //= LEGACY-ALIVE-01
    async fn says(&mut self, conn: &mut Conn) -> Result<(), String> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + BEAT;
        is_mine(&conn.ask(&[b"GET", &self.names.session]).await?, self.me)?;
        conn.ask(&[b"SET", &self.names.session, &self.me.bytes(), b"PX", SILENT_MS]).await?;
        Ok(())
    }
}

/// No other engine writes there.
//= LEGACY-WIRING-01
fn is_mine(who: &Reply, me: Sign) -> Result<(), String> {
    match who.bytes().and_then(Sign::of).filter(|sign| sign.slot != me.slot) {
        Some(other) => Err(format!(
            "the engine with slot {} writes to it; give each engine a Redis of its own (redis_address)",
            other.slot.get()
        )),
        None => Ok(()),
    }
}

/// What tells one start of Redis from another.
async fn run_id(conn: &mut Conn) -> Result<String, String> {
    let info = conn.ask(&[b"INFO", b"server"]).await?;
    let text = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
    let id = text.lines().find_map(|line| line.strip_prefix("run_id:"));
    id.map(|id| id.trim().to_owned()).ok_or_else(|| "it does not say who it is (INFO server)".to_owned())
}

async fn write_all(
    mut conn: Conn,
    mut batches: mpsc::Receiver<Batch>,
    me: Sign,
    done: &mpsc::Sender<Done>,
) -> Result<(), String> {
    let number = me.session.number;
    while let Some(Batch { commands, count, asks }) = batches.recv().await {
        conn.say_written(&commands, count);
        let replies = conn.replies().await?;
        if let Some(who) = replies.first().filter(|_| asks) {
            is_mine(who, me)?;
        }
        done.send(Done::Written { number }).await.map_err(|_| String::new())?;
    }
    Err("the engine begins anew".to_owned())
}

async fn read_all(
    mut conn: Conn,
    names: &Names,
    number: u32,
    tell: &mpsc::Sender<Told>,
) -> Result<(), String> {
    let mut after = b"0-0".to_vec();
    loop {
        let notes = read_notes(&mut conn, &names.inbox, &mut after, BLOCK_MS).await?;
        if !notes.is_empty() {
            tell.send(Told::Notes { number, notes }).await.map_err(|_| String::new())?;
        }
    }
}

/// Reads the notes of a stream behind `after`, which becomes the last one's; waits for `block_ms` at most if there is none.
pub(super) async fn read_notes(
    conn: &mut Conn,
    stream: &[u8],
    after: &mut Vec<u8>,
    block_ms: &[u8],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
    conn.say(&[b"XREAD", b"COUNT", READ_NOTES, b"BLOCK", block_ms, b"STREAMS", stream, after]);
    let replies = conn.replies_within(PATIENCE + Duration::from_millis(500)).await?;
    let streams = replies.first().map(Reply::list).unwrap_or_default();
    let found = streams.first().and_then(|one| one.list().get(1)).map(Reply::list).unwrap_or_default();
    let note = |one: &Reply| {
        let [id, fields] = one.list() else { return None };
        Some((id.bytes()?.to_vec(), fields.list().get(1)?.bytes()?.to_vec()))
    };
    let notes: Vec<_> = found.iter().filter_map(note).collect();
    if let Some(last) = found.last().and_then(|one| one.list().first()).and_then(Reply::bytes) {
        *after = last.to_vec();
    }
    Ok(notes)
}

/// All entries that stand in a Redis, page by page.
#[derive(Default)]
pub(super) struct Scan {
    /// Where it goes on; nothing: at the beginning.
    cursor: Vec<u8>,
    over: bool,
}

impl Scan {
    /// The next keys of entries. `None`: those were all.
    async fn keys(&mut self, conn: &mut Conn, names: &Names) -> Result<Option<Vec<Vec<u8>>>, String> {
        if self.over {
            return Ok(None);
        }
        let cursor: &[u8] = if self.cursor.is_empty() { b"0" } else { &self.cursor };
        let pattern = [escaped(&names.entries).as_slice(), b"*"].concat();
        let found = conn.ask(&[b"SCAN", cursor, b"MATCH", &pattern, b"COUNT", b"500"]).await?;
        let [next, keys] = found.list() else { return Err("it answers as no Redis does".to_owned()) };
        self.cursor = next.bytes().unwrap_or(b"0").to_vec();
        self.over = self.cursor == b"0";
        Ok(Some(keys.list().iter().filter_map(Reply::bytes).map(<[u8]>::to_vec).collect()))
    }

    /// The next page: keys, values and the life that these have left (milliseconds; negative: no end). `None`: that was all.
    pub async fn next(
        &mut self,
        conn: &mut Conn,
        names: &Names,
    ) -> Result<Option<Vec<(Vec<u8>, Vec<u8>, i64)>>, String> {
        let Some(keys) = self.keys(conn, names).await? else { return Ok(None) };
        for key in &keys {
            conn.say(&[b"GET", key]);
            conn.say(&[b"PTTL", key]);
        }
        let replies = conn.replies().await?;
        let page = keys.iter().zip(replies.chunks_exact(2));
        let page =
            page.filter_map(|(key, of)| Some((key.to_vec(), of[0].bytes()?.to_vec(), of[1].number()?)));
        Ok(Some(page.collect()))
    }
}

/// A name as a pattern that only it fits.
fn escaped(name: &[u8]) -> Vec<u8> {
    name.iter()
        .flat_map(|byte| if b"*?[]\\".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] })
        .collect()
}
