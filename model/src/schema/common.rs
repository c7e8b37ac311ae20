//! Messages and ranges that several kinds use.

use crate::field::{Message, Type};
use crate::field::{int, message, one_of, text};

/// An address.
pub static IP_ADDR: Message = Message {
    name: "IpAddr",
    fields: &[text("addr").required(), one_of("type", &["V4", "DNS", "V6"]).required()],
};

/// An address and the length of its network's prefix.
pub static IP_ADDR_PREFIX: Message = Message {
    name: "IpAddrPrefix",
    fields: &[message("ip_addr", &IP_ADDR).required(), int("mask", &[(0, 128)]).required()],
};

/// An address, as an entry of a list.
pub static IP_ADDR_ENTRY: Type = Type::Message(&IP_ADDR);

/// A TCP or UDP port.
pub const PORT: &[(i64, i64)] = &[(1, 65_535)];
/// A port, or 0 for what stands elsewhere.
pub const PORT_OR_0: &[(i64, i64)] = &[(0, 65_535)];
/// A share of a hundred.
pub const PERCENT: &[(i64, i64)] = &[(0, 100)];
/// What an unsigned number of 32 bits holds.
pub const U32: &[(i64, i64)] = &[(0, u32::MAX as i64)];
