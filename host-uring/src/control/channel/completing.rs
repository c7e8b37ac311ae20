//! Whether the tables are complete: a configuration may bring tables of which the other engines have entries already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::control::State;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is compared with the other engines because a configuration brought it.
pub struct Completing {
    is_complete: Arc<AtomicBool>,
    /// The tables that there were, by what the group calls them.
    known: BTreeSet<u64>,
    comparing: Option<JoinHandle<()>>,
}

impl Completing {
    /// Nothing: a start has compared what there is (SYNC-JOIN-01).
    pub fn new(state: &State) -> Self {
        Completing { is_complete: Arc::new(AtomicBool::new(true)), known: tables(state), comparing: None }
    }

    /// A configuration was loaded.
    //= CHAN-TABLES-01
    pub fn look(&mut self, state: &Arc<State>) {
        let now = tables(state);
        let is_new = !now.is_subset(&self.known);
        self.known = now;
        if !is_new {
            return;
        }
        self.end();
        self.is_complete.store(false, Ordering::Release);
        let (is_complete, state) = (Arc::clone(&self.is_complete), Arc::clone(state));
        self.comparing = Some(tokio::spawn(async move {
            compare(&state).await;
            is_complete.store(true, Ordering::Release);
        }));
    }

    /// All of it has been compared, and what was missing is there.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    fn end(&mut self) {
        if let Some(comparing) = self.comparing.take() {
            comparing.abort();
        }
    }
}

impl Drop for Completing {
    fn drop(&mut self) {
        self.end();
    }
}

fn tables(state: &State) -> BTreeSet<u64> {
    state.running().store.shared_tables().iter().map(|table| table.name).collect()
}

/// Compares with every engine that can be reached as a start does, until all of it is here. How long that may take is the
/// Controller's to say.
async fn compare(state: &State) {
    let Some(sync) = state.sync() else { return };
    if sync.renew().await.is_err() {
        return;
    }
    while let Ok(false) = sync.is_synced().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
