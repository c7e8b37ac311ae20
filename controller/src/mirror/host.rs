//! What drives a mirror: its tables and its clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use forebay_core::table::{EngineSlot, GroupMillis, KeyBytes, TableId};
use forebay_core::units::Now;
use forebay_objsync::Event;
use forebay_objsync_tokio::{Catalogue, Differences, Host, Table};

use super::tables::Tables;

/// How far into its life a mirror is when it begins, in microseconds: entries have ages.
const BEGIN_US: u64 = 1_000_000;

/// What is known of a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Entries.
    pub entries: u64,
    /// Tables.
    pub tables: usize,
    /// Tables that there is no room for.
    pub left_out: usize,
    /// It has to begin anew.
    pub is_worn: bool,
}

/// Tables and clock.
pub struct Here {
    tables: Tables,
    began: Instant,
    holds: Arc<Mutex<Holds>>,
}

impl Here {
    /// Of nothing yet.
    ///
    /// # Errors
    /// Those of [`Tables::new`].
    pub fn new(secret: [u8; 16], me: EngineSlot) -> Result<(Self, Arc<Mutex<Holds>>), String> {
        let holds = Arc::<Mutex<Holds>>::default();
        let tables = Tables::new(secret, me, Now(BEGIN_US))?;
        Ok((Here { tables, began: Instant::now(), holds: Arc::clone(&holds) }, holds))
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
        let (tables, left_out) = self.tables.count();
        let holds =
            Holds { entries: self.tables.entries(), tables, left_out, is_worn: self.tables.is_worn() };
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

    fn changes(&mut self, _: &mut Vec<(TableId, KeyBytes, Option<u64>)>) {
        let now = self.clock();
        self.tables.sweep(now);
    }

    fn wake_me(&mut self) -> bool {
        true
    }

    fn gather(&mut self) -> bool {
        true
    }

    fn group_time(&mut self, _: GroupMillis, _: Now) {}

    fn acknowledged(&mut self, _: u64, _: EngineSlot) {}

    fn connected(&mut self, _: usize) {}

    fn kept(&self) -> Vec<Table> {
        Vec::new()
    }

    fn told(&mut self, by: EngineSlot, catalogue: Catalogue) {
        let now = self.clock();
        self.tables.told(by, &catalogue, now);
    }

    fn differ(&mut self, _: EngineSlot, _: &Differences) {}

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
