//! What goes wrong, when it begins and when it is over.

use forebay_objsync::Input;

use super::{Violation, What, World, note_open};
use crate::check;
use crate::given::Left;
use crate::ledger::Place;
use crate::net::pair;
use crate::plan::{Fault, SECOND};

impl World {
    pub(super) fn begin(&mut self, n: usize) {
        let fault = self.plan.faults[n].fault.clone();
        self.say(|| format!("begins: {fault:?}"));
        match fault {
            Fault::Partition(some) => self.cut(some, true),
            Fault::OneWay(a, b) => self.block(a, b, true),
            Fault::Slow(a, b, by) => self.net.slow(a, b, by),
            Fault::Pause(a) => *self.paused.entry(a).or_default() += 1,
            Fault::Crash(a, keeps) => self.crash(a, keeps),
            Fault::Loss(..) => self.lose(n),
            Fault::Jump(a, by) => *self.walls.entry(a).or_default() += by,
            Fault::Replace(a) => self.replace(a),
        }
    }

    /// An engine is a member no longer, and ends. Its slot is given to another one when nobody knows of it any more.
    fn replace(&mut self, a: u8) {
        let Some(name) = self.names.remove(&a) else { return };
        self.slots.take_out(name);
        self.crash(a, false);
        // What an earlier process left on disk is gone with the machine.
        if let Some(left) = self.down.get_mut(&a).and_then(|(_, snapshot)| snapshot.take()) {
            self.ledger.died(left.boot, left.at);
        }
        self.tell_members();
        // No engine had a name as high as that.
        self.later(self.at, What::Give(1_000 + self.order));
    }

    /// Somebody tells every engine who is a member; it takes up to five seconds.
    fn tell_members(&mut self) {
        let all: Vec<(u8, u64)> = self.nodes.values().map(|n| (n.slot.get(), n.boot)).collect();
        for (node, boot) in all {
            let at = self.at + self.more.below(5 * SECOND);
            self.later(at, What::Members { node, boot });
        }
    }

    pub(super) fn give(&mut self, name: u64) -> Result<(), Violation> {
        let Some(slot) = self.slots.give(name) else {
            self.later(self.at + SECOND / 2, What::Give(name));
            return Ok(());
        };
        check::given(self, slot)?;
        let slot = slot.get();
        self.say(|| format!("slot {slot} is given to another engine"));
        self.names.insert(slot, name);
        self.back(slot);
        self.tell_members();
        Ok(())
    }

    /// There is one reason less for which an engine does not run.
    fn back(&mut self, a: u8) {
        let Some((reasons, _)) = self.down.get_mut(&a) else { return };
        *reasons -= 1;
        if *reasons == 0 {
            let snapshot = self.down.remove(&a).and_then(|(_, snapshot)| snapshot);
            self.start(a, snapshot.as_ref());
        }
    }

    pub(super) fn finish(&mut self, n: usize) {
        let fault = self.plan.faults[n].fault.clone();
        self.say(|| format!("is over: {fault:?}"));
        match fault {
            Fault::Partition(some) => self.cut(some, false),
            Fault::OneWay(a, b) => self.block(a, b, false),
            Fault::Slow(a, b, _) => self.net.slow(a, b, 0),
            Fault::Pause(a) => {
                let reasons = self.paused.entry(a).or_default();
                *reasons -= 1;
                if *reasons == 0 {
                    if let Some(boot) = self.nodes.get(&a).map(|n| n.boot) {
                        self.woken.insert(a, self.at);
                        self.later(self.at, What::Wake { node: a, boot });
                    }
                    for what in self.deferred.remove(&a).unwrap_or_default() {
                        self.later(self.at, what);
                    }
                }
            }
            Fault::Crash(a, _) => self.back(a),
            Fault::Loss(..) | Fault::Jump(..) | Fault::Replace(_) => {}
        }
    }

    fn cut(&mut self, some: u64, on: bool) {
        for a in 0..self.plan.processes() {
            for b in 0..self.plan.processes() {
                if (some >> a & 1) != (some >> b & 1) {
                    self.block(a, b, on);
                }
            }
        }
    }

    fn block(&mut self, from: u8, to: u8, on: bool) {
        self.net.block(from, to, on);
        if on {
            return;
        }
        for bytes in self.net.freed(from, to) {
            self.send(from, to, bytes);
        }
    }

    /// A process that stops on purpose says so, and what it sent arrives before its connections end.
    fn leave(&mut self, a: u8) {
        self.handle(a, Input::Leave);
        let last = |what: &What| matches!(what, What::Deliver { from, .. } if *from == a);
        let due: Vec<_> = self.events.extract_if(.., |_, what| last(what)).collect();
        for (_, what) in due {
            let What::Deliver { to, .. } = &what else { continue };
            let hears = self.is_awake(*to) && self.net.hears(a, *to);
            if hears {
                // Nothing that comes can break a promise in that moment.
                let _ = self.step(what);
            }
        }
    }

    fn crash(&mut self, a: u8, keeps: bool) {
        if keeps && self.is_awake(a) {
            self.leave(a);
        }
        let snapshot = self.nodes.get(&a).filter(|_| keeps).map(|node| node.snapshot(self.at));
        let down = self.down.entry(a).or_default();
        down.0 += 1;
        let Some(node) = self.nodes.remove(&a) else { return };
        down.1 = snapshot;
        let open: Vec<Place> = node.open.keys().copied().collect();
        for place in open {
            note_open(&mut self.ledger, &node, place, self.at);
        }
        if !keeps {
            self.ledger.died(node.boot, self.at);
        }
        if self.plan.lost {
            self.left = Left::of(self);
        }
        self.deferred.remove(&a);
        for b in 0..self.plan.processes() {
            if self.net.pipes.remove(&pair(a, b)).is_some() {
                self.ended(a, b);
            }
        }
    }

    pub(super) fn lose(&mut self, n: usize) {
        let Fault::Loss(a, b) = self.plan.faults[n].fault else { return };
        if self.at >= self.plan.faults[n].until {
            return;
        }
        if self.net.pipes.remove(&pair(a, b)).is_some() {
            self.say(|| format!("the connection of {a} and {b} is lost"));
            self.ended(a, b);
            self.ended(b, a);
        }
        let next = self.at + self.rng.between(SECOND / 10, 8 * SECOND);
        self.later(next, What::Lose(n));
    }
}
