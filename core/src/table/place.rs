//! Finding room for a new key: a free slot, moves to make one, or the oldest idle entry.

use super::catalog::{Catalog, Key, Row, ServerSlot};
use super::clock::Tick;
use super::digest::term_at;
use super::limits::{KEYS_PER_BUCKET, MOVES_SEEN_MAX, OLDEST_KEPT};
use super::outcome::{Evicted, Refused};
use super::partition::Partition;
use super::store::{At, Choices, Fields, Flag};

/// A bucket that the search has seen: reached by moving the entry in `place` of the bucket of `parent`.
#[derive(Clone, Copy)]
struct Seen {
    bucket: u32,
    parent: u16,
    place: u8,
}

const ROOTS: usize = 2;
const PLACES: u32 = KEYS_PER_BUCKET as u32;

struct Search {
    seen: [Seen; MOVES_SEEN_MAX],
    len: usize,
}

impl Search {
    fn new(choices: Choices) -> Self {
        let root = |bucket| Seen { bucket, parent: 0, place: 0 };
        let mut seen = [root(choices.0); MOVES_SEEN_MAX];
        seen[1] = root(choices.1);
        Self { seen, len: ROOTS }
    }

    /// A path that comes back to a bucket would move an entry that is no longer there.
    fn on_path(&self, mut node: usize, bucket: u32) -> bool {
        loop {
            if self.seen[node].bucket == bucket {
                return true;
            }
            if node < ROOTS {
                return false;
            }
            node = usize::from(self.seen[node].parent);
        }
    }
}

impl Partition {
    /// Puts a key that is not there into a slot.
    pub(super) fn insert(
        &mut self,
        catalog: &Catalog,
        row: &Row,
        key: &Key,
        value: u32,
        fields: Fields,
        tick: Tick,
    ) -> Result<Option<Evicted>, Refused> {
        let full = self.len >= self.limit;
        //= TBL-EVICT-02
        if full && self.evictable == 0 {
            return self.refuse();
        }
        let mut evicted = None;
        let choices = catalog.choices(key.hash);
        let Some(at) = self.room(catalog, choices, tick, &mut evicted) else {
            return self.refuse();
        };
        if full && evicted.is_none() {
            evicted = self.evict_oldest(catalog, key.hash as u32, tick);
            if evicted.is_none() {
                return self.refuse();
            }
        }
        self.store.fill(at, key.stored, value, fields);
        self.len += 1;
        self.evictable += u32::from(self.is_evictable(at));
        self.mark(self.life(row, at), at, tick);
        self.idle_since(fields.life.idle, tick);
        if let Some(term) = row.cells.and_then(|_| term_at(catalog, &self.store, key.hash, at)) {
            self.digests.add(catalog, row, key.hash, term);
        }
        Ok(evicted)
    }

    #[cold]
    fn refuse(&mut self) -> Result<Option<Evicted>, Refused> {
        self.counters.refused += 1;
        Err(Refused::Full)
    }

    #[inline(always)]
    fn room(
        &mut self,
        catalog: &Catalog,
        choices: Choices,
        tick: Tick,
        evicted: &mut Option<Evicted>,
    ) -> Option<At> {
        let near = self.store.free(choices.0).or_else(|| self.store.free(choices.1));
        near.or_else(|| self.room_by_moves(catalog, choices, tick, evicted))
    }

    /// Breadth first: the shortest chain of moves that ends at a free slot; at most [`MOVES_SEEN_MAX`]
    /// buckets are looked at.
    //= TBL-INSERT-01
    #[cold]
    fn room_by_moves(
        &mut self,
        catalog: &Catalog,
        choices: Choices,
        tick: Tick,
        evicted: &mut Option<Evicted>,
    ) -> Option<At> {
        let mut search = Search::new(choices);
        let mut node = 0;
        while node < search.len && search.len < MOVES_SEEN_MAX {
            for place in 0..PLACES {
                let at = At { bucket: search.seen[node].bucket, place };
                let Choices(first, second) = catalog.choices(catalog.hash(self.store.key(at)));
                let other = if at.bucket == first { second } else { first };
                if search.on_path(node, other) {
                    continue;
                }
                if search.len == MOVES_SEEN_MAX {
                    break;
                }
                search.seen[search.len] = Seen { bucket: other, parent: node as u16, place: place as u8 };
                search.len += 1;
                if let Some(free) = self.store.free(other) {
                    self.looked_at(search.len);
                    return Some(self.walk_back(catalog, &search, node, place, free, tick));
                }
            }
            node += 1;
        }
        self.looked_at(search.len);
        // Nothing free in reach. Some entry in reach must go; then the chain that leads to it works.
        let (victim, victim_node) = self.oldest_of(catalog, &search, tick)?;
        let hash = catalog.hash(self.store.key(victim));
        let row = catalog.row(self.store.life(victim).table())?;
        *evicted = self.evicted(catalog, row, hash, victim, tick);
        self.counters.evicted_nearby += 1;
        if victim_node < ROOTS {
            return Some(victim);
        }
        let Seen { parent, place, .. } = search.seen[victim_node];
        Some(self.walk_back(catalog, &search, usize::from(parent), u32::from(place), victim, tick))
    }

    fn looked_at(&mut self, buckets: usize) {
        self.counters.widest_search = self.counters.widest_search.max(buckets as u32);
    }

    /// Moves entries along the chain, from its free end to one of the new key's own buckets.
    fn walk_back(
        &mut self,
        catalog: &Catalog,
        search: &Search,
        mut node: usize,
        mut place: u32,
        mut free: At,
        tick: Tick,
    ) -> At {
        loop {
            let from = At { bucket: search.seen[node].bucket, place };
            self.shift(catalog, from, free, tick);
            free = from;
            if node < ROOTS {
                return free;
            }
            place = u32::from(search.seen[node].place);
            node = usize::from(search.seen[node].parent);
        }
    }

    fn shift(&mut self, catalog: &Catalog, from: At, to: At, tick: Tick) {
        self.store.shift(from, to);
        self.counters.moves += 1;
        // The hand may have passed the new place and not the old one.
        match catalog.row(self.store.life(to).table()) {
            Some(row) => self.mark(self.life(row, to), to, tick),
            None => self.store.set(to, Flag::MayBeOver, true),
        }
        for (number, _) in &mut self.oldest {
            if *number == from.number() {
                *number = to.number();
            }
        }
    }

    /// Whether this catalog may evict the entry: not if it was written with a later one.
    fn may_go(&self, catalog: &Catalog, at: At) -> bool {
        self.store.is(at, Flag::Used)
            && self.is_evictable(at)
            && catalog.row(self.store.life(at).table()).is_some()
            && (self.store.is(at, Flag::Tombstone)
                || catalog.name_of(ServerSlot(self.store.value(at))).is_some())
    }

    fn oldest_of(&self, catalog: &Catalog, search: &Search, tick: Tick) -> Option<(At, usize)> {
        let mut best = None;
        let mut best_age = 0;
        for (node, seen) in search.seen[..search.len].iter().enumerate() {
            for place in 0..PLACES {
                let at = At { bucket: seen.bucket, place };
                let age = tick.age_of(self.store.life(at).idle);
                if (best.is_none() || age > best_age) && self.may_go(catalog, at) {
                    (best, best_age) = (Some((at, node)), age);
                }
            }
        }
        best
    }

    /// Evicts the entry of this partition that has been idle longest.
    //= TBL-EVICT-01
    fn evict_oldest(&mut self, catalog: &Catalog, seed: u32, tick: Tick) -> Option<Evicted> {
        for _ in 0..2 {
            while let Some((number, idle)) = self.oldest.pop() {
                let at = At::of_number(number);
                if self.may_go(catalog, at) && self.store.life(at).idle == idle {
                    let row = catalog.row(self.store.life(at).table())?;
                    let hash = catalog.hash(self.store.key(at));
                    return self.evicted(catalog, row, hash, at, tick);
                }
            }
            self.find_oldest(catalog, seed, tick);
        }
        None
    }

    /// Fills the list of the oldest, youngest first. Equally old ones are drawn by lot: a fixed order would
    /// always empty the same part of the partition, until no key of the other part had another place to go.
    #[cold]
    fn find_oldest(&mut self, catalog: &Catalog, seed: u32, tick: Tick) {
        let rank = |number: u32, idle| (tick.age_of(idle), (number ^ seed).wrapping_mul(0x9e37_79b1));
        self.oldest.clear();
        for number in 0..self.store.buckets() * PLACES {
            let at = At::of_number(number);
            let idle = self.store.life(at).idle;
            let full = self.oldest.len() == OLDEST_KEPT;
            if full && rank(number, idle) <= rank(self.oldest[0].0, self.oldest[0].1) {
                continue;
            }
            if !self.may_go(catalog, at) {
                continue;
            }
            let place = self.oldest.partition_point(|(n, i)| rank(*n, *i) < rank(number, idle));
            if full {
                self.oldest[..place].rotate_left(1);
                self.oldest[place - 1] = (number, idle);
            } else {
                self.oldest.insert(place, (number, idle));
            }
        }
    }
}
