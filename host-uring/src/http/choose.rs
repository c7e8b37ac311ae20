//! Asking the decision core for a server, and carrying out what it wants remembered.

use std::net::IpAddr;

use forebay_core::id::ServerIndex;
use forebay_core::lb::{Algorithm, hash_key};
use forebay_core::persist::{self, Found, Kind, Learned, Stored};
use forebay_core::request::RequestView;
use forebay_core::table::Key;
use forebay_core::{Decision, Effect, Input, KeyOutcome, Verdict};
use forebay_http::Known;
use forebay_http::h1::ResponseHead;

use crate::metrics::PersistenceCounters;
use crate::persist::Remembered;
use crate::rt::{Now, Rt};
use crate::worker::{Generation, Receipt, Route, Worker};

/// What is asked beside the request itself.
pub struct Circumstances<'a> {
    /// Servers that have failed this request.
    pub tried: &'a [ServerIndex],
    /// Limited servers that had no place a moment ago.
    pub full: &'a [ServerIndex],
    /// This request waits in the pool's queue already.
    pub queued: bool,
    /// The string that a rule hashes by.
    pub hash_key: Option<&'a [u8]>,
    /// The answer may wait until another engine has a new entry.
    pub waits: bool,
}

/// What a decision leaves behind beside the server.
#[derive(Debug, Default)]
pub struct Memory {
    /// The value of our `Set-Cookie`; empty: there is none.
    pub set_cookie: Vec<u8>,
    /// What the answer waits for.
    pub receipt: Option<Receipt>,
}

/// Keeps the table entry of a client's address alive.
pub trait Holds {
    /// As long as it is connected, or its request runs.
    fn hold(&self, key: Key, who: IpAddr, now: Now);

    /// Says whether it speaks TLS, so that cookies go over TLS only.
    fn is_secured(&self) -> bool {
        false
    }
}

/// Decides where a request or a connection goes, and carries out the decision's effects; the value of our `Set-Cookie`, and
/// what the answer has to wait for, are left in `memory`.
//= SE-PERSIST-03
pub fn choose<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    client: &impl Holds,
    route: &Route,
    view: &impl RequestView,
    circumstances: &Circumstances<'_>,
    memory: &mut Memory,
) -> Decision {
    let now = worker.rt.now();
    memory.set_cookie.clear();
    route.follow_states(&plan.tree, now);
    // A second connection of the client may bind it in the moment between look-up and write: the
    // first write holds, and the next look finds it.
    for _ in 0..2 {
        let asked = ask(worker, plan, route, view, circumstances, now);
        if let Some(done) =
            carry_out(worker, plan, client, route, view, asked, circumstances.waits, now, memory)
        {
            return done;
        }
    }
    let asked = ask(worker, plan, route, view, circumstances, now);
    asked.decision
}

struct Asked {
    decision: Decision,
    key: Option<Key>,
    bound: bool,
}

fn ask<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    route: &Route,
    view: &impl RequestView,
    circumstances: &Circumstances<'_>,
    now: Now,
) -> Asked {
    let mut pool = route.pool.borrow_mut();
    let shared = &plan.pool_of(route).shared;
    //= LB-LC-03
    if route.servers.first().is_some_and(|server| server.limit != 0) {
        for (at, server) in route.servers.iter().enumerate() {
            let at = ServerIndex(at as u16);
            let elsewhere = server.shared.open().saturating_sub(pool.open(at));
            pool.set_open_elsewhere(at, elsewhere);
        }
    }
    let found = pool.profile().map_or(Found::Off, |profile| persist::find(profile, view));
    let Remembered { table_key, key, stored } =
        plan.store.remembered(route.binding.as_ref(), route.table, &found, now);
    let by = match &pool.config().algorithm {
        Algorithm::ConsistentHash { by, .. } => Some(hash_key(by, view, circumstances.hash_key)),
        _ => None,
    };
    let per_engine = matches!(pool.config().algorithm, Algorithm::RoundRobin { per_se: true });
    let input = Input {
        now,
        wall: worker.unix_seconds(now),
        seed: worker.random(),
        ticket: if per_engine { plan.store.ticket(route.pool_index) } else { 0 },
        client: view.client(),
        hash_key: by.as_ref().map(|key| key.bytes()),
        found,
        key: table_key,
        stored,
        tried: circumstances.tried,
        full: circumstances.full,
        queued: shared.queued().saturating_sub(u32::from(circumstances.queued)),
    };
    let decision = forebay_core::decide(&mut pool, &input);
    Asked { decision, key, bound: matches!(stored, Stored::Entry { .. }) }
}

/// Carries the effects out; `None` if another connection was faster and the decision must be made anew.
#[expect(clippy::too_many_arguments, reason = "the end of `choose`, with what that was given")]
fn carry_out<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    client: &impl Holds,
    route: &Route,
    view: &impl RequestView,
    asked: Asked,
    waits: bool,
    now: Now,
    memory: &mut Memory,
) -> Option<Decision> {
    let Asked { decision, key, bound } = asked;
    let store = &plan.store;
    for effect in decision.effects.iter() {
        match effect {
            Effect::SetCookie(payload) => {
                let mut sealed = Vec::new();
                std::mem::swap(&mut sealed, &mut *worker.sealed.borrow_mut());
                sealed.clear();
                if let (Some(binding), Some(Kind::HttpCookie(cookie))) =
                    (&route.binding, route.pool.borrow().profile().map(|profile| &profile.kind))
                    && store.sealer().seal(binding, payload, &mut sealed)
                {
                    cookie.write_set_cookie(&sealed, client.is_secured(), &mut memory.set_cookie);
                }
                *worker.sealed.borrow_mut() = sealed;
            }
            Effect::Write { server, .. } => {
                if let Some(key) = &key
                    && let Some(holds) =
                        worker.bind(plan, key, *server, bound, now, waits.then_some(&mut memory.receipt))
                    && holds != *server
                {
                    return None;
                }
            }
            Effect::Touch { .. } => {
                if let Some(key) = &key {
                    store.touch(key, now);
                    if waits {
                        worker.follow_bound(plan, key, now, &mut memory.receipt);
                    }
                }
            }
            // A ticket has left before a server is chosen, so it carries no server here; site cookies come with global
            // services, which no stand-alone configuration has.
            Effect::SetSiteCookie(_) | Effect::SealTicket { .. } => {}
        }
    }
    if route.counts_connections
        && let (Some(key), Verdict::Server(_)) = (key, decision.verdict)
    {
        client.hold(key, view.client().ip, now);
    }
    count(&route.counts.persistence, &decision);
    Some(decision)
}

fn count(counters: &PersistenceCounters, decision: &Decision) {
    if decision.reason.policy.is_some() {
        counters.server_down.inc();
        return;
    }
    match decision.reason.key {
        KeyOutcome::Hit | KeyOutcome::LocalSite | KeyOutcome::RemoteSite => counters.hits.inc(),
        KeyOutcome::Absent
        | KeyOutcome::Miss
        | KeyOutcome::Expired
        | KeyOutcome::NotAMember
        | KeyOutcome::RemoteSiteDown => counters.misses.inc(),
        KeyOutcome::Invalid | KeyOutcome::Foreign | KeyOutcome::TooLong => counters.invalid.inc(),
        KeyOutcome::Off => {}
    }
}

/// Learns from an answer which session is on which server; what the answer has to wait for is left in `receipt`.
//= SE-PERSIST-02
pub fn learn<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    route: &Route,
    server: ServerIndex,
    bytes: &[u8],
    response: &ResponseHead,
    receipt: &mut Option<Receipt>,
) {
    let Some(table) = route.table else { return };
    let pool = route.pool.borrow();
    let Some(profile) = pool.profile() else { return };
    if !matches!(profile.kind, Kind::AppCookie(_)) {
        return;
    }
    let now = worker.rt.now();
    for value in response.fields.known(bytes, Known::SetCookie) {
        match persist::learn_from_response(profile, value, worker.unix_seconds(now)) {
            Learned::Nothing => {}
            Learned::Key { key, .. } => {
                let key = plan.store.key(table, plan.store.table_key(key));
                worker.bind(plan, &key, pool.id_of(server), true, now, Some(&mut *receipt));
            }
            Learned::Ended(key) => {
                let key = plan.store.key(table, plan.store.table_key(key));
                plan.store.remove(&key, now);
            }
        }
    }
}
