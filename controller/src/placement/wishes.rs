//! What people ask of a placement: an engine more, one less, another one, another primary.

use forebay_core::place::{EngineState, Ha};

use super::machine::Machine;
use super::planning::{Inputs, of};
use super::state::{Action, Member, Phase, Unit, Work};
use super::world::{Settings, Wanted};

/// Why a wish is refused, in words.
pub type Refused = String;

impl Machine<'_> {
    /// The placement of a virtual service that has an address of this name.
    fn asked(&self, vs: &str, vip: &str) -> Result<(String, &Wanted, &Settings), Refused> {
        let key = self.world.of.get(vs).ok_or("the virtual service follows a parent that is not there")?;
        let (wanted, settings) =
            of(self.world, key).ok_or("the virtual service has no group of engines: set its se_group_ref")?;
        if !wanted.vip_ids.iter().any(|held| held == vip) {
            let held = wanted.vip_ids.join(", ");
            return Err(format!("vip_id {vip}: the virtual service has {held}"));
        }
        Ok((key.clone(), wanted, settings))
    }

    fn idle(&self, key: &str) -> Result<&Unit, Refused> {
        let unit = self.units.get(key).filter(|unit| !unit.members.is_empty());
        let unit = unit.ok_or("the virtual service has no engine yet: see its placement for the reason")?;
        match unit.status().filter(|status| status.ended.is_none()) {
            Some(status) => {
                let engine = self.name(&status.engine);
                Err(format!("{engine} is at {}: wait until that has ended", status.state))
            }
            None => Ok(unit),
        }
    }

    /// The engine that is to come: the one that is named, if it can, or the best one.
    fn comer(&self, key: &str, settings: &Settings, to: Option<&str>) -> Result<String, Refused> {
        let group = &self.world.wanted.get(key).map(|wanted| wanted.group.clone()).unwrap_or_default();
        let inputs = Inputs::new(group, settings, self.world, self.units, self.seen, self.now);
        let judge = inputs.judge();
        let judged = judge.of(key);
        let found = match to {
            Some(uuid) => judged.iter().find(|(seen, _)| seen.uuid == uuid),
            None => judged.first(),
        };
        match (found, to) {
            (Some((seen, found)), Some(_)) => match found.fit {
                Ok(_) => Ok(seen.uuid.clone()),
                Err(why) => Err(format!("{} cannot take it: {why}", seen.name)),
            },
            (Some((seen, found)), None) if found.fit.is_ok() => Ok(seen.uuid.clone()),
            (None, Some(uuid)) => Err(format!("{uuid} is no engine of the group {}", settings.name)),
            _ => Err(format!("no engine can take it: {}", judge.reasons(key).join("; "))),
        }
    }

    fn come(&mut self, key: &str, engine: &str, work: Work) {
        let now = self.now;
        if let Some(unit) = self.units.get_mut(key) {
            unit.members.push(Member { engine: engine.to_owned(), phase: Phase::Configuring, since: now });
            unit.work = Some(work);
            unit.changed = now;
        }
        let text = format!("it is placed on {}", self.name(engine));
        self.tell("VS_ADD_SE", key, engine, &text);
    }

    /// An engine more.
    ///
    /// # Errors
    /// Why not.
    //= SCALE-OUT-01, SCALE-LIMIT-01
    pub fn scale_out(&mut self, vs: &str, vip: &str, to: Option<&str>) -> Result<(), Refused> {
        self.ask_again(vs, to);
        let (key, _, settings) = self.asked(vs, vip)?;
        not_legacy(settings)?;
        let has = self.idle(&key)?.staying().count();
        let most = usize::from(settings.group.scale_max);
        if has >= most {
            return Err(format!(
                "it has {has} engines, and max_scaleout_per_vs of the group {} is {most}: raise that first",
                settings.name
            ));
        }
        let engine = self.comer(&key, settings, to)?;
        // One that it should have and has not is no further one.
        let (now, wanted) = (self.now, usize::from(self.idle(&key)?.wanted));
        if let Some(unit) = self.units.get_mut(&key)
            && has >= wanted
        {
            unit.factor += 1;
        }
        self.come(
            &key,
            &engine,
            Work { action: Action::ScaleOut, engine: engine.clone(), from: None, began: now },
        );
        Ok(())
    }

    /// An engine less: the one that is named, the primary, or the last one.
    ///
    /// # Errors
    /// Why not.
    //= SCALE-IN-01, SCALE-LIMIT-01
    pub fn scale_in(
        &mut self,
        vs: &str,
        vip: &str,
        from: Option<&str>,
        primary: bool,
    ) -> Result<(), Refused> {
        let (key, _, settings) = self.asked(vs, vip)?;
        not_legacy(settings)?;
        let unit = self.idle(&key)?;
        let has = unit.staying().count();
        let least = usize::from(settings.group.scale_min);
        if has <= 1 {
            return Err(format!(
                "{} is its last engine: disable or delete the virtual service if nobody is to serve it",
                unit.members.first().map_or_else(String::new, |member| self.name(&member.engine))
            ));
        }
        if has <= least {
            return Err(format!(
                "it has {has} engines, and min_scaleout_per_vs of the group {} is {least}: lower that first",
                settings.name
            ));
        }
        let engine = match (from, primary) {
            (Some(uuid), _) => unit.staying().find(|member| member.engine == uuid),
            (None, true) => unit.members.first(),
            (None, false) => unit.staying().last(),
        };
        let engine = engine.map(|member| member.engine.clone());
        let engine =
            engine.ok_or_else(|| format!("{} does not have it", self.name(from.unwrap_or_default())))?;
        if !unit.members.iter().any(|member| member.engine != engine && member.phase == Phase::Serving) {
            return Err(format!(
                "{} is the only one that serves it: wait until another one does",
                self.name(&engine)
            ));
        }
        let (now, until) = (self.now, self.now + settings.scalein_ms);
        if let Some(unit) = self.units.get_mut(&key) {
            unit.factor -= 1;
            for member in unit.members.iter_mut().filter(|member| member.engine == engine) {
                member.phase = Phase::Leaving { until };
                member.since = now;
            }
            unit.work = Some(Work { action: Action::ScaleIn, engine, from: None, began: now });
            unit.changed = now;
        }
        Ok(())
    }

    /// Another engine in the place of one: of the primary, if none is named.
    ///
    /// # Errors
    /// Why not.
    //= SCALE-MIGRATE-01
    pub fn migrate(
        &mut self,
        vs: &str,
        vip: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), Refused> {
        self.ask_again(vs, to);
        let (key, _, settings) = self.asked(vs, vip)?;
        not_legacy(settings)?;
        let unit = self.idle(&key)?;
        let from = match from {
            Some(uuid) => unit.staying().find(|member| member.engine == uuid),
            None => unit.members.first(),
        }
        .map(|member| member.engine.clone())
        .ok_or_else(|| format!("{} does not have it", self.name(from.unwrap_or_default())))?;
        let engine = self.comer(&key, settings, to)?;
        let now = self.now;
        let text = format!("{} is to serve in the place of {}", self.name(&engine), self.name(&from));
        self.tell("VS_MIGRATE_STARTED", &key, &engine, &text);
        let work = Work { action: Action::Migrate, engine: engine.clone(), from: Some(from), began: now };
        self.come(&key, &engine, work);
        Ok(())
    }

    /// Another primary: the one that is named, or the next one that serves.
    ///
    /// # Errors
    /// Why not.
    //= SCALE-SWITCH-01
    pub fn switch_over(&mut self, vs: &str, vip: &str, to: Option<&str>) -> Result<(), Refused> {
        let (key, ..) = self.asked(vs, vip)?;
        let unit = self.idle(&key)?;
        let fits = |member: &&Member| {
            let there = self.engine(&member.engine).is_some_and(|seen| seen.state == EngineState::Up);
            member.phase == Phase::Serving && there
        };
        let found = match to {
            Some(uuid) => unit.members.iter().find(|member| member.engine == uuid).filter(fits),
            None => unit.members.iter().skip(1).find(fits),
        };
        let Some(heir) = found.map(|member| member.engine.clone()) else {
            return Err(match to {
                Some(uuid) => format!("{} does not serve it, or is not connected", self.name(uuid)),
                None => "no other engine serves it: scale it out first".to_owned(),
            });
        };
        let first = unit.members.first().map(|member| member.engine.clone()).unwrap_or_default();
        if heir == first {
            return Err(format!("{} is its primary already", self.name(&heir)));
        }
        let now = self.now;
        if let Some(unit) = self.units.get_mut(&key)
            && let Some(at) = unit.members.iter().position(|member| member.engine == heir)
        {
            let member = unit.members.remove(at);
            unit.members.insert(0, member);
            unit.changed = now;
        }
        let text = format!("{} is its primary now, {} was", self.name(&heir), self.name(&first));
        self.tell("VS_SWITCHOVER", &key, &heir, &text);
        Ok(())
    }
}

fn not_legacy(settings: &Settings) -> Result<(), Refused> {
    match settings.group.ha {
        Ha::Legacy { .. } => Err(format!(
            "the group {} has an active and a standby engine, and no scale: use switchover, or set its ha_mode",
            settings.name
        )),
        _ => Ok(()),
    }
}
