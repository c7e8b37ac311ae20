//! Sessions by ID: for clients of TLS 1.2 that take no tickets, and for all clients where early data is taken.
//!
//! What a session is stands sealed as in a ticket, so it is good where a ticket would be, and opens with the same keys. A
//! process has its own; no other engine knows them. One of TLS 1.3 is good once: who names it takes it out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use super::tickets::{Tickets, unix_s};

/// The sessions by ID of one service, the oldest of which goes when there is no room.
#[derive(Default)]
pub(super) struct Kept {
    inner: Mutex<Inner>,
    evicted: AtomicU64,
}

/// A session, and its place in the order.
type Placed = (u64, Box<[u8]>);

#[derive(Default)]
struct Inner {
    /// By ID, each with its place in the order.
    sealed: HashMap<Box<[u8]>, Placed>,
    /// The oldest first.
    order: BTreeMap<u64, Box<[u8]>>,
    /// The place of the next one.
    next: u64,
}

impl Inner {
    fn remove(&mut self, id: &[u8]) -> Option<Box<[u8]>> {
        let (place, sealed) = self.sealed.remove(id)?;
        self.order.remove(&place);
        Some(sealed)
    }
}

impl Kept {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are, and how many went before their time.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.inner().order.len() as u64, self.evicted.load(Ordering::Relaxed))
    }

    //= TLS-ID-02
    fn put(&self, id: &[u8], sealed: Vec<u8>, most: usize) {
        let mut inner = self.inner();
        inner.remove(id);
        let place = inner.next;
        inner.next += 1;
        inner.sealed.insert(id.into(), (place, sealed.into()));
        inner.order.insert(place, id.into());
        // After a reload there may be room for fewer.
        while inner.order.len() > most
            && let Some((_, oldest)) = inner.order.pop_first()
        {
            inner.sealed.remove(&oldest);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, id: &[u8]) -> Option<Box<[u8]>> {
        self.inner().sealed.get(id).map(|(_, sealed)| sealed.clone())
    }

    /// Takes one out: of several who name it at once, one gets it.
    fn take(&self, id: &[u8]) -> Option<Box<[u8]>> {
        self.inner().remove(id)
    }
}

/// The sessions by ID of a service, and what seals them.
pub(super) struct ById {
    pub kept: Arc<Kept>,
    pub tickets: Arc<Tickets>,
    /// How many there may be.
    pub most: usize,
}

impl fmt::Debug for ById {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ById").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl StoresServerSessions for ById {
    //= TLS-ID-01
    fn put(&self, id: Vec<u8>, state: Vec<u8>) -> bool {
        let sealed = self.tickets.seal(&state, unix_s());
        sealed.map(|sealed| self.kept.put(&id, sealed, self.most)).is_some()
    }

    //= TLS-ID-01
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(&self.kept.get(id)?, unix_s())
    }

    //= TLS-EARLY-03
    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(&self.kept.take(id)?, unix_s())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tickets::Scope;
    use super::*;
    use crate::limits::SESSIONS_BY_ID_MAX;

    fn service(kept: &Arc<Kept>, tickets: &Arc<Tickets>) -> ById {
        ById { kept: Arc::clone(kept), tickets: Arc::clone(tickets), most: SESSIONS_BY_ID_MAX }
    }

    fn tickets(service: u32) -> Arc<Tickets> {
        Arc::new(Tickets::new(Scope { service, policy: 0 }, 3_600, &[]).expect("random numbers"))
    }

    //= test TLS-ID-01
    //= test TLS-ID-02
    #[test]
    fn a_session_is_kept_sealed_until_newer_ones_need_its_place() {
        let (kept, ours) = (Arc::new(Kept::default()), tickets(7));
        let store = service(&kept, &ours);
        let id = |n: usize| n.to_be_bytes().to_vec();
        assert!(store.put(id(0), b"the master secret".to_vec()));
        assert_eq!(store.get(&id(0)), Some(b"the master secret".to_vec()));
        let sealed = kept.get(&id(0)).expect("it is there");
        assert!(!sealed.windows(6).any(|part| part == b"master"), "in clear");
        assert_eq!(service(&kept, &tickets(8)).get(&id(0)), None, "another key");
        assert_eq!(store.get(&id(1)), None);
        for n in 1..=SESSIONS_BY_ID_MAX {
            assert!(store.put(id(n), vec![1]));
        }
        assert_eq!(store.get(&id(0)), None, "the oldest went");
        assert_eq!(store.get(&id(1)), Some(vec![1]));
        assert_eq!(kept.counts(), (SESSIONS_BY_ID_MAX as u64, 1));
        assert_eq!(kept.inner().sealed.len(), SESSIONS_BY_ID_MAX);
    }
    //= test TLS-EARLY-03
    #[test]
    fn one_of_many_that_name_a_session_at_once_gets_it() {
        let (kept, ours) = (Arc::new(Kept::default()), tickets(7));
        let store = service(&kept, &ours);
        for n in 0..500_usize {
            let id = n.to_be_bytes().to_vec();
            assert!(store.put(id.clone(), b"state".to_vec()));
            let takers = || (0..4).map(|_| service(&kept, &ours)).collect::<Vec<_>>();
            let got = std::thread::scope(|scope| {
                let id = &id;
                let tries: Vec<_> =
                    takers().into_iter().map(|one| scope.spawn(move || one.take(id))).collect();
                tries.into_iter().filter_map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
            });
            assert_eq!(got, [b"state".to_vec()]);
        }
        assert_eq!(kept.counts(), (0, 0), "nothing is left of what was taken, and nothing was evicted");
        assert!(kept.inner().sealed.is_empty());
    }
}
