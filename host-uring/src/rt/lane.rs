//! What takes as long as many small requests is done one at a time, and everybody else has a turn between two of them.
//!
//! To answer a first message of TLS takes a signature and an exchange of keys, as long as fifty small requests; a connection to
//! a server that is opened, or a few streams that begin, as long as some. Where many have come at once, as in a flood, who
//! waits for an answer to a request would wait for all of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread::LocalKey;

use super::give_way;

/// Those of a worker who wait for the same: as many as it has connections at most.
type Of = LocalKey<RefCell<Lane>>;

thread_local! {
    /// First messages of TLS.
    pub static HANDSHAKES: RefCell<Lane> = const { Lane::new() };
    /// What one connection has many streams do.
    pub static STREAMS: RefCell<Lane> = const { Lane::new() };
}

/// Who has a turn, and who waits for one.
pub struct Lane {
    is_taken: bool,
    waiting: VecDeque<Rc<Place>>,
}

impl Lane {
    const fn new() -> RefCell<Self> {
        RefCell::new(Lane { is_taken: false, waiting: VecDeque::new() })
    }
}

/// Somebody who waits.
struct Place {
    waker: RefCell<Option<Waker>>,
    /// It is its turn.
    is_next: Cell<bool>,
    /// It waits no more.
    is_gone: Cell<bool>,
}

/// Who has this has a turn; it is the next one's when it is dropped.
pub struct Turn(&'static Of);

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.with_borrow_mut(|lane| {
            let next = loop {
                match lane.waiting.pop_front() {
                    Some(place) if place.is_gone.get() => {}
                    next => break next,
                }
            };
            lane.is_taken = next.is_some();
            next
        });
        if let Some(place) = next {
            place.is_next.set(true);
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Waits for its turn, which begins when all others who are ready had theirs: at once if nobody else waits for the same.
//= TLS-FAIR-02
//= H2-HOST-15
pub async fn turn(of: &'static Of) -> Turn {
    let is_free = of.with_borrow_mut(|lane| !std::mem::replace(&mut lane.is_taken, true));
    if is_free {
        let turn = Turn(of);
        // Others may have come at the same time.
        give_way().await;
        return turn;
    }
    let place =
        Rc::new(Place { waker: RefCell::new(None), is_next: Cell::new(false), is_gone: Cell::new(false) });
    of.with_borrow_mut(|lane| lane.waiting.push_back(Rc::clone(&place)));
    let waiting = Waiting { place, of };
    poll_fn(|context| {
        if waiting.place.is_next.get() {
            return Poll::Ready(());
        }
        *waiting.place.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    waiting.place.is_next.set(false);
    let turn = Turn(of);
    drop(waiting);
    give_way().await;
    turn
}

/// Leaves the lane where its connection is dropped while it waits.
struct Waiting {
    place: Rc<Place>,
    of: &'static Of,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.place.is_gone.set(true);
        if self.place.is_next.get() {
            drop(Turn(self.of));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::memory::Memory;
    use crate::rt::{Rt, behind};

    //= test TLS-FAIR-02
    #[test]
    fn one_after_another_has_its_turn_and_others_between_them_and_who_leaves_holds_up_nobody() {
        let rt = Memory::new();
        rt.block_on(async {
            let others = Rc::new(Cell::new(0));
            let seen = Rc::new(RefCell::new(Vec::new()));
            let counted = Rc::clone(&others);
            rt.spawn(async move {
                loop {
                    counted.set(counted.get() + 1);
                    give_way().await;
                }
            });
            for n in 0..5 {
                let (seen, others) = (Rc::clone(&seen), Rc::clone(&others));
                rt.spawn(async move {
                    let _turn = turn(&HANDSHAKES).await;
                    seen.borrow_mut().push((n, others.get()));
                });
            }
            // One that comes behind them and leaves before its turn, and one that leaves when it is told.
            let mut leaver = Box::pin(turn(&HANDSHAKES));
            poll_fn(|context| {
                assert!(leaver.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(leaver);
            while seen.borrow().len() < 5 {
                give_way().await;
            }
            let seen = seen.take();
            assert!(seen.iter().map(|(n, _)| *n).eq(0..5), "in their order: {seen:?}");
            assert!(
                seen.windows(2).all(|pair| pair[0].1 < pair[1].1),
                "others between two of them: {seen:?}"
            );
            let _free = turn(&HANDSHAKES).await;
        });
    }

    //= test H2-HOST-15
    #[test]
    fn who_is_woken_behind_the_others_runs_after_those_who_are_ready_then() {
        let rt = Memory::new();
        rt.block_on(async {
            let order = Rc::new(RefCell::new(Vec::new()));
            let note = |name: &'static str| {
                let order = Rc::clone(&order);
                async move { order.borrow_mut().push(name) }
            };
            behind(|| rt.spawn(note("behind")));
            rt.spawn(note("ready"));
            while order.borrow().len() < 2 {
                give_way().await;
            }
            assert_eq!(*order.borrow(), ["ready", "behind"]);
        });
    }
}
