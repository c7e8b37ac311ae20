//! A bounded row of events, and pages of several of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::store::{Pages, Refusal, Step, Store};

/// Events that are looked at together: at most some 4 MB.
const CHUNK: usize = 256;
/// The most writes that an event puts into a step: its own, and those that take older ones away.
pub const WRITES_MAX: usize = 3;

/// Whose share of a ring an event is, and of what in that share.
pub type Share = fn(&Map<String, Value>) -> (&str, &str);

/// Whose an event is, and of what.
type Whose = (Arc<str>, Arc<str>);

/// A bounded row of events.
#[derive(Debug)]
pub struct Ring {
    prefix: &'static str,
    most: usize,
    share: Share,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whose its events are, by their moments, microseconds since 1970; no two are equal.
    moments: BTreeMap<u64, Whose>,
    /// The same the other way round.
    shares: BTreeMap<Arc<str>, Own>,
    last: u64,
}

/// The events of one share.
#[derive(Debug, Default)]
struct Own {
    all: BTreeSet<u64>,
    /// By what they are of.
    things: BTreeMap<Arc<str>, BTreeSet<u64>>,
    /// How many each thing has, and its oldest one: the last of these is the next to go.
    order: BTreeSet<(usize, Reverse<u64>, Arc<str>)>,
}

impl Own {
    fn change(&mut self, thing: &Arc<str>, with: impl FnOnce(&mut BTreeSet<u64>)) {
        let own = self.things.entry(Arc::clone(thing)).or_default();
        if let Some(first) = own.first() {
            self.order.remove(&(own.len(), Reverse(*first), Arc::clone(thing)));
        }
        with(own);
        match own.first() {
            Some(first) => self.order.insert((own.len(), Reverse(*first), Arc::clone(thing))),
            None => self.things.remove(thing).is_some(),
        };
    }
}

impl State {
    fn put(&mut self, moment: u64, (whose, thing): (&str, &str)) {
        let whose = match self.shares.get_key_value(whose) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(whose),
        };
        let own = self.shares.entry(Arc::clone(&whose)).or_default();
        let thing = match own.things.get_key_value(thing) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(thing),
        };
        own.all.insert(moment);
        own.change(&thing, |moments| {
            moments.insert(moment);
        });
        self.moments.insert(moment, (whose, thing));
    }

    fn take(&mut self, moment: u64) -> Option<Whose> {
        let (whose, thing) = self.moments.remove(&moment)?;
        if let Some(own) = self.shares.get_mut(&whose) {
            own.all.remove(&moment);
            own.change(&thing, |moments| {
                moments.remove(&moment);
            });
            if own.all.is_empty() {
                self.shares.remove(&whose);
            }
        }
        Some((whose, thing))
    }

    /// The event that goes next: of whoever has most the oldest one of what has most there, and of several that have as many
    /// the oldest one.
    //= API-AUDIT-02
    //= EVENT-LIST-01
    fn next_to_go(&self) -> Option<u64> {
        let shares = self.shares.values();
        let largest = shares.max_by_key(|own| (own.all.len(), Reverse(own.all.first().copied())));
        largest?.order.last().map(|(_, Reverse(first), _)| *first)
    }
}

/// Our clock, in microseconds since 1970.
pub fn moment() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// What an event did to its ring, so that it can be taken back.
#[derive(Debug)]
pub struct Added {
    moment: u64,
    gone: Vec<(u64, Whose)>,
}

impl Ring {
    /// What the store has of it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(
        store: &impl Store,
        prefix: &'static str,
        most: usize,
        share: Share,
    ) -> Result<Self, Refusal> {
        let mut state = State::default();
        let mut pages = Pages::of(store, prefix);
        while let Some(page) = pages.next().await? {
            for (key, stored) in page {
                let Some(moment) = key.strip_prefix(prefix).and_then(|moment| moment.parse::<u64>().ok())
                else {
                    continue;
                };
                let event: Map<String, Value> = serde_json::from_slice(&stored.value).unwrap_or_default();
                state.put(moment, share(&event));
                state.last = moment;
            }
        }
        Ok(Ring { prefix, most, share, state: Mutex::new(state) })
    }

    fn key(&self, moment: u64) -> String {
        format!("{}{moment:020}", self.prefix)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event of this moment, microseconds since 1970, into a step, in [`WRITES_MAX`] writes at most; an older one
    /// goes with it where there are too many.
    //= API-AUDIT-02
    pub fn add(&self, mut step: Step, mut event: Map<String, Value>, now: u64) -> (Step, Added) {
        let mut state = self.state();
        let moment = now.max(state.last + 1);
        state.last = moment;
        state.put(moment, (self.share)(&event));
        let mut gone = Vec::new();
        // A ring that was longer once gets shorter by one with each event.
        while state.moments.len() > self.most && gone.len() + 1 < WRITES_MAX {
            let Some(old) = state.next_to_go() else { break };
            gone.extend(state.take(old).map(|whose| (old, whose)));
        }
        event.insert("report_timestamp".to_owned(), Value::from(moment));
        step = step.write(self.key(moment), Some(Value::Object(event).to_string().into_bytes()));
        for (moment, _) in &gone {
            step = step.write(self.key(*moment), None);
        }
        (step, Added { moment, gone })
    }

    /// The step was not made.
    pub fn undo(&self, added: Added) {
        let mut state = self.state();
        state.take(added.moment);
        for (moment, (whose, thing)) in added.gone {
            state.put(moment, (&whose, &thing));
        }
    }

    /// Says whether the store has the event.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has(&self, store: &impl Store, added: &Added) -> Result<bool, Refusal> {
        Ok(store.get(&self.key(added.moment)).await?.is_some())
    }

    /// Makes a step together with an event.
    ///
    /// # Errors
    /// Those of the store: then there is no event either.
    pub async fn commit(
        &self,
        store: &impl Store,
        step: Step,
        event: Map<String, Value>,
    ) -> Result<u64, Refusal> {
        let (step, added) = self.add(step, event, moment());
        let done = store.commit(step).await;
        if done.is_err() {
            self.undo(added);
        }
        done
    }

    /// Its events of these moments, which are in order, as the store has them; those that went meanwhile are not there.
    async fn read(&self, store: &impl Store, moments: &[u64]) -> Result<BTreeMap<u64, Vec<u8>>, Refusal> {
        let Some(first) = moments.first() else { return Ok(BTreeMap::new()) };
        let before = self.key(first.saturating_sub(1));
        let page = store.list(self.prefix, Some(&before), moments.len()).await?;
        let moment = |key: &str| key.strip_prefix(self.prefix)?.parse::<u64>().ok();
        Ok(page.entries.into_iter().filter_map(|(key, held)| Some((moment(&key)?, held.value))).collect())
    }
}

/// Which events are asked for.
pub struct Wanted<'w> {
    /// The first and the last moment, microseconds since 1970.
    pub between: (u64, u64),
    /// The oldest first, and not the newest.
    pub is_oldest_first: bool,
    /// Those that it takes.
    pub fits: &'w (dyn Fn(&Value) -> bool + Sync),
    /// So many of them are passed over.
    pub skip: usize,
    /// So many are given.
    pub most: usize,
}

/// How many events of these rings are wanted, and one page of them. No more than the page and a chunk is in memory, however
/// many there are.
///
/// # Errors
/// Those of the store.
//= API-AUDIT-03
pub async fn page(
    rings: &[&Ring],
    store: &impl Store,
    wanted: &Wanted<'_>,
) -> Result<(usize, Vec<Value>), Refusal> {
    let found = page_so_far(rings, store, wanted).await?;
    Ok((found.0, found.1))
}

/// The same, and the first moment of an event that the store does not have yet: it is being written.
///
/// # Errors
/// Those of the store.
pub async fn page_so_far(
    rings: &[&Ring],
    store: &impl Store,
    wanted: &Wanted<'_>,
) -> Result<(usize, Vec<Value>, Option<u64>), Refusal> {
    let mut all: Vec<(u64, usize)> = Vec::new();
    for (at, ring) in rings.iter().enumerate() {
        let (first, last) = wanted.between;
        if first <= last {
            all.extend(ring.state().moments.range(first..=last).map(|(moment, _)| (*moment, at)));
        }
    }
    all.sort_unstable();
    if !wanted.is_oldest_first {
        all.reverse();
    }
    let (mut count, mut page, mut first) = (0, Vec::new(), None::<u64>);
    for chunk in all.chunks(CHUNK) {
        let mut held = Vec::with_capacity(rings.len());
        for (at, ring) in rings.iter().enumerate() {
            let mut moments: Vec<u64> =
                chunk.iter().filter(|(_, of)| *of == at).map(|(moment, _)| *moment).collect();
            moments.sort_unstable();
            held.push(ring.read(store, &moments).await?);
        }
        for (moment, at) in chunk {
            let Some(bytes) = held[*at].remove(moment) else {
                first = Some(first.map_or(*moment, |first| first.min(*moment)));
                continue;
            };
            let Ok(event) = serde_json::from_slice::<Value>(&bytes) else { continue };
            if (wanted.fits)(&event) {
                if count >= wanted.skip && page.len() < wanted.most {
                    page.push(event);
                }
                count += 1;
            }
        }
    }
    Ok((count, page, first))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::{of_tenant, of_user};
    use crate::store::Embedded;
    use crate::store::suite::Folder;

    fn event(number: u64) -> Map<String, Value> {
        json!({"number": number}).as_object().cloned().expect("an object")
    }

    fn numbers(events: &[Value]) -> Vec<u64> {
        events.iter().filter_map(|event| event["number"].as_u64()).collect()
    }

    async fn of(rings: &[&Ring], store: &Embedded, skip: usize, most: usize) -> (usize, Vec<Value>) {
        let fits = |event: &Value| event["number"].as_u64().is_some();
        let wanted = Wanted { between: (0, u64::MAX), is_oldest_first: false, fits: &fits, skip, most };
        page(rings, store, &wanted).await.expect("readable")
    }

    //= test API-AUDIT-02
    #[tokio::test]
    async fn a_ring_keeps_the_newest_and_what_was_refused_is_no_event() {
        let folder = Folder::new("ring");
        let store = Embedded::open(&folder.0.join("store")).expect("new");
        let ring = Ring::open(&store, "audit/", 300, of_user).await.expect("readable");
        for number in 0..340 {
            let step = Step::default().write("x", Some(vec![1]));
            ring.commit(&store, step, event(number)).await.expect("room");
        }
        let step = Step::default().demand("x", None).write("y", Some(vec![1]));
        ring.commit(&store, step, event(9999)).await.expect_err("a demand that is not met");
        let all = |ring: Ring| {
            let store = store.clone();
            async move { numbers(&of(&[&ring], &store, 0, 1000).await.1) }
        };
        let wanted: Vec<u64> = (40..340).rev().collect();
        assert_eq!(all(ring).await, wanted, "the newest first, and no more than the most");
        let again = Ring::open(&store, "audit/", 300, of_user).await.expect("readable");
        assert_eq!(all(again).await, wanted, "and the same when it is opened again");
        assert_eq!(store.list("audit/", None, 1000).await.expect("readable").entries.len(), 300);
        let shorter = Ring::open(&store, "audit/", 10, of_user).await.expect("readable");
        for number in 340..700 {
            shorter.commit(&store, Step::default(), event(number)).await.expect("room");
        }
        assert_eq!(store.list("audit/", None, 1000).await.expect("readable").entries.len(), 10);
    }

    //= test API-AUDIT-02
    #[tokio::test]
    async fn who_writes_much_pushes_out_the_own_events_and_not_those_of_others() {
        let folder = Folder::new("shares");
        let store = Embedded::open(&folder.0.join("store")).expect("new");
        let open = || Ring::open(&store, "audit/", 100, of_user);
        let by = |number: u64, user: &str, status: &str| {
            let details = json!({"config_user_login_details": {"status": status}});
            let event = json!({"number": number, "user": user, "event_details": details});
            event.as_object().cloned().expect("an object")
        };
        let own = async |ring: &Ring, user: &str| {
            let (_, found) = of(&[ring], &store, 0, 1000).await;
            numbers(&found.into_iter().filter(|event| event["user"] == user).collect::<Vec<_>>())
        };
        let mut ring = open().await.expect("readable");
        for number in 0..20 {
            ring.commit(&store, Step::default(), by(number, "ann", "SYSERR_SUCCESS")).await.expect("room");
        }
        for number in 0..300 {
            // What whose is, is known after a new start as well.
            if number == 150 {
                ring = open().await.expect("readable");
            }
            ring.commit(&store, Step::default(), by(number, "bob", "SYSERR_SUCCESS")).await.expect("room");
        }
        assert_eq!(own(&ring, "ann").await.len(), 20);
        assert_eq!(own(&ring, "bob").await, (220..300).rev().collect::<Vec<u64>>());
        // Who does not come in has no share under each name that was tried.
        for number in 0..300 {
            let stranger = by(number, &format!("u{number}"), "SYSERR_FAILURE");
            ring.commit(&store, Step::default(), stranger).await.expect("room");
        }
        assert_eq!(own(&ring, "ann").await, (0..20).rev().collect::<Vec<u64>>());
        assert_eq!(own(&ring, "bob").await.len(), 40, "what is beyond an equal share goes");
        assert_eq!(store.list("audit/", None, 1000).await.expect("readable").entries.len(), 100);
        // A step that is refused takes nothing.
        let refused = Step::default().demand("x", Some(7));
        ring.commit(&store, refused, by(300, "bob", "")).await.expect_err("a demand that is not met");
        assert_eq!((own(&ring, "ann").await.len(), own(&ring, "bob").await.len()), (20, 40));
    }

    //= test EVENT-LIST-01
    //= test EVENT-STATE-02
    #[tokio::test]
    async fn of_what_has_most_in_a_share_the_oldest_one_goes() {
        let folder = Folder::new("things");
        let store = Embedded::open(&folder.0.join("store")).expect("new");
        let open = || Ring::open(&store, "stood/", 100, of_tenant);
        let of_thing = |number: u64, tenant: &str, uuid: &str, server: &str| {
            let details = json!({"se_hm_pool_details": {"server": {"description": server}}});
            let mut event = json!({"number": number, "tenant": tenant, "obj_uuid": uuid});
            if !server.is_empty() {
                event["event_details"] = details;
            }
            event.as_object().cloned().expect("an object")
        };
        let mut ring = open().await.expect("readable");
        let quiet = ["pool-1", "pool-2", "virtualservice-1"];
        for (number, uuid) in (0..).zip(quiet) {
            ring.commit(&store, Step::default(), of_thing(number, "a", uuid, "")).await.expect("room");
        }
        ring.commit(&store, Step::default(), of_thing(3, "b", "pool-9", "")).await.expect("room");
        for number in 4..400 {
            if number == 200 {
                ring = open().await.expect("readable");
            }
            let flaps = of_thing(number, "a", "pool-1", "10.0.0.1:80");
            ring.commit(&store, Step::default(), flaps).await.expect("room");
        }
        let kept = numbers(&of(&[&ring], &store, 0, 1000).await.1);
        assert_eq!(kept.len(), 100);
        assert_eq!(kept[96..], [3, 2, 1, 0], "a server that flaps pushes out what is told of it");
        // Many that are lost together push out those of their own tenant.
        for number in 400..700 {
            let lost = of_thing(number, "a", "pool-1", &format!("10.0.0.2:{number}"));
            ring.commit(&store, Step::default(), lost).await.expect("room");
        }
        let kept = numbers(&of(&[&ring], &store, 0, 1000).await.1);
        assert_eq!(kept.last(), Some(&3), "and nobody else's");
        assert_eq!(kept.len(), 100);
    }

    //= test API-AUDIT-03
    #[tokio::test]
    async fn rings_are_read_as_one_page_by_page() {
        let folder = Folder::new("event-pages");
        let store = Embedded::open(&folder.0.join("store")).expect("new");
        let (a, b) = (Ring::open(&store, "a/", 1000, of_user), Ring::open(&store, "b/", 1000, of_user));
        let (a, b) = (a.await.expect("readable"), b.await.expect("readable"));
        for number in 0..700 {
            // The same moments in both at times.
            let ring = if number % 3 == 0 { &a } else { &b };
            let (step, _) = ring.add(Step::default(), event(number), 1000 + number / 2 * 2);
            store.commit(step).await.expect("room");
        }
        let rings = [&a, &b];
        let (count, whole) = of(&rings, &store, 0, usize::MAX).await;
        assert_eq!((count, whole.len()), (700, 700));
        let moment = |event: &Value| event["report_timestamp"].as_u64();
        assert!(whole.is_sorted_by_key(|event| std::cmp::Reverse(moment(event))), "the newest first");
        let mut pieces = Vec::new();
        for skip in (0..=700).step_by(150) {
            let (count, part) = of(&rings, &store, skip, 150).await;
            assert_eq!(count, 700);
            pieces.extend(part);
        }
        assert!(pieces == whole, "pages are parts of the whole");
        let fits = |event: &Value| event["number"].as_u64().is_some_and(|number| number % 7 == 0);
        let (first, last) = (moment(&whole[600]).expect("one"), moment(&whole[10]).expect("one"));
        let wanted = Wanted { between: (first, last), is_oldest_first: true, fits: &fits, skip: 2, most: 5 };
        let (count, part) = page(&rings, &store, &wanted).await.expect("readable");
        let mut same: Vec<Value> = whole[..].iter().rev().cloned().collect();
        same.retain(|event| fits(event) && (Some(first)..=Some(last)).contains(&moment(event)));
        assert_eq!(count, same.len());
        assert_eq!(part, same[2..7]);
        let none = Wanted { between: (9, 3), skip: 0, ..wanted };
        assert_eq!(page(&rings, &store, &none).await.expect("readable").0, 0);
    }
}
