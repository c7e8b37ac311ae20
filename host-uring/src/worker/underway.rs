//! Requests and tunnels under way at servers, so that they can be ended from outside of their tasks.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// All that a worker has under way. A place is taken and given back per try of a request: two writes into lists that
/// have grown to what was under way at once.
#[derive(Debug, Default)]
pub struct Underway {
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
}

#[derive(Debug)]
struct Place {
    /// The server, by its place in per-server lists; [`NOBODY`] if the place is free.
    slot: usize,
    /// The configuration that it works by.
    generation: u64,
    cut: bool,
    waker: Option<Waker>,
}

const NOBODY: usize = usize::MAX;

/// One try of a request, or a flow of datagrams; dropped when it has ended.
#[derive(Debug)]
pub struct Ticket<U: Deref<Target = Underway>> {
    underway: U,
    at: u32,
}

impl Underway {
    /// Takes a place for work at the server `slot`.
    pub fn enter(&self, slot: usize, generation: u64) -> Ticket<&Self> {
        Ticket { underway: self, at: self.take_place(slot, generation) }
    }

    /// The same for work that outlives whoever begins it.
    pub fn enter_shared(self: &Rc<Self>, slot: usize, generation: u64) -> Ticket<Rc<Self>> {
        Ticket { underway: self.clone(), at: self.take_place(slot, generation) }
    }

    fn take_place(&self, slot: usize, generation: u64) -> u32 {
        let mut places = self.places.borrow_mut();
        let place = Place { slot, generation, cut: false, waker: None };
        match self.free.borrow_mut().pop() {
            Some(at) => {
                places[at as usize] = place;
                at
            }
            None => {
                places.push(place);
                (places.len() - 1) as u32
            }
        }
    }

    /// Ends what is under way at the server now; what comes later goes on.
    pub fn cut(&self, slot: usize) {
        self.cut_where(|place| place.slot == slot);
    }

    /// Ends what works by a configuration.
    pub fn cut_generation(&self, generation: u64) {
        self.cut_where(|place| place.slot != NOBODY && place.generation == generation);
    }

    fn cut_where(&self, is: impl Fn(&Place) -> bool) {
        self.places.borrow_mut().iter_mut().filter(|place| is(place)).for_each(Place::cut);
    }
}

impl Place {
    fn cut(&mut self) {
        self.cut = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<U: Deref<Target = Underway>> Ticket<U> {
    /// Ends this one now.
    pub fn cut(&self) {
        self.underway.places.borrow_mut()[self.at as usize].cut();
    }

    /// Does a piece of work, unless it is cut: then `None`, and the rest of it is the caller's to drop. It is pinned by
    /// the caller: moved in here, an exchange would be copied, and take its memory twice.
    pub async fn unless_cut<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| {
            {
                let mut places = self.underway.places.borrow_mut();
                let place = &mut places[self.at as usize];
                if place.cut {
                    return Poll::Ready(None);
                }
                if !place.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    place.waker = Some(context.waker().clone());
                }
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}

impl<U: Deref<Target = Underway>> Drop for Ticket<U> {
    fn drop(&mut self) {
        self.underway.places.borrow_mut()[self.at as usize].slot = NOBODY;
        self.underway.free.borrow_mut().push(self.at);
    }
}
