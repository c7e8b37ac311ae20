//! Sessions by ID: for clients of TLS 1.2 that take no tickets.
//!
//! What a session is stands sealed as in a ticket, so it is good where a ticket would be, and opens with the same keys. A
//! process has its own; no other engine knows them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use super::tickets::{Tickets, unix_s};
use crate::limits::SESSIONS_BY_ID_MAX;

/// The sessions by ID of one service, the oldest of which goes when there is no room.
#[derive(Default)]
pub(super) struct Kept {
    inner: Mutex<Inner>,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Inner {
    sealed: HashMap<Box<[u8]>, Box<[u8]>>,
    /// The oldest first.
    order: VecDeque<Box<[u8]>>,
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
    fn put(&self, id: &[u8], sealed: Vec<u8>) {
        let mut inner = self.inner();
        let id: Box<[u8]> = id.into();
        if inner.sealed.insert(id.clone(), sealed.into()).is_none() {
            inner.order.push_back(id);
        }
        if inner.order.len() > SESSIONS_BY_ID_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.sealed.remove(&oldest);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn get(&self, id: &[u8]) -> Option<Box<[u8]>> {
        self.inner().sealed.get(id).cloned()
    }
}

/// The sessions by ID of a service, and what seals them.
pub(super) struct ById {
    pub kept: Arc<Kept>,
    pub tickets: Arc<Tickets>,
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
        sealed.map(|sealed| self.kept.put(&id, sealed)).is_some()
    }

    //= TLS-ID-01
    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(&self.kept.get(id)?, unix_s())
    }

    /// Is for TLS 1.3 without tickets, which nobody has here.
    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tickets::Scope;
    use super::*;

    fn service(kept: &Arc<Kept>, tickets: &Arc<Tickets>) -> ById {
        ById { kept: Arc::clone(kept), tickets: Arc::clone(tickets) }
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
}
