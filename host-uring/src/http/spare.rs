//! Things that are needed again and again, while nobody needs them.

use std::cell::{Cell, RefCell};

use super::limits::{SPARE_KEPT, SPARE_RELEASED_MAX};

/// Things kept for reuse, the youngest in front: as many as were in use at once a moment ago, and not those that a crowd
/// needed long ago.
pub struct Spare<T> {
    idle: RefCell<Vec<T>>,
    /// As few as lay here at any moment since the last [`Spare::release`]: so many were not needed.
    least: Cell<usize>,
}

impl<T> Spare<T> {
    /// Nothing yet; the list's own memory is there for `room` of them.
    pub fn new(room: usize) -> Self {
        Spare { idle: RefCell::new(Vec::with_capacity(room)), least: Cell::new(0) }
    }

    /// The one that was used last, as the processor may still know it.
    pub fn take(&self) -> Option<T> {
        let mut idle = self.idle.borrow_mut();
        let taken = idle.pop();
        self.least.set(self.least.get().min(idle.len()));
        taken
    }

    /// Takes one back.
    pub fn give(&self, one: T) {
        self.idle.borrow_mut().push(one);
    }

    /// How many lie here.
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Says whether none lies here.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// Frees what was not needed since the last call, a part at a time, but for the few that are always kept; gives how
    /// many that were.
    //= SE-IDLE-02
    pub fn release(&self) -> usize {
        let mut idle = self.idle.borrow_mut();
        let count = self.least.get().min(idle.len().saturating_sub(SPARE_KEPT)).min(SPARE_RELEASED_MAX);
        if count > 0 {
            // Those that were used long ago lie at the bottom.
            idle.drain(..count);
            let room = SPARE_KEPT.max(2 * idle.len());
            idle.shrink_to(room);
        }
        self.least.set(idle.len());
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SE-IDLE-02
    #[test]
    fn what_a_crowd_needed_is_freed_when_nobody_needs_it_and_the_usual_need_is_not() {
        let spare = Spare::new(4);
        let crowd = |count: u32| {
            let taken: Vec<u32> = (0..count).map(|n| spare.take().unwrap_or(n)).collect();
            taken.into_iter().for_each(|one| spare.give(one));
        };
        crowd(3000);
        assert_eq!(spare.release(), 0, "all were needed a moment ago");
        crowd(400);
        assert_eq!(spare.release(), SPARE_RELEASED_MAX, "a part at a time");
        crowd(400);
        assert_eq!(spare.release(), SPARE_RELEASED_MAX);
        crowd(400);
        assert_eq!(spare.release(), 3000 - 400 - 2 * SPARE_RELEASED_MAX, "all but the usual need");
        for _ in 0..10 {
            crowd(400);
            assert_eq!((spare.release(), spare.len()), (0, 400));
        }
        assert_eq!((spare.release(), spare.len()), (400 - SPARE_KEPT, SPARE_KEPT), "and a few in any case");
        assert!(spare.idle.borrow().capacity() <= 2 * SPARE_KEPT);
    }
}
