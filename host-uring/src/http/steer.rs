//! Before a server is chosen: the service's rules, and which pool.

use forebay_core::id::PoolId;
use forebay_core::lb::Bound;
use forebay_core::persist;
use forebay_core::policy::{Edit, End, On, Outcome, Rewritten};
use forebay_core::request::RequestView;
use forebay_http::h1::write::FieldEdit;

use super::client::Client;
use super::limits::EDITS_INLINE;
use super::view::View;
use crate::config::{self, GroupIndex, Target};
use crate::persist::bound_to;
use crate::rt::Rt;
use crate::worker::{Generation, Route, Service, Worker};

/// What the rules want.
pub struct Steer<'p> {
    /// What they say of the request; `None`: the service has none.
    pub outcome: Option<Outcome<'p>>,
    /// A new path and query stands in the working set's text.
    pub rewritten: bool,
}

impl Steer<'_> {
    /// How the rules end the request, if they do.
    pub fn end(&self) -> Option<End<'_>> {
        self.outcome.as_ref().map(|outcome| outcome.end).filter(|end| *end != End::Proceed)
    }

    /// The place of the rule that ends the request, if one does.
    pub fn ended_by(&self) -> Option<usize> {
        self.outcome.as_ref().and_then(Outcome::ended_by)
    }

    /// The place of the last rule that edits fields of the answer, if one does.
    //= OBS-LOG-10
    pub fn answered_by(&self, service: &config::Service) -> Option<usize> {
        if service.answer_rules.is_empty() {
            return None;
        }
        self.outcome.as_ref()?.rules().filter_map(|name| service.answer_rules.get(name).copied()).last()
    }

    /// Says whether a rule decides about a field of a message.
    pub fn edits(&self, on: On, name: &[u8]) -> bool {
        let edits = self.outcome.iter().flat_map(Outcome::edits).filter_map(|edit| field_edit(edit, on));
        let mut names = edits.map(|edit| match edit {
            FieldEdit::Remove { name } | FieldEdit::Set { name, .. } | FieldEdit::Add { name, .. } => name,
        });
        names.any(|edited| edited.eq_ignore_ascii_case(name))
    }

    /// Calls `with` with the rules' edits of one message, `more` behind them.
    pub fn with_edits<'e, T>(
        &'e self,
        on: On,
        more: impl IntoIterator<Item = FieldEdit<'e>>,
        with: impl FnOnce(&[FieldEdit<'_>]) -> T,
    ) -> T {
        let edits = self.outcome.iter().flat_map(Outcome::edits).filter_map(|edit| field_edit(edit, on));
        let mut inline = [FieldEdit::Remove { name: b"" }; EDITS_INLINE];
        let mut count = 0;
        let mut all = edits.chain(more);
        for edit in all.by_ref().take(EDITS_INLINE) {
            inline[count] = edit;
            count += 1;
        }
        match all.next() {
            None => with(&inline[..count]),
            // Rarely more than a handful; these pay for a list.
            Some(next) => {
                let list: Vec<FieldEdit<'_>> = inline.into_iter().chain([next]).chain(all).collect();
                with(&list)
            }
        }
    }
}

fn field_edit(edit: &Edit, on: On) -> Option<FieldEdit<'_>> {
    let (of, edit) = match edit {
        Edit::Add(of, name, value) => (of, FieldEdit::Add { name: name.as_bytes(), value: value.as_bytes() }),
        Edit::Set(of, name, value) => (of, FieldEdit::Set { name: name.as_bytes(), value: value.as_bytes() }),
        Edit::Remove(of, name) => (of, FieldEdit::Remove { name: name.as_bytes() }),
    };
    (*of == on).then_some(edit)
}

/// Asks the service's rules; a rewritten target is left in `text`.
//= SE-RULES-01
pub fn steer<'p, R: Rt>(
    client: &Client<R>,
    plan: &'p Generation,
    view: &View<'_>,
    text: &mut Vec<u8>,
) -> Steer<'p> {
    let policy = &plan.tree.service(client.service.get()).policy;
    if policy.is_empty() {
        return Steer { outcome: None, rewritten: false };
    }
    let mut state = client.service(plan).policy_state.borrow_mut();
    let outcome = policy.evaluate(&mut state, view, client.worker.rt.now());
    text.clear();
    let rewritten = outcome.rewrite(view, text) == Rewritten::Yes;
    Steer { outcome: Some(outcome), rewritten }
}

/// The route of a request: the pool or group that a rule chose, else the service's own. `None` if no pool of
/// a group can serve.
pub fn pick_route<R: Rt>(
    client: &Client<R>,
    plan: &Generation,
    steer: &Steer<'_>,
    view: &View<'_>,
) -> Option<usize> {
    let worker = &*client.worker;
    let service = client.service(plan);
    let chosen = steer.outcome.as_ref().map(|outcome| (outcome.pool, outcome.group));
    let group = match chosen {
        Some((Some(pool), _)) => return route_of(plan, service, pool),
        Some((None, Some(group))) => plan.tree.group_by_id(group)?,
        // The target's own pools stand first.
        _ => return plain_route(worker, plan, service, view),
    };
    pick_member(worker, plan, service, group, view)
}

/// The route of what no rule was asked about.
pub(crate) fn plain_route<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    service: &Service,
    view: &impl RequestView,
) -> Option<usize> {
    match plan.tree.service(service.index).target {
        Target::Pool(_) => service.routes.first().copied(),
        Target::Group(group) => pick_member(worker, plan, service, group, view),
    }
}

/// The route of what was sent to one of the pools and groups of a service.
pub(crate) fn route_to<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    service: &Service,
    target: Target,
    view: &impl RequestView,
) -> Option<usize> {
    match target {
        Target::Pool(pool) => {
            let mut routes = service.routes.iter();
            routes.find(|at| plan.routes[**at].pool_index == pool).copied()
        }
        Target::Group(group) => pick_member(worker, plan, service, group, view),
    }
}

fn route_of(plan: &Generation, service: &Service, pool: PoolId) -> Option<usize> {
    let mut routes = service.routes.iter();
    routes.find(|at| plan.pool_of(&plan.routes[**at]).id == pool).copied()
}

fn pick_member<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    service: &Service,
    group: GroupIndex,
    view: &impl RequestView,
) -> Option<usize> {
    let members = &plan.tree.groups[group.0].pools;
    let routes = || {
        let of = |at: &&usize| members.contains(&plan.routes[**at].pool_index);
        service.routes.iter().filter(of).copied()
    };
    let bound = routes().find_map(|at| binds(worker, plan, &plan.routes[at], view));
    let usable = |pool: PoolId| {
        let at = routes().find(|at| plan.pool_of(&plan.routes[*at]).id == pool);
        at.map_or(0, |at| {
            let route = &plan.routes[at];
            route.follow_states(&plan.tree, worker.rt.now());
            route.pool.borrow().usable()
        })
    };
    let choice = plan.groups[group.0].borrow_mut().choose(bound, usable)?;
    route_of(plan, service, choice.pool)
}

/// Says whether the client is bound to a server of this pool.
fn binds<R: Rt>(
    worker: &Worker<R>,
    plan: &Generation,
    route: &Route,
    view: &impl RequestView,
) -> Option<Bound> {
    route.follow_states(&plan.tree, worker.rt.now());
    let pool = route.pool.borrow();
    let profile = pool.profile()?;
    let found = persist::find(profile, view);
    let known = plan.store.remembered(route.binding.as_ref(), route.table, &found, worker.rt.now());
    bound_to(&pool, &found, &known.stored)
}
