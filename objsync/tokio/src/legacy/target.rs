//! The distributor writes to one engine's inbox.

use std::sync::Arc;
use std::time::Duration;

use super::conn::Conn;
use super::limits::{INBOX_FULL, INBOX_NOTES, REDIAL_MAX_MS, REDIAL_MS};
use super::names::Note;
use super::relay::{Desk, Hub};
use super::resp::Reply;

/// Letters that are written in one go.
const LETTERS: usize = 64;

/// How long a full inbox is waited for before it is looked at again.
const FULL: Duration = Duration::from_millis(10);

/// How often a full inbox is looked at before it is written to all the same: its engine then reads all anew.
const FULL_LOOKS: u32 = 500;

/// Writes for as long as the distributor runs.
pub(super) async fn run(hub: Arc<Hub>, slot: u8) {
    let Some(desk) = hub.desks.get(&slot).cloned() else { return };
    let mut redial_ms = REDIAL_MS;
    loop {
        // Whatever was under way when the connection was lost is not known to be there.
        if let Ok(mut conn) = Conn::open(&desk.place).await {
            redial_ms = REDIAL_MS;
            desk.clear();
            hub.copy_to(slot);
            // The reading side of the same Redis says why it ended.
            let _ = serve(&hub, &desk, &mut conn).await;
        }
        tokio::time::sleep(Duration::from_millis(redial_ms)).await;
        redial_ms = (redial_ms * 2).min(REDIAL_MAX_MS);
    }
}

async fn serve(hub: &Hub, desk: &Desk, conn: &mut Conn) -> Result<(), String> {
    let link = drawn();
    let (mut number, mut held) = (0, 0);
    loop {
        let (letters, lost) = desk.take(LETTERS);
        if lost {
            tracing::warn!(
                event = "DISTRIBUTOR_LOST",
                slot = desk.slot.get(),
                "more waits for an engine than there is room for: it is told all anew"
            );
            hub.copy_to(desk.slot.get());
        }
        if letters.is_empty() {
            desk.more.notified().await;
            continue;
        }
        for _ in 0..FULL_LOOKS {
            if held < INBOX_FULL {
                break;
            }
            tokio::time::sleep(FULL).await;
            held = conn.ask(&[b"XLEN", &hub.names.inbox]).await?.number().unwrap_or(0);
        }
        for letter in letters {
            number += 1;
            let (kind, from, session) = (letter.kind, letter.from, letter.session);
            let note = Note { kind, from, session, link, number, body: &letter.body };
            conn.say(&[b"XADD", &hub.names.inbox, b"MAXLEN", b"~", INBOX_NOTES, b"*", b"m", &note.bytes()]);
        }
        conn.say(&[b"XLEN", &hub.names.inbox]);
        held = conn.replies().await?.last().and_then(Reply::number).unwrap_or(0);
    }
}

/// A number that no connection before had, nor has another distributor.
fn drawn() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
