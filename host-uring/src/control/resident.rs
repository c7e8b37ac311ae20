//! Makes the persistence tables' memory resident while the engine serves.
//!
//! Their pages are zero and untouched at start: writing a table of a gigabyte first would hold the first connection up by
//! half a second, and by more where others use the machine.

use std::sync::Arc;
use std::time::Instant;

use super::{ShutdownStage, State, Tables};
use crate::limits::TABLE_TOUCH_BYTES;

/// Starts a thread that touches the tables' pages, least of all threads in the eyes of the kernel, and ends when all are
/// touched or the engine stops.
//= OBS-TABLE-01
pub fn start(tables: Arc<dyn Tables>, state: Arc<State>) {
    let started = std::thread::Builder::new().name("table-pages".to_owned()).spawn(move || {
        let began = Instant::now();
        yield_to_others();
        while tables.touch_more(TABLE_TOUCH_BYTES) {
            if state.shutdown.stage() != ShutdownStage::Running {
                return;
            }
        }
        let bytes = tables.view().bytes_resident;
        let took_ms = began.elapsed().as_millis() as u64;
        if bytes > 0 {
            tracing::info!(
                event = "TABLE_RESIDENT",
                bytes,
                took_ms,
                "the persistence table's memory is resident"
            );
        }
    });
    if let Err(error) = started {
        // Nothing depends on it: pages come when they are first used.
        tracing::warn!(%error, "the thread that touches the persistence table's memory cannot be started");
    }
}

/// Gives this thread the least share of a processor.
fn yield_to_others() {
    // SAFETY: takes and changes no memory. Zero means the calling thread, on Linux; a thread may always lower itself, and
    // where that is forbidden it only runs sooner.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}
