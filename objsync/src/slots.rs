//! Who has which slot of a group, and when a slot may be given to another engine.

use alloc::collections::BTreeMap;

use forebay_core::table::EngineSlot;

/// The slots of a group, as the one who gives them keeps them.
///
/// An engine that is to leave is [taken out](Slots::take_out) of [`Slots::members`]; all others are told who is left, and say
/// [`crate::Event::Cleared`]. Only when each of them has said so the slot is free again: else somebody would still take what
/// the former holder had open, or count, for what the next one has.
#[derive(Clone, Debug)]
pub struct Slots {
    /// How many there are, at most 64.
    count: u8,
    places: BTreeMap<u8, Place>,
}

/// A slot that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This engine has it.
    Held(u64),
    /// Nobody has it, and these members, one bit a slot, have not said that they know.
    Cleared { awaited: u64 },
}

impl Slots {
    /// So many slots, at most 64, all of them free.
    pub fn new(count: u8) -> Self {
        Self { count: count.min(64), places: BTreeMap::new() }
    }

    /// The slot of an engine, which has a name that nobody else ever has; it gets the lowest free one if it has none. `None`:
    /// there is none, or none yet.
    //= SYNC-SLOT-02
    pub fn give(&mut self, engine: u64) -> Option<EngineSlot> {
        let has = self.places.iter().find(|(_, place)| **place == Place::Held(engine)).map(|(slot, _)| *slot);
        let slot = has.or_else(|| (0..self.count).find(|slot| !self.places.contains_key(slot)))?;
        self.places.insert(slot, Place::Held(engine));
        EngineSlot::new(slot)
    }

    /// An engine is no member any more. Returns the slot that it had.
    pub fn take_out(&mut self, engine: u64) -> Option<EngineSlot> {
        let (slot, _) = self.places.iter().find(|(_, place)| **place == Place::Held(engine))?;
        let slot = *slot;
        self.places.remove(&slot);
        let awaited = self.members();
        self.places.insert(slot, Place::Cleared { awaited });
        self.let_go(slot);
        EngineSlot::new(slot)
    }

    /// The member in slot `by` holds nothing open for who had `slot`.
    //= SYNC-SLOT-02
    pub fn confirmed(&mut self, by: EngineSlot, slot: EngineSlot) {
        if let Some(Place::Cleared { awaited }) = self.places.get_mut(&slot.get()) {
            *awaited &= !(1 << by.get());
        }
        self.free();
    }

    /// All engines that have a slot, one bit each.
    pub fn members(&self) -> u64 {
        let held = self.places.iter().filter(|(_, place)| matches!(place, Place::Held(_)));
        held.fold(0, |mask, (slot, _)| mask | 1 << slot)
    }

    /// Slots that nobody has and that are not free yet, with the members that have not confirmed it.
    pub fn awaited(&self) -> impl Iterator<Item = (EngineSlot, u64)> {
        self.places.iter().filter_map(|(slot, place)| match place {
            Place::Cleared { awaited } => Some((EngineSlot::new(*slot)?, *awaited)),
            Place::Held(_) => None,
        })
    }

    /// Nobody waits for the holder of a slot that is a member no longer; who is one again starts with nothing open.
    fn let_go(&mut self, gone: u8) {
        for place in self.places.values_mut() {
            if let Place::Cleared { awaited } = place {
                *awaited &= !(1 << gone);
            }
        }
        self.free();
    }

    fn free(&mut self) {
        self.places.retain(|_, place| *place != Place::Cleared { awaited: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u8) -> EngineSlot {
        EngineSlot::new(n).unwrap()
    }

    //= test SYNC-SLOT-02
    #[test]
    fn a_slot_is_given_again_when_all_members_have_confirmed_that_it_is_cleared() {
        let mut slots = Slots::new(3);
        assert_eq!(
            [7, 8, 9, 10].map(|engine| slots.give(engine).map(EngineSlot::get)),
            [Some(0), Some(1), Some(2), None]
        );
        assert_eq!((slots.give(8), slots.members()), (Some(slot(1)), 0b111));
        assert_eq!((slots.take_out(8), slots.take_out(8), slots.members()), (Some(slot(1)), None, 0b101));
        assert_eq!(
            (slots.give(10), slots.awaited().collect::<alloc::vec::Vec<_>>()),
            (None, [(slot(1), 0b101)].into())
        );
        slots.confirmed(slot(0), slot(1));
        assert_eq!(slots.give(10), None, "one of them has not said so");
        slots.confirmed(slot(2), slot(1));
        assert_eq!((slots.give(10), slots.members()), (Some(slot(1)), 0b111));
    }

    //= test SYNC-SLOT-02
    #[test]
    fn who_is_no_member_any_more_is_not_waited_for() {
        let mut slots = Slots::new(3);
        assert!([7, 8, 9].map(|engine| slots.give(engine)).iter().all(Option::is_some));
        slots.take_out(8);
        slots.confirmed(slot(0), slot(1));
        // The one that did not answer is taken out as well: its own slot waits for the one that is left.
        slots.take_out(9);
        assert_eq!((slots.give(10), slots.give(11)), (Some(slot(1)), None));
        slots.confirmed(slot(0), slot(2));
        assert_eq!(slots.give(11), Some(slot(2)), "who came since has nothing of it");
    }
}
