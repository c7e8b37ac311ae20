//! A header whose values are assigned to servers by the configuration.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Found, http_cookie};
use crate::problem::Problem;
use crate::request::RequestView;

/// The settings of header persistence; the values stand at the servers
/// ([`ServerConfig::header_value`](crate::lb::ServerConfig::header_value)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct CustomHeader {
    /// The header's name, lower case.
    pub name: String,
}

impl CustomHeader {
    pub(super) fn check(&self, out: &mut Vec<Problem>) {
        if self.name.is_empty() {
            out.push(Problem::new("header_name", "no header is named", "name one, for example \"x-shard\""));
        } else if !self.name.chars().all(http_cookie::is_token) {
            out.push(Problem::new(
                "header_name",
                "a character may not stand in a field name",
                "use letters, digits and !#$%&'*+-.^_`|~",
            ));
        } else if self.name.chars().any(|c| c.is_ascii_uppercase()) {
            out.push(Problem::new(
                "header_name",
                "field names are compared in lower case",
                "write it in lower case",
            ));
        }
    }

    //= PERS-HDR-01
    pub(super) fn find<'r, R: RequestView>(&self, request: &'r R) -> Found<'r> {
        match request.header(&self.name) {
            Some(value) if !value.is_empty() => Found::Header(value),
            _ => Found::Absent,
        }
    }
}
