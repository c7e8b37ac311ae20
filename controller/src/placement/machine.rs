//! What becomes of placements as time goes on and engines come and go. Pure: the moment is an argument.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use forebay_core::place::{EngineState, Ha};

use super::events::Event;
use super::leaving::CLOSING_MS;
use super::planning::{Inputs, Place, Seen, no_engines, of};
use super::refusing::refuses_all;
use super::state::{Action, Member, Phase, Status, Unit};
use super::world::{Settings, Vs, Wanted, World};

/// Services of a group that find no engine and are told why of each engine: a line for each of 64 engines, and of 10,000
/// services, would be written anew whenever an engine's load changes. The others are told how many engines have which reason.
const EXPLAINED_MAX: usize = 100;

/// All placements, and what they are made of.
#[derive(Debug)]
pub struct Machine<'m> {
    /// Placements by their keys.
    pub units: &'m mut BTreeMap<String, Unit>,
    /// What the objects say.
    pub world: &'m World,
    /// The engines.
    pub seen: &'m [Seen],
    /// Milliseconds since 1970.
    pub now: u64,
    /// What happened.
    pub events: Vec<Event>,
    /// How often all services of a group were looked at to say which engines could take one.
    pub judged: usize,
    by_uuid: HashMap<&'m str, &'m Seen>,
}

impl<'m> Machine<'m> {
    /// With nothing that has happened yet.
    pub fn new(units: &'m mut BTreeMap<String, Unit>, world: &'m World, seen: &'m [Seen], now: u64) -> Self {
        let by_uuid = seen.iter().map(|seen| (seen.uuid.as_str(), seen)).collect();
        Machine { units, world, seen, now, events: Vec::new(), judged: 0, by_uuid }
    }

    /// Does what is to be done now. Done again at once, it finds nothing to do.
    pub fn step(&mut self) {
        self.units.retain(|key, _| self.world.wanted.contains_key(key));
        for key in self.keys() {
            self.hear_refusals(&key);
            self.give_up(&key);
        }
        for (group, settings) in &self.world.groups {
            self.place(group, settings);
        }
        for key in self.keys() {
            self.go_on(&key);
        }
    }

    fn keys(&self) -> Vec<String> {
        self.units.keys().cloned().collect()
    }

    pub(super) fn engine(&self, uuid: &str) -> Option<&'m Seen> {
        self.by_uuid.get(uuid).copied()
    }

    pub(super) fn name(&self, uuid: &str) -> String {
        self.engine(uuid).map_or_else(|| uuid.to_owned(), |seen| seen.name.clone())
    }

    fn is_there(&self, uuid: &str) -> bool {
        self.engine(uuid).is_some_and(|seen| seen.state != EngineState::Lost)
    }

    /// Tells of something that happened to every virtual service of a placement.
    pub(super) fn tell(&mut self, id: &'static str, key: &str, engine: &str, text: &str) {
        self.tell_all_but(&BTreeSet::new(), id, key, engine, text);
    }

    fn tell_all_but(
        &mut self,
        but: &BTreeSet<String>,
        id: &'static str,
        key: &str,
        engine: &str,
        text: &str,
    ) {
        let Some(wanted) = self.world.wanted.get(key) else { return };
        for vs in wanted.services.iter().filter(|vs| !but.contains(&vs.uuid)) {
            self.events.push(Event {
                id,
                kind: "virtualservice",
                uuid: vs.uuid.clone(),
                name: vs.name.clone(),
                tenant: vs.tenant.clone(),
                text: format!("{}: {text}", vs.name),
                details: None,
                related: Some(engine)
                    .filter(|uuid| !uuid.is_empty())
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
            });
        }
    }

    /// Ends what people asked for where the engine that was to come is lost, or takes too long.
    //= SCALE-FAIL-01
    fn give_up(&mut self, key: &str) {
        let Some((_, settings)) = of(self.world, key) else { return };
        let Some(unit) = self.units.get(key) else { return };
        let Some(work) = unit.work.clone() else { return };
        let Some(member) = unit.member(&work.engine).cloned() else { return };
        let is_coming = matches!(member.phase, Phase::Configuring | Phase::Completing | Phase::Opening);
        if !is_coming {
            return;
        }
        let name = self.name(&work.engine);
        let refused = self.will_not_serve(key, unit, &work.engine);
        let mut why = match (self.engine(&work.engine), refused) {
            (Some(seen), _) if seen.state == EngineState::Lost => format!("{name} was lost before it served"),
            (None, _) => format!("{name} is not there any more"),
            (Some(_), Some(why)) => format!("{name} cannot have it: {why}"),
            (Some(_), None) if self.now.saturating_sub(work.began) >= settings.scaleout_ms => {
                let seconds = settings.scaleout_ms / 1000;
                format!("{name} does not serve after vs_scaleout_timeout ({seconds} s)")
            }
            (Some(_), None) => return,
        };
        // What they are may be of any service of the engine, and this is told to who sees this one.
        //= CHAN-SEEN-02
        let problems = self.engine(&work.engine).map_or(0, |seen| seen.problems.len());
        if problems > 0 {
            why = format!("{why}; it {}", crate::api::refused(&work.engine, problems));
        }
        let Some(unit) = self.units.get_mut(key) else { return };
        unit.members.retain(|member| member.engine != work.engine);
        if work.action == Action::ScaleOut {
            unit.factor -= 1;
        }
        self.end(key, vec![why]);
    }

    /// Ends what people asked for; with reasons, it has failed.
    fn end(&mut self, key: &str, reason: Vec<String>) {
        let now = self.now;
        let Some(unit) = self.units.get_mut(key) else { return };
        let Some(work) = unit.work.take() else { return };
        let is_done = reason.is_empty();
        unit.changed = now;
        unit.last = Some(Status {
            action: work.action,
            state: work.action.ended(is_done),
            engine: work.engine.clone(),
            reason: reason.clone(),
            began: work.began,
            ended: Some(now),
        });
        let count = unit.serving();
        let text = match (is_done, work.action) {
            (false, _) => reason.join("; "),
            (true, Action::ScaleOut) => {
                format!("{} serves too, which makes {count}", self.name(&work.engine))
            }
            (true, Action::ScaleIn) => {
                format!("{} does not serve it any more, {count} do", self.name(&work.engine))
            }
            (true, Action::Migrate) => {
                let from = work.from.as_deref().unwrap_or_default();
                format!("{} serves in the place of {}", self.name(&work.engine), self.name(from))
            }
        };
        self.tell(work.action.event(is_done), key, &work.engine, &text);
    }

    fn place(&mut self, group: &str, settings: &Settings) {
        //= PLACE-SCALE-02
        let least = settings.group.scale_min;
        for (key, _) in self.world.of_group(group) {
            let Some(unit) = self.units.get_mut(key) else { continue };
            if unit.least > least {
                unit.factor += i32::from(unit.least) - i32::from(least);
            }
            unit.least = least;
        }
        let inputs = Inputs::new(group, settings, self.world, self.units, self.seen, self.now);
        let (places, _) = inputs.plan();
        // Made once, and only if somebody is short.
        let judge = OnceCell::new();
        let judged = Cell::new(0);
        let mut explained = 0;
        for (key, place) in places {
            let mut short = Vec::new();
            if usize::from(place.wanted) > place.engines.len() {
                let judge = judge.get_or_init(|| {
                    judged.set(1);
                    inputs.judge()
                });
                explained += 1;
                short = match explained {
                    ..=EXPLAINED_MAX => judge.reasons(key),
                    _ => judge.counted(key),
                };
                if short.is_empty() {
                    short = vec![no_engines(settings)];
                }
            }
            self.settle(key, settings, &place, short);
        }
        self.judged += judged.get();
    }

    /// Brings a placement to where it is to be.
    fn settle(&mut self, key: &str, settings: &Settings, place: &Place, short: Vec<String>) {
        let now = self.now;
        let least = settings.group.scale_min;
        let unit = self.units.entry(key.to_owned()).or_insert_with(|| Unit { least, ..Unit::default() });
        unit.wanted = place.wanted;
        if let Some(wanted) = self.world.wanted.get(key) {
            // Those that an older version has placed are as old as their placement.
            let since = if unit.since.is_empty() && unit.first > 0 { unit.first } else { now };
            let children = |vs: &Vs| self.world.children.get(&vs.uuid).into_iter().flatten();
            let all: BTreeSet<&String> =
                wanted.services.iter().flat_map(|vs| std::iter::once(&vs.uuid).chain(children(vs))).collect();
            unit.since.retain(|uuid, _| all.contains(uuid));
            for uuid in all {
                unit.since.entry(uuid.clone()).or_insert(since);
            }
        }
        let by_uuid = &self.by_uuid;
        let wanted = self.world.wanted.get(key);
        let has_nothing = |member: &Member| {
            let seen = by_uuid.get(member.engine.as_str()).filter(|seen| seen.state == EngineState::Up);
            seen.zip(wanted).is_some_and(|(seen, wanted)| refuses_all(wanted, seen))
        };
        // Tables can be had only of those that have some.
        let has_some = |member: &Member| member.phase != Phase::Configuring && !has_nothing(member);
        let is_first = !unit.members.iter().any(has_some);
        let mut come = Vec::new();
        for engine in &place.engines {
            if unit.member(engine).is_none() {
                let phase = if is_first { Phase::Opening } else { Phase::Configuring };
                unit.members.push(Member { engine: engine.clone(), phase, since: now });
                unit.changed = now;
                come.push(engine.clone());
            }
        }
        if unit.first == 0 && !come.is_empty() {
            unit.first = now;
        }
        let was_short = !unit.short.is_empty();
        let (has, wanted) = (place.engines.len(), place.wanted);
        if unit.short != short {
            unit.short.clone_from(&short);
            unit.changed = now;
        }
        //= PLACE-REFUSED-03
        let is_again = self.units.get(key).is_some_and(Unit::is_tried_again);
        for engine in come.iter().filter(|_| !is_again) {
            let text = format!("it is placed on {}", self.name(engine));
            self.tell("VS_ADD_SE", key, engine, &text);
        }
        if !was_short && !short.is_empty() {
            let text = format!("it has {has} of {wanted} engines: {}", short.join("; "));
            self.tell("VS_INITIAL_PLACEMENT_FAILED", key, "", &text);
        }
        let stays: BTreeSet<&String> = place.engines.iter().chain(&place.waiting).collect();
        let Some(unit) = self.units.get(key) else { return };
        let gone: Vec<String> = unit
            .staying()
            .filter(|member| !stays.contains(&member.engine))
            .map(|member| member.engine.clone())
            .collect();
        for engine in gone {
            self.part(key, settings, &engine);
        }
    }

    /// Takes a service away from an engine that cannot have it any more.
    //= PLACE-LOST-01, PLACE-DISABLE-01
    fn part(&mut self, key: &str, settings: &Settings, engine: &str) {
        let is_there = self.is_there(engine);
        let is_forced = self.engine(engine).is_some_and(|seen| seen.is_forced);
        let name = self.name(engine);
        let (now, until) = (self.now, self.now + settings.scalein_ms);
        let there: BTreeSet<String> = self
            .seen
            .iter()
            .filter(|seen| seen.state != EngineState::Lost)
            .map(|seen| seen.uuid.clone())
            .collect();
        let nothing: BTreeSet<String> = self.has_nothing(key);
        let Some(unit) = self.units.get_mut(key) else { return };
        let refused = unit.refused.get(engine).filter(|one| one.is_said).map(|one| one.why.clone());
        if !is_there {
            unit.members.retain(|member| member.engine != engine);
            unit.changed = now;
            self.tell("VS_REMOVED_SE", key, engine, &format!("{name} was lost, and others take its place"));
            return;
        }
        let counts = |member: &&Member| {
            member.engine != engine && there.contains(&member.engine) && !nothing.contains(&member.engine)
        };
        let others = unit.staying().filter(counts);
        let (serving, coming) = others.fold((0, 0), |(serving, coming), member| match member.phase {
            Phase::Serving => (serving + 1, coming),
            _ => (serving, coming + 1),
        });
        // It goes on until others serve in its place; one that cannot have it, until nobody is about to.
        if !is_forced && (serving == 0 && refused.is_none() || coming > 0) {
            return;
        }
        let is_again = unit.is_tried_again();
        match &refused {
            Some(_) if nothing.contains(engine) => unit.members.retain(|member| member.engine != engine),
            _ => leave(unit, engine, until),
        }
        unit.changed = now;
        // What is asked in vain again and again is told once.
        if refused.is_none() || serving > 0 || !is_again {
            let why = refused.map(|why| format!("which cannot have it: {why}"));
            let why = why.unwrap_or_else(|| "which is not to have it any more".to_owned());
            self.tell("VS_REMOVED_SE", key, engine, &format!("it leaves {name}, {why}"));
        }
    }

    /// Looks how far each engine has come.
    fn go_on(&mut self, key: &str) {
        let Some((wanted, settings)) = of(self.world, key) else { return };
        let Some(unit) = self.units.get(key) else { return };
        let mut next = unit.clone();
        let mut told = Vec::new();
        //= SCALE-ALONE-01
        let lets_in = |member: &Member| {
            matches!(member.phase, Phase::Opening | Phase::Serving)
                && self.is_there(&member.engine)
                && !self.has_nothing_of(wanted, &member.engine)
        };
        let is_alone = !next.members.iter().any(lets_in);
        for at in 0..next.members.len() {
            let member = next.members[at].clone();
            let how = How { accepts: accepts(&next, settings, at), is_alone };
            let phase = self.phase(wanted, settings, &next, &member, how, &mut told);
            if phase != member.phase {
                next.members[at].phase = phase;
                next.members[at].since = self.now;
                next.changed = self.now;
            }
        }
        let (now, by_uuid) = (self.now, &self.by_uuid);
        let before = next.members.len();
        next.members
            .retain(|member| !has_left(member, wanted, by_uuid.get(member.engine.as_str()).copied(), now));
        if next.members.len() != before {
            next.changed = now;
        }
        self.lead(key, &mut next);
        self.units.insert(key.to_owned(), next);
        for (id, engine, text) in told {
            let but = if id == "SE_SCALEOUT_READY" { self.but_for(&engine) } else { BTreeSet::new() };
            self.tell_all_but(&but, id, key, &engine, &text);
        }
        self.work(key, settings);
        self.wholeness(key);
    }

    fn phase(
        &self,
        wanted: &Wanted,
        settings: &Settings,
        unit: &Unit,
        member: &Member,
        how: How,
        told: &mut Vec<(&'static str, String, String)>,
    ) -> Phase {
        let Some(seen) = self.engine(&member.engine).filter(|seen| seen.state == EngineState::Up) else {
            return member.phase;
        };
        let enabled = || wanted.services.iter().filter(|vs| vs.is_enabled);
        //= SCALE-LEFT-OUT-01
        let others = || unit.members.iter().filter(|other| other.engine != member.engine);
        let elsewhere = |uuid: &str| {
            let serves = |seen: &Seen| seen.services.get(uuid).is_some_and(|told| told.is_listening);
            others()
                .any(|other| self.is_there(&other.engine) && self.engine(&other.engine).is_some_and(serves))
        };
        // What this engine alone cannot carry out is not had while another one serves it.
        let is_out = |uuid: &str| seen.left_out.contains(uuid) && !elsewhere(uuid);
        let has_it = enabled().all(|vs| seen.services.contains_key(&vs.uuid) || is_out(&vs.uuid));
        let waits = self.now.saturating_sub(member.since);
        match member.phase {
            //= PLACE-REFUSED-01
            Phase::Opening | Phase::Serving if refuses_all(wanted, seen) => Phase::Opening,
            Phase::Configuring | Phase::Completing if how.is_alone => Phase::Opening,
            Phase::Configuring if has_it => Phase::Completing,
            //= SCALE-OUT-01
            Phase::Completing if seen.has_tables => Phase::Opening,
            Phase::Completing if waits >= settings.ready_ms => {
                let seconds = settings.ready_ms / 1000;
                let text = format!(
                    "the tables of {} are not complete after {seconds} s: it serves without",
                    seen.name
                );
                told.push(("SE_SCALEOUT_READY_TIMEDOUT", member.engine.clone(), text));
                Phase::Opening
            }
            Phase::Opening if has_it => {
                let listens = |uuid: &String| match seen.services.get(uuid) {
                    Some(told) => told.is_listening,
                    None => is_out(uuid),
                };
                let is_open = enabled().filter(|vs| vs.is_open).all(|vs| listens(&vs.uuid));
                if how.accepts && !is_open {
                    return member.phase;
                }
                told.push(("SE_SCALEOUT_READY", member.engine.clone(), format!("{} serves it", seen.name)));
                Phase::Serving
            }
            phase => phase,
        }
    }

    /// Lets an engine that serves be the primary, where the one that was does not serve.
    fn lead(&mut self, key: &str, unit: &mut Unit) {
        let Some(first) = unit.members.first().cloned() else { return };
        let is_gone = matches!(first.phase, Phase::Leaving { .. }) || !self.is_there(&first.engine);
        if first.phase == Phase::Serving && !is_gone {
            return;
        }
        let is_pair = of(self.world, key).is_some_and(|(_, one)| matches!(one.group.ha, Ha::Legacy { .. }));
        let fits = |member: &Member| {
            member.phase == Phase::Serving
                && self.is_there(&member.engine)
                && (!is_pair || self.may_lead(unit, &member.engine))
        };
        let Some(at) = unit.members.iter().position(fits) else { return };
        let heir = unit.members.remove(at);
        let text =
            format!("{} is its primary now, {} was", self.name(&heir.engine), self.name(&first.engine));
        let engine = heir.engine.clone();
        unit.members.insert(0, heir);
        unit.changed = self.now;
        self.tell("VS_SWITCHOVER", key, &engine, &text);
    }

    /// Looks how far is what people asked for.
    fn work(&mut self, key: &str, settings: &Settings) {
        let until = self.now + settings.scalein_ms;
        let Some(unit) = self.units.get_mut(key) else { return };
        let Some(work) = unit.work.clone() else { return };
        let phase = unit.member(&work.engine).map(|member| member.phase);
        match (work.action, phase) {
            (Action::ScaleOut, Some(Phase::Serving)) | (Action::ScaleIn, None) => self.end(key, Vec::new()),
            (Action::ScaleOut | Action::Migrate, None) => {
                let why = format!("{} was taken away before it served", self.name(&work.engine));
                self.end(key, vec![why]);
            }
            (Action::Migrate, Some(Phase::Serving)) => {
                let from = work.from.unwrap_or_default();
                match unit.members.iter_mut().find(|member| member.engine == from) {
                    None => self.end(key, Vec::new()),
                    Some(Member { phase: Phase::Leaving { .. }, .. }) => {}
                    Some(member) => {
                        member.phase = Phase::Leaving { until };
                        member.since = self.now;
                        let mut unit = unit.clone();
                        self.lead(key, &mut unit);
                        self.units.insert(key.to_owned(), unit);
                    }
                }
            }
            _ => {}
        }
    }

    /// Tells when a service has fewer engines than it should have, and when it has them again.
    fn wholeness(&mut self, key: &str) {
        let there: Vec<bool> = self.units.get(key).map_or_else(Vec::new, |unit| {
            let serving = unit.members.iter().filter(|member| member.phase == Phase::Serving);
            serving.map(|member| self.is_there(&member.engine)).collect()
        });
        let has = there.iter().filter(|is_there| **is_there).count();
        let now = self.now;
        let Some(unit) = self.units.get_mut(key) else { return };
        let (wanted, is_whole) = (unit.wanted, has >= usize::from(unit.wanted));
        // What people add or take away is no loss.
        if unit.is_whole == is_whole || unit.work.is_some() {
            return;
        }
        unit.is_whole = is_whole;
        unit.changed = now;
        if is_whole {
            let (but, text) = (self.served_by_nobody(key), format!("{has} engines serve it, as they should"));
            self.tell_all_but(&but, "VS_SE_HA_ACTIVE", key, "", &text);
        } else {
            let text = format!("{has} engines serve it, and {wanted} should");
            self.tell("VS_SE_HA_COMPROMISED", key, "", &text);
        }
    }
}

/// An engine is left.
fn leave(unit: &mut Unit, engine: &str, until: u64) {
    for member in unit.members.iter_mut().filter(|member| member.engine == engine) {
        member.phase = Phase::Leaving { until };
    }
}

/// How a member stands among the others.
#[derive(Clone, Copy)]
struct How {
    /// It lets clients in.
    accepts: bool,
    /// None of them does, nor is about to: who waits for their tables would wait for ever.
    is_alone: bool,
}

/// Says whether a member lets clients in.
pub fn accepts(unit: &Unit, settings: &Settings, at: usize) -> bool {
    let is_legacy = matches!(settings.group.ha, Ha::Legacy { .. });
    let phase = unit.members[at].phase;
    matches!(phase, Phase::Opening | Phase::Serving) && (!is_legacy || at == 0)
}

/// Says whether an engine that was left has nothing of the service any more, or has had its time.
//= SCALE-IN-01
fn has_left(member: &Member, wanted: &Wanted, seen: Option<&Seen>, now: u64) -> bool {
    let Phase::Leaving { until } = member.phase else { return false };
    let Some(engine) = seen else { return true };
    let is_drained = |told: &super::planning::Told| !told.is_listening && told.connections == 0;
    let of_it = || wanted.services.iter().filter_map(|vs| engine.services.get(&vs.uuid));
    let is_empty = of_it().all(|told| told.connections == 0);
    engine.state == EngineState::Lost
        || now >= until && (is_empty || engine.state != EngineState::Up)
        || now >= until + CLOSING_MS
        || engine.state == EngineState::Up && of_it().all(is_drained) && of_it().next().is_some()
}
