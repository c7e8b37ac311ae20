//! The engines that the Controller knows: who they are, which are there, what they tell.
//!
//! Who an engine is stands in its object (`serviceengine`), its slot beside it in the store. What it tells is kept in memory
//! only: it tells all of it again with its next stream.

mod given;
mod members;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

pub use given::Given;
pub use members::{Members, SLOTS, group_name, secret};
pub use state::{Engine, HEARTBEAT, Interface, MISSED_MAX, Machine, Peer, Server, Service, Untaken};

use crate::objects::{Catalogue, Held};

/// Questions that wait for one engine: people and programs ask, and it answers each within its time.
pub const QUESTIONS_MAX: usize = 16;

/// A question to an engine, and where the answer goes.
pub struct Question {
    /// A request as its admin socket takes it.
    pub request: Value,
    /// Where the answer goes; nobody waits any more if it is closed.
    pub answer: oneshot::Sender<Result<Value, String>>,
}

/// The engines.
pub struct Engines {
    known: RwLock<BTreeMap<String, Known>>,
    told: watch::Sender<u64>,
    /// They report this often.
    heartbeat: Duration,
}

impl Default for Engines {
    fn default() -> Self {
        Engines::heard_every(HEARTBEAT)
    }
}

struct Known {
    engine: Arc<Engine>,
    /// The stream that is open.
    stream: Option<Stream>,
}

struct Stream {
    number: u64,
    questions: mpsc::Sender<Question>,
}

impl Engines {
    /// None yet; they are to report this often.
    pub fn heard_every(heartbeat: Duration) -> Self {
        Engines { known: RwLock::default(), told: watch::Sender::default(), heartbeat }
    }

    /// How often they are to report.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// All of them, in the order of their uuids.
    pub fn all(&self) -> Vec<Arc<Engine>> {
        self.read(|known| known.values().map(|known| Arc::clone(&known.engine)).collect())
    }

    /// One of them.
    pub fn get(&self, uuid: &str) -> Option<Arc<Engine>> {
        self.read(|known| known.get(uuid).map(|known| Arc::clone(&known.engine)))
    }

    /// Those of a group.
    pub fn of_group(&self, group: &str) -> Vec<Arc<Engine>> {
        self.read(|known| {
            let engines = known.values().map(|known| &known.engine);
            engines.filter(|engine| engine.group == group).cloned().collect()
        })
    }

    /// Tells of every change of what is known. That an engine was not heard of for too long is no change: whoever needs to
    /// know asks [`Engine::is_up`] from time to time.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Learns from the objects which engines there are. Gives the uuids of those that are not there any more.
    pub fn learn(&self, objects: &Catalogue, members: &Members) -> Vec<String> {
        let mut gone = Vec::new();
        self.write(|known| {
            gone.extend(known.keys().filter(|uuid| objects.get(KIND, uuid).is_none()).cloned());
            for uuid in &gone {
                known.remove(uuid);
            }
            let mut is_new = !gone.is_empty();
            for held in objects.all(KIND) {
                let entry = known.entry(held.uuid.clone()).or_insert_with(|| {
                    let engine = Engine { patience: self.heartbeat * MISSED_MAX, ..Engine::default() };
                    Known { engine: Arc::new(engine), stream: None }
                });
                let told = described(held, members, &entry.engine);
                if told != *entry.engine {
                    entry.engine = Arc::new(told);
                    is_new = true;
                }
            }
            is_new
        });
        gone
    }

    /// An engine has this place in its group, if that is still its group.
    pub fn seated(&self, uuid: &str, group: &str, slot: u8) {
        self.write(|known| {
            let known = known.get_mut(uuid).filter(|known| known.engine.group == group);
            let Some(known) = known.filter(|known| known.engine.slot != Some(slot)) else { return false };
            Arc::make_mut(&mut known.engine).slot = Some(slot);
            true
        });
    }

    /// A stream of this engine is open, and takes the place of the one before; gives its number. `None`: there is no such
    /// engine.
    pub fn attach(&self, uuid: &str, questions: mpsc::Sender<Question>, now: Instant) -> Option<u64> {
        let mut number = None;
        self.write(|known| {
            let Some(known) = known.get_mut(uuid) else { return false };
            let next = known.stream.as_ref().map_or(1, |stream| stream.number + 1);
            number = Some(next);
            known.stream = Some(Stream { number: next, questions });
            let engine = Arc::make_mut(&mut known.engine);
            engine.is_connected = true;
            engine.since = Some(now);
            engine.heard = Some(now);
            true
        });
        number
    }

    /// The stream of this number has ended.
    pub fn detach(&self, uuid: &str, number: u64) {
        self.write(|known| {
            let Some(known) = known.get_mut(uuid) else { return false };
            if known.stream.as_ref().is_none_or(|stream| stream.number != number) {
                return false;
            }
            // The number counts on: a stream that ends late must not end its successor.
            if let Some(stream) = &mut known.stream {
                stream.questions = mpsc::channel(1).0;
            }
            Arc::make_mut(&mut known.engine).is_connected = false;
            true
        });
    }

    /// Says whether the stream of this number is the engine's.
    pub fn is_current(&self, uuid: &str, number: u64) -> bool {
        self.read(|known| {
            let stream = known.get(uuid).and_then(|known| known.stream.as_ref());
            stream.is_some_and(|stream| stream.number == number)
        })
    }

    /// Notes what an engine has told by the stream of this number; `false`: that is not its stream any more.
    pub fn note(&self, uuid: &str, number: u64, with: impl FnOnce(&mut Engine)) -> bool {
        let mut is_ours = false;
        self.write(|known| {
            let Some(known) = known.get_mut(uuid) else { return false };
            is_ours = known.stream.as_ref().is_some_and(|stream| stream.number == number);
            if is_ours {
                with(Arc::make_mut(&mut known.engine));
            }
            is_ours
        });
        is_ours
    }

    /// An engine has said that nothing is open there any more of the services with these names; its next report may know better.
    pub fn emptied(&self, uuid: &str, is: impl Fn(&str) -> bool) {
        self.write(|known| {
            let Some(known) = known.get_mut(uuid) else { return false };
            let services = &mut Arc::make_mut(&mut known.engine).services;
            services.iter_mut().filter(|(name, _)| is(name)).for_each(|(_, service)| service.connections = 0);
            true
        });
    }

    /// Asks an engine, as its admin socket is asked, and gives what it answers.
    ///
    /// # Errors
    /// It is not connected, has too many questions, or does not answer in time; in words.
    //= CHAN-ASK-01
    pub async fn ask(&self, uuid: &str, request: Value, patience: Duration) -> Result<Value, String> {
        let questions = self.read(|known| {
            let known = known.get(uuid).filter(|known| known.engine.is_connected)?;
            known.stream.as_ref().map(|stream| stream.questions.clone())
        });
        let questions = questions.ok_or("the engine is not connected")?;
        let (answer, answered) = oneshot::channel();
        questions
            .try_send(Question { request, answer })
            .map_err(|_| format!("the engine has {QUESTIONS_MAX} questions to answer: ask again later"))?;
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the connection with the engine ended before it answered".to_owned()),
            Err(_) => Err(format!("the engine has not answered within {patience:?}")),
        }
    }

    fn read<T>(&self, with: impl FnOnce(&BTreeMap<String, Known>) -> T) -> T {
        with(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `with` says whether something has changed.
    fn write(&self, with: impl FnOnce(&mut BTreeMap<String, Known>) -> bool) {
        let changed = with(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        if changed {
            self.told.send_modify(|told| *told += 1);
        }
    }
}

/// The kind of the objects that engines are.
pub const KIND: &str = "serviceengine";

/// The engine as its object says, and what else is known of it.
fn described(held: &Held, members: &Members, before: &Engine) -> Engine {
    let object = held.object();
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("se_group_ref").rsplit('/').next().unwrap_or_default().to_owned();
    Engine {
        uuid: held.uuid.clone(),
        name: held.name.clone(),
        cloud: held.cloud.clone(),
        tenant: held.tenant.clone(),
        enable_state: text("enable_state").to_owned(),
        slot: members.slot(&held.uuid, &group),
        group,
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine_object(uuid: &str, group: &str) -> Held {
        let bytes = format!(
            "{{\"name\":\"{uuid}\",\"tenant_ref\":\"/api/tenant/admin\",\"cloud_ref\":\"/api/cloud/c\",\
             \"enable_state\":\"SE_STATE_ENABLED\",\"se_group_ref\":\"/api/serviceenginegroup/{group}\"}}"
        );
        Held::read(&format!("object/serviceengine/{uuid}"), bytes.into_bytes(), 1).expect("an engine")
    }

    fn two() -> (Engines, Catalogue) {
        let mut objects = Catalogue::default();
        objects.put(engine_object("se-1", "g"));
        objects.put(engine_object("se-2", "h"));
        let engines = Engines::default();
        assert!(engines.learn(&objects, &Members::default()).is_empty());
        (engines, objects)
    }

    #[test]
    fn engines_are_those_that_have_objects_and_what_they_told_stays_with_them() {
        let (engines, mut objects) = two();
        let mut follows = engines.follow();
        assert_eq!(engines.all().len(), 2);
        assert_eq!(engines.of_group("g")[0].uuid, "se-1");
        let number = engines.attach("se-1", mpsc::channel(1).0, Instant::now()).expect("it is there");
        assert!(engines.note("se-1", number, |engine| engine.applied = 7));
        assert!(follows.has_changed().expect("it lives"));
        follows.mark_unchanged();
        assert!(engines.learn(&objects, &Members::default()).is_empty());
        assert!(!follows.has_changed().expect("it lives"), "nothing is new");
        objects.put(engine_object("se-1", "h"));
        engines.learn(&objects, &Members::default());
        let engine = engines.get("se-1").expect("it is there");
        assert_eq!((engine.group.as_str(), engine.applied, engine.is_connected), ("h", 7, true));
        objects.remove(&engine_object("se-1", "h").id());
        assert_eq!(engines.learn(&objects, &Members::default()), ["se-1"]);
        assert!(!engines.note("se-1", number, |_| {}), "who is not there has no stream");
        assert_eq!(engines.attach("se-1", mpsc::channel(1).0, Instant::now()), None);
    }

    #[test]
    fn an_engine_has_its_place_in_the_group_that_it_is_in() {
        let (engines, _) = two();
        let follows = engines.follow();
        engines.seated("se-1", "h", 7);
        assert!(!follows.has_changed().expect("it lives"), "that group is another one's");
        engines.seated("se-1", "g", 7);
        assert!(follows.has_changed().expect("it lives"));
        assert_eq!(engines.get("se-1").expect("it is there").slot, Some(7));
    }

    #[test]
    fn a_stream_that_ends_late_does_not_end_its_successor() {
        let (engines, _) = two();
        let now = Instant::now();
        let first = engines.attach("se-1", mpsc::channel(1).0, now).expect("it is there");
        let second = engines.attach("se-1", mpsc::channel(1).0, now).expect("it is there");
        assert!(!engines.note("se-1", first, |engine| engine.applied = 1), "it is not its stream any more");
        engines.detach("se-1", first);
        assert!(engines.get("se-1").expect("it is there").is_connected);
        engines.detach("se-1", second);
        assert!(!engines.get("se-1").expect("it is there").is_connected);
        assert_ne!(engines.attach("se-1", mpsc::channel(1).0, now), Some(second), "no number comes twice");
    }

    //= test CHAN-HEART-01
    #[test]
    fn an_engine_that_was_not_heard_of_for_six_heartbeats_is_gone() {
        let (engines, _) = two();
        let now = Instant::now();
        assert!(!engines.get("se-1").expect("it is there").is_up(now), "it was never there");
        let number = engines.attach("se-1", mpsc::channel(1).0, now).expect("it is there");
        engines.detach("se-1", number);
        let engine = engines.get("se-1").expect("it is there");
        assert!(engine.is_up(now + HEARTBEAT * MISSED_MAX));
        assert!(!engine.is_up(now + HEARTBEAT * MISSED_MAX + Duration::from_millis(1)));
    }

    //= test CHAN-ASK-01
    #[tokio::test]
    async fn a_question_is_answered_or_refused_in_time() {
        let (engines, _) = two();
        let patience = Duration::from_millis(200);
        let ask = || engines.ask("se-1", Value::from("?"), patience);
        assert!(ask().await.expect_err("nobody is there").contains("not connected"));
        let (questions, mut asked) = mpsc::channel(1);
        let number = engines.attach("se-1", questions, Instant::now()).expect("it is there");
        let (answer, ()) = tokio::join!(ask(), async {
            let question = asked.recv().await.expect("a question");
            let _ = question.answer.send(Ok(Value::from("!")));
        });
        assert_eq!(answer, Ok(Value::from("!")));
        let (first, second) = tokio::join!(ask(), ask());
        assert!(first.expect_err("nobody answers").contains("within 200ms"));
        assert!(second.expect_err("there is no room").contains("later"));
        engines.detach("se-1", number);
        assert!(ask().await.expect_err("it is gone").contains("not connected"));
    }
}
