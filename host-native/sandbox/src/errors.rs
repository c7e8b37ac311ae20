//! What can go wrong between a host and its guest, and what the host should do then.

use std::fmt;

/// Why a guest could not be loaded, or a call did not return a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no component that this sandbox runs. Loading it again fails again.
    #[error("component refused: {0}")]
    Refused(String),
    /// The sandbox itself could not be set up, or has no room for another instance.
    #[error("sandbox unavailable: {0}")]
    Unavailable(String),
    /// The guest ran into a trap (a panic, division by zero, memory out of bounds). Its instance is gone.
    #[error("guest trapped: {0}")]
    Trap(String),
    /// The guest did not return in time. Its instance is gone.
    #[error("guest stopped after its {budget_ms} ms")]
    Deadline {
        /// The time that the call had, in milliseconds.
        budget_ms: u32,
    },
    /// The guest wanted more memory than it may have and could not go on without. Its instance is gone.
    #[error("guest wanted {wanted} bytes of memory, its limit is {limit}")]
    Memory {
        /// The size that was refused, in bytes.
        wanted: usize,
        /// The instance's limit, in bytes.
        limit: usize,
    },
    /// The guest refused a pool's configuration; all problems, one sentence each. Its instance lives.
    #[error("configuration refused: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The handle belongs to an instance that is gone; make a new one.
    #[error("the instance that made this handle was replaced")]
    Stale,
    /// The guest answered with an error of its contract. Its instance lives.
    #[error("guest refused the call: {0}")]
    Guest(GuestError),
}

/// The errors of the contract `forebay:core`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestError {
    /// An argument is out of its range: an index beyond the pool's list.
    BadArgument,
    /// A frame is no recorded input of this version.
    BadFrame,
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadArgument => "an argument is out of its range",
            Self::BadFrame => "a frame is not of this version",
        })
    }
}

impl Error {
    /// Returns whether the guest's instance was dropped, and all handles with it.
    pub fn lost_instance(&self) -> bool {
        match self {
            Self::Trap(_) | Self::Deadline { .. } | Self::Memory { .. } => true,
            Self::Refused(_) | Self::Unavailable(_) | Self::Stale | Self::Config(_) | Self::Guest(_) => false,
        }
    }
}
