//! Tallies: what was counted in a slot, as it is added up and as it lies in the file.

use forebay_wire::proto;

/// Places of one list, and bytes of a packed tally: more than any version counts.
const PLACES_MAX: usize = 64;

/// What one thing has counted in a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What adds up.
    pub sums: Vec<u64>,
    /// The most that there was at a time.
    pub tops: Vec<u64>,
    /// Durations by size.
    pub durations: Vec<u64>,
}

fn each(into: &mut Vec<u64>, more: &[u64], with: impl Fn(u64, u64) -> u64) {
    if into.len() < more.len() {
        into.resize(more.len(), 0);
    }
    for (into, more) in into.iter_mut().zip(more) {
        *into = with(*into, *more);
    }
}

impl Tally {
    /// What an engine tells, without places that no version has.
    pub fn told(told: proto::Tally) -> Self {
        let cut = |mut list: Vec<u64>| {
            list.truncate(PLACES_MAX);
            list
        };
        Tally { sums: cut(told.sums), tops: cut(told.tops), durations: cut(told.durations) }
    }

    /// Adds what the same counted at another time.
    pub fn then(&mut self, later: &Tally) {
        each(&mut self.sums, &later.sums, u64::saturating_add);
        each(&mut self.durations, &later.durations, u64::saturating_add);
        each(&mut self.tops, &later.tops, u64::max);
    }

    /// Adds what another one counted at the same time. The sum of two tops is the most that there can have been together.
    pub fn beside(&mut self, other: &Tally) {
        each(&mut self.sums, &other.sums, u64::saturating_add);
        each(&mut self.durations, &other.durations, u64::saturating_add);
        each(&mut self.tops, &other.tops, u64::saturating_add);
    }

    /// The sum at a place.
    pub fn sum(&self, place: usize) -> u64 {
        self.sums.get(place).copied().unwrap_or(0)
    }

    /// The most at a place.
    pub fn top(&self, place: usize) -> u64 {
        self.tops.get(place).copied().unwrap_or(0)
    }

    /// Its bytes: three lists, each its length and its numbers, seven bits a byte, the lowest first.
    pub fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        for list in [&self.sums, &self.tops, &self.durations] {
            let length = list.iter().rposition(|number| *number > 0).map_or(0, |last| last + 1);
            number(&mut bytes, length as u64);
            list.iter().take(length).for_each(|one| number(&mut bytes, *one));
        }
        bytes
    }

    /// Reads what [`Tally::pack`] wrote; `None`: these bytes are no tally.
    pub fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let mut list = || {
            let length = usize::try_from(take(&mut bytes)?).ok().filter(|length| *length <= PLACES_MAX)?;
            (0..length).map(|_| take(&mut bytes)).collect::<Option<Vec<u64>>>()
        };
        let tally = Tally { sums: list()?, tops: list()?, durations: list()? };
        bytes.is_empty().then_some(tally)
    }
}

fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(7 * place)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_as_it_was_written_and_nothing_else_is() {
        let tally = Tally { sums: vec![0, 1, 127, 128, u64::MAX], tops: vec![300], durations: vec![0, 0, 7] };
        let bytes = tally.pack();
        assert_eq!(Tally::unpack(&bytes), Some(tally));
        assert_eq!(Tally::default().pack(), [0, 0, 0]);
        for end in 0..bytes.len() {
            assert_eq!(Tally::unpack(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(Tally::unpack(&[0, 0, 0, 0]), None, "too long");
        assert_eq!(Tally::unpack(&[0xff, 0xff, 0x7f, 0, 0]), None, "too many places");
    }

    //= test MET-ROLL-01
    #[test]
    fn sums_add_up_and_of_what_is_open_the_most_counts() {
        let tally = |sum: u64, top: u64| Tally { sums: vec![sum], tops: vec![top], durations: vec![sum, 1] };
        let mut slot = tally(3, 5);
        slot.then(&tally(4, 2));
        assert_eq!(slot, Tally { sums: vec![7], tops: vec![5], durations: vec![7, 2] });
        slot.beside(&tally(1, 2));
        assert_eq!(slot, Tally { sums: vec![8], tops: vec![7], durations: vec![8, 3] });
    }
}
