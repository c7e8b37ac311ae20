//! The client's address, IPv4 or IPv6, with an optional mask.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{ClientKey, Found};
use crate::id::{ip_bytes, ip_from_bytes};
use crate::limits::TABLE_TIMEOUT_MAX_MIN;
use crate::problem::Problem;
use crate::units::Minutes;

/// The settings of client-address persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ClientIp {
    /// How long an entry lives after the address's last connection to the virtual service has closed, 1 to
    /// 720 minutes; 0: no persistence.
    pub timeout: Minutes,
    /// Leading bits of an IPv4 address that count, 0 to 32; 0 sends all clients to one server.
    pub mask_v4: u8,
    /// Leading bits of an IPv6 address that count, 0 to 128.
    pub mask_v6: u8,
}

impl Default for ClientIp {
    fn default() -> Self {
        Self { timeout: Minutes(5), mask_v4: 32, mask_v6: 128 }
    }
}

impl ClientIp {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        check_timeout(self.timeout, 0, out);
        for (path, bits, max) in [("mask_v4", self.mask_v4, 32), ("mask_v6", self.mask_v6, 128)] {
            if bits > max {
                out.push(Problem::new(
                    path,
                    format!("an address has {max} bits"),
                    format!("write 0 to {max}"),
                ));
            }
        }
    }

    //= PERS-IP-01
    //= PERS-IP-02
    pub(super) fn find<'r>(&self, client: IpAddr) -> Found<'r> {
        if self.timeout.0 == 0 {
            return Found::Off;
        }
        Found::Key(ClientKey::Plain(self.masked(client)))
    }

    /// The bits of `client` that count, as a table key's bytes.
    pub fn masked(&self, client: IpAddr) -> [u8; 16] {
        let bytes = ip_bytes(client);
        let kept = match ip_from_bytes(bytes) {
            IpAddr::V4(_) => 96 + u32::from(self.mask_v4.min(32)),
            IpAddr::V6(_) => u32::from(self.mask_v6.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
        (u128::from_be_bytes(bytes) & mask).to_be_bytes()
    }
}

pub(super) fn check_timeout(timeout: Minutes, min: u32, out: &mut Vec<Problem>) {
    if !(min..=TABLE_TIMEOUT_MAX_MIN).contains(&timeout.0) {
        out.push(Problem::new(
            "timeout_min",
            format!("{} minutes is out of range", timeout.0),
            format!("write {min} to {TABLE_TIMEOUT_MAX_MIN}"),
        ));
    }
}
