//! Times and counts with their unit in the type.

use core::fmt;

/// A moment: microseconds since an epoch that the host chooses; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Now(pub u64);

impl Now {
    /// Later than every moment a host can name.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns this moment `by` later; stays at [`Now::NEVER`] instead of wrapping.
    pub const fn after(self, by: Micros) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// Returns the time since `earlier`; zero if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Micros(pub u64);

impl Micros {
    /// From milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }
    /// From seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }
}

/// A duration in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Seconds(pub u32);

impl Seconds {
    /// The same duration in microseconds.
    pub const fn micros(self) -> Micros {
        Micros::from_secs(self.0 as u64)
    }
}

/// A duration in minutes: the unit of every persistence timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Minutes(pub u32);

impl Minutes {
    /// The same duration in seconds.
    pub const fn seconds(self) -> Seconds {
        Seconds(self.0.saturating_mul(60))
    }
    /// The same duration in microseconds.
    pub const fn micros(self) -> Micros {
        Micros::from_secs(self.0 as u64 * 60)
    }
}

/// Seconds since 1970 by the host's wall clock: only what is stored at clients uses it, because it must
/// mean the same on another service engine and after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnixSeconds(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.0)
    }
}
