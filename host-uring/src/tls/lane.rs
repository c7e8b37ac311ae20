//! First messages are answered one after another, and everybody else has a turn between two of them.
//!
//! To answer one takes a signature and an exchange of keys, as long as fifty small requests. Where many have come at once,
//! as in a flood, who waits for an answer to a request would wait for all of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::rt::give_way;

thread_local! {
    static LANE: RefCell<Lane> = const { RefCell::new(Lane { is_taken: false, waiting: VecDeque::new() }) };
}

/// A worker's. As many wait as it has connections at most.
struct Lane {
    is_taken: bool,
    waiting: VecDeque<Rc<Place>>,
}

/// Somebody who waits.
struct Place {
    waker: RefCell<Option<Waker>>,
    /// It is its turn.
    is_next: Cell<bool>,
    /// It waits no more.
    is_gone: Cell<bool>,
}

/// Who has this may answer a first message; it is the next one's turn when it is dropped.
pub(super) struct Turn(());

impl Drop for Turn {
    fn drop(&mut self) {
        let next = LANE.with_borrow_mut(|lane| {
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

/// Waits for its turn: at once if nobody else has it.
//= TLS-FAIR-02
pub(super) async fn turn() -> Turn {
    let is_free = LANE.with_borrow_mut(|lane| !std::mem::replace(&mut lane.is_taken, true));
    if is_free {
        let turn = Turn(());
        // Others may have come at the same time.
        give_way().await;
        return turn;
    }
    let place =
        Rc::new(Place { waker: RefCell::new(None), is_next: Cell::new(false), is_gone: Cell::new(false) });
    LANE.with_borrow_mut(|lane| lane.waiting.push_back(Rc::clone(&place)));
    let waiting = Waiting(place);
    poll_fn(|context| {
        if waiting.0.is_next.get() {
            return Poll::Ready(());
        }
        *waiting.0.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    waiting.0.is_next.set(false);
    let turn = Turn(());
    drop(waiting);
    give_way().await;
    turn
}

/// Leaves the lane where its connection is dropped while it waits.
struct Waiting(Rc<Place>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.is_gone.set(true);
        if self.0.is_next.get() {
            drop(Turn(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::Rt;
    use crate::rt::memory::Memory;

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
                    let _turn = turn().await;
                    seen.borrow_mut().push((n, others.get()));
                });
            }
            // One that comes behind them and leaves before its turn, and one that leaves when it is told.
            let mut leaver = Box::pin(turn());
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
            let _free = turn().await;
        });
    }
}
