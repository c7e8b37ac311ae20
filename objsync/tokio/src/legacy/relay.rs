//! The distributor: between it and each engine's Redis are a connection that reads and one that writes.
//!
//! It is the central place of this mode, and knows nothing that it could not read again: when it starts, and whenever notes
//! may have been lost, it copies all entries of an engine to the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_core::table::EngineSlot;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::conn::Place;
use super::limits::QUEUE_BYTES_MAX;
use super::names::{Kind, Names, Session};
use super::{source, target};

/// Whose tables are distributed.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The group's name.
    pub group: String,
    /// The engines' Redises.
    pub engines: Vec<(EngineSlot, Place)>,
}

/// Distributes until the future is dropped.
pub async fn relay(relay: Relay) {
    let hub = Arc::new(Hub {
        names: Names::of(&relay.group),
        group: relay.group,
        desks: relay.engines.iter().map(|(slot, place)| (slot.get(), Desk::of(*slot, place))).collect(),
    });
    let mut tasks = JoinSet::new();
    for slot in hub.desks.keys().copied() {
        tasks.spawn(source::run(Arc::clone(&hub), slot));
        tasks.spawn(target::run(Arc::clone(&hub), slot));
    }
    while let Some(ended) = tasks.join_next().await {
        // They end by a panic alone: a distributor that goes on without one of them loses notes and says nothing.
        if let Err(why) = ended
            && let Ok(panic) = why.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// All engines.
pub(super) struct Hub {
    pub names: Names,
    pub group: String,
    pub desks: BTreeMap<u8, Arc<Desk>>,
}

/// What is known of one engine, and what waits for it.
pub(super) struct Desk {
    pub slot: EngineSlot,
    pub place: Place,
    /// Its session, while it lives.
    session: Mutex<Option<Session>>,
    /// Who wants all its entries: one job for each engine at most.
    wanted: Mutex<Vec<Arc<Job>>>,
    queue: Mutex<Queue>,
    pub more: Notify,
}

/// What is to be written to an inbox.
pub(super) struct Letter {
    pub kind: Kind,
    pub from: EngineSlot,
    pub session: Session,
    pub body: Arc<[u8]>,
}

#[derive(Default)]
struct Queue {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// Some were thrown away.
    lost: bool,
    /// How often some were.
    thrown: u64,
}

/// Somebody wants all entries of others. When the last of these has told them, that is said; a Redis that cannot be read has
/// told nothing.
pub(super) struct Job {
    pub to: Arc<Desk>,
    /// The session of the engine that is told when it is through; nothing: nobody is.
    session: Option<Session>,
    /// How many have not told theirs yet.
    left: AtomicUsize,
    /// [`Queue::thrown`] when it began: what was thrown away since then may be what one of them told.
    thrown: u64,
}

impl Job {
    fn new(to: &Arc<Desk>, session: Option<Session>, others: usize) -> Arc<Self> {
        let thrown = held(&to.queue).thrown;
        Arc::new(Self { to: Arc::clone(to), session, left: AtomicUsize::new(others), thrown })
    }

    /// One of the others has told all its entries.
    //= LEGACY-JOIN-01
    pub fn told(&self) {
        let is_last = self.left.fetch_sub(1, Ordering::AcqRel) == 1;
        if let Some(session) = self.session.filter(|_| is_last) {
            let body = Arc::from(session.bytes());
            let letter = Letter { kind: Kind::Complete, from: self.to.slot, session, body };
            self.to.push_if(letter, Some(self.thrown));
        }
    }
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    fn of(slot: EngineSlot, place: &Place) -> Arc<Self> {
        Arc::new(Self {
            slot,
            place: place.clone(),
            session: Mutex::default(),
            wanted: Mutex::default(),
            queue: Mutex::default(),
            more: Notify::new(),
        })
    }

    /// The engine's session, while it lives.
    pub fn session(&self) -> Option<Session> {
        *held(&self.session)
    }

    /// It is this one now; gives the one before.
    pub fn set_session(&self, session: Option<Session>) -> Option<Session> {
        std::mem::replace(&mut *held(&self.session), session)
    }

    /// Puts a letter into the queue. Nothing is kept for an engine that does not live: it is told all when it does.
    //= LEGACY-BOUND-02
    pub fn push(&self, letter: Letter) {
        self.push_if(letter, None);
    }

    /// As [`Desk::push`]; with a count of [`Queue::thrown`] only if nothing was thrown away since.
    fn push_if(&self, letter: Letter, thrown: Option<u64>) {
        if self.session().is_none() {
            return;
        }
        let mut queue = held(&self.queue);
        if thrown.is_some_and(|thrown| thrown != queue.thrown) {
            return;
        }
        if queue.bytes + letter.body.len() > QUEUE_BYTES_MAX {
            queue.letters.clear();
            (queue.bytes, queue.lost) = (0, true);
            queue.thrown += 1;
        } else if !queue.lost {
            queue.bytes += letter.body.len();
            queue.letters.push_back(letter);
        }
        drop(queue);
        self.more.notify_one();
    }

    /// Whether copies may be added: what has just changed has most of the room.
    pub fn has_room(&self) -> bool {
        held(&self.queue).bytes < QUEUE_BYTES_MAX / 4
    }

    /// The next letters; `true`: some were thrown away before, and all is to be told anew.
    pub fn take(&self, letters: usize) -> (Vec<Letter>, bool) {
        let mut queue = held(&self.queue);
        let count = queue.letters.len().min(letters);
        let taken: Vec<Letter> = queue.letters.drain(..count).collect();
        queue.bytes -= taken.iter().map(|letter| letter.body.len()).sum::<usize>();
        (taken, std::mem::take(&mut queue.lost))
    }

    /// Throws away what waits.
    pub fn clear(&self) {
        let mut queue = held(&self.queue);
        *queue = Queue { thrown: queue.thrown + 1, ..Queue::default() };
    }

    /// Somebody wants all entries of this engine. It waits for as long as they cannot be read.
    fn want(&self, job: Arc<Job>) {
        let mut wanted = held(&self.wanted);
        if job.session.is_some() {
            wanted.retain(|other| other.to.slot != job.to.slot);
        } else if wanted.iter().any(|other| other.to.slot == job.to.slot) {
            return;
        }
        wanted.push(job);
    }

    /// Who has wanted all entries of this engine for the longest time.
    pub fn job(&self) -> Option<Arc<Job>> {
        let mut wanted = held(&self.wanted);
        (!wanted.is_empty()).then(|| wanted.remove(0))
    }

    /// One that could not be told all wants it still, unless it has asked anew.
    pub fn put_back(&self, job: Arc<Job>) {
        let mut wanted = held(&self.wanted);
        if job.session.is_some() && !wanted.iter().any(|o| o.session.is_some() && o.to.slot == job.to.slot) {
            wanted.retain(|other| other.to.slot != job.to.slot);
            wanted.push(job);
        }
    }
}

impl Hub {
    /// Gives a letter to all but its sender.
    pub fn tell(&self, kind: Kind, from: EngineSlot, session: Session, body: &Arc<[u8]>) {
        for desk in self.desks.values().filter(|desk| desk.slot != from) {
            desk.push(Letter { kind, from, session, body: Arc::clone(body) });
        }
    }

    /// One engine is to be told all entries of all others, and then that these are all.
    pub fn copy_to(&self, slot: u8) {
        let Some(to) = self.desks.get(&slot) else { return };
        let Some(session) = to.session() else { return };
        let others = || self.desks.values().filter(|desk| desk.slot != to.slot);
        // One more, so that it is through where there are no others, and not before all are asked.
        let job = Job::new(to, Some(session), others().count() + 1);
        others().for_each(|desk| desk.want(Arc::clone(&job)));
        job.told();
    }

    /// All others are to be told all entries of one engine.
    pub fn copy_from(&self, slot: u8) {
        let Some(from) = self.desks.get(&slot) else { return };
        for to in self.desks.values().filter(|desk| desk.slot != from.slot) {
            from.want(Job::new(to, None, 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(from: EngineSlot, bytes: usize) -> Letter {
        Letter { kind: Kind::Entries, from, session: Session::default(), body: Arc::from(vec![0; bytes]) }
    }

    //= test LEGACY-BOUND-02
    #[test]
    fn what_is_too_much_for_an_inbox_is_thrown_away_and_that_is_said_once() {
        let [me, from] = [0, 1].map(|n| EngineSlot::new(n).expect("below 64"));
        let desk = Desk::of(me, &"127.0.0.1:1".parse().expect("an address"));
        desk.push(letter(from, 8));
        assert!(desk.take(9).0.is_empty(), "nothing is kept for an engine that does not live");
        desk.set_session(Some(Session::default()));
        let fit = QUEUE_BYTES_MAX / 65_536;
        (0..fit).for_each(|_| desk.push(letter(from, 65_536)));
        assert!(!desk.has_room(), "copies wait");
        assert_eq!((desk.take(1).0.len(), desk.take(0).1), (1, false));
        (0..2).for_each(|_| desk.push(letter(from, 65_536)));
        // Until it is told anew nothing is added that would be told with it.
        desk.push(letter(from, 1));
        let (letters, lost) = desk.take(usize::MAX);
        assert_eq!((letters.len(), lost, desk.has_room()), (0, true, true));
        desk.push(letter(from, 1));
        let (letters, lost) = desk.take(usize::MAX);
        assert_eq!((letters.len(), lost), (1, false));
    }

    //= test LEGACY-JOIN-01
    #[test]
    fn an_engine_hears_that_it_has_been_told_all_when_the_last_of_the_others_has() {
        let place: Place = "127.0.0.1:1".parse().expect("an address");
        let slots = [0, 1, 2].map(|n| EngineSlot::new(n).expect("below 64"));
        let desks = slots.map(|slot| (slot.get(), Desk::of(slot, &place))).into();
        let hub = Hub { names: Names::of("shop"), group: "shop".to_owned(), desks };
        let desk = |n: u8| &hub.desks[&n];
        desk(0).set_session(Some(Session { boot: 7, number: 1 }));
        hub.copy_to(0);
        let told = || desk(0).take(9).0.iter().map(|letter| letter.kind).collect::<Vec<_>>();
        let job = |n: u8| desk(n).job().expect("it is asked");
        job(1).told();
        assert_eq!(told(), [], "the other one has not told yet");
        // Its Redis is gone in the middle: it is asked again when it is back.
        let under_way = job(2);
        desk(2).put_back(under_way);
        assert_eq!(told(), []);
        hub.copy_from(2);
        job(2).told();
        assert_eq!(told(), [Kind::Complete]);
        assert!(desk(2).job().is_none_or(|job| job.to.slot != desk(0).slot), "one is enough");
        // Who asks again is told once, and only by those that were asked then.
        hub.copy_to(0);
        job(1).told();
        hub.copy_to(0);
        job(2).told();
        assert_eq!(told(), [], "the first one has not told since");
        let last = job(1);
        desk(0).clear();
        last.told();
        assert_eq!(told(), [], "what one has told was thrown away");
    }
}
