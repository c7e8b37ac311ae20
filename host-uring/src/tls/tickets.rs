//! Session tickets: what lets a client go on with the secrets of an earlier connection.
//!
//! A ticket is `2 | key's id (8) | issued at (8) | nonce (12) | sealed: ours (34), the library's state | tag (16)`.
//! AES-256-GCM, with everything before the nonce and what the ticket is good for as associated data: so one of another
//! service, or of another policy for client certificates, does not open whatever key sealed it, and leads to a whole
//! handshake. Ours says where it is good once more, and who the client is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use forebay_core::id::VsId;
use forebay_core::persist::tls::{AuthPolicy, TICKET_LEN, Ticket, accept, issue};
use forebay_snapshot::tls::TicketKey;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use super::known;
use crate::limits::{TICKET_BYTES_MAX, TICKET_KEY_S};

const FORM: u8 = 2;
const ID_LEN: usize = 8;
const HEAD_LEN: usize = 1 + ID_LEN + 8;

/// Where a ticket is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The virtual service's id.
    pub service: u32,
    /// A digest of the policy for client certificates: 0 where none are asked for.
    pub policy: u32,
}

/// The tickets of one service.
pub(super) struct Tickets {
    scope: Scope,
    /// Seconds that a ticket is good for.
    lifetime_s: u32,
    /// The keys are our own, and are made anew every [`TICKET_KEY_S`].
    is_own: bool,
    /// The first one seals, all of them open. Written when a key is made, read with each handshake.
    keys: RwLock<VecDeque<Key>>,
}

struct Key {
    id: [u8; ID_LEN],
    key: LessSafeKey,
    /// What it was made of, where another process may need it: one of our own.
    bytes: Option<Zeroizing<[u8; 32]>>,
    /// When it was made, seconds since 1970.
    made_s: u64,
}

impl Key {
    fn new(id: [u8; ID_LEN], bytes: &[u8; 32], made_s: u64) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).ok()?);
        Some(Key { id, key, bytes: None, made_s })
    }

    /// One of our own.
    fn random(made_s: u64) -> Option<Self> {
        let (mut id, mut bytes) = ([0; ID_LEN], Zeroizing::new([0; 32]));
        rand::fill(&mut id).ok()?;
        rand::fill(&mut bytes[..]).ok()?;
        Self::own(id, bytes, made_s)
    }

    fn own(id: [u8; ID_LEN], bytes: Zeroizing<[u8; 32]>, made_s: u64) -> Option<Self> {
        let key = Self::new(id, &bytes, made_s)?;
        Some(Key { bytes: Some(bytes), ..key })
    }
}

pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Tickets {
    /// With these keys, or with keys of our own if there are none; `None`: the system has no random numbers.
    pub(super) fn new(scope: Scope, lifetime_s: u32, keys: &[TicketKey]) -> Option<Self> {
        let now = unix_s();
        let named = |key: &TicketKey| {
            let mut id = [0; ID_LEN];
            id.copy_from_slice(&digest(&SHA256, key.name.as_bytes()).as_ref()[..ID_LEN]);
            Key::new(id, key.key.expose(), now)
        };
        let is_own = keys.is_empty();
        let keys: Option<VecDeque<Key>> = match is_own {
            true => Key::random(now).map(|key| VecDeque::from([key])),
            false => keys.iter().map(named).collect(),
        };
        Some(Tickets { scope, lifetime_s, is_own, keys: RwLock::new(keys?) })
    }

    /// What a ticket is sealed with beside its state.
    fn bound(&self, head: &[u8]) -> Vec<u8> {
        let mut bound = b"forebay session ticket\0".to_vec();
        bound.extend_from_slice(&self.scope.service.to_le_bytes());
        bound.extend_from_slice(&self.scope.policy.to_le_bytes());
        bound.extend_from_slice(head);
        bound
    }

    fn place(&self) -> (VsId, AuthPolicy) {
        (VsId(self.scope.service), AuthPolicy(self.scope.policy))
    }

    //= TLS-TICKET-01
    pub(super) fn seal(&self, state: &[u8], now: u64) -> Option<Vec<u8>> {
        self.renew(now);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.front()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let (service, policy) = self.place();
        let ours = issue(None, service, policy, known::issued()?).encode();
        let len = HEAD_LEN + NONCE_LEN + TICKET_LEN + state.len() + AES_256_GCM.tag_len();
        let mut ticket = Vec::with_capacity(len);
        ticket.push(FORM);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&now.to_be_bytes());
        let bound = self.bound(&ticket);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&ours);
        ticket.extend_from_slice(state);
        let sealed = &mut ticket[HEAD_LEN + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.key.seal_in_place_separate_tag(nonce, Aad::from(bound), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    //= TLS-TICKET-01
    //= TLS-TICKET-03
    //= PERS-TLS-04
    pub(super) fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (head, rest) = ticket.split_at_checked(HEAD_LEN)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (&form, rest) = head.split_first()?;
        let (id, issued) = rest.split_first_chunk::<ID_LEN>()?;
        let issued = u64::from_be_bytes(issued.try_into().ok()?);
        // Engines that share keys need not agree on the second.
        let age = now.saturating_sub(issued);
        if form != FORM || age >= u64::from(self.lifetime_s) {
            return None;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.id == *id)?;
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = key.key.open_in_place(nonce, Aad::from(self.bound(head)), &mut state).ok()?.len();
        state.truncate(len);
        let (service, policy) = self.place();
        let ours = Ticket::decode(state.get(..TICKET_LEN)?)?;
        known::opened(accept(ours, service, policy).ok()?.client);
        state.drain(..TICKET_LEN);
        Some(state)
    }

    /// Makes a new key if it is time, and wipes those whose tickets are over.
    //= TLS-TICKET-02
    fn renew(&self, now: u64) {
        let is_due = |keys: &VecDeque<Key>| keys.front().is_none_or(|key| now >= key.made_s + TICKET_KEY_S);
        if !self.is_own || !is_due(&self.keys.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if is_due(&keys)
            && let Some(key) = Key::random(now)
        {
            keys.push_front(key);
            // The library wipes a key that it frees. One that was relieved just now sealed a moment ago.
            let mut relieved = u64::MAX;
            let lifetime = u64::from(self.lifetime_s);
            keys.retain(|key| {
                let is_over = relieved.saturating_add(lifetime) <= now;
                relieved = key.made_s;
                !is_over
            });
        }
    }
}

/// A key that an engine has made, for the process that takes over from it.
#[derive(Clone, PartialEq)]
pub struct HandedKey {
    /// The virtual service's id.
    pub service: u32,
    /// A digest of its policy for client certificates.
    pub policy: u32,
    /// The name by which tickets find the key.
    pub id: [u8; ID_LEN],
    /// The key.
    pub bytes: Zeroizing<[u8; 32]>,
    /// When it was made, seconds since 1970.
    pub made_s: u64,
}

impl fmt::Debug for HandedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedKey").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Tickets {
    /// Keys of our own, the newest first; those of the configuration are known to the next process anyway.
    //= TLS-TICKET-05
    pub(super) fn handed(&self) -> Vec<HandedKey> {
        let Scope { service, policy } = self.scope;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let handed = |key: &Key| {
            let bytes = key.bytes.clone()?;
            Some(HandedKey { service, policy, id: key.id, bytes, made_s: key.made_s })
        };
        keys.iter().filter_map(handed).collect()
    }

    /// Goes on with keys that another process has made, in place of those that this one has made so far and sealed
    /// nothing with.
    //= TLS-TICKET-05
    pub(super) fn inherit(&self, handed: &[HandedKey]) {
        if !self.is_own {
            return;
        }
        let is_ours = |key: &&HandedKey| (key.service, key.policy) == (self.scope.service, self.scope.policy);
        let mut theirs: Vec<Key> = handed
            .iter()
            .filter(is_ours)
            .filter_map(|key| Key::own(key.id, key.bytes.clone(), key.made_s))
            .collect();
        theirs.sort_by_key(|key| std::cmp::Reverse(key.made_s));
        if !theirs.is_empty() {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = theirs.into();
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, unix_s())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, unix_s())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_snapshot::Secret;

    const DAY_S: u32 = 86_400;

    fn named(name: &str, fill: u8) -> TicketKey {
        TicketKey { name: name.to_owned(), key: Secret::new([fill; 32]) }
    }

    fn tickets(service: u32, policy: u32, keys: &[TicketKey]) -> Tickets {
        Tickets::new(Scope { service, policy }, DAY_S, keys).expect("random numbers")
    }

    //= test TLS-TICKET-01
    #[test]
    fn a_ticket_opens_where_it_is_good_and_nowhere_else_whatever_is_changed_of_it() {
        let keys = [named("one", 1)];
        let ours = tickets(7, 0, &keys);
        let ticket = ours.seal(b"state", 1_000).expect("sealed");
        assert_eq!(ours.open(&ticket, 1_000), Some(b"state".to_vec()));
        assert_eq!(tickets(7, 0, &keys).open(&ticket, 1_000), Some(b"state".to_vec()), "another engine's");
        assert_eq!(tickets(8, 0, &keys).open(&ticket, 1_000), None, "another service's");
        assert_eq!(tickets(7, 1, &keys).open(&ticket, 1_000), None, "another policy's");
        assert_eq!(tickets(7, 0, &[named("one", 2)]).open(&ticket, 1_000), None, "another key of the name");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open(&changed, 1_000), None, "byte {at}");
            assert_eq!(ours.open(&ticket[..at], 1_000), None, "cut to {at}");
        }
    }

    //= test TLS-TICKET-02
    #[test]
    fn keys_of_our_own_are_made_anew_and_wiped_when_their_last_ticket_is_over() {
        let ours = tickets(7, 0, &[]);
        let began = unix_s();
        let first = ours.seal(b"state", began).expect("sealed");
        let mut now = began;
        for _ in 0..40 {
            now += TICKET_KEY_S;
            ours.seal(b"state", now).expect("sealed");
            let count = ours.keys.read().expect("no panic").len();
            assert!(count <= 6, "{count} keys");
            let is_good = now - began < u64::from(DAY_S);
            assert_eq!(ours.open(&first, now).is_some(), is_good, "after {} s", now - began);
        }
        let late = ours.seal(b"state", now).expect("sealed");
        assert_ne!(late[1..=ID_LEN], first[1..=ID_LEN], "another key");
        // A ticket of a key's last moment is good for all of its time.
        let ours = tickets(7, 0, &[]);
        let last = ours.seal(b"state", began + TICKET_KEY_S - 1).expect("sealed");
        for hours in 0..u64::from(DAY_S) / 3_600 {
            let now = began + TICKET_KEY_S - 1 + hours * 3_600;
            ours.seal(b"state", now).expect("sealed");
            assert!(ours.open(&last, now).is_some(), "after {hours} h");
        }
    }

    //= test TLS-TICKET-05
    #[test]
    fn another_process_goes_on_with_the_keys_that_this_one_has_made() {
        let (old, new) = (tickets(7, 0, &[]), tickets(7, 0, &[]));
        let began = unix_s();
        let first = old.seal(b"state", began).expect("sealed");
        let now = began + TICKET_KEY_S;
        let second = old.seal(b"state", now).expect("sealed");
        let handed = old.handed();
        assert_eq!(handed.len(), 2);
        assert!(
            !format!("{handed:?}").contains(&format!("{:?}", handed[0].bytes[0..4].to_vec())),
            "a key is shown"
        );
        new.inherit(&handed);
        for ticket in [&first, &second] {
            assert!(new.open(ticket, now).is_some());
        }
        let third = new.seal(b"state", now).expect("sealed");
        assert_eq!(third[1..=ID_LEN], second[1..=ID_LEN], "the newest seals");
        assert!(old.open(&third, now).is_some());
        // Not those of other services, nor where the configuration has keys.
        let (other, named) = (tickets(8, 0, &[]), tickets(7, 0, &[named("one", 1)]));
        other.inherit(&handed);
        named.inherit(&handed);
        assert!(named.handed().is_empty(), "the configuration has them");
        assert!([other, named].iter().all(|tickets| tickets.keys.read().expect("no panic").len() == 1));
    }

    //= test TLS-TICKET-03
    #[test]
    fn the_first_key_seals_all_of_them_open_and_a_ticket_ends() {
        let (old, new) = (named("old", 1), named("new", 2));
        let ticket = tickets(7, 0, std::slice::from_ref(&old)).seal(b"state", 1_000).expect("sealed");
        let both = tickets(7, 0, &[new.clone(), old]);
        assert!(both.open(&ticket, 1_000).is_some());
        let fresh = both.seal(b"state", 1_000).expect("sealed");
        let only = tickets(7, 0, &[new]);
        assert_eq!((only.open(&ticket, 1_000), only.open(&fresh, 1_000)), (None, Some(b"state".to_vec())));
        assert!(only.open(&fresh, 1_000 + u64::from(DAY_S) - 1).is_some());
        assert!(only.open(&fresh, 1_000 + u64::from(DAY_S)).is_none());
    }
}
