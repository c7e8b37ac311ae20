//! Whose turn it is: of the services of a group that are tried elsewhere again and again only some are tried at a time.
//!
//! Each try costs two engines a configuration and the store two writes, and a group may have thousands of services that no
//! engine can have: a site whose network is not there yet. How often a single one is tried, the core says.

use forebay_core::place::{EngineId, Refusal};

use super::state::{Phase, Unit};

/// Tries of services that all engines were asked for already, which begin in [`WITHIN_MS`]: so many services are tried every
/// five minutes, as a few are.
pub(super) const AGAIN: usize = 16;
/// Tries of those for which an engine is left that was not asked yet: one of them may well have it.
pub(super) const FRESH: usize = 64;
/// The stretch in which no more tries begin, milliseconds. A try takes some seconds.
pub(super) const WITHIN_MS: u64 = 30_000;
/// An engine that was asked so long ago and says nothing takes nobody's turn, milliseconds.
const ANSWERS_MS: u64 = 60_000;

/// A service that would be tried elsewhere now.
struct Asker {
    /// Its place among the services.
    at: usize,
    /// How often engines were asked in vain.
    asked: u32,
    /// When the last one was, milliseconds since 1970.
    last: u64,
}

/// One of the two kinds of tries: who waits for a turn, and how many have had one.
struct Lane {
    most: usize,
    taken: usize,
    waiting: Vec<Asker>,
}

/// The tries of a group's services.
pub(super) struct Turns {
    now: u64,
    /// How many engines a service could be asked for.
    engines: usize,
    fresh: Lane,
    again: Lane,
}

impl Turns {
    /// Of a group with so many engines, `now` being milliseconds since 1970.
    pub fn new(engines: usize, now: u64) -> Self {
        let lane = |most| Lane { most, taken: 0, waiting: Vec::new() };
        Turns { now, engines, fresh: lane(FRESH), again: lane(AGAIN) }
    }

    /// Looks at the service at a place among all: `said` of it was said by its engines, and `now_not` are those that count
    /// as engines which cannot have it.
    pub fn look(&mut self, at: usize, unit: &Unit, said: &[(EngineId, Refusal)], now_not: &[EngineId]) {
        // Where it is; all others were asked for it.
        let home =
            said.iter().filter(|(_, one)| one.is_said).min_by_key(|(_, one)| one.at_ms).map(|(id, _)| *id);
        let others = || said.iter().filter(|(id, _)| Some(*id) != home).map(|(_, one)| one);
        let asked = others().fold(0_u32, |sum, one| sum.saturating_add(one.times));
        // What was not tried yet is tried at once.
        let Some(last) = others().map(|one| one.at_ms).max().filter(|_| asked > 0) else { return };
        let is_fresh = usize::try_from(asked).is_ok_and(|asked| asked < self.engines.saturating_sub(1));
        let lane = if is_fresh { &mut self.fresh } else { &mut self.again };
        let comer = unit
            .staying()
            .filter(|member| member.phase != Phase::Serving && !unit.is_refused_by(&member.engine))
            .map(|member| member.since)
            .max();
        // A try goes on whatever comes of it.
        if let Some(since) = comer {
            lane.taken += usize::from(self.now.saturating_sub(since) < ANSWERS_MS);
            return;
        }
        // The first try was nobody's turn.
        lane.taken += usize::from(asked > 1 && self.now.saturating_sub(last) < WITHIN_MS);
        // Who has said no just now is still there, and leaves; and where all are asked later a turn would be lost.
        let may_ask = unit.staying().count() <= usize::from(unit.wanted) && now_not.len() < self.engines;
        if may_ask && said.iter().any(|(id, one)| one.is_said && now_not.contains(id)) {
            lane.waiting.push(Asker { at, asked, last });
        }
    }

    /// The places of services whose turn it is not: it is that of those which have waited longest. Of those for which an
    /// engine is left it is the one for which the fewest were asked.
    //= PLACE-REFUSED-04
    pub fn wait(mut self) -> Vec<usize> {
        self.fresh.waiting.sort_by_key(|asker| (asker.asked, asker.last, asker.at));
        self.again.waiting.sort_by_key(|asker| (asker.last, asker.at));
        let rest = |lane: Lane| {
            let turns = lane.most.saturating_sub(lane.taken);
            lane.waiting.into_iter().skip(turns).map(|asker| asker.at)
        };
        rest(self.fresh).chain(rest(self.again)).collect()
    }
}
