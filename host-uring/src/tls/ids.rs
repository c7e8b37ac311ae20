//! Sessions by ID: for clients of TLS 1.2 that take no tickets, and for all clients where early data is taken.
//!
//! What a session is stands sealed as in a ticket, so it is good where a ticket would be, and opens with the same keys. A
//! process has its own; no other engine knows them. One of TLS 1.3 is good once: who names it takes it out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use super::tickets::{Tickets, unix_s};

/// Bytes that a session takes beside itself and twice its ID: its places in both maps, and what an allocator adds to each
/// piece.
const BESIDE_BYTES: usize = 192;

/// The sessions by ID of one service, the oldest of which goes when there is no room.
pub(super) struct Kept {
    inner: Mutex<Inner>,
    evicted: AtomicU64,
    /// What all of them may take.
    bytes_max: AtomicUsize,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { inner: Mutex::default(), evicted: AtomicU64::new(0), bytes_max: AtomicUsize::new(usize::MAX) }
    }
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
    /// What all of them take.
    bytes: usize,
}

/// What a session takes.
fn bytes_of(id: &[u8], sealed: &[u8]) -> usize {
    BESIDE_BYTES + 2 * id.len() + sealed.len()
}

impl Inner {
    fn remove(&mut self, id: &[u8]) -> Option<Box<[u8]>> {
        let (place, sealed) = self.sealed.remove(id)?;
        self.order.remove(&place);
        self.bytes -= bytes_of(id, &sealed);
        Some(sealed)
    }

    /// Lets the oldest go until there are no more than so many, which take no more than this; gives how many went.
    fn shrink(&mut self, most: usize, bytes_max: usize) -> u64 {
        let mut gone = 0;
        while (self.order.len() > most || self.bytes > bytes_max)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            if let Some((_, sealed)) = self.sealed.remove(&oldest) {
                self.bytes -= bytes_of(&oldest, &sealed);
            }
            gone += 1;
        }
        gone
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
        inner.bytes += bytes_of(id, &sealed);
        inner.sealed.insert(id.into(), (place, sealed.into()));
        inner.order.insert(place, id.into());
        // After a reload there may be room for fewer.
        let gone = inner.shrink(most, self.bytes_max.load(Ordering::Relaxed));
        self.evicted.fetch_add(gone, Ordering::Relaxed);
    }

    /// Lets them take so much at most from now on.
    //= TLS-ID-03
    pub(super) fn bound(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        let gone = self.inner().shrink(usize::MAX, bytes_max);
        self.evicted.fetch_add(gone, Ordering::Relaxed);
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
    use crate::limits::sizes::SESSION_BYTES;

    /// What one session is reckoned at.
    const RECKONED: usize = SESSION_BYTES as usize;

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

    //= test TLS-ID-03
    #[test]
    fn sessions_take_no_more_than_their_service_has_and_the_oldest_go() {
        let (kept, ours) = (Arc::new(Kept::default()), tickets(7));
        let store = service(&kept, &ours);
        let id = |n: usize| vec![n as u8; 32];
        // Those of clients with certificates: twice what is reckoned for one.
        for n in 0..100 {
            assert!(store.put(id(n), vec![7; 2 * RECKONED]));
        }
        let all = kept.inner().bytes;
        assert!((100 * 2 * RECKONED..100 * 3 * RECKONED).contains(&all), "{all}");
        kept.bound(50 * RECKONED);
        let (count, evicted) = kept.counts();
        assert!(count < 25 && evicted == 100 - count, "{count} of 100 are left, {evicted} went");
        assert!(store.get(&id(0)).is_none() && store.get(&id(99)).is_some(), "the newest stay");
        for n in 100..200 {
            assert!(store.put(id(n), vec![7; 100]));
            let inner = kept.inner();
            assert!(inner.bytes <= 50 * RECKONED, "{}", inner.bytes);
            assert_eq!(inner.sealed.len(), inner.order.len());
        }
        while let Some(id) = { kept.inner().order.values().next().cloned() } {
            assert!(store.take(&id).is_some());
        }
        assert_eq!(kept.inner().bytes, 0, "what is taken out takes nothing");
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
