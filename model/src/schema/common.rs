//! Messages and ranges that several kinds use.

use crate::field::{Message, Type};
use crate::field::{flag, int, list, long_text, message, number, one_of, refers, text};

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

/// Addresses from one to another, both included.
pub static IP_ADDR_RANGE: Message = Message {
    name: "IpAddrRange",
    fields: &[message("begin", &IP_ADDR).required(), message("end", &IP_ADDR).required()],
};

/// A network that the Controller found an address in.
pub static DISCOVERED_NETWORK: Message = Message {
    name: "DiscoveredNetwork",
    fields: &[
        refers("network_ref", "network").required(),
        list("subnet", &Type::Message(&IP_ADDR_PREFIX), 64),
        list("subnet6", &Type::Message(&IP_ADDR_PREFIX), 64),
    ],
};

/// A file that an engine serves itself.
pub static LOCAL_FILE: Message = Message {
    name: "HTTPLocalFile",
    fields: &[
        text("content_type").required(),
        long_text("file_content", 65_536).required(),
        int("file_length", &[(1, 65_536)]),
    ],
};

/// Status codes of HTTP from one to another, both included.
pub static CODE_RANGE: Message = Message {
    name: "HTTPStatusRange",
    fields: &[int("begin", &[(100, 599)]).required(), int("end", &[(100, 599)]).required()],
};

/// A name and what it stands for.
pub static KEY_VALUE: Message =
    Message { name: "KeyValue", fields: &[text("key").required(), text("value")] };

/// The longest notes that controllers of clusters keep with an object: they name all that it serves, bytes.
pub const METADATA_BYTES_MAX: usize = 65_536;

/// An address, as an entry of a list.
pub static IP_ADDR_ENTRY: Type = Type::Message(&IP_ADDR);

/// A name and what it stands for, as a label.
pub static KEY_VALUE_TUPLE: Message =
    Message { name: "KeyValueTuple", fields: &[text("key").required(), text("value")] };

/// A parameter of a user's script.
pub static CUSTOM_PARAMS: Message = Message {
    name: "CustomParams",
    fields: &[
        flag("is_dynamic").or_false(),
        flag("is_sensitive").or_false(),
        text("name").required(),
        long_text("value", 64 * 1024).secret_if("is_sensitive"),
    ],
};

/// A word by which people find an object again.
pub static TAG: Message = Message {
    name: "Tag",
    fields: &[
        one_of("type", &["AVI_DEFINED", "USER_DEFINED", "VCENTER_DEFINED"]).or_text("USER_DEFINED"),
        text("value").required(),
    ],
};

/// Ports from the first to the last, both included.
pub static PORT_RANGE: Message =
    Message { name: "PortRange", fields: &[int("start", PORT).required(), int("end", PORT).required()] };

/// A place on the earth.
pub static GEO_LOCATION: Message = Message {
    name: "GeoLocation",
    fields: &[number("latitude"), number("longitude"), text("name"), text("tag")],
};

/// With which requests browsers send a cookie.
pub const SAMESITE: &[&str] = &["SAMESITE_NONE", "SAMESITE_LAX", "SAMESITE_STRICT"];
/// A TCP or UDP port.
pub const PORT: &[(i64, i64)] = &[(1, 65_535)];
/// A port, or 0 for what stands elsewhere.
pub const PORT_OR_0: &[(i64, i64)] = &[(0, 65_535)];
/// A share of a hundred.
pub const PERCENT: &[(i64, i64)] = &[(0, 100)];
/// What an unsigned number of 32 bits holds.
pub const U32: &[(i64, i64)] = &[(0, u32::MAX as i64)];
