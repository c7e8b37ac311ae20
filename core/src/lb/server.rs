//! What a pool knows of one server.

use crate::id::{Endpoint, ServerId};
use crate::reason::SkipWhy;
use crate::units::Now;

/// What the health monitors say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Health {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// It says that it is in maintenance: like down, but nobody is woken.
    Maintenance,
}

/// A server's state as the host sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServerState {
    /// What the health monitors say.
    pub health: Health,
    /// False: disabled by the administrator.
    pub enabled: bool,
}

impl ServerState {
    /// Enabled and healthy.
    pub const UP: Self = Self { health: Health::Up, enabled: true };
    /// Enabled, and not healthy.
    pub const DOWN: Self = Self { health: Health::Down, enabled: true };
    /// Disabled, and healthy.
    pub const DISABLED: Self = Self { health: Health::Up, enabled: false };
}

/// One server's state in one worker. Small, because most algorithms read all of them in each decision.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Open connections of this worker.
    pub open: u32,
    /// Open connections of the other workers, as far as the host says.
    pub elsewhere: u32,
    /// Connections below which it takes new clients: its limit, or no bound, or 0 if it takes none at all.
    pub room: u32,
    /// Connection limit; 0: none.
    pub limit: u32,
    /// Ratio times ramp: 1000 per ratio point when fully started; 0 only for ratio 0.
    pub weight: u32,
    /// Why new clients are refused, as of the last refresh; `None` if they are not.
    pub refuses: Option<SkipWhy>,
    /// Ramp in thousandths, as of the last refresh.
    pub ramp_milli: u16,
    pub ratio: u8,
    /// The worker's share under core affinity.
    pub mine: bool,
    /// Position of smooth weighted round robin.
    pub turn: i64,
    /// Average response time; 0: not known.
    pub response_us: u32,
    /// Lowest average response time seen.
    pub response_best_us: u32,
    /// When the average was last fed.
    pub response_at: Now,
    /// Bytes lately, and when that was computed.
    pub load: u64,
    pub load_at: Now,
    /// Tasks by the server's own report.
    pub tasks: u32,
    /// Connections opened since that report.
    pub since_report: u32,
}

/// What only a change of state reads.
#[derive(Clone, Debug)]
pub(crate) struct Cold {
    pub id: ServerId,
    pub endpoint: Endpoint,
    pub state: ServerState,
    /// When the state last left "enabled and healthy".
    pub left_at: Now,
    /// When slow start began; `None` if it is over or never was.
    pub ramp_from: Option<Now>,
}

impl Server {
    /// A server without connections or history, at full weight.
    pub fn new(ratio: u8, limit: u32) -> Self {
        Self {
            open: 0,
            elsewhere: 0,
            room: 0,
            limit,
            weight: 0,
            refuses: None,
            ramp_milli: 1_000,
            ratio,
            mine: true,
            turn: 0,
            response_us: 0,
            response_best_us: 0,
            response_at: Now(0),
            load: 0,
            load_at: Now(0),
            tasks: 0,
            since_report: 0,
        }
    }

    /// All open connections that this worker knows of.
    //= LB-LC-03
    #[inline]
    pub fn total(&self) -> u32 {
        self.open.saturating_add(self.elsewhere)
    }

    /// True if the limit leaves no room.
    //= LB-LIMIT-01
    #[inline]
    pub fn at_limit(&self) -> bool {
        self.limit != 0 && self.total() >= self.limit
    }
}
