//! What one service may take of an engine that it has together with others.

use std::collections::{BTreeMap, BTreeSet};

use forebay_snapshot::limits::{DOCUMENT_BYTES_MAX, HOST_NAMES_MAX};

use super::cx::Cx;
use super::whole::reach;
use crate::Problem;

/// Host names for one service where there is no room for all: half of what an engine looks up.
pub const SERVICE_NAMES_MAX: usize = HOST_NAMES_MAX / 2;
/// Bytes of the document for one service where there is no room for all: a quarter of what an engine reads.
pub const SERVICE_BYTES_MAX: usize = DOCUMENT_BYTES_MAX / 4;

/// Host names that are looked up for these parts, and the bytes of their texts.
fn size(cx: &Cx<'_>, keys: &BTreeSet<String>) -> (usize, usize) {
    let parts = || keys.iter().filter_map(|key| cx.made.get(key));
    let names: BTreeSet<&String> = parts().flat_map(|part| &part.names).collect();
    (names.len(), parts().map(|part| part.text.len()).sum())
}

/// Of a document for all of which there is no room: who takes the most of it beyond a service's share, and why that one is
/// left out; `true`: it is a child, whose parent and brothers go on. `None`: nobody takes more than his share.
//= COMPILE-SHARE-01
pub(super) fn largest(
    cx: &Cx<'_>,
    kept: BTreeSet<&String>,
    reached: &BTreeMap<&String, BTreeSet<String>>,
    is_in: &dyn Fn(&String) -> bool,
) -> Option<(String, Problem, bool)> {
    let (names, bytes) = size(cx, &kept.into_iter().cloned().collect());
    // What there is no room for: names, or bytes.
    let (most, share, by): (_, _, fn((usize, usize)) -> usize) = if names > HOST_NAMES_MAX {
        ("different host names of servers", SERVICE_NAMES_MAX, |(names, _)| names)
    } else if bytes > DOCUMENT_BYTES_MAX {
        ("bytes of an engine's configuration", SERVICE_BYTES_MAX, |(_, bytes)| bytes)
    } else {
        return None;
    };
    let services = reached.iter().filter(|(uuid, _)| is_in(uuid));
    let sizes = services.map(|(uuid, keys)| (by(size(cx, keys)), *uuid, keys));
    let (takes, uuid, keys) = sizes.max().filter(|(takes, ..)| *takes > share)?;
    // Of a parent that takes so much with its children, the child that takes the most goes first.
    //= COMPILE-CHILD-02
    let open = cx.children.iter().filter(|(child, _)| !cx.shut.contains_key(*child));
    let own = open.map(|(child, traces)| (by(size(cx, &reach(cx, &traces.needs))), child, &traces.needs));
    let child = own.filter(|(takes, _, needs)| *takes > 0 && !needs.is_disjoint(keys)).max();
    let (takes, uuid, is_child) = match child {
        Some((takes, child, _)) => (takes, child, true),
        None => (takes, uuid, false),
    };
    let reason = format!(
        "its engine has no room for all of its services, and this one takes {takes} {most}: a virtual service has a share of {share}"
    );
    let fix = "let it take less, or let other engines have it";
    Some((uuid.clone(), cx.get("virtualservice", uuid)?.said("", reason, fix), is_child))
}
