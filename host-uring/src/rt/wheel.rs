//! Deadlines of one worker: a hashed timing wheel with coarse ticks.
//!
//! Arming and disarming are a few writes into a slab, without allocation once the slab has grown;
//! a deadline beyond one turn of the wheel stays in its slot and is looked at once per turn.

use super::clock::Now;

/// Length of one tick in microseconds (2^14, about 16 ms): time-outs here are tens of milliseconds
/// and more, and a tick costs a wake-up of the worker.
pub const TICK: u64 = 1 << TICK_BITS;
const TICK_BITS: u32 = 14;
/// One turn is about 17 s, so the usual time-outs (30 to 60 s) are looked at two to four times.
const SLOTS: usize = 1024;
const NIL: u32 = u32::MAX;

/// Names one armed deadline; stale ids are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

impl TimerId {
    /// Names no deadline.
    pub const NONE: TimerId = TimerId { index: NIL, generation: 0 };
}

struct Entry<T> {
    what: Option<T>,
    tick: u64,
    previous: u32,
    next: u32,
    generation: u32,
}

/// A set of deadlines, each carrying a `T` that is handed out when it fires.
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    heads: Box<[u32; SLOTS]>,
    occupied: [u64; SLOTS / 64],
    /// Every tick up to and including this one has been processed.
    current: u64,
    armed: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel whose time starts at `now`.
    pub fn new(now: Now) -> Self {
        Wheel {
            entries: Vec::new(),
            free: NIL,
            heads: Box::new([NIL; SLOTS]),
            occupied: [0; SLOTS / 64],
            current: now.0 >> TICK_BITS,
            armed: 0,
        }
    }

    /// How many deadlines are armed.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Says whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms a deadline: `what` is handed out by the first [`Wheel::advance`] at or after `at`.
    pub fn arm(&mut self, at: Now, what: T) -> TimerId {
        let tick = (at.0.saturating_add(TICK - 1) >> TICK_BITS).max(self.current + 1);
        let index = if self.free == NIL {
            self.entries.push(Entry { what: None, tick: 0, previous: NIL, next: NIL, generation: 0 });
            (self.entries.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            index
        };
        let slot = tick as usize % SLOTS;
        let head = self.heads[slot];
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.armed += 1;
        let entry = &mut self.entries[index as usize];
        entry.what = Some(what);
        entry.tick = tick;
        entry.previous = NIL;
        entry.next = head;
        TimerId { index, generation: entry.generation }
    }

    /// Takes a deadline back; `None` if it has fired already.
    pub fn disarm(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(id.index as usize)?;
        if entry.generation != id.generation || entry.what.is_none() {
            return None;
        }
        self.unlink(id.index)
    }

    /// Fires all deadlines up to `now` into `fired`, in no particular order.
    //= SE-TIMEOUT-03
    pub fn advance(&mut self, now: Now, fired: &mut Vec<T>) {
        let target = now.0 >> TICK_BITS;
        if target <= self.current {
            return;
        }
        let slots = (target - self.current).min(SLOTS as u64);
        let first = self.current + 1;
        self.current = target;
        if self.armed == 0 {
            return;
        }
        for tick in first..first + slots {
            let mut index = self.heads[tick as usize % SLOTS];
            while index != NIL {
                let entry = &self.entries[index as usize];
                let next = entry.next;
                if entry.tick <= target
                    && let Some(what) = self.unlink(index)
                {
                    fired.push(what);
                }
                index = next;
            }
        }
    }

    /// The next moment at which [`Wheel::advance`] may have something to do.
    pub fn next(&self) -> Option<Now> {
        if self.armed == 0 {
            return None;
        }
        let first = (self.current + 1) as usize % SLOTS;
        // One turn over the bitmap, the first word twice: once its high bits, at last its low ones.
        for step in 0..=SLOTS / 64 {
            let word = (first / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (first % 64);
            } else if step == SLOTS / 64 {
                bits &= (1 << (first % 64)) - 1;
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                let distance = (slot + SLOTS - first) % SLOTS;
                return Some(Now((self.current + 1 + distance as u64) << TICK_BITS));
            }
        }
        None
    }

    fn unlink(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        let (previous, next, slot) = (entry.previous, entry.next, entry.tick as usize % SLOTS);
        let what = entry.what.take();
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.armed -= 1;
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
        } else {
            self.heads[slot] = next;
            if next == NIL {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        what
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel<u32>, at: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.advance(Now(at), &mut out);
        out.sort_unstable();
        out
    }

    //= test SE-TIMEOUT-03
    #[test]
    fn a_deadline_fires_at_its_time_or_one_tick_later_and_never_before() {
        let mut wheel = Wheel::new(Now(0));
        let mut moment = 7_u64;
        for n in 0..10_000_u32 {
            moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            wheel.arm(Now(moment % 60_000_000), n);
        }
        let mut again = 7_u64;
        let due: Vec<u64> = (0..10_000)
            .map(|_| {
                again = again.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                again % 60_000_000
            })
            .collect();
        let mut seen = 0;
        let mut clock = 0;
        while clock < 61_000_000 {
            clock += TICK;
            for n in fired(&mut wheel, clock) {
                let due = due[n as usize];
                assert!(due <= clock, "fired {n} at {clock}, due {due}");
                assert!(clock < due + 2 * TICK, "fired {n} at {clock}, due {due}");
                seen += 1;
            }
        }
        assert_eq!(seen, 10_000);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_disarmed_deadline_does_not_fire_and_its_id_goes_stale() {
        let mut wheel = Wheel::new(Now(0));
        let id = wheel.arm(Now(50_000), 1);
        wheel.arm(Now(50_000), 2);
        assert_eq!(wheel.disarm(id), Some(1));
        assert_eq!(wheel.disarm(id), None);
        let reused = wheel.arm(Now(50_000), 3);
        assert_eq!(wheel.disarm(id), None);
        assert_eq!(fired(&mut wheel, 200_000), vec![2, 3]);
        assert_eq!(wheel.disarm(reused), None);
    }

    #[test]
    fn a_clock_that_leaps_hours_fires_everything_that_is_due() {
        let mut wheel = Wheel::new(Now(0));
        for n in 0..100 {
            wheel.arm(Now(u64::from(n) * 1_000_000), n);
        }
        assert_eq!(fired(&mut wheel, 3_600_000_000).len(), 100);
    }

    #[test]
    fn the_next_wake_up_is_not_after_the_earliest_deadline() {
        let mut wheel = Wheel::new(Now(0));
        wheel.arm(Now(5_000_000), 1);
        let next = wheel.next().expect("one is armed");
        assert!(next.0 >= 5_000_000 && next.0 <= 5_000_000 + TICK);
        wheel.arm(Now(40_000_000), 2);
        assert!(wheel.next().expect("two are armed") <= next);
    }
}
