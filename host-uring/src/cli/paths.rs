//! Paths in a configuration.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forebay_host_uring::sync;
use forebay_host_uring::tls::{self, ClientFiles, ClientProfile};
use forebay_snapshot::{Certificate, HealthMonitor, PkiProfile, Pool, Problem, Snapshot, VirtualService};

/// A path of a configuration as this process finds it: a relative one counts from the configuration's folder.
//= OBS-CONFIG-01
pub fn from_folder_of(config: &Path, path: &str) -> PathBuf {
    config.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

/// Makes all paths of a configuration such that the engine finds them wherever it was started.
pub fn settle(config: &Path, snapshot: &mut Snapshot) {
    super::inline::lay_out(config, snapshot);
    let settle = |path: &mut String| {
        // A folder whose name is no text stays as it was given: then the engine must be started there.
        if let Some(settled) = from_folder_of(config, path).to_str() {
            *path = settled.to_owned();
        }
    };
    let engine = &mut snapshot.engine;
    settle(&mut engine.admin_socket);
    if !matches!(engine.access_log.path.as_str(), "-" | "off") {
        settle(&mut engine.access_log.path);
    }
    let shared = &mut snapshot.objsync;
    if let Some(socket) = shared.redis_address.as_mut().filter(|address| address.contains('/')) {
        settle(socket);
    }
    let files = [
        &mut shared.ca_file,
        &mut shared.certificate_file,
        &mut shared.key_file,
        &mut shared.secret_file,
        &mut shared.redis_password_file,
    ];
    files.into_iter().flatten().for_each(&settle);
    if shared.snapshot_file != "off" {
        settle(&mut shared.snapshot_file);
    }
    for monitor in &mut snapshot.health_monitor {
        if let HealthMonitor::Https(https) = monitor {
            let files = [&mut https.ca_file, &mut https.client_certificate_file, &mut https.client_key_file];
            files.into_iter().flatten().for_each(&settle);
        }
    }
    snapshot.pool.iter_mut().filter_map(|pool| pool.tls.as_mut()?.ca_file.as_mut()).for_each(&settle);
    for certificate in &mut snapshot.certificate {
        settle(&mut certificate.chain_file);
        settle(&mut certificate.key_file);
        certificate.ocsp_file.iter_mut().for_each(&settle);
    }
    for profile in &mut snapshot.pki_profile {
        settle(&mut profile.ca_file);
        profile.crl_files.iter_mut().for_each(&settle);
    }
}

/// What the engine would write over its own configuration.
//= CFG-PATH-02
pub fn on_itself(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let engine = &snapshot.engine;
    let log = Some(&engine.access_log.path).filter(|path| !matches!(path.as_str(), "-" | "off"));
    let written = [("access_log.path", log), ("admin_socket", Some(&engine.admin_socket))];
    let of = |(key, path): (&str, Option<&String>)| {
        let path = path.filter(|path| is_same_file(config, &from_folder_of(config, path)))?;
        Some(Problem {
            line: line_with(text, path),
            path: format!("engine.{key}"),
            reason: format!("{path:?} is this configuration: the engine would write into it"),
            fix: "name another file".to_owned(),
        })
    };
    written.into_iter().filter_map(of).collect()
}

/// Files of monitors that cannot be used: the engine would not start with them.
//= CFG-PATH-03
pub fn unfit_files(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let of = |(n, monitor): (usize, &HealthMonitor)| {
        let HealthMonitor::Https(https) = monitor else { return None };
        let files = ClientFiles::of(https, |path| from_folder_of(config, path));
        let unfit = ClientProfile::new(files).config().err()?;
        let (path, what) = match unfit.key {
            "client_certificate_file" => (&https.client_certificate_file, "the certificate of the engine"),
            "client_key_file" => (&https.client_key_file, "the private key of the engine's certificate"),
            _ => (&https.ca_file, "certificates of authorities"),
        };
        Some(Problem {
            line: path.as_ref().and_then(|path| line_with(text, path)),
            path: format!("health_monitor[{n}].{}", unfit.key),
            reason: unfit.why,
            fix: format!("name a file with {what} (PEM) that the engine's user may read"),
        })
    };
    snapshot.health_monitor.iter().enumerate().filter_map(of).collect()
}

/// Certificates and keys that cannot be used: the engine would not start with them.
//= TLS-CHECK-02
pub fn no_certificates(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let of = |(n, certificate): (usize, &Certificate)| {
        let settled = |path: &str| from_folder_of(config, path).to_string_lossy().into_owned();
        let (chain, key) = (settled(&certificate.chain_file), settled(&certificate.key_file));
        let ocsp = certificate.ocsp_file.as_deref().map(settled);
        let said = |(field, reason): (&str, String)| {
            let path = match field {
                "chain_file" => Some(&certificate.chain_file),
                "key_file" => Some(&certificate.key_file),
                _ => certificate.ocsp_file.as_ref(),
            };
            let line = path.and_then(|path| line_with(text, path));
            let (reason, fix) = parted(reason);
            Problem { line, path: format!("certificate[{n}].{field}"), reason, fix }
        };
        tls::examine(&chain, &key, ocsp.as_deref()).into_iter().map(said).collect::<Vec<_>>()
    };
    snapshot.certificate.iter().enumerate().flat_map(of).collect()
}

/// Certificates that are over: an engine that starts with them shows them.
//= TLS-CHECK-05
pub fn expired(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let of = |(n, certificate): (usize, &Certificate)| {
        let settled = |path: &str| from_folder_of(config, path).to_string_lossy().into_owned();
        let why = tls::examine_time(&settled(&certificate.chain_file), &settled(&certificate.key_file))?;
        let (reason, fix) = parted(why);
        let line = line_with(text, &certificate.chain_file);
        Some(Problem { line, path: format!("certificate[{n}].chain_file"), reason, fix })
    };
    snapshot.certificate.iter().enumerate().filter_map(of).collect()
}

/// Services none of whose cipher suites of TLS 1.2 goes with their certificates' keys.
//= TLS-CHECK-04
pub fn no_suites(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let settled = |path: &str| from_folder_of(config, path).to_string_lossy().into_owned();
    let of = |(n, service): (usize, &VirtualService)| {
        let profile = snapshot.tls_profile.iter().find(|profile| profile.name == service.tls_profile)?;
        let named = |name: &String| snapshot.certificate.iter().find(|one| one.name == *name);
        let files: Vec<(String, String)> = service
            .certificates
            .iter()
            .filter_map(named)
            .map(|one| (settled(&one.chain_file), settled(&one.key_file)))
            .collect();
        let (reason, fix) = parted(tls::examine_suites(profile, &files)?);
        let line = line_with(text, &format!("tls_profile = \"{}\"", service.tls_profile));
        Some(Problem { line, path: format!("virtual_service[{n}].tls_profile"), reason, fix })
    };
    snapshot.virtual_service.iter().enumerate().filter_map(of).collect()
}

/// Files of authorities of pools that cannot be used: the engine would not start with them.
//= TLS-SERVER-CHECK-02
pub fn no_authorities(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let of = |(n, pool): (usize, &Pool)| {
        let path = pool.tls.as_ref()?.ca_file.as_ref()?;
        let why = tls::examine_authorities(&from_folder_of(config, path).to_string_lossy())?;
        let (reason, fix) = why.rsplit_once("; ").unwrap_or((&why, "name another file"));
        let (reason, fix) = (reason.to_owned(), fix.to_owned());
        Some(Problem { line: line_with(text, path), path: format!("pool[{n}].tls.ca_file"), reason, fix })
    };
    snapshot.pool.iter().enumerate().filter_map(of).collect()
}

/// Files of authorities and of their revocations that cannot be used: the engine would not start with them.
//= TLS-CLIENT-CHECK-02
pub fn no_pki(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let settled = |path: &String| from_folder_of(config, path).to_string_lossy().into_owned();
    let of = |(n, profile): (usize, &PkiProfile)| {
        let found = PkiProfile {
            ca_file: settled(&profile.ca_file),
            crl_files: profile.crl_files.iter().map(settled).collect(),
            ..profile.clone()
        };
        let files = std::iter::once(&profile.ca_file).chain(&profile.crl_files);
        let files: Vec<(String, &String)> = files.map(|file| (settled(file), file)).collect();
        let said = |(field, reason): (&str, String)| {
            let at = files.iter().find(|(found, _)| reason.starts_with(&format!("{field} {found}:")));
            let (reason, fix) = parted(reason);
            let line = at.and_then(|(_, path)| line_with(text, path));
            Problem { line, path: format!("pki_profile[{n}].{field}"), reason, fix }
        };
        tls::examine_pki(&found).into_iter().map(said).collect::<Vec<_>>()
    };
    snapshot.pki_profile.iter().enumerate().flat_map(of).collect()
}

/// Files of object sync that cannot be used: the engine would not start with them.
//= SYNC-FILES-01
pub fn no_members(config: &Path, text: &str, snapshot: &Snapshot) -> Vec<Problem> {
    let mut settled = snapshot.clone();
    settle(config, &mut settled);
    let said = |why: String| {
        let (path, why) = why.split_once(": ").unwrap_or(("objsync", &why));
        let (reason, fix) = parted(why.to_owned());
        Problem {
            line: line_with(text, path.trim_start_matches("objsync.")),
            path: path.to_owned(),
            reason,
            fix,
        }
    };
    let redis = sync::redis::redis(&settled.objsync).err();
    sync::settings(&settled.objsync).err().or(redis).into_iter().flatten().map(said).collect()
}

/// A reason and its remedy.
fn parted(reason: String) -> (String, String) {
    match reason.rsplit_once("; ") {
        Some((reason, fix)) => (reason.to_owned(), fix.to_owned()),
        None => (reason, "name another file".to_owned()),
    }
}

/// The first line that says `path`: only a document that is right is asked, so that is the one.
fn line_with(text: &str, path: &str) -> Option<u32> {
    let at = text.lines().position(|line| line.contains(path) && !line.trim_start().starts_with('#'))?;
    u32::try_from(at + 1).ok()
}

/// Whether both lead to one file, whatever links they go through.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
