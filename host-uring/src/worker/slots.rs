//! Small numbers for servers, which lists by server are indexed with.
//!
//! A server keeps its number over changes of the configuration, so its kept connections and what is under way at it are
//! found under one number by all generations. A number is given again when nobody uses it any more: an engine whose
//! servers come and go for years has lists no longer than its largest configurations together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::config::ServerShared;

/// The numbers of one worker.
#[derive(Default)]
pub struct Slots {
    /// By the server's address in memory, which is its own as long as the slot holds it.
    taken: RefCell<BTreeMap<usize, Weak<Slot>>>,
    free: Rc<RefCell<Vec<usize>>>,
    next: Cell<usize>,
    tenures: Cell<u64>,
}

/// A server's number; given back when dropped.
pub struct Slot {
    number: usize,
    _server: Arc<ServerShared>,
    free: Rc<RefCell<Vec<usize>>>,
}

impl Slot {
    /// The number.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free.borrow_mut().push(self.number);
    }
}

impl Slots {
    /// The number of a server: the one that it has, or a free one.
    pub fn of(&self, server: &Arc<ServerShared>) -> Rc<Slot> {
        let key = Arc::as_ptr(server).addr();
        let mut taken = self.taken.borrow_mut();
        if let Some(slot) = taken.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            self.next.set(self.next.get() + 1);
            self.next.get() - 1
        });
        let slot = Rc::new(Slot { number, _server: server.clone(), free: self.free.clone() });
        taken.insert(key, Rc::downgrade(&slot));
        slot
    }

    /// Forgets servers that nobody uses any more.
    pub fn tidy(&self) {
        self.taken.borrow_mut().retain(|_, slot| slot.strong_count() > 0);
    }

    /// A number that no stay of a server in a pool has had.
    pub fn tenure(&self) -> u64 {
        self.tenures.set(self.tenures.get() + 1);
        self.tenures.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HealthState;

    fn server() -> Arc<ServerShared> {
        Arc::new(ServerShared::new(HealthState::Up))
    }

    #[test]
    fn a_server_keeps_its_number_and_one_that_is_gone_leaves_it_to_another() {
        let (slots, stays, goes) = (Slots::default(), server(), server());
        let (first, second) = (slots.of(&stays), slots.of(&goes));
        assert_eq!((first.number(), second.number()), (0, 1));
        let again = slots.of(&stays);
        drop(first);
        assert_eq!(slots.of(&stays).number(), 0, "somebody uses it");
        drop(again);
        drop(second);
        let third = slots.of(&server());
        slots.tidy();
        assert!(third.number() < 2, "a number is given again");
        for _ in 0..1_000 {
            slots.of(&server());
        }
        slots.tidy();
        assert!(slots.taken.borrow().len() <= 1 && slots.next.get() <= 2, "nothing grows");
    }
}
