//! When an engine that could not have a service is asked again, and when another one is.

use alloc::vec::Vec;

use super::types::EngineId;

/// An engine that could not have a service is not asked again for so long, and for twice as long after each further time,
/// in milliseconds: a port that another program has is free some day, and only a try tells.
const ENGINE_MS: (u64, u64) = (30_000, 300_000);
/// Where a service has found nobody elsewhere, nobody else is asked for so long, and for twice as long after each further
/// one: a service that no engine of a large group can have would be taken around all the time.
const SERVICE_MS: (u64, u64) = (2_000, 300_000);
/// What an engine could not have so long ago is forgotten, milliseconds.
const FORGOTTEN_MS: u64 = 3_600_000;

/// That an engine could not have a service as its machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Refusal {
    /// How often.
    pub times: u32,
    /// When it was last said or, where it is not said any more, since when; milliseconds since any moment.
    pub at_ms: u64,
    /// The engine has the service, and says so now.
    pub is_said: bool,
}

impl Refusal {
    /// Nothing of it counts any more.
    pub fn is_forgotten(&self, now_ms: u64) -> bool {
        !self.is_said && now_ms.saturating_sub(self.at_ms) > FORGOTTEN_MS
    }

    fn is_asked_again(&self, now_ms: u64) -> bool {
        !self.is_said && now_ms.saturating_sub(self.at_ms) >= pause(ENGINE_MS, self.times)
    }
}

fn pause((first, most): (u64, u64), times: u32) -> u64 {
    if times == 0 {
        return 0;
    }
    let doubled = first.checked_shl(times - 1).filter(|pause| pause >> (times - 1) == first);
    doubled.unwrap_or(most).min(most)
}

/// The engines that count as those which cannot have a service now, of all that could not have it some time; `current` have it.
///
/// Who has it and says that it cannot counts, unless the service is to stay where it is for a while: others were asked in
/// vain not long ago. Who does not have it counts until it is to be asked again.
//= PLACE-REFUSED-01
pub fn refused(all: &[(EngineId, Refusal)], current: &[EngineId], now_ms: u64) -> Vec<EngineId> {
    let elsewhere = || all.iter().filter(|(_, one)| !one.is_said);
    let asked = elsewhere().fold(0_u32, |sum, (_, one)| sum.saturating_add(one.times));
    let last = elsewhere().map(|(_, one)| one.at_ms).max().unwrap_or(0);
    let rests = now_ms.saturating_sub(last) < pause(SERVICE_MS, asked);
    let counts = |(id, one): &&(EngineId, Refusal)| match current.contains(id) {
        true => one.is_said && !rests,
        false => !one.is_asked_again(now_ms),
    };
    all.iter().filter(counts).map(|(id, _)| *id).collect()
}
