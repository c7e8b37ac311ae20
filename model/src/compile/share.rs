//! What one service may take of an engine that it has together with others.

use std::collections::BTreeSet;

use forebay_snapshot::limits::{DOCUMENT_BYTES_MAX, HOST_NAMES_MAX};

use super::cx::Cx;
use crate::Problem;

/// Host names for one service: half of what an engine looks up.
pub const SERVICE_NAMES_MAX: usize = HOST_NAMES_MAX / 2;
/// Bytes of the document for one service: a quarter of what an engine reads, or some ten thousand servers.
pub const SERVICE_BYTES_MAX: usize = DOCUMENT_BYTES_MAX / 4;

/// Says what a service that stands on these parts takes too much of.
//= COMPILE-SHARE-01
pub(super) fn too_much(cx: &Cx<'_>, uuid: &str, keys: &BTreeSet<String>) -> Option<Problem> {
    let parts = || keys.iter().filter_map(|key| cx.made.get(key));
    let names: BTreeSet<&String> = parts().flat_map(|part| &part.names).collect();
    let bytes: usize = parts().map(|part| part.text.len()).sum();
    let (reason, fix) = if names.len() > SERVICE_NAMES_MAX {
        let reason = format!(
            "its servers have {} different host names, and {SERVICE_NAMES_MAX} are the most that are looked up for one virtual service",
            names.len()
        );
        (reason, "write addresses, or let one name have several")
    } else if bytes > SERVICE_BYTES_MAX {
        let reason = format!(
            "it is {bytes} bytes of an engine's configuration, and {SERVICE_BYTES_MAX} are the most for one virtual service"
        );
        (reason, "give it fewer servers, rules or texts, or make several virtual services of it")
    } else {
        return None;
    };
    Some(cx.get("virtualservice", uuid)?.said("", reason, fix))
}
