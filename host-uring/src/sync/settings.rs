//! What the document says of the group, with what its files hold.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use forebay_core::hash;
use forebay_core::table::EngineSlot;
pub use forebay_objsync_tokio::Secrets;
use forebay_objsync_tokio::{Identity, Member, Settings};
use forebay_snapshot::{Objsync, Other, member_name, reader_name};

use super::snapshot::{Owner, Place};
use crate::tls;

/// What is made from the group's secret: the same on each of its engines.
///
/// # Errors
/// The file cannot be used, with the remedy.
pub fn secrets(objsync: &Objsync) -> Result<Secrets, String> {
    let file = objsync.secret_file.as_deref().unwrap_or_default();
    let said = |why: String| format!("objsync.secret_file: {file}: {why}");
    let bytes = tls::read_private(file).map_err(said)?;
    let secret = bytes.trim_ascii();
    if secret.len() != 64 || !secret.iter().all(u8::is_ascii_hexdigit) {
        return Err(said(
            "it is no line of 64 hexadecimal digits; forebay-se pki issue makes one".to_owned(),
        ));
    }
    Ok(Secrets::of(secret, &objsync.group, |parts| {
        let mut hash = Context::new(&SHA256);
        parts.iter().for_each(|part| hash.update(part));
        let mut made = [0; 32];
        made.copy_from_slice(hash.finish().as_ref());
        made
    }))
}

/// Where the engine listens, whom it knows, and who it is; `None`: it shares its tables with nobody.
///
/// # Errors
/// All files that cannot be used, with the remedy.
//= SYNC-FILES-01
pub fn settings(objsync: &Objsync) -> Result<Option<Settings>, Vec<String>> {
    let Some(listen) = objsync.listen() else { return Ok(None) };
    let mut problems = Vec::new();
    let mut read = |key: &str, file: &Option<String>, how: fn(&str) -> Result<tls::Bytes, String>| {
        let file = file.as_deref().unwrap_or_default();
        how(file).unwrap_or_else(|why| {
            problems.push(format!("objsync.{key}: {file}: {why}"));
            tls::Bytes::default()
        })
    };
    let ca = read("ca_file", &objsync.ca_file, tls::read_public);
    let certificate = read("certificate_file", &objsync.certificate_file, tls::read_public);
    let key = read("key_file", &objsync.key_file, tls::read_private);
    problems.extend(secrets(objsync).err());
    // Checked where the document is read: below 64.
    let slot = |n: u8| EngineSlot::new(n).unwrap_or_default();
    let me = slot(objsync.slot);
    if !problems.is_empty() {
        return Err(problems);
    }
    let identity = Identity::read(&member_name(&objsync.group, objsync.slot), &ca, &certificate, &key)
        .map_err(|unfit| vec![format!("objsync.{}_file: {}", unfit.part, unfit.why)])?;
    let member = |other: Other| {
        let Other { slot: n, address, reads } = other;
        let name = if reads { reader_name } else { member_name };
        Member { slot: slot(n), name: name(&objsync.group, n), address, reads, from: None }
    };
    let members = objsync.others().map(member).collect();
    Ok(Some(Settings {
        me,
        reads: false,
        tables_of_its_own: false,
        group: objsync.group.clone(),
        listen,
        members,
        identity: Arc::new(identity),
        cpu_percent: objsync.cpu_limit_percentage,
        compare_ms: u64::from(objsync.reconcile_interval_s) * 1_000,
    }))
}

/// Where snapshots of the tables are, if any are wanted.
pub fn place_of_snapshots(objsync: &Objsync) -> Option<Place> {
    let is_wanted = objsync.listen().is_some() && objsync.snapshot_file != "off";
    is_wanted.then(|| Place {
        path: PathBuf::from(&objsync.snapshot_file),
        every: Duration::from_secs(objsync.snapshot_interval_s.into()),
        owner: Owner {
            group: hash::fixed64(objsync.group.as_bytes()),
            slot: EngineSlot::new(objsync.slot).unwrap_or_default(),
        },
    })
}

/// A place that no member has, for a process that this one takes over from: that one's connections hold entries here, and
/// the members know of them under this engine's own place. The last one where all are taken: then its clients count as gone.
pub fn place_of_before(objsync: &Objsync) -> EngineSlot {
    let is_free = |n: &u8| *n != objsync.slot && objsync.members.iter().all(|member| member.slot != *n);
    (0..64).rev().find(is_free).and_then(EngineSlot::new).unwrap_or_default()
}

/// Settings that differ and that only a new start can change: who the engine is.
//= RELOAD-START-01
pub fn need_a_start(before: &Objsync, after: &Objsync) -> Vec<String> {
    let both_legacy = before.is_legacy() && after.is_legacy();
    let differ = [
        ("address", before.is_on() != after.is_on()),
        ("redis_address", both_legacy && before.redis_address != after.redis_address),
        ("redis_password_file", both_legacy && before.redis_password_file != after.redis_password_file),
        ("group", before.is_on() && before.group != after.group),
        ("slot", before.is_on() && before.slot != after.slot),
        ("secret_file", before.is_on() && before.secret_file != after.secret_file),
    ];
    let said = |key: &str| {
        format!(
            "objsync.{key}: it cannot change while the engine runs; write it as it was, or start the engine anew"
        )
    };
    differ.iter().filter(|(_, differs)| *differs).map(|(key, _)| said(key)).collect()
}
