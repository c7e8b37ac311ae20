//! The site cookie of a global service: it names the site that the client began at.
//!
//! A request that arrives at another site is proxied to the named one. If that site is down, the request is
//! served here, and the reason record says so.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Bond, KindName, ServerDown, http_cookie};
use crate::id::{SiteId, VsId};
use crate::lb::Pool;
use crate::problem::Problem;
use crate::reason::KeyOutcome;

/// The settings of site persistence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct GslbSite {
    /// The site cookie's name.
    pub cookie_name: String,
    /// This site.
    pub local: SiteId,
    /// The other sites of the global service.
    pub remote: Vec<SiteId>,
    /// The global service: the same number at all its sites.
    pub service: VsId,
    /// Hide the cookie from scripts.
    pub http_only: bool,
}

/// What the site cookie holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Payload {
    /// The global service.
    pub service: VsId,
    /// The site.
    pub site: SiteId,
}

/// Length of an encoded payload, in bytes.
pub const PAYLOAD_LEN: usize = 9;

impl Payload {
    /// Returns the payload's bytes.
    pub fn encode(&self) -> [u8; PAYLOAD_LEN] {
        let mut out = [0x31; PAYLOAD_LEN];
        out[1..5].copy_from_slice(&self.service.0.to_le_bytes());
        out[5..].copy_from_slice(&self.site.0.to_le_bytes());
        out
    }

    /// Reads a payload; `None` if the bytes are not exactly one of a version we know.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [0x31, a, b, c, d, e, f, g, h] = *bytes else { return None };
        Some(Self {
            service: VsId(u32::from_le_bytes([a, b, c, d])),
            site: SiteId(u32::from_le_bytes([e, f, g, h])),
        })
    }
}

impl GslbSite {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        http_cookie::check_name("cookie_name", &self.cookie_name, out);
        if self.remote.contains(&self.local) {
            out.push(Problem::new(
                "remote",
                "this site stands among the other sites",
                "remove it from the list",
            ));
        }
    }

    /// Appends the value of a `Set-Cookie` field with the sealed value `sealed`.
    pub fn write_set_cookie(&self, sealed: &[u8], tls: bool, out: &mut Vec<u8>) {
        http_cookie::write_cookie(&self.cookie_name, sealed, None, self.http_only, tls, out);
    }

    //= PERS-GSLB-01
    //= PERS-GSLB-02
    pub(super) fn resolve(&self, pool: &Pool, payload: Payload) -> Bond {
        let outcome = if payload.service != self.service {
            KeyOutcome::Foreign
        } else if payload.site == self.local {
            KeyOutcome::LocalSite
        } else if !self.remote.contains(&payload.site) {
            KeyOutcome::NotAMember
        } else if pool.site_is_up(payload.site) {
            KeyOutcome::RemoteSite
        } else {
            KeyOutcome::RemoteSiteDown
        };
        let site = (outcome != KeyOutcome::Foreign).then_some(payload.site);
        Bond { site, ..Bond::none(Some(KindName::GslbSite), outcome) }
    }

    /// The cookie to send when this site serves; `None` if the client's own stays as it is.
    //= PERS-GSLB-03
    pub(super) fn bind(&self, pool: &Pool, outcome: KeyOutcome) -> Option<Payload> {
        let stays = match outcome {
            KeyOutcome::LocalSite => true,
            // The client's data is at its own site: unless told to move, it goes back when that is up again.
            KeyOutcome::RemoteSiteDown => pool.server_down() != ServerDown::PickNewServer,
            _ => false,
        };
        (!stays).then_some(Payload { service: self.service, site: self.local })
    }
}
