//! Files that stand in the document itself: certificates and keys that come with a configuration from elsewhere.

use std::collections::BTreeSet;

use crate::Snapshot;
use crate::health::HealthMonitor;
use crate::ignored::report;
use crate::read::{Reader, printable, section};
use crate::rules;
use crate::secret::Hidden;

/// What stands before the name of such a file, where a path could stand.
const MARK: &str = "inline:";

section! {
    /// A file that stands in the document itself. Settings of certificates, keys, authorities and lists of what was revoked name it as `inline:NAME`.
    pub struct InlineFile {
        /// Its name.
        name: String, is rules::name;
        /// What it holds: a certificate, a key or a list, in PEM form. It is never shown.
        content: Hidden;
    }
}

/// The name of the file in the document that a path means; `None`: it means a file beside it.
pub fn inline_name(path: &str) -> Option<&str> {
    path.strip_prefix(MARK)
}

/// Every path of the document that may mean a file in it, with its place.
fn places(snapshot: &Snapshot) -> Vec<(String, &str)> {
    let mut all: Vec<(String, &str)> = Vec::new();
    for (n, monitor) in snapshot.health_monitor.iter().enumerate() {
        let HealthMonitor::Https(https) = monitor else { continue };
        for (key, file) in [
            ("ca_file", &https.ca_file),
            ("client_certificate_file", &https.client_certificate_file),
            ("client_key_file", &https.client_key_file),
        ] {
            all.extend(file.as_deref().map(|file| (format!("health_monitor[{n}].{key}"), file)));
        }
    }
    for (n, pool) in snapshot.pool.iter().enumerate() {
        let file = pool.tls.as_ref().and_then(|tls| tls.ca_file.as_deref());
        all.extend(file.map(|file| (format!("pool[{n}].tls.ca_file"), file)));
    }
    for (n, certificate) in snapshot.certificate.iter().enumerate() {
        all.push((format!("certificate[{n}].chain_file"), &certificate.chain_file));
        all.push((format!("certificate[{n}].key_file"), &certificate.key_file));
    }
    for (n, profile) in snapshot.pki_profile.iter().enumerate() {
        all.push((format!("pki_profile[{n}].ca_file"), &profile.ca_file));
        let lists = profile.crl_files.iter().enumerate();
        all.extend(lists.map(|(m, file)| (format!("pki_profile[{n}].crl_files[{m}]"), file.as_str())));
    }
    all
}

/// Lets each path that means a file in the document mean another one: `found` says which.
pub fn settle_inline(snapshot: &mut Snapshot, found: impl Fn(&str) -> Option<String>) {
    let settle = |path: &mut String| {
        if let Some(other) = inline_name(path).and_then(&found) {
            *path = other;
        }
    };
    for monitor in &mut snapshot.health_monitor {
        if let HealthMonitor::Https(https) = monitor {
            let files = [&mut https.ca_file, &mut https.client_certificate_file, &mut https.client_key_file];
            files.into_iter().flatten().for_each(settle);
        }
    }
    snapshot.pool.iter_mut().filter_map(|pool| pool.tls.as_mut()?.ca_file.as_mut()).for_each(settle);
    for certificate in &mut snapshot.certificate {
        settle(&mut certificate.chain_file);
        settle(&mut certificate.key_file);
    }
    for profile in &mut snapshot.pki_profile {
        settle(&mut profile.ca_file);
        profile.crl_files.iter_mut().for_each(settle);
    }
}

/// Paths that mean a file that is not there, and files that no path means.
//= CFG-INLINE-01
pub(crate) fn find(reader: &mut Reader, snapshot: &Snapshot) {
    let known: BTreeSet<&str> = snapshot.file.iter().map(|file| file.name.as_str()).collect();
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for (path, file) in places(snapshot) {
        let Some(name) = inline_name(file) else { continue };
        meant.insert(name);
        if !known.contains(name) {
            let reason = format!("no [[file]] has the name \"{}\"", printable(name));
            report(reader, &path, &reason, "add one, or write a path");
        }
    }
    for (n, file) in snapshot.file.iter().enumerate() {
        if !meant.contains(file.name.as_str()) && !reader.is_bad(&format!("file[{n}].name")) {
            let reason = "no setting means it";
            let fix = format!(
                "name it as \"{MARK}{}\" in a setting that takes a file, or remove it",
                printable(&file.name)
            );
            report(reader, &format!("file[{n}].name"), reason, &fix);
        }
    }
}
