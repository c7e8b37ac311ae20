//! A new configuration on a worker that serves.
//!
//! Requests under way keep the generation that they began with; what they share with the new one (kept connections,
//! queues, counts) is found under the same numbers by both. Servers that are in the new one no more drain: their idle
//! connections close now, what is under way may end within the pool's grace for disabled servers and is cut then.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::generation::Seat;
use super::slots::Slot;
use super::{Generation, Worker};
use crate::control::Running;
use crate::limits::RETIRED_SERVERS_MAX;
use crate::rt::{NEVER, Now, Rt};

/// A server that is in the current configuration no more.
pub(super) struct Departed {
    slot: Rc<Slot>,
    /// When what is under way there is cut.
    cut_at: Now,
}

impl<R: Rt> Worker<R> {
    /// Takes a configuration for all requests that begin from now on. One that it has already, or an older one, changes
    /// nothing.
    //= RELOAD-ROUTE-01
    pub fn configure(&self, running: &Running) {
        let before = self.current();
        if running.number <= before.number {
            return;
        }
        let now = self.rt.now();
        let seat = Seat { worker: self.index, workers: self.workers, slots: &self.slots, now };
        let next = Rc::new(Generation::new(running, Some(&before), seat));
        for route in &next.routes {
            route.read_states(&next.tree, now);
        }
        self.see_off(&before, &next, now);
        before.hand_over(&next);
        let mut retired = self.retired.borrow_mut();
        retired.retain(|old| old.strong_count() > 0);
        for old in retired.iter().filter_map(std::rc::Weak::upgrade) {
            old.hand_over(&next);
        }
        retired.push(Rc::downgrade(&before));
        drop(retired);
        let open = || self.doors.borrow().iter().filter(|door| door.is_open()).count();
        let were_open = open();
        for door in self.doors.borrow().iter() {
            door.follow(&before.tree, &next.tree, now);
        }
        let some_closed = open() < were_open;
        self.doors.borrow_mut().retain(|door| Rc::strong_count(door) > 1);
        self.metrics.generation.store(next.number, Ordering::Release);
        self.current.replace(next);
        drop(before);
        self.slots.tidy();
        self.tidy_generations();
        self.parked.end_where(|client| client.door.is_left());
        // Who has many requests on one connection is told that no more are taken.
        if some_closed {
            self.parked.nudge();
        }
    }

    /// Lets those go that have sent no request since their address was taken away: none is on its way any more.
    //= RELOAD-LISTEN-01
    pub(super) fn follow_doors(&self, now: Now) {
        let over = self.doors.borrow().iter().filter(|door| door.lets_go(now)).count();
        if over > 0 {
            self.parked.end_where(|client| client.door.is_left());
        }
    }

    /// Lets the servers go that are in the next configuration no more, and takes back those that were on their way.
    //= RELOAD-REMOVE-01
    fn see_off(&self, before: &Generation, next: &Generation, now: Now) {
        let servers = |of: &Generation| {
            let all = of.routes.iter().flat_map(|route| route.servers.iter().map(|server| server.slot));
            all.collect::<std::collections::BTreeSet<usize>>()
        };
        let (was, is) = (servers(before), servers(next));
        let mut departed = self.departed.borrow_mut();
        departed.retain(|gone| !is.contains(&gone.slot.number()));
        for slot in &is {
            self.upstreams.welcome(*slot);
        }
        for route in &before.routes {
            let grace = route.pool.borrow().config().disable.grace.micros();
            let cut_at = grace.map_or(NEVER, |grace| Now(now.0.saturating_add(grace.0)));
            for server in route.servers.iter().filter(|server| !is.contains(&server.slot)) {
                if !departed.iter().any(|gone| gone.slot.number() == server.slot) {
                    self.upstreams.dismiss(server.slot);
                    departed.push(Departed { slot: server.held.clone(), cut_at });
                }
            }
        }
        debug_assert!(
            was.iter().all(|slot| is.contains(slot) || departed.iter().any(|d| d.slot.number() == *slot))
        );
    }

    /// Cuts what is left at servers that were taken out, once their grace is over.
    pub(super) fn follow_departed(&self, now: Now) {
        let mut departed = self.departed.borrow_mut();
        departed.retain(|gone| {
            let is_over = gone.cut_at <= now;
            if is_over {
                self.underway.cut(gone.slot.number());
            }
            // Nobody but the list itself has it: nothing is left there.
            !is_over && Rc::strong_count(&gone.slot) > 1
        });
    }

    /// Forgets configurations that no request works by any more, and cuts the requests of the oldest if those that are
    /// left hold too much.
    //= RELOAD-OLD-01
    pub(super) fn tidy_generations(&self) {
        let mut retired = self.retired.borrow_mut();
        retired.retain(|old| old.strong_count() > 0);
        let mut held = 0;
        for old in retired.iter().rev().filter_map(std::rc::Weak::upgrade) {
            held += old.tree.server_slots.max(1);
            if held > RETIRED_SERVERS_MAX {
                self.underway.cut_generation(old.number);
            }
        }
        self.metrics.generations.store(retired.len() as u64 + 1, Ordering::Relaxed);
    }
}
