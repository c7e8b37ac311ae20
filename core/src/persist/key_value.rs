//! A key that a script or a rule computes: `persist(key, lifetime, pool)`.

use super::{ClientKey, Found};
use crate::id::PoolId;
use crate::limits::OPAQUE_KEY_MAX;
use crate::units::Seconds;

/// How long an entry lives where the script names no time.
pub const LIFETIME_DEFAULT: Seconds = Seconds(300);

/// What a script asks for. A second request with the same key renews the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persist<'r> {
    /// By what the client is known.
    pub key: &'r [u8],
    /// How long the entry lives; [`LIFETIME_DEFAULT`] if `None`.
    pub lifetime: Option<Seconds>,
    /// The pool to decide in; the virtual service's own if `None`.
    pub pool: Option<PoolId>,
}

impl<'r> Persist<'r> {
    /// Returns what goes into [`Input::found`](crate::Input::found), in place of what the profile found.
    //= PERS-KV-01
    pub fn found(&self) -> Found<'r> {
        match self.key.len() {
            0 => Found::Absent,
            n if n > OPAQUE_KEY_MAX => Found::TooLong,
            _ => Found::Script {
                key: ClientKey::Opaque(self.key),
                lifetime: self.lifetime.unwrap_or(LIFETIME_DEFAULT),
            },
        }
    }
}
