//! Why this server: the record that is logged with every request.

use core::fmt;

use crate::decide::Refusal;
use crate::id::{ServerIndex, SiteId};
use crate::lb;
use crate::limits::SKIPPED_NAMED_MAX;
use crate::persist::{KindName, ServerDown};

/// Who chose the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChosenBy {
    /// The client's persistence.
    Persistence,
    /// The pool's algorithm.
    Algorithm,
    /// The site cookie: another site serves.
    Site,
    /// No server was chosen.
    Nobody,
}

/// What became of the persistence key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum KeyOutcome {
    /// The pool has no persistence, or its timeout is 0.
    Off,
    /// The request carries no key.
    Absent,
    /// The request's key is longer than we remember.
    TooLong,
    /// The table does not know the key, or no server has the header's value.
    Miss,
    /// The key names a server of this pool.
    Hit,
    /// The cookie did not open: forged, truncated, or sealed by an unknown key.
    Invalid,
    /// The cookie opened, but belongs to another virtual service or pool.
    Foreign,
    /// The cookie is older than the profile's timeout.
    Expired,
    /// The key names a server that is no longer in the pool.
    NotAMember,
    /// The site cookie names this site.
    LocalSite,
    /// The site cookie names another site, which serves.
    RemoteSite,
    /// The site cookie names another site, which is down: served locally.
    RemoteSiteDown,
}

/// Why a server was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SkipWhy {
    /// Its health monitor says down.
    Down,
    /// Its health monitor found it in maintenance.
    Maintenance,
    /// Disabled by the administrator.
    Disabled,
    /// Disabled, but it still serves its persistent clients.
    Draining,
    /// At its connection limit.
    AtLimit,
    /// It failed this request already.
    Tried,
    /// Its ratio is 0.
    WeightZero,
}

/// A server that was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Skipped {
    /// Which server.
    pub server: ServerIndex,
    /// Why.
    pub why: SkipWhy,
}

/// The server-down policy that was applied, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PolicyApplied {
    /// The profile's policy.
    pub policy: ServerDown,
    /// The server that the client was bound to.
    pub server: ServerIndex,
    /// What makes it count as down.
    pub why: SkipWhy,
}

/// Why this server (or none). Fixed size, no text: the log formats it off the request path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reason {
    /// The pool's algorithm.
    pub algorithm: lb::Name,
    /// The kind of persistence that was looked at.
    pub persistence: Option<KindName>,
    /// What became of its key.
    pub key: KeyOutcome,
    /// Who chose.
    pub chosen_by: ChosenBy,
    /// The server-down policy, if it had to be applied.
    pub policy: Option<PolicyApplied>,
    /// The remote site that the client's site cookie names.
    pub site: Option<SiteId>,
    /// Why no server was chosen.
    pub refusal: Option<Refusal>,
    /// 1 for a request's first decision, 2 after one server has failed it, and so on.
    pub attempt: u8,
    /// The first servers that were not eligible.
    pub skipped: [Option<Skipped>; SKIPPED_NAMED_MAX],
    /// How many more were not eligible.
    pub skipped_more: u16,
}

impl Reason {
    pub(crate) fn new(algorithm: lb::Name, attempt: u8) -> Self {
        Self {
            algorithm,
            persistence: None,
            key: KeyOutcome::Off,
            chosen_by: ChosenBy::Nobody,
            policy: None,
            site: None,
            refusal: None,
            attempt,
            skipped: [None; SKIPPED_NAMED_MAX],
            skipped_more: 0,
        }
    }

    pub(crate) fn skip(&mut self, server: ServerIndex, why: SkipWhy) {
        match self.skipped.iter_mut().find(|s| s.is_none()) {
            Some(free) => *free = Some(Skipped { server, why }),
            None => self.skipped_more = self.skipped_more.saturating_add(1),
        }
    }

    /// How many servers were not eligible.
    pub fn skipped_count(&self) -> u32 {
        let named = self.skipped.iter().flatten().count() as u32;
        named + u32::from(self.skipped_more)
    }

    /// True if another site should have served and its being down made us serve: the log flag
    /// `request_served_locally_remote_site_down`.
    pub fn served_locally_remote_site_down(&self) -> bool {
        self.key == KeyOutcome::RemoteSiteDown
    }
}

/// Names as they stand in logs.
macro_rules! names {
    ($t:ty { $($v:ident => $s:literal),* $(,)? }) => {
        impl $t {
            /// The name as it stands in logs and in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$v => $s),* }
            }
        }
        impl core::fmt::Display for $t {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use names;

names!(ChosenBy { Persistence => "persistence", Algorithm => "algorithm", Site => "site", Nobody => "nobody" });
names!(KeyOutcome {
    Off => "off", Absent => "absent", TooLong => "too_long", Miss => "miss", Hit => "hit",
    Invalid => "invalid", Foreign => "foreign", Expired => "expired", NotAMember => "not_a_member",
    LocalSite => "local_site", RemoteSite => "remote_site", RemoteSiteDown => "remote_site_down",
});
names!(SkipWhy {
    Down => "down", Maintenance => "maintenance", Disabled => "disabled", Draining => "draining",
    AtLimit => "at_limit", Tried => "tried", WeightZero => "weight_zero",
});

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chosen by {}, algorithm {}", self.chosen_by, self.algorithm)?;
        if let Some(kind) = self.persistence {
            write!(f, ", persistence {kind} key {}", self.key)?;
        }
        if let Some(p) = self.policy {
            write!(f, ", bound to server {} which is {}: {}", p.server.0, p.why, p.policy)?;
        }
        if let Some(site) = self.site {
            write!(f, ", site {}", site.0)?;
        }
        if let Some(r) = self.refusal {
            write!(f, ", refused: {r}")?;
        }
        if self.attempt > 1 {
            write!(f, ", attempt {}", self.attempt)?;
        }
        if self.skipped[0].is_some() {
            f.write_str(", skipped")?;
            for s in self.skipped.iter().flatten() {
                write!(f, " {}:{}", s.server.0, s.why)?;
            }
            if self.skipped_more > 0 {
                write!(f, " and {} more", self.skipped_more)?;
            }
        }
        Ok(())
    }
}
