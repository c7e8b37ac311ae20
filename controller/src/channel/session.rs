//! One engine's stream, from its Hello to its end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use forebay_wire::agreed;
use forebay_wire::proto::{
    Answer, Applied, FromEngine, Hello, Question as Asked, Sampling, ToEngine, Welcome, from_engine,
    to_engine,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Status, Streaming};

use super::logging::Logging;
use super::pushing::{Outcome, Pushing};
use super::{Channel, told, untaken};
use crate::counted::Upto;
use crate::engines::{MISSED_MAX, QUESTIONS_MAX, Question};
use crate::store::Store;

/// Bytes of the address of a Redis: the path of a socket has no more.
const REDIS_BYTES_MAX: usize = 4_096;

/// A stream that stands.
pub struct Session<S> {
    channel: Arc<Channel<S>>,
    uuid: String,
    number: u64,
    send: mpsc::Sender<Result<ToEngine, Status>>,
    questions: mpsc::Receiver<Question>,
    /// Questions that were sent, by their numbers.
    open: BTreeMap<u64, oneshot::Sender<Result<Value, String>>>,
    asked: u64,
    pushing: Pushing,
    wanted: watch::Receiver<u64>,
    logs: Logging,
    /// What of its samples lies on the disk, and who hears of it.
    upto: (watch::Sender<Upto>, watch::Receiver<Upto>),
}

/// Looks at what an engine says first, and answers it.
///
/// # Errors
/// Why it does not come in.
//= CHAN-VERSION-01
pub fn begin<S: Store + 'static>(
    channel: Arc<Channel<S>>,
    uuid: String,
    (from, door): (IpAddr, IpAddr),
    first: Option<FromEngine>,
    send: mpsc::Sender<Result<ToEngine, Status>>,
) -> Result<Session<S>, Status> {
    let Some(from_engine::Said::Hello(hello)) = first.and_then(|first| first.said) else {
        return Err(Status::invalid_argument("the stream does not begin with a Hello"));
    };
    let protocol = agreed((hello.protocol_min, hello.protocol_max), channel.speaks).map_err(|why| {
        tracing::warn!(
            event = "ENGINE_REFUSED",
            engine = uuid,
            why,
            "no version of the protocol is known to both"
        );
        Status::failed_precondition(why)
    })?;
    let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
    let now = Instant::now();
    let number = channel.app.engines.attach(&uuid, ask, now);
    let number =
        number.ok_or_else(|| Status::permission_denied("this engine was deleted from the Controller"))?;
    let heartbeat = channel.app.engines.heartbeat();
    let welcome = Welcome {
        protocol,
        heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
        controllers: channel.app.cluster.doors(),
        takes_logs: channel.app.logs.is_some(),
    };
    // The queue is new and empty.
    let _ = send.try_send(Ok(said(to_engine::Said::Welcome(welcome))));
    //= MET-SEND-04
    if channel.app.counted.series().is_some() {
        let _ = send.try_send(Ok(said(to_engine::Said::Sampling(sampling((0, 0))))));
    }
    let pushing = Pushing::new(hello.version, &hello.digest);
    tracing::info!(event = "ENGINE_CONNECTED", engine = uuid, %from, software = hello.software, protocol, version = hello.version, "an engine is there");
    note(&channel, &uuid, number, (from, door), hello);
    let mut wanted = channel.wanted.follow();
    wanted.mark_changed();
    let upto = watch::channel((0, 0));
    Ok(Session {
        channel,
        uuid,
        number,
        send,
        questions,
        open: BTreeMap::new(),
        asked: 0,
        pushing,
        wanted,
        logs: Logging::default(),
        upto,
    })
}

fn note<S: Store>(
    channel: &Channel<S>,
    uuid: &str,
    number: u64,
    (from, door): (IpAddr, IpAddr),
    hello: Hello,
) {
    let port = u16::try_from(hello.sync_port).ok().filter(|port| *port > 0);
    channel.app.engines.note(uuid, number, |engine| {
        engine.address = Some(told::address(&hello.sync_address).unwrap_or(from));
        engine.sync_port = port;
        engine.takes_mirror = hello.takes_mirror;
        engine.redis = Some(hello.redis_address).filter(|at| !at.is_empty() && at.len() <= REDIS_BYTES_MAX);
        engine.door = Some(door);
        engine.shares_addresses = hello.shares_addresses;
        engine.software = hello.software.chars().take(64).collect();
        engine.applied = hello.version;
        engine.configured = Some(Arc::default());
        // What came before is not known any more, until it says so.
        engine.sent = hello.version;
        engine.problems.clear();
        engine.machine = hello.machine.map(told::machine).unwrap_or_default();
    });
}

/// What an engine need not keep any more, with the clock by which its stretches end.
fn sampling((process, number): Upto) -> Sampling {
    Sampling { process, number, now_ms: crate::api::clock() }
}

fn said(said: to_engine::Said) -> ToEngine {
    ToEngine { said: Some(said) }
}

impl<S: Store + 'static> Session<S> {
    /// Goes on until either end has enough.
    pub async fn run(mut self, mut from: Streaming<FromEngine>) {
        let why = self.talk(&mut from).await;
        self.channel.app.engines.detach(&self.uuid, self.number);
        tracing::info!(event = "ENGINE_DISCONNECTED", engine = self.uuid, why, "an engine's stream ended");
        // Whoever hangs on it hears why.
        let _ = self.send.try_send(Err(Status::unavailable(why)));
    }

    async fn talk(&mut self, from: &mut Streaming<FromEngine>) -> String {
        let silence = self.channel.app.engines.heartbeat() * MISSED_MAX;
        let send = self.send.clone();
        // Before it tells of anything it is known what it may tell of.
        self.wanted.mark_unchanged();
        self.aim().await;
        let mut heard = tokio::time::Instant::now();
        loop {
            let due = self.pushing.due().map(tokio::time::Instant::from_std);
            let is_asking = self.open.len() < QUESTIONS_MAX;
            tokio::select! {
                message = from.message() => match message {
                    Ok(Some(message)) => {
                        heard = tokio::time::Instant::now();
                        if let Err(why) = self.hear(message) {
                            return why;
                        }
                    }
                    Ok(None) => return "the engine has ended it".to_owned(),
                    Err(status) => return format!("the connection ended: {}", status.message()),
                },
                changed = self.wanted.changed(), if self.pushing.is_idle() => {
                    if changed.is_err() {
                        return "the Controller stops".to_owned();
                    }
                    self.aim().await;
                }
                place = Arc::clone(&self.channel.snapshots).acquire_owned(), if self.pushing.wants_place() => {
                    match place {
                        Ok(place) => self.pushing.has_place(place),
                        Err(_) => return "the Controller stops".to_owned(),
                    }
                }
                room = send.reserve(), if self.pushing.can_send() => {
                    let Ok(room) = room else { return "the connection ended".to_owned() };
                    if let Some((part, last)) = self.pushing.next(Instant::now()) {
                        room.send(Ok(said(to_engine::Said::Part(part))));
                        if let Some(version) = last {
                            self.note(|engine| engine.sent = version);
                        }
                    }
                }
                question = self.questions.recv(), if is_asking => match question {
                    Some(question) => {
                        if !self.ask(question).await {
                            return "the connection ended".to_owned();
                        }
                    }
                    None => return "another stream of this engine took its place, or it was deleted".to_owned(),
                },
                taken = self.logs.taken() => {
                    if send.send(Ok(said(to_engine::Said::LogsTaken(taken)))).await.is_err() {
                        return "the connection ended".to_owned();
                    }
                }
                Ok(()) = self.upto.1.changed() => {
                    let upto = *self.upto.1.borrow_and_update();
                    if self.send.send(Ok(said(to_engine::Said::Sampling(sampling(upto))))).await.is_err() {
                        return "the connection ended".to_owned();
                    }
                }
                () = tokio::time::sleep_until(heard + silence) => {
                    return format!("nothing was heard for {} s", silence.as_secs());
                }
                () = async { tokio::time::sleep_until(due.unwrap_or(heard)).await }, if due.is_some() => {
                    return "the engine did not say what became of its configuration".to_owned();
                }
            }
        }
    }

    /// Compares what the engine is to have with what it has.
    async fn aim(&mut self) {
        match self.channel.wanted.of(&self.uuid).await {
            Ok(sections) => {
                //= CHAN-LEFT-01
                let left_out = self.channel.wanted.left_out(&self.uuid);
                let is_news = |engine: &crate::engines::Engine| {
                    !engine.unmade.is_empty() || engine.left_out != left_out
                };
                if self.channel.app.engines.get(&self.uuid).is_some_and(|engine| is_news(&engine)) {
                    self.note(|engine| {
                        engine.unmade.clear();
                        engine.left_out = left_out;
                    });
                }
                self.give(&sections);
                self.pushing.aim(&sections);
                self.note_what_it_works_by();
            }
            //= CHAN-CONFIG-03
            Err(problems) => {
                //= CHAN-MADE-02
                let unmade = told::problems(problems);
                // What is noted is told to all who follow the engines, who look again: the same once more is no news.
                let known = self.channel.app.engines.get(&self.uuid);
                if known.is_some_and(|known| known.unmade != unmade) {
                    tracing::warn!(
                        event = "ENGINE_CONFIG_UNMADE",
                        engine = self.uuid,
                        problems = unmade.join("; "),
                        "no configuration can be made for an engine: it goes on with what it has"
                    );
                    self.note(|engine| engine.unmade = unmade);
                }
            }
        }
    }

    /// Notes what the engine may tell of from now on.
    //= MET-GIVEN-01
    fn give(&self, sections: &Arc<forebay_wire::Sections>) {
        let app = &self.channel.app;
        let Some(mut given) = app.engines.get(&self.uuid).map(|engine| Arc::clone(&engine.given)) else {
            return;
        };
        if given.is_of(sections) {
            return;
        }
        let known = app.placement.known();
        let children = known.on(&self.uuid).into_iter().flat_map(|assigned| known.children(&assigned.vs));
        Arc::make_mut(&mut given).give(sections, children, Instant::now());
        self.note(|engine| engine.given = given);
    }

    fn note_what_it_works_by(&self) {
        let Some(by) = self.pushing.works_by() else { return };
        let engine = self.channel.app.engines.get(&self.uuid);
        let known = engine.as_ref().and_then(|engine| engine.configured.as_ref());
        if known.is_none_or(|known| !Arc::ptr_eq(known, by)) {
            let by = Arc::clone(by);
            self.note(|engine| engine.configured = Some(by));
        }
    }

    fn note(&self, with: impl FnOnce(&mut crate::engines::Engine)) {
        self.channel.app.engines.note(&self.uuid, self.number, with);
    }

    fn hear(&mut self, message: FromEngine) -> Result<(), String> {
        match message.said {
            Some(from_engine::Said::Report(report)) => {
                let before = untaken::told_by(&report).then(|| untaken::of(&self.channel.app, &self.uuid));
                self.note(|engine| {
                    engine.heard = Some(Instant::now());
                    told::report(engine, report);
                });
                if let Some(before) = before {
                    untaken::tell(&self.channel.app, &self.uuid, &before);
                }
            }
            Some(from_engine::Said::Applied(applied)) => return self.applied(applied),
            Some(from_engine::Said::Answer(answer)) => self.answer(answer),
            Some(from_engine::Said::Sample(sample)) => {
                let app = &self.channel.app;
                if let Some(engine) = app.engines.get(&self.uuid) {
                    app.counted.take(&app.objects.now(), &engine, sample, &self.upto.0);
                }
            }
            Some(from_engine::Said::Logs(logs)) => {
                self.note(|engine| engine.heard = Some(Instant::now()));
                return self.logs.take(&self.channel.app, &self.uuid, &logs);
            }
            Some(from_engine::Said::Hello(_)) => return Err("the engine said Hello twice".to_owned()),
            // A newer engine says something that this version does not know.
            None => self.note(|engine| engine.heard = Some(Instant::now())),
        }
        Ok(())
    }

    fn applied(&mut self, applied: Applied) -> Result<(), String> {
        let outcome = self.pushing.answered(&applied);
        let (problems, pending) = (told::problems(applied.problems), told::problems(applied.pending));
        match outcome {
            Outcome::Applied(version) => {
                tracing::info!(
                    event = "ENGINE_CONFIGURED",
                    engine = self.uuid,
                    version,
                    "an engine works by its configuration"
                );
                self.note_what_it_works_by();
                self.note(|engine| {
                    engine.heard = Some(Instant::now());
                    engine.applied = version;
                    engine.problems.clear();
                    engine.pending = pending;
                });
            }
            Outcome::Refused(version) => {
                tracing::error!(
                    event = "ENGINE_CONFIG_REFUSED",
                    engine = self.uuid,
                    version,
                    problems = problems.join("; "),
                    "an engine did not take its configuration: it goes on with the one before"
                );
                self.note(|engine| {
                    engine.heard = Some(Instant::now());
                    engine.problems = problems;
                });
            }
            Outcome::Again => self.wanted.mark_changed(),
            Outcome::Odd => return Err("the engine answers for a configuration that was not sent".to_owned()),
        }
        Ok(())
    }

    //= CHAN-ASK-01
    async fn ask(&mut self, question: Question) -> bool {
        // Who asked may have gone meanwhile.
        self.open.retain(|_, answer| !answer.is_closed());
        self.asked += 1;
        self.open.insert(self.asked, question.answer);
        let asked = Asked { number: self.asked, request: question.request.to_string() };
        self.send.send(Ok(said(to_engine::Said::Question(asked)))).await.is_ok()
    }

    fn answer(&mut self, answer: Answer) {
        let Some(to) = self.open.remove(&answer.number) else { return };
        let read = serde_json::from_str(&answer.answer)
            .map_err(|error| format!("the engine's answer is no JSON: {error}"));
        let _ = to.send(read);
    }
}
