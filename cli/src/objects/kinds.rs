//! Kinds of objects by the names that people type.

use forebay_model::{Kind, kind, kinds};

use crate::api::{Failure, usage};

/// Short names.
pub const ALIASES: &[(&str, &str)] = &[
    ("vs", "virtualservice"),
    ("vip", "vsvip"),
    ("pg", "poolgroup"),
    ("se", "serviceengine"),
    ("seg", "serviceenginegroup"),
    ("hm", "healthmonitor"),
    ("persistence", "applicationpersistenceprofile"),
    ("app", "applicationprofile"),
    ("net", "networkprofile"),
    ("cert", "sslkeyandcertificate"),
    ("tls", "sslprofile"),
    ("pki", "pkiprofile"),
    ("policy", "httppolicyset"),
    ("script", "vsdatascriptset"),
    ("ipgroup", "ipaddrgroup"),
    ("vrf", "vrfcontext"),
    ("alert", "alertconfig"),
    ("system", "systemconfiguration"),
];

/// The kind of this name.
///
/// # Errors
/// There is none; the nearest is named.
pub fn find(name: &str) -> Result<&'static Kind, Failure> {
    let path = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, path)| *path);
    kind(path).ok_or_else(|| {
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        let failure = usage(format!("there is no kind of objects named \"{shown}\""));
        match forebay_snapshot::nearest(name, kinds().map(|kind| kind.path)) {
            Some(near) => failure.next(format!("did you mean {near}?")),
            None => failure.next("forebay kinds"),
        }
    })
}

/// The kind that a key of a file means: its path, its short name, or the name that it has in exports (`VirtualService`).
pub fn of_key(key: &str) -> Option<&'static Kind> {
    kinds().find(|kind| kind.name == key).or_else(|| find(key).ok())
}

/// The short name of a kind.
pub fn alias(kind: &Kind) -> Option<&'static str> {
    ALIASES.iter().find(|(_, path)| *path == kind.path).map(|(alias, _)| *alias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn short_names_lead_to_kinds_and_mean_one_thing() {
        let mut seen = BTreeSet::new();
        for (alias, path) in ALIASES {
            assert_eq!(find(alias).expect(alias).path, *path);
            assert!(kind(alias).is_none() && seen.insert(*alias), "{alias}");
        }
        assert_eq!(find("virtualservise").expect_err("a mistake").next, "did you mean virtualservice?");
        assert_eq!(of_key("SSLKeyAndCertificate").expect("a kind").path, "sslkeyandcertificate");
    }
}
