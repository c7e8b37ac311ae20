//! Who has how much of the room: records go of whom there are the most.

use std::collections::{BTreeMap, HashMap};

use crate::Micros;

/// Losses that are shared out at once: one pass over all owners for each.
const LOSSES_MAX: usize = 64;

/// The least of them in bytes, if there is so much: some records.
const LOSS_MIN: u64 = 16 << 10;

/// What a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Bytes, as they were counted when its records were written.
    pub(crate) bytes: u64,
    /// The first hour that may have a record of it.
    pub(crate) from: Micros,
    /// Up to which number its records of that hour that are not significant have gone.
    pub(crate) gone: i64,
}

/// What a service is to lose of its first hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) owner: String,
    pub(crate) service: String,
    /// What it has.
    pub(crate) part: Part,
    /// How many bytes of it are to go.
    pub(crate) bytes: u64,
}

/// The services of one owner.
#[derive(Debug, Default)]
struct Parts {
    bytes: u64,
    services: HashMap<String, Part>,
}

/// The parts of all, by owner and service.
#[derive(Debug, Default)]
pub(crate) struct Ledger(HashMap<String, Parts>);

impl Ledger {
    /// So many bytes were written to an hour.
    pub(crate) fn add(&mut self, owner: &str, service: &str, hour: Micros, bytes: u64) {
        // Names are copied for whoever is new only.
        let owned = match self.0.contains_key(owner) {
            true => self.0.get_mut(owner),
            false => Some(self.0.entry(owner.to_owned()).or_default()),
        };
        let Some(owned) = owned else { return };
        owned.bytes = owned.bytes.saturating_add(bytes);
        match owned.services.get_mut(service) {
            Some(part) => {
                part.bytes = part.bytes.saturating_add(bytes);
                if hour < part.from {
                    (part.from, part.gone) = (hour, i64::MIN);
                }
            }
            None => {
                let part = Part { bytes, from: hour, gone: i64::MIN };
                owned.services.insert(service.to_owned(), part);
            }
        }
    }

    /// Of the owner that has the most the service that has the most, and what that is.
    pub(crate) fn loudest(&self) -> Option<(String, String, Part)> {
        // Where two have as much it is the first by name: the same one every time.
        let (owner, owned) = self.0.iter().max_by(|a, b| (a.1.bytes, b.0).cmp(&(b.1.bytes, a.0)))?;
        let (service, part) = owned.services.iter().max_by(|a, b| (a.1.bytes, b.0).cmp(&(b.1.bytes, a.0)))?;
        Some((owner.clone(), service.clone(), *part))
    }

    /// Who is to lose how much so that about so many bytes go, by hour: as if it went in pieces, each of who is the loudest then.
    /// So one bite of a file has what many of them lose there.
    //= LOG-SHARE-01
    pub(crate) fn losses(&mut self, bytes: u64) -> BTreeMap<Micros, Vec<Loss>> {
        let mut losses: Vec<Loss> = Vec::new();
        let mut left = bytes;
        for _ in 0..LOSSES_MAX {
            let Some((owner, service, part)) = self.loudest().filter(|_| left > 0) else { break };
            // Not so many that others have far more after it.
            let bytes = (left / 8).max(LOSS_MIN).min(part.bytes.div_ceil(4));
            left = left.saturating_sub(bytes.max(1));
            self.lower(&owner, &service, bytes);
            match losses.iter_mut().find(|loss| loss.service == service && loss.owner == owner) {
                Some(loss) => loss.bytes += bytes,
                None => losses.push(Loss { owner, service, part, bytes }),
            }
        }
        let mut by_hour: BTreeMap<Micros, Vec<Loss>> = BTreeMap::new();
        for loss in losses {
            self.add(&loss.owner, &loss.service, loss.part.from, loss.bytes);
            by_hour.entry(loss.part.from).or_default().push(loss);
        }
        by_hour
    }

    fn lower(&mut self, owner: &str, service: &str, bytes: u64) {
        let Some(owned) = self.0.get_mut(owner) else { return };
        let Some(part) = owned.services.get_mut(service) else { return };
        part.bytes = part.bytes.saturating_sub(bytes);
        owned.bytes = owned.bytes.saturating_sub(bytes);
    }

    /// So many bytes of a service have gone, and of its first hour all that is not significant up to this number.
    pub(crate) fn remove(&mut self, owner: &str, service: &str, bytes: u64, gone: i64) {
        let Some(owned) = self.0.get_mut(owner) else { return };
        if let Some(part) = owned.services.get_mut(service) {
            let bytes = bytes.min(part.bytes);
            part.bytes -= bytes;
            part.gone = gone;
            owned.bytes = owned.bytes.saturating_sub(bytes);
        }
    }

    /// There is nothing of a service in its first hour any more; `next` is the hour behind it, if there is one.
    pub(crate) fn next_hour(&mut self, owner: &str, service: &str, next: Option<Micros>) {
        let Some(owned) = self.0.get_mut(owner) else { return };
        let Some(part) = owned.services.get_mut(service) else { return };
        if let Some(next) = next {
            (part.from, part.gone) = (next, i64::MIN);
            return;
        }
        // What is left is a difference of counting.
        owned.bytes = owned.bytes.saturating_sub(part.bytes);
        owned.services.remove(service);
        if owned.services.is_empty() {
            self.0.remove(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HOUR;

    //= test LOG-SHARE-01
    #[test]
    fn who_are_as_loud_lose_as_much_and_who_tells_little_loses_nothing() {
        let mut ledger = Ledger::default();
        for nth in 0..10 {
            ledger.add("a", &format!("loud-{nth}"), HOUR * (nth % 2), 1_000_000);
        }
        ledger.add("a", "quiet", 0, 100_000);
        ledger.add("b", "other", 0, 3_000_000);
        let before = ledger.loudest();
        let losses = ledger.losses(2_000_000);
        assert_eq!(ledger.loudest(), before, "nothing has gone yet");
        assert_eq!(losses.keys().copied().collect::<Vec<_>>(), [0, HOUR]);
        let all: Vec<&Loss> = losses.values().flatten().collect();
        assert_eq!(all.len(), 10, "{all:?}");
        assert!(all.iter().all(|loss| loss.service.starts_with("loud")), "{all:?}");
        let of = |loss: &&&Loss| loss.bytes;
        let (least, most) = (all.iter().map(|l| of(&l)).min(), all.iter().map(|l| of(&l)).max());
        assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 250_000, "{all:?}");
        let sum: u64 = all.iter().map(|loss| loss.bytes).sum();
        assert!((1_500_000..2_100_000).contains(&sum), "{sum}");
        // One alone loses no more than a part at once, and an empty ledger nothing.
        let mut alone = Ledger::default();
        alone.add("a", "one", 0, 800);
        assert_eq!(alone.losses(200)[&0][0].bytes, 200);
        assert!(Ledger::default().losses(1).is_empty());
    }

    #[test]
    fn the_loudest_is_of_the_owner_that_has_the_most() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.loudest(), None);
        // A thousand services of one owner, and two of another one of which one has more than any of those.
        for nth in 0..1_000 {
            ledger.add("many", &format!("{nth}"), 0, 10);
        }
        ledger.add("few", "a", HOUR, 3_000);
        ledger.add("few", "b", HOUR, 4_000);
        let loudest = ledger.loudest().expect("one");
        assert_eq!(loudest.0, "many");
        ledger.remove("many", &loudest.1, 10, 7);
        for nth in 0..1_000 {
            ledger.remove("many", &format!("{nth}"), 5, 7);
        }
        let (owner, service, part) = ledger.loudest().expect("one");
        assert_eq!((&*owner, &*service), ("few", "b"));
        assert_eq!(part, Part { bytes: 4_000, from: HOUR, gone: i64::MIN });
        // An earlier hour that comes late is the first one.
        ledger.add("few", "b", 0, 1);
        assert_eq!(ledger.loudest().map(|(.., part)| part.from), Some(0));
        ledger.next_hour("few", "b", Some(HOUR));
        assert_eq!(ledger.loudest().map(|(.., part)| part.from), Some(HOUR));
        ledger.next_hour("few", "b", None);
        ledger.remove("few", "a", u64::MAX, 0);
        assert_eq!(ledger.loudest().map(|(owner, ..)| owner), Some("many".to_owned()));
    }
}
