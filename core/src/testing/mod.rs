//! Recorded inputs that reach every algorithm, persistence kind and server-down policy.
//!
//! [`scenario`] makes a pool and a history from a seed, [`run`] plays it and returns all decisions. The same
//! seed gives the same scenario, and the same scenario the same outcome, byte for byte, on every target: this
//! is what the parity and replay tests compare. [`coverage`] says what an outcome has reached.

mod generate;
mod history;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decide::{Decision, Input, decide};
use crate::id::{ServerId, ServerIndex, SiteId};
use crate::lb::{Name, Pool, PoolConfig, ServerState};
use crate::persist::{ClientKey, Found, KindName, SealedCookies, ServerDown, Stored, TableKey};
use crate::reason::KeyOutcome;
use crate::request::ClientAddr;
use crate::units::{Micros, Now, Seconds, UnixSeconds};

pub use generate::scenario;

/// A pool and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// What it was made from.
    pub seed: u64,
    /// The pool.
    pub config: PoolConfig,
    /// Which worker plays it, of how many.
    pub worker: (u16, u16),
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A connection is opened.
    Open(ServerIndex),
    /// A connection has ended.
    Close(ServerIndex),
    /// Other workers' connections.
    Elsewhere(ServerIndex, u32),
    /// A response arrived.
    Response(ServerIndex, Micros),
    /// Bytes were exchanged.
    Transferred(ServerIndex, u64, Now),
    /// The server's own report.
    Tasks(ServerIndex, u32),
    /// Health or administration.
    State(ServerIndex, ServerState, Now),
    /// Another site.
    Site(SiteId, bool),
    /// A request.
    Decide(Box<RecordedInput>),
}

/// An [`Input`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedInput {
    /// See [`Input::now`].
    pub now: Now,
    /// See [`Input::wall`].
    pub wall: UnixSeconds,
    /// See [`Input::seed`].
    pub seed: u64,
    /// See [`Input::ticket`].
    pub ticket: u64,
    /// See [`Input::client`].
    pub client: ClientAddr,
    /// See [`Input::hash_key`].
    pub hash_key: Option<Vec<u8>>,
    /// See [`Input::found`].
    pub found: RecordedFound,
    /// See [`Input::key`].
    pub key: Option<TableKey>,
    /// See [`Input::stored`].
    pub stored: Stored,
    /// See [`Input::tried`].
    pub tried: Vec<ServerIndex>,
    /// See [`Input::full`].
    pub full: Vec<ServerIndex>,
    /// See [`Input::queued`].
    pub queued: u32,
}

/// A [`Found`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedFound {
    /// See [`Found::Off`].
    Off,
    /// See [`Found::Absent`].
    Absent,
    /// See [`Found::TooLong`].
    TooLong,
    /// See [`Found::Sealed`]; the sealed bytes themselves are the host's.
    Sealed,
    /// See [`Found::Key`].
    Key([u8; 16]),
    /// See [`Found::Header`].
    Header(Vec<u8>),
    /// See [`Found::Carried`].
    Carried(ServerId),
    /// See [`Found::Script`].
    Script([u8; 16], Seconds),
}

impl RecordedInput {
    /// Borrows it as the input of a decision.
    pub fn as_input(&self) -> Input<'_> {
        Input {
            now: self.now,
            wall: self.wall,
            seed: self.seed,
            ticket: self.ticket,
            client: self.client,
            hash_key: self.hash_key.as_deref(),
            found: match &self.found {
                RecordedFound::Off => Found::Off,
                RecordedFound::Absent => Found::Absent,
                RecordedFound::TooLong => Found::TooLong,
                RecordedFound::Sealed => Found::Sealed(SealedCookies::one(b"sealed")),
                RecordedFound::Key(bytes) => Found::Key(ClientKey::Plain(*bytes)),
                RecordedFound::Header(value) => Found::Header(value),
                RecordedFound::Carried(id) => Found::Carried(*id),
                RecordedFound::Script(bytes, lifetime) => {
                    Found::Script { key: ClientKey::Plain(*bytes), lifetime: *lifetime }
                }
            },
            key: self.key,
            stored: self.stored,
            tried: &self.tried,
            full: &self.full,
            queued: self.queued,
        }
    }
}

/// All decisions of a scenario, or that its configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The decisions, in order.
    pub decisions: Vec<Decision>,
    /// Each server's open connections and weight at the end: a difference that no decision showed.
    pub end: Vec<(u32, u32)>,
}

impl Outcome {
    /// The bytes that are compared.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// Plays a scenario.
//= LB-REPLAY-01
pub fn run(scenario: &Scenario) -> Outcome {
    let Ok(pool) = Pool::new(scenario.config.clone()) else {
        return Outcome { decisions: Vec::new(), end: Vec::new() };
    };
    let mut pool = pool.for_worker(scenario.worker.0, scenario.worker.1);
    let mut decisions = Vec::new();
    for step in &scenario.steps {
        match step {
            Step::Decide(input) => decisions.push(decide(&mut pool, &input.as_input())),
            other => apply(&mut pool, other),
        }
    }
    let end = pool.indices().map(|at| (pool.open(at), pool.weight_milli(at))).collect();
    Outcome { decisions, end }
}

fn apply(pool: &mut Pool, step: &Step) {
    match step {
        Step::Open(at) => pool.connection_opened(*at),
        Step::Close(at) => pool.connection_closed(*at),
        Step::Elsewhere(at, open) => pool.set_open_elsewhere(*at, *open),
        Step::Response(at, time) => pool.response_time(*at, *time),
        Step::Transferred(at, bytes, now) => pool.transferred(*at, *bytes, *now),
        Step::Tasks(at, tasks) => pool.set_tasks(*at, *tasks),
        Step::State(at, state, now) => pool.set_state(*at, *state, *now),
        Step::Site(site, up) => pool.set_site(*site, *up),
        Step::Decide(_) => {}
    }
}

/// What one decision has reached: an algorithm, the kind that was looked at, the outcome of its key, and the
/// server-down policy that had to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Coverage {
    /// The pool's algorithm.
    pub algorithm: Name,
    /// The persistence kind; `None` for a pool without.
    pub kind: Option<KindName>,
    /// The policy of the pool's profile.
    pub policy: Option<ServerDown>,
    /// The policy was applied: the client's server (or site) was down.
    pub applied: bool,
}

/// What a scenario's outcome has reached.
pub fn coverage(scenario: &Scenario, outcome: &Outcome) -> BTreeSet<Coverage> {
    let policy = scenario.config.persistence.as_ref().map(|p| p.server_down);
    let reached = |d: &Decision| Coverage {
        algorithm: d.reason.algorithm,
        kind: d.reason.persistence,
        policy,
        applied: d.reason.policy.is_some() || d.reason.key == KeyOutcome::RemoteSiteDown,
    };
    outcome.decisions.iter().map(reached).collect()
}

/// Everything that the scenarios must have reached together: each algorithm without persistence, and each
/// algorithm × kind × policy, with the policy applied.
pub fn wanted() -> BTreeSet<Coverage> {
    let mut all = BTreeSet::new();
    for algorithm in crate::lb::ALGORITHMS {
        let algorithm = algorithm.name;
        all.insert(Coverage { algorithm, kind: None, policy: None, applied: false });
        for kind in crate::persist::KINDS {
            for policy in ServerDown::ALL {
                let (kind, policy) = (Some(kind.name), Some(policy));
                all.insert(Coverage { algorithm, kind, policy, applied: true });
            }
        }
    }
    all
}

/// How many decisions a scenario holds.
pub fn decisions(scenario: &Scenario) -> usize {
    scenario.steps.iter().filter(|s| matches!(s, Step::Decide(_))).count()
}
