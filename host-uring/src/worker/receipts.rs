//! Answers that wait until another engine has the entry that they tell their client of (`objsync.persistence_ack`).
//!
//! A receipt is asked for before an entry is written, because its number goes along with the entry. The thread of object
//! sync leaves the numbers that came back on the worker's desk and rings a bell.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use forebay_core::id::ServerId;
use forebay_core::table::Key;
use forebay_snapshot::objsync::PersistenceAck;

use super::{Generation, Worker};
use crate::http::limits::{ACK_WAIT_MS, RECEIPTS_MAX};
use crate::persist::{TICKET_DESK, tickets};
use crate::rt::{Now, Rt, Sockets};

/// A number below the desk has a generation from this bit on, and a place below.
const GENERATION: u32 = 24;

/// The receipts of one worker.
#[derive(Debug)]
pub struct Receipts {
    /// The first ticket of this worker.
    first: u64,
    /// Another one after each start of the worker: numbers of the one before mean nothing.
    begin: u32,
    places: RefCell<Places>,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    /// It has not come yet; whom to wake.
    Out(Option<Waker>),
    Come,
}

/// What somebody waits for; given up when dropped.
#[derive(Debug)]
pub struct Receipt {
    receipts: Rc<Receipts>,
    number: u64,
}

impl Receipts {
    /// Those of the worker that this thread is; `seed`: another number after each start.
    pub fn new(seed: u64) -> Self {
        Self { first: tickets(), begin: seed as u32, places: RefCell::default() }
    }

    /// One that is out; `None`: too many are.
    pub fn take(self: &Rc<Self>) -> Option<Receipt> {
        let mut places = self.places.borrow_mut();
        let at = match places.free.pop() {
            Some(at) => at,
            None if places.all.len() < RECEIPTS_MAX => {
                places.all.push(Place { generation: self.begin, state: State::Free });
                places.all.len() as u32 - 1
            }
            None => return None,
        };
        let place = &mut places.all[at as usize];
        place.generation = place.generation.wrapping_add(1);
        place.state = State::Out(None);
        let generation = u64::from(place.generation) & ((1 << (TICKET_DESK - GENERATION)) - 1);
        Some(Receipt {
            receipts: Rc::clone(self),
            number: self.first | generation << GENERATION | u64::from(at),
        })
    }

    /// It has come. Who has given it up does not hear of it.
    pub fn come(&self, number: u64) {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.all.get_mut(place_of(number)) else { return };
        let mask = (1 << (TICKET_DESK - GENERATION)) - 1;
        if u64::from(place.generation) & mask != number >> GENERATION & mask {
            return;
        }
        if let State::Out(waker) = &mut place.state {
            let waker = waker.take();
            place.state = State::Come;
            drop(places);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

fn place_of(number: u64) -> usize {
    number as usize & ((1 << GENERATION) - 1)
}

impl Receipt {
    /// What goes along with the entry.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it has come; else `waker` is woken when it does.
    fn has_come(&self, waker: Option<&Waker>) -> bool {
        let mut places = self.receipts.places.borrow_mut();
        match &mut places.all[place_of(self.number)].state {
            State::Out(waits) => {
                *waits = waker.cloned();
                false
            }
            State::Come | State::Free => true,
        }
    }

    /// Waits until it comes, or `until`; whether it has come.
    async fn wait<R: Rt>(&self, rt: &R, until: Now) -> bool {
        let mut over = pin!(rt.sleep_until(until));
        poll_fn(|context| {
            if self.has_come(Some(context.waker())) {
                return Poll::Ready(true);
            }
            over.as_mut().poll(context).map(|()| false)
        })
        .await
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut places = self.receipts.places.borrow_mut();
        places.all[place_of(self.number)].state = State::Free;
        places.free.push(place_of(self.number) as u32);
    }
}

impl<R: Rt> Worker<R> {
    /// Binds a client to a server, and leaves in `receipt` what its answer has to wait for, if it has to; the server that
    /// the client is bound to now. Where two requests of a client come at once, both wait.
    //= SYNC-ACKED-01
    pub fn bind(
        &self,
        plan: &Generation,
        key: &Key,
        server: ServerId,
        moved: bool,
        now: Now,
        receipt: Option<&mut Option<Receipt>>,
    ) -> Option<ServerId> {
        let Some(receipt) = receipt.filter(|_| waits_for_peers(plan)) else {
            return plan.store.put(key, server, moved, now);
        };
        let peers = plan.store.peers();
        let new = if peers > 0 { self.receipts.take() } else { None };
        let bound = plan.store.bind(key, server, moved, new.as_ref().map(Receipt::number), now)?;
        if bound.is_new {
            match new {
                Some(new) => *receipt = Some(new),
                None if peers == 0 => self.metrics.acks.alone.inc(),
                None => self.metrics.acks.late.inc(),
            }
        } else if bound.server == server {
            self.follow_bound(plan, key, now, receipt);
        }
        Some(bound.server)
    }

    /// Leaves in `receipt` what the answer to a client has to wait for whose entry was made a moment ago.
    //= SYNC-ACKED-01
    pub fn follow_bound(&self, plan: &Generation, key: &Key, now: Now, receipt: &mut Option<Receipt>) {
        if receipt.is_none()
            && waits_for_peers(plan)
            && plan.store.peers() > 0
            && plan.store.is_fresh(key, ACK_WAIT_MS, now)
            && let Some(new) = self.receipts.take()
        {
            plan.store.tell_again(key, new.number());
            *receipt = Some(new);
        }
    }

    /// Waits until another engine has what `receipt` stands for, for 20 ms at most.
    //= SYNC-ACKED-01
    pub async fn acknowledged(&self, receipt: Receipt) {
        let until = Now(self.rt.now().0 + ACK_WAIT_MS * 1_000);
        if receipt.has_come(None) || receipt.wait(&self.rt, until).await {
            self.metrics.acks.acknowledged.inc();
        } else {
            self.metrics.acks.late.inc();
        }
    }
}

/// Whether answers wait for other engines, by this configuration.
fn waits_for_peers(plan: &Generation) -> bool {
    plan.tree.objsync.persistence_ack == PersistenceAck::Peer && plan.store.is_shared()
}

/// Hears the bell for ever.
pub(super) async fn listen(worker: Rc<Worker<Sockets>>) {
    let mut numbers = Vec::new();
    // The desk is that of all configurations.
    let store = worker.current().store.clone();
    let bell = match store.desk().bell() {
        Ok(bell) => bell,
        Err(error) => {
            tracing::warn!(
                worker = worker.index,
                %error,
                "there is no descriptor for acknowledgements of object sync: answers that wait for them take the 20 ms that \
                 they may take"
            );
            return;
        }
    };
    while worker.rt.fd_readable(bell).await.is_ok() {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is eight valid bytes, and the descriptor is open as long as the desk.
        unsafe { libc::read(bell.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        store.desk().take_acknowledged(&mut numbers);
        numbers.drain(..).for_each(|number| worker.receipts.come(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test SYNC-ACKED-01
    #[test]
    fn a_receipt_comes_once_and_a_number_of_one_that_was_given_up_means_nothing() {
        let receipts = Rc::new(Receipts::new(u64::MAX));
        let first = receipts.take().expect("room");
        let number = first.number();
        assert!(!first.has_come(None));
        receipts.come(number);
        assert!(first.has_come(None));
        drop(first);
        let second = receipts.take().expect("room");
        assert_ne!(second.number(), number);
        receipts.come(number);
        assert!(!second.has_come(None), "it is that of the one before");
        receipts.come(second.number());
        receipts.come(second.number());
        assert!(second.has_come(None));
    }

    #[test]
    fn no_more_receipts_are_out_than_there_may_be() {
        let receipts = Rc::new(Receipts::new(0));
        let mut all: Vec<Receipt> = (0..RECEIPTS_MAX).map(|_| receipts.take().expect("room")).collect();
        assert!(receipts.take().is_none());
        all.pop();
        assert!(receipts.take().is_some());
    }
}
