//! Engines that could not have a service as their machines are: an address that is not there yet, a port of another program.
//! The service goes to an engine that may have it, and they are asked again after a while.

use std::collections::BTreeSet;

use forebay_core::place::EngineState;

use super::machine::Machine;
use super::planning::{Seen, of};
use super::state::{Phase, Unheld, Unit};
use super::world::Wanted;

/// It says of everything that is on that it cannot have it, and listens for nothing of it.
pub(super) fn refuses_all(wanted: &Wanted, seen: &Seen) -> bool {
    let mut enabled = wanted.services.iter().filter(|vs| vs.is_enabled).peekable();
    let listens = |uuid: &str| seen.services.get(uuid).is_some_and(|told| told.is_listening);
    enabled.peek().is_some() && enabled.all(|vs| seen.refused.contains_key(&vs.uuid) && !listens(&vs.uuid))
}

impl Machine<'_> {
    /// Notes which engines say now that they cannot have a service, and which have said so.
    //= PLACE-REFUSED-01
    pub(super) fn hear_refusals(&mut self, key: &str) {
        let (world, now) = (self.world, self.now);
        let Some((wanted, _)) = of(world, key) else { return };
        let Some(unit) = self.units.get(key) else { return };
        let enabled = || wanted.services.iter().filter(|vs| vs.is_enabled);
        let said = |seen: &Seen| {
            let mut whys = enabled().filter_map(|vs| seen.refused.get(&vs.uuid));
            whys.next().cloned()
        };
        let mut next = unit.refused.clone();
        let staying: BTreeSet<&str> = unit.staying().map(|member| member.engine.as_str()).collect();
        for uuid in &staying {
            let Some(seen) = self.engine(uuid).filter(|seen| seen.state == EngineState::Up) else { continue };
            match (said(seen), next.get_mut(*uuid)) {
                (Some(_), Some(one)) if one.is_said => {}
                (Some(why), one) => {
                    let times = one.map_or(0, |one| one.times).saturating_add(1);
                    next.insert((*uuid).to_owned(), Unheld { why, times, at: now, is_said: true });
                }
                (None, Some(one)) if one.is_said => {
                    // Not before it has all of it in another way.
                    let has =
                        |uuid: &String| seen.services.contains_key(uuid) || seen.left_out.contains(uuid);
                    if enabled().all(|vs| has(&vs.uuid)) {
                        (one.is_said, one.at) = (false, now);
                    }
                }
                (None, _) => {}
            }
        }
        for (uuid, one) in next.iter_mut().filter(|(_, one)| one.is_said) {
            if !staying.contains(uuid.as_str()) {
                (one.is_said, one.at) = (false, now);
            }
        }
        next.retain(|_, one| !one.said().is_forgotten(now));
        if next != unit.refused
            && let Some(unit) = self.units.get_mut(key)
        {
            unit.refused = next;
            unit.changed = now;
        }
    }

    /// The engines of a placement that say that they can have nothing of it.
    pub(super) fn has_nothing(&self, key: &str) -> BTreeSet<String> {
        let Some((unit, (wanted, _))) = self.units.get(key).zip(of(self.world, key)) else {
            return BTreeSet::new();
        };
        let engines = unit.staying().map(|member| &member.engine);
        engines.filter(|engine| self.has_nothing_of(wanted, engine)).cloned().collect()
    }

    /// An engine that has all of a placement, and says that it can have nothing of it.
    pub(super) fn has_nothing_of(&self, wanted: &Wanted, engine: &str) -> bool {
        self.engine(engine).is_some_and(|seen| seen.state == EngineState::Up && refuses_all(wanted, seen))
    }

    /// Why an engine that was asked for will not come to serve, if that is so: it cannot have what another one serves, or
    /// nothing at all.
    pub(super) fn will_not_serve(&self, key: &str, unit: &Unit, engine: &str) -> Option<String> {
        let (wanted, _) = of(self.world, key)?;
        let one = unit.refused.get(engine).filter(|one| one.is_said)?;
        let seen = self.engine(engine)?;
        let others = || unit.staying().filter(|member| member.engine != engine);
        let serves = |uuid: &str| {
            let listens = |seen: &Seen| seen.services.get(uuid).is_some_and(|told| told.is_listening);
            others().any(|other| self.engine(&other.engine).is_some_and(listens))
        };
        let lacks = wanted.services.iter().any(|vs| seen.refused.contains_key(&vs.uuid) && serves(&vs.uuid));
        (lacks || refuses_all(wanted, seen)).then(|| one.why.clone())
    }

    /// Of an active and a standby engine the other one is to serve: it has not said lately that it cannot.
    pub(super) fn may_lead(&self, unit: &Unit, engine: &str) -> bool {
        let Some(one) = unit.refused.get(engine) else { return true };
        let id = forebay_core::place::EngineId(0);
        forebay_core::place::refused(&[(id, one.said())], &[], self.now).is_empty()
    }

    /// A person wants this engine to try once more, whatever it has said.
    pub(super) fn ask_again(&mut self, vs: &str, engine: Option<&str>) {
        let Some(key) = self.world.of.get(vs) else { return };
        let Some(unit) = self.units.get_mut(key) else { return };
        unit.refused.retain(|uuid, one| one.is_said || Some(uuid.as_str()) != engine);
    }

    /// Asks all engines again that could not have it.
    //= PLACE-REFUSED-02
    pub fn retry(&mut self, vs: &str) {
        let Some(key) = self.world.of.get(vs) else { return };
        if let Some(unit) = self.units.get_mut(key) {
            unit.refused.retain(|_, one| one.is_said);
        }
    }

    /// Who is told that an engine has come to serve: not those virtual services that it does not serve.
    pub(super) fn but_for(&self, engine: &str) -> BTreeSet<String> {
        self.engine(engine).map(|seen| seen.left_out.clone()).unwrap_or_default()
    }

    /// The virtual services of a placement that no engine of it that serves has.
    pub(super) fn served_by_nobody(&self, key: &str) -> BTreeSet<String> {
        let Some(unit) = self.units.get(key) else { return BTreeSet::new() };
        let serving = || unit.members.iter().filter(|member| member.phase == Phase::Serving);
        let mut lacked = serving().map(|member| self.but_for(&member.engine));
        let first = lacked.next().unwrap_or_default();
        lacked.fold(first, |all, one| all.intersection(&one).cloned().collect())
    }
}
