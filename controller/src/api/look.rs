//! What is known of one virtual service on its engines.

use std::collections::BTreeMap;

use forebay_core::place::{EngineState, Ha};
use serde_json::Value;

use super::App;
use super::others::refused;
use super::runtime::state;
use crate::placement::{Known, Member, Phase, Seen, Unit, Wanted};
use crate::store::Store;

/// What is known of one virtual service.
pub struct Look<'a> {
    vs: &'a str,
    /// The service whose listeners serve it: itself, or its parent.
    server: &'a str,
    pub(super) wanted: Option<&'a Wanted>,
    pub(super) unit: Option<&'a Unit>,
    seen: &'a [Seen],
    pub(super) is_legacy: bool,
    /// Engines that cannot do it, and why.
    left_out: BTreeMap<String, Vec<String>>,
    /// Engines that do it as it was before, or without a part, and why.
    as_before: BTreeMap<String, Vec<String>>,
}

impl<'a> Look<'a> {
    /// What is known of this one.
    pub fn of<S: Store>(app: &App<S>, known: &'a Known, vs: &'a str, seen: &'a [Seen]) -> Self {
        let found = known.of(vs);
        let unit = found.map(|(unit, _)| unit);
        let server = known.world.parents.get(vs).map_or(vs, String::as_str);
        Look {
            vs,
            server,
            wanted: known.world.of.get(vs).and_then(|key| known.world.wanted.get(key)),
            unit,
            seen,
            is_legacy: found.is_some_and(|(_, settings)| matches!(settings.group.ha, Ha::Legacy { .. })),
            left_out: left_out(app, unit, vs, server),
            as_before: as_before(app, unit, vs),
        }
    }

    /// Whether clients are served, and why not; `None`: that is not known now, or nobody wants it.
    //= EVENT-STATE-01
    pub fn stands(&self) -> Option<(bool, Vec<String>)> {
        let unit = self.unit.filter(|_| self.wanted.is_some() && !self.is_off())?;
        if unit.members.is_empty() {
            return Some((false, unit.short.clone()));
        }
        let found: Vec<_> = unit.members.iter().map(|member| self.on(member)).collect();
        let is = |word: &str| found.iter().any(|(found, _)| *found == word);
        match (is("OPER_UP"), is("OPER_INITIALIZING")) {
            (true, _) => Some((true, Vec::new())),
            (false, true) => None,
            (false, false) => Some((false, found.into_iter().map(|(_, why)| why).collect())),
        }
    }

    pub(super) fn engine(&self, member: &Member) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.uuid == member.engine)
    }

    /// Its state on one of its engines.
    pub(super) fn on(&self, member: &Member) -> (&'static str, String) {
        let Some(engine) = self.engine(member).filter(|seen| seen.state != EngineState::Lost) else {
            return ("OPER_DOWN", "the engine was lost".to_owned());
        };
        let name = &engine.name;
        if !engine.problems.is_empty() {
            return ("OPER_DOWN", format!("{name} {}", refused(&engine.uuid, engine.problems.len())));
        }
        if let Some(why) = self.left_out.get(&member.engine) {
            return ("OPER_DOWN", format!("{name} cannot do it: {}", why.join("; ")));
        }
        match (member.phase, engine.services.get(self.server)) {
            (Phase::Leaving { .. }, _) => ("OPER_DISABLING", format!("{name} is being left")),
            (Phase::Serving, Some(told)) if told.is_up => {
                let why = self.as_before.get(&member.engine);
                let text = |why: &Vec<String>| {
                    format!("{name} does not serve all of it as it is: {}", why.join("; "))
                };
                ("OPER_UP", why.map(text).unwrap_or_default())
            }
            (Phase::Serving, Some(_)) => ("OPER_DOWN", format!("{name}: no server of it can be used")),
            (Phase::Serving, None) => ("OPER_INITIALIZING", format!("{name} has told nothing of it yet")),
            (Phase::Configuring, _) => ("OPER_CREATING", format!("{name} is to take its configuration")),
            (Phase::Completing, _) => ("OPER_CREATING", format!("the tables of {name} are being completed")),
            (Phase::Opening, _) => ("OPER_CREATING", format!("{name} is to listen")),
        }
    }

    /// Its state as a whole.
    //= SCALE-API-02
    pub(super) fn whole(&self) -> Value {
        let Some((unit, wanted)) = self.unit.zip(self.wanted) else {
            let none = ["it has not been placed yet".to_owned()];
            return state(if self.is_off() { "OPER_DISABLED" } else { "OPER_CREATING" }, &none, 0);
        };
        if wanted.services.iter().any(|vs| vs.uuid == self.vs && !vs.is_enabled) {
            return state("OPER_DISABLED", &["it is disabled".to_owned()], unit.changed);
        }
        if unit.members.is_empty() {
            return state("OPER_RESOURCES", &unit.short, unit.changed);
        }
        let found: Vec<_> = unit.members.iter().map(|member| self.on(member)).collect();
        let of = |word: &str| found.iter().any(|(found, _)| *found == word);
        let word =
            ["OPER_UP", "OPER_DOWN", "OPER_CREATING", "OPER_INITIALIZING"].into_iter().find(|word| of(word));
        let word = word.unwrap_or("OPER_DOWN");
        // Of one that is up it is told what its engines that are up do not serve as it is.
        let told = found.into_iter().filter(|(found, _)| word != "OPER_UP" || *found == word);
        let why: Vec<String> = told.map(|(_, why)| why).filter(|why| !why.is_empty()).collect();
        state(word, &why, unit.changed)
    }

    fn is_off(&self) -> bool {
        self.wanted
            .is_some_and(|wanted| wanted.services.iter().any(|vs| vs.uuid == self.vs && !vs.is_enabled))
    }

    pub(super) fn percent_up(&self) -> usize {
        let Some(unit) = self.unit else { return 0 };
        let up = unit.members.iter().filter(|member| self.on(member).0 == "OPER_UP").count();
        (up * 100).checked_div(usize::from(unit.wanted).max(up)).unwrap_or(0)
    }
}

/// The engines of a virtual service that cannot do it, and why.
//= CHAN-LEFT-01
fn left_out<S: Store>(
    app: &App<S>,
    unit: Option<&Unit>,
    vs: &str,
    server: &str,
) -> BTreeMap<String, Vec<String>> {
    let members = unit.map_or(&[][..], |unit| &unit.members);
    let why = |member: &Member| {
        let engine = app.engines.get(&member.engine)?;
        // Of its brothers a child is told nothing.
        let parent = || {
            engine
                .lacks(server)
                .map(|_| vec!["it cannot do the service that this one is hosted by".to_owned()])
        };
        let why = engine.lacks(vs).cloned().or_else(parent)?;
        Some((member.engine.clone(), why))
    };
    members.iter().filter_map(why).collect()
}

/// Why engines serve a virtual service as it was before, or without a part of it.
//= CHAN-PART-06
fn as_before<S: Store>(app: &App<S>, unit: Option<&Unit>, vs: &str) -> BTreeMap<String, Vec<String>> {
    let members = unit.map_or(&[][..], |unit| &unit.members);
    let why = |member: &Member| {
        let engine = app.engines.get(&member.engine)?;
        let (_, why) = engine.as_before().find(|(uuid, _)| *uuid == vs)?;
        Some((member.engine.clone(), why.clone()))
    };
    members.iter().filter_map(why).collect()
}
