//! Which of two engines' statements about a key holds: the version of an entry.

use super::limits::{BIRTH_MAX, ENGINES_MAX, SWITCHES_PER_DELETE};

/// Milliseconds of group time since 1970: the one clock that all engines of a group keep.
///
/// A stand-alone engine takes its wall clock at start and goes on with its monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupMillis(pub u64);

impl GroupMillis {
    /// The minute, bounded to what an entry can hold.
    pub(super) const fn minute(self) -> u32 {
        let m = self.0 / 60_000;
        if m > BIRTH_MAX as u64 { BIRTH_MAX } else { m as u32 }
    }

    /// The first stamp of this millisecond: 48 bits of milliseconds, 16 bits to count within one.
    pub const fn stamp(self) -> u64 {
        if self.0 >= 1 << 48 { u64::MAX } else { self.0 << 16 }
    }
}

/// The place of a service engine in its group (0 to 63): its bit in the open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineSlot(u8);

impl EngineSlot {
    /// `None` from 64 on.
    pub const fn new(slot: u8) -> Option<Self> {
        if slot < ENGINES_MAX { Some(Self(slot)) } else { None }
    }

    /// The number, 0 to 63.
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(super) const fn bit(self) -> u64 {
        1 << self.0
    }

    pub(super) const fn of_low_bits(bits: u32) -> Self {
        Self((bits & (ENGINES_MAX as u32 - 1)) as u8)
    }
}

/// The version of an entry.
///
/// Two engines that hold different values for a key compare, in this order: the later birth wins, then more
/// switches, then a tombstone, then the *earlier* stamp (first writer), then the lower origin, then the
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Version {
    /// Minute of group time in which this life of the key began (26 bits).
    pub birth: u32,
    /// Deliberate moves to another server; a delete goes to the next multiple of 65,536. Saturates.
    pub switches: u32,
    /// Group time of the write: milliseconds and a count within the millisecond.
    pub stamp: u64,
    /// The engine that wrote.
    pub origin: EngineSlot,
}

impl Version {
    /// The version of a deliberate move to another server.
    //= TBL-VERSION-01
    pub(super) fn switched(self, stamp: u64, origin: EngineSlot) -> Self {
        Self { switches: self.switches.saturating_add(1), stamp, origin, ..self }
    }

    /// The version of the tombstone of this entry.
    //= TBL-VERSION-02
    pub(super) fn deleted(self, stamp: u64, origin: EngineSlot) -> Self {
        let next = (self.switches / SWITCHES_PER_DELETE).checked_add(1);
        let switches = next.and_then(|n| n.checked_mul(SWITCHES_PER_DELETE)).unwrap_or(u32::MAX);
        Self { switches, stamp, origin, ..self }
    }

    /// The version of a new life of the key after this one ended or was deleted.
    //= TBL-VERSION-03
    pub(super) fn reborn(self, minute: u32, stamp: u64, origin: EngineSlot) -> Self {
        let birth = minute.max(self.birth);
        let switches = if birth == self.birth { self.switches.saturating_add(1) } else { 0 };
        Self { birth, switches, stamp, origin }
    }

    /// The highest version below the first one of this life. A life that began in the minute of a tombstone
    /// counts its switches on from that tombstone's, a multiple of 65,536.
    pub(super) fn below(self) -> Self {
        match self.switches / SWITCHES_PER_DELETE * SWITCHES_PER_DELETE {
            0 => Self { birth: self.birth.saturating_sub(1), switches: u32::MAX, ..self },
            tombstone => Self { switches: tombstone, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: Version = Version { birth: 7, switches: 3, stamp: 9, origin: EngineSlot(1) };

    //= test TBL-VERSION-02
    #[test]
    fn a_delete_goes_to_the_next_multiple_of_65536_and_never_wraps() {
        assert_eq!(V.deleted(10, EngineSlot(2)).switches, 65_536);
        assert_eq!(Version { switches: 65_536, ..V }.deleted(10, EngineSlot(2)).switches, 131_072);
        assert_eq!(Version { switches: u32::MAX - 1, ..V }.deleted(10, EngineSlot(2)).switches, u32::MAX);
    }

    //= test TBL-VERSION-01
    #[test]
    fn the_count_of_switches_saturates() {
        assert_eq!(V.switched(10, EngineSlot(2)).switches, 4);
        assert_eq!(Version { switches: u32::MAX, ..V }.switched(10, EngineSlot(2)).switches, u32::MAX);
    }

    //= test TBL-VERSION-03
    #[test]
    fn a_key_created_again_outranks_its_earlier_life() {
        assert_eq!(
            V.reborn(8, 10, EngineSlot(2)),
            Version { birth: 8, switches: 0, stamp: 10, origin: EngineSlot(2) }
        );
        assert_eq!(V.reborn(7, 10, EngineSlot(2)).switches, 4);
        let behind = V.reborn(5, 10, EngineSlot(2));
        assert_eq!((behind.birth, behind.switches), (7, 4));
    }

    #[test]
    fn time_past_the_fields_stays_at_their_end() {
        assert_eq!(GroupMillis(u64::MAX).minute(), BIRTH_MAX);
        assert_eq!(GroupMillis(u64::MAX).stamp(), u64::MAX);
        assert_eq!(GroupMillis(61_000).minute(), 1);
    }
}
