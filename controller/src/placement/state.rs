//! What is kept of a placement: which engines have a service, and how far each has come.

use std::collections::BTreeMap;

use forebay_core::place::Refusal;
use serde::{Deserialize, Serialize};

/// How far an engine has come with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It is to take the configuration, and lets nobody in.
    Configuring,
    /// It has the configuration, and its tables are not complete yet.
    Completing,
    /// It is to let clients in.
    Opening,
    /// It serves, or stands by.
    Serving,
    /// It lets nobody in any more, and what is open there may end.
    Leaving {
        /// Until then, milliseconds since 1970.
        until: u64,
    },
}

/// An engine that has a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its uuid.
    pub engine: String,
    /// How far it has come.
    pub phase: Phase,
    /// Since when it is there, milliseconds since 1970.
    pub since: u64,
}

/// What people asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// An engine more.
    ScaleOut,
    /// An engine less.
    ScaleIn,
    /// Another engine in the place of one.
    Migrate,
}

impl Action {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Action::ScaleOut => "SCALE_OUT",
            Action::ScaleIn => "SCALE_IN",
            Action::Migrate => "MIGRATE_SCALEOUT",
        }
    }

    fn states(self) -> &'static str {
        match self {
            Action::ScaleOut => "SCALEOUT",
            Action::ScaleIn => "SCALEIN",
            Action::Migrate => "MIGRATE",
        }
    }

    /// The state of one that has ended.
    pub fn ended(self, is_done: bool) -> String {
        format!("{}_{}", self.states(), if is_done { "SUCCESS" } else { "ERROR" })
    }

    /// The event that tells of its end.
    pub fn event(self, is_done: bool) -> &'static str {
        match (self, is_done) {
            (Action::ScaleOut, true) => "VS_SCALEOUT_COMPLETE",
            (Action::ScaleOut, false) => "VS_SCALEOUT_FAILED",
            (Action::ScaleIn, true) => "VS_SCALEIN_COMPLETE",
            (Action::ScaleIn, false) => "VS_SCALEIN_FAILED",
            (Action::Migrate, true) => "VS_MIGRATE_COMPLETE",
            (Action::Migrate, false) => "VS_MIGRATE_FAILED",
        }
    }
}

/// What is being done because people asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// What.
    pub action: Action,
    /// The engine that comes, or the one that goes.
    pub engine: String,
    /// The engine whose place another one takes.
    pub from: Option<String>,
    /// When it began, milliseconds since 1970.
    pub began: u64,
}

/// How what people asked for stands, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What.
    pub action: Action,
    /// Its state, by the name that it has in the API.
    pub state: String,
    /// The engine that comes or goes.
    pub engine: String,
    /// Why it failed, or waits.
    pub reason: Vec<String>,
    /// When it began, milliseconds since 1970.
    pub began: u64,
    /// When it ended; `None`: it goes on.
    pub ended: Option<u64>,
}

/// That an engine could not have a service as its machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheld {
    /// In its words.
    pub why: String,
    /// How often.
    pub times: u32,
    /// When it was last said or, where it is not said any more, since when; milliseconds since 1970.
    pub at: u64,
    /// It has the service, and says so now.
    pub is_said: bool,
}

impl Unheld {
    /// As the core takes it.
    pub fn said(&self) -> Refusal {
        Refusal { times: self.times, at_ms: self.at, is_said: self.is_said }
    }
}

/// A placement: what moves as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// How many engines more (or fewer) than the least people have asked for.
    pub factor: i32,
    /// The least at which that was counted; 0: never.
    pub least: u16,
    /// Its engines, the primary first.
    pub members: Vec<Member>,
    /// How many it should have.
    pub wanted: u16,
    /// What is being done.
    pub work: Option<Work>,
    /// What was done last.
    pub last: Option<Status>,
    /// It has as many engines that serve as it should have.
    pub is_whole: bool,
    /// Why it has fewer engines than it should have; empty: it has them.
    pub short: Vec<String>,
    /// The engines that could not have it as their machines are, by uuid.
    #[serde(default)]
    pub refused: BTreeMap<String, Unheld>,
    /// Since when each of its virtual services has been placed, by uuid, milliseconds since 1970.
    #[serde(default)]
    pub since: BTreeMap<String, u64>,
    /// When its first engine was chosen, milliseconds since 1970; 0: never.
    pub first: u64,
    /// When any of this changed last, milliseconds since 1970.
    pub changed: u64,
}

impl Unit {
    /// The engine's part.
    pub fn member(&self, engine: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.engine == engine)
    }

    /// This engine has it, and says that it cannot.
    pub fn is_refused_by(&self, engine: &str) -> bool {
        self.refused.get(engine).is_some_and(|one| one.is_said)
    }

    /// One that has it says that it cannot, and another one could not have it either: nobody asked for what is tried now.
    pub fn is_tried_again(&self) -> bool {
        self.work.is_none()
            && self.refused.values().any(|one| !one.is_said || one.times > 1)
            && self.staying().any(|member| self.is_refused_by(&member.engine))
    }

    /// How many serve.
    pub fn serving(&self) -> usize {
        self.members.iter().filter(|member| member.phase == Phase::Serving).count()
    }

    /// Engines that are not on their way out.
    pub fn staying(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !matches!(member.phase, Phase::Leaving { .. }))
    }

    /// How what is being done stands; what was done last if nothing is.
    //= SCALE-STATE-01
    pub fn status(&self) -> Option<Status> {
        let Some(work) = &self.work else { return self.last.clone() };
        let phase = self.member(&work.engine).map(|member| member.phase);
        let leaving = work.from.as_ref().and_then(|from| self.member(from)).map(|member| member.phase);
        let state = match (phase, leaving) {
            (Some(Phase::Configuring), _) => "SCALEOUT_AWAITING_SE_PROGRAMMING",
            (Some(Phase::Completing), _) => "SCALEOUT_WAIT_FOR_SE_READY",
            (Some(Phase::Opening), _) => "SCALEOUT_AWAITING_SE_READY",
            (Some(Phase::Leaving { .. }), _) | (_, Some(Phase::Leaving { .. })) => {
                "SCALEIN_AWAITING_SE_PRE_RELEASE"
            }
            (Some(Phase::Serving), Some(_)) => "SCALEOUT_SUCCESS",
            _ => "SCALEOUT_PROCESSING",
        };
        let state = match work.action {
            Action::Migrate => format!("MIGRATE_{state}"),
            _ => state.to_owned(),
        };
        Some(Status {
            action: work.action,
            state,
            engine: work.engine.clone(),
            reason: Vec::new(),
            began: work.began,
            ended: None,
        })
    }
}
