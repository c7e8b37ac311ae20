//! Requests and tunnels under way at servers, so that they can be ended from outside of their tasks.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use forebay_core::id::VsId;

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
    /// The virtual service that its client came for.
    service: VsId,
    cut: Option<Why>,
    waker: Option<Waker>,
}

const NOBODY: usize = usize::MAX;

/// Why something was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its server is out, and its grace is over.
    Server,
    /// Its virtual service has left the engine, and the time of its clients is over.
    Service,
}

impl Why {
    /// What the log says of a request.
    pub fn text(self) -> &'static str {
        match self {
            Why::Server => "cut: the grace of its disabled or failed server is over",
            Why::Service => "cut: its address is listened on no more",
        }
    }
}

/// One try of a request, or a flow of datagrams; dropped when it has ended.
#[derive(Debug)]
pub struct Ticket<U: Deref<Target = Underway>> {
    underway: U,
    at: u32,
}

impl Underway {
    /// Takes a place for work at the server `slot`.
    pub fn enter(&self, slot: usize, generation: u64, service: VsId) -> Ticket<&Self> {
        Ticket { underway: self, at: self.take_place(slot, generation, service) }
    }

    /// The same for work that outlives whoever begins it.
    pub fn enter_shared(self: &Rc<Self>, slot: usize, generation: u64, service: VsId) -> Ticket<Rc<Self>> {
        Ticket { underway: self.clone(), at: self.take_place(slot, generation, service) }
    }

    fn take_place(&self, slot: usize, generation: u64, service: VsId) -> u32 {
        let mut places = self.places.borrow_mut();
        let place = Place { slot, generation, service, cut: None, waker: None };
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
        let _ = self.cut_where(Why::Server, |place| place.slot == slot);
    }

    /// Ends what works by a configuration.
    pub fn cut_generation(&self, generation: u64) {
        let _ = self.cut_where(Why::Server, |place| place.slot != NOBODY && place.generation == generation);
    }

    /// Ends what is under way for clients of these virtual services, by whatever configuration, and says how much that was.
    //= SE-CUT-03
    pub fn cut_services(&self, services: &[VsId]) -> usize {
        let is =
            |place: &Place| place.slot != NOBODY && place.cut.is_none() && services.contains(&place.service);
        self.cut_where(Why::Service, is)
    }

    fn cut_where(&self, why: Why, is: impl Fn(&Place) -> bool) -> usize {
        let mut places = self.places.borrow_mut();
        let found = places.iter_mut().filter(|place| is(place));
        found.map(|place| place.cut(why)).count()
    }
}

impl Place {
    fn cut(&mut self, why: Why) {
        // What was said first holds.
        self.cut.get_or_insert(why);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<U: Deref<Target = Underway>> Ticket<U> {
    /// Ends this one now.
    pub fn cut(&self) {
        self.underway.places.borrow_mut()[self.at as usize].cut(Why::Server);
    }

    /// Why it was cut.
    pub fn why(&self) -> Why {
        self.underway.places.borrow()[self.at as usize].cut.unwrap_or(Why::Server)
    }

    /// Does a piece of work, unless it is cut: then `None`, and the rest of it is the caller's to drop. It is pinned by
    /// the caller: moved in here, an exchange would be copied, and take its memory twice.
    pub async fn unless_cut<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| {
            {
                let mut places = self.underway.places.borrow_mut();
                let place = &mut places[self.at as usize];
                if place.cut.is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    //= test SE-CUT-03
    #[test]
    fn what_a_service_has_under_way_is_cut_by_itself_and_counted_once() {
        let underway = Rc::new(Underway::default());
        let (shop, blog) = (VsId(1), VsId(2));
        let ended = underway.enter(0, 1, shop);
        drop(ended);
        let old = underway.enter(0, 1, shop);
        let new = underway.enter_shared(1, 2, shop);
        let other = underway.enter(0, 2, blog);
        underway.cut(1);
        assert_eq!(underway.cut_services(&[shop, VsId(3)]), 1, "one was cut with its server, one has ended");
        assert_eq!((old.why(), new.why()), (Why::Service, Why::Server));
        assert_eq!(underway.cut_services(&[shop]), 0);
        assert!(underway.places.borrow()[other.at as usize].cut.is_none());
    }
}
