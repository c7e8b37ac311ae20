//! What drives a mirror: its tables and its clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::table::{EngineSlot, KeyBytes, TableId};
use forebay_core::units::Now;
use forebay_objsync::Event;
use forebay_objsync_tokio::{Catalogue, Host, Table};

use super::tables::{Count, Tables};
use crate::aside::Budget;

/// How far into its life a mirror is when it begins, in microseconds: entries have ages.
const BEGIN_US: u64 = 1_000_000;

/// What is known of a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Entries.
    pub entries: u64,
    /// Tables and servers.
    pub count: Count,
    /// It has to begin anew.
    pub is_worn: bool,
}

/// Tables that a mirror had, and since when they count time: another one goes on with them.
pub struct Had {
    tables: Tables,
    began: Instant,
}

/// Tables and clock.
pub struct Here {
    tables: Tables,
    began: Instant,
    budget: Arc<Budget>,
    holds: Arc<Mutex<Holds>>,
}

impl Here {
    /// Of nothing yet, or of what another one had.
    ///
    /// # Errors
    /// Those of [`Tables::new`].
    pub fn new(
        secret: [u8; 16],
        me: EngineSlot,
        budget: Arc<Budget>,
        had: Option<Had>,
    ) -> Result<(Self, Arc<Mutex<Holds>>), String> {
        let holds = Arc::<Mutex<Holds>>::default();
        let Had { tables, began } = match had {
            Some(had) => had,
            None => Had { tables: Tables::new(secret, me, Now(BEGIN_US))?, began: Instant::now() },
        };
        Ok((Here { tables, began, budget, holds: Arc::clone(&holds) }, holds))
    }

    /// What is held, without the names that nobody uses.
    ///
    /// # Errors
    /// Those of [`Tables::new`].
    pub fn had(&self) -> Result<Had, String> {
        Ok(Had { tables: self.tables.renewed(self.clock())?, began: self.began })
    }

    /// The clock.
    pub fn clock(&self) -> Now {
        Now(BEGIN_US.saturating_add(self.elapsed_us()))
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// These engines are there, one bit a slot; makes known what is held.
    pub fn present(&mut self, slots: u64) {
        let now = self.clock();
        self.tables.present(slots, now);
        let (entries, count) = (self.tables.entries(), self.tables.count());
        let holds = Holds { entries, count, is_worn: self.tables.is_worn() };
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) = holds;
    }
}

impl Host for Here {
    type Tables = Tables;

    fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn now(&self) -> Now {
        self.clock()
    }

    fn cpu_us(&self) -> u64 {
        // Nothing waits within a step, so its time is what it takes of a processor, or more.
        self.elapsed_us()
    }

    //= SYNC-MIRROR-06
    fn pause(&self) -> Duration {
        self.budget.pause(Instant::now())
    }

    fn changes(&mut self, _: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {
        let now = self.clock();
        self.tables.sweep(now);
    }

    fn kept(&self) -> Vec<Table> {
        Vec::new()
    }

    fn told(&mut self, by: EngineSlot, catalogue: Catalogue) {
        let now = self.clock();
        self.tables.told(by, &catalogue, now);
    }

    fn event(&mut self, event: Event) {
        if let Event::Ahead(slot, by_ms) = event {
            tracing::warn!(
                event = "OBJSYNC_CLOCK_AHEAD",
                slot = slot.get(),
                by_ms,
                "an engine's clock is more than an hour ahead of its group's time: its tables are not mirrored until it agrees"
            );
        }
    }
}
