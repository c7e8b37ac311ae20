//! The decision: persistence, then the server-down policy, then the algorithm, then what to remember.

use crate::effect::Effects;
use crate::hash;
use crate::id::{ServerIndex, SiteId};
use crate::lb::{self, FailAction, Pool};
use crate::persist::{self, Found, ServerDown, Stored, TableKey};
use crate::reason::{ChosenBy, KeyOutcome, PolicyApplied, Reason, SkipWhy, names};
use crate::request::ClientAddr;
use crate::units::{Now, UnixSeconds};

/// Everything one decision may depend on, beside the pool.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The moment of the decision.
    pub now: Now,
    /// Wall-clock time: what is stored at clients carries it.
    pub wall: UnixSeconds,
    /// 64 random bits of the host.
    pub seed: u64,
    /// The next number of the counter that all workers share; read only by round robin per service engine.
    pub ticket: u64,
    /// The client.
    pub client: ClientAddr,
    /// The key of a consistent hash ([`lb::hash_key`]); the client's address if `None`.
    pub hash_key: Option<&'a [u8]>,
    /// What [`persist::find`] found.
    pub found: Found<'a>,
    /// The table key of what was found ([`Found::table_key`]).
    pub key: Option<TableKey>,
    /// What the host opened or looked up for it.
    pub stored: Stored,
    /// Servers that have failed this request already.
    pub tried: &'a [ServerIndex],
    /// Servers on which the host got no place under a limit shared with other workers.
    pub full: &'a [ServerIndex],
    /// Requests of this pool that wait in the queue now.
    pub queued: u32,
}

impl Input<'_> {
    /// The input of a client without persistence at moment 0; the start for struct update syntax.
    pub const fn new(client: ClientAddr) -> Self {
        Self {
            now: Now(0),
            wall: UnixSeconds(0),
            seed: 0,
            ticket: 0,
            client,
            hash_key: None,
            found: Found::Off,
            key: None,
            stored: Stored::Nothing,
            tried: &[],
            full: &[],
            queued: 0,
        }
    }
}

/// What to do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// Send it to this server.
    Server(ServerIndex),
    /// Send it to the pool of this site.
    Site(SiteId),
    /// Let it wait; ask again when a connection of the pool closes.
    Queue,
    /// Close the client's connection.
    Close,
    /// Answer with this status. 301, 302, 307 and 308 redirect to the pool's [`FailAction`].
    Reject {
        /// HTTP status.
        status: u16,
        /// Why.
        why: Refusal,
    },
}

/// Why no server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Refusal {
    /// No server may serve: all are down, disabled or of weight 0.
    NoServerUp,
    /// All servers that are up have failed this request.
    AllTried,
    /// All servers that are up are at their connection limit.
    AllAtLimit,
    /// All are at their limit, and the queue is full.
    QueueFull,
    /// The client's server is down and its profile says to abort.
    PersistentServerDown,
    /// The client's server has failed this request, and its profile forbids another.
    PersistentServerFailed,
    /// The client's server is at its limit, and its profile forbids another.
    PersistentServerAtLimit,
}

names!(Refusal {
    NoServerUp => "no_server_up", AllTried => "all_tried", AllAtLimit => "all_at_limit",
    QueueFull => "queue_full", PersistentServerDown => "persistent_server_down",
    PersistentServerFailed => "persistent_server_failed",
    PersistentServerAtLimit => "persistent_server_at_limit",
});

/// The answer: what to do, what to remember, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// What to remember.
    pub effects: Effects,
    /// Why.
    pub reason: Reason,
}

/// Decides where one request goes.
///
/// The pool changes only in what the algorithm remembers (its position); connections are counted by
/// [`Pool::connection_opened`]. If the server fails the request, decide again with it among
/// [`Input::tried`]; only the last decision's effects are carried out. Nothing is allocated. Time grows with the number of servers for all
/// algorithms but consistent hash and random.
//= LB-ORDER-01
//= LB-ORDER-02
pub fn decide(pool: &mut Pool, input: &Input<'_>) -> Decision {
    pool.refresh(input.now);
    let attempt = u8::try_from(input.tried.len()).unwrap_or(u8::MAX).saturating_add(1);
    let mut reason = Reason::new(pool.algorithm_name(), attempt);
    let gate = lb::Gate::new(input.tried, input.full);

    let bond = persist::resolve(pool, input);
    reason.persistence = bond.kind;
    reason.key = bond.outcome;
    reason.site = bond.site;
    if let (KeyOutcome::RemoteSite, Some(site)) = (bond.outcome, bond.site) {
        reason.chosen_by = ChosenBy::Site;
        return Decision { verdict: Verdict::Site(site), effects: Effects::NONE, reason };
    }

    let mut moved = false;
    if let Some(server) = bond.server {
        match gate.refuses_bound(pool, server) {
            None => {
                reason.chosen_by = ChosenBy::Persistence;
                let effects = persist::renew(pool, input, &bond, server);
                return Decision { verdict: Verdict::Server(server), effects, reason };
            }
            Some(why) => {
                let policy = pool.server_down();
                //= PERS-DOWN-07
                reason.policy = Some(PolicyApplied { policy, server, why });
                match policy {
                    ServerDown::PickNewServer => moved = true,
                    //= PERS-DOWN-06
                    ServerDown::AbortConnection => {
                        reason.refusal = Some(Refusal::PersistentServerDown);
                        return Decision { verdict: Verdict::Close, effects: Effects::NONE, reason };
                    }
                    ServerDown::ContinuePersistentServer => {
                        return stay(pool, input, server, why, reason);
                    }
                }
            }
        }
    }

    let picked = lb::pick(pool, input, &gate);
    if gate.may_skip(pool) {
        gate.note_skipped(pool, &mut reason);
    }
    match picked {
        Some(server) => {
            reason.chosen_by = ChosenBy::Algorithm;
            let effects = persist::bind(pool, input, &bond, server, moved);
            Decision { verdict: Verdict::Server(server), effects, reason }
        }
        None => {
            let (verdict, why) = nobody(pool, input, &gate);
            reason.refusal = why;
            Decision { verdict, effects: Effects::NONE, reason }
        }
    }
}

/// The policy "continue": the client stays with its server although that counts as down. Only a server that
/// has no room or has just failed this request is not asked.
//= PERS-DOWN-04
fn stay(pool: &Pool, input: &Input<'_>, server: ServerIndex, why: SkipWhy, mut reason: Reason) -> Decision {
    let at_limit = pool.at_limit(server) || input.full.contains(&server);
    let verdict = if why == SkipWhy::Tried {
        Err(Refusal::PersistentServerFailed)
    } else if at_limit {
        //= PERS-DOWN-05
        match pool.queue_has_room(input.queued) {
            Some(true) => Ok(Verdict::Queue),
            Some(false) => Err(Refusal::QueueFull),
            None => Err(Refusal::PersistentServerAtLimit),
        }
    } else {
        Ok(Verdict::Server(server))
    };
    match verdict {
        Ok(Verdict::Server(server)) => {
            reason.chosen_by = ChosenBy::Persistence;
            // The entry expires in its own time: it is not renewed while its server is down.
            Decision { verdict: Verdict::Server(server), effects: Effects::NONE, reason }
        }
        Ok(verdict) => Decision { verdict, effects: Effects::NONE, reason },
        Err(why) => {
            reason.refusal = Some(why);
            Decision { verdict: Verdict::Reject { status: 503, why }, effects: Effects::NONE, reason }
        }
    }
}

/// No server may serve: wait, or refuse as the pool says.
//= LB-QUEUE-01
//= LB-FAIL-01
fn nobody(pool: &Pool, input: &Input<'_>, gate: &lb::Gate<'_>) -> (Verdict, Option<Refusal>) {
    let why = gate.why_nobody(pool);
    if why == Refusal::AllAtLimit {
        return match pool.queue_has_room(input.queued) {
            Some(true) => (Verdict::Queue, None),
            Some(false) => {
                (Verdict::Reject { status: 503, why: Refusal::QueueFull }, Some(Refusal::QueueFull))
            }
            None => (Verdict::Reject { status: 503, why }, Some(why)),
        };
    }
    if why == Refusal::AllTried {
        return (Verdict::Reject { status: 503, why }, Some(why));
    }
    let verdict = match pool.fail_action() {
        FailAction::CloseConnection => Verdict::Close,
        FailAction::LocalResponse { status, .. } | FailAction::Redirect { status, .. } => {
            Verdict::Reject { status: *status, why }
        }
    };
    (verdict, Some(why))
}

/// The key of the consistent hash for this input, hashed.
pub(crate) fn hash_of(input: &Input<'_>) -> u64 {
    match input.hash_key {
        Some(key) => hash::fixed64(key),
        None => hash::fixed64(&crate::id::ip_bytes(input.client.ip)),
    }
}
