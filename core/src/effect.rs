//! What the host has to do after a decision.

use crate::id::ServerId;
use crate::limits::EFFECTS_MAX;
use crate::persist::TableKey;
use crate::persist::{gslb_site, http_cookie};
use crate::units::Seconds;

/// One thing to carry out. Sealing, table access and clocks are the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Effect {
    /// Seal the payload and add it to the response as the profile's cookie
    /// ([`HttpCookie::write_set_cookie`](http_cookie::HttpCookie::write_set_cookie)).
    SetCookie(http_cookie::Payload),
    /// Seal the payload and add it to the response as the profile's site cookie.
    SetSiteCookie(gslb_site::Payload),
    /// Put the entry; it replaces one of a lower generation.
    Write {
        /// Under which key.
        key: TableKey,
        /// The server that the key now means.
        server: ServerId,
        /// 0 for a new entry, one more with each change of the server.
        generation: u32,
        /// How long it lives after the last connection has closed.
        lifetime: Seconds,
    },
    /// Renew the entry.
    Touch {
        /// Under which key.
        key: TableKey,
        /// How long it lives after the last connection has closed.
        lifetime: Seconds,
    },
    /// Seal the ticket and send it to the client (L4 with TLS).
    SealTicket {
        /// The server to carry: goes into the handshake's [`Ticket`](crate::persist::tls::Ticket).
        server: ServerId,
    },
}

/// The effects of one decision, in the order in which to carry them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Effects {
    list: [Option<Effect>; EFFECTS_MAX],
}

impl Effects {
    /// No effect.
    pub const NONE: Self = Self { list: [None; EFFECTS_MAX] };

    /// The effects in order.
    pub fn iter(&self) -> impl Iterator<Item = &Effect> {
        self.list.iter().flatten()
    }
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list[0].is_none()
    }
    /// The payload to seal, if the decision sets the persistence cookie.
    pub fn cookie(&self) -> Option<http_cookie::Payload> {
        self.iter().find_map(|e| match e {
            Effect::SetCookie(p) => Some(*p),
            _ => None,
        })
    }
    pub(crate) fn push(&mut self, effect: Effect) {
        match self.list.iter_mut().find(|e| e.is_none()) {
            Some(free) => *free = Some(effect),
            None => debug_assert!(false, "no decision has more than EFFECTS_MAX effects"),
        }
    }
}
