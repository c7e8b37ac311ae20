//! Files that stand in the configuration itself, laid out beside it: whatever reads certificates and keys reads files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use forebay_host_uring::control::undumped::leave_no_image;
use forebay_snapshot::{InlineFile, Snapshot, settle_inline};

/// The folder beside the configuration, for the engine's user alone.
const FOLDER: &str = "inline";
/// How long a file stays that no configuration means any more: another process may be reading the one before.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Writes the files of a configuration, and lets it mean what was written. One that cannot be written is told, and is missed
/// when it is read.
//= CFG-INLINE-02
pub fn lay_out(config: &Path, snapshot: &mut Snapshot) {
    if snapshot.file.is_empty() {
        return;
    }
    // They may be keys.
    leave_no_image();
    let folder = super::paths::from_folder_of(config, FOLDER);
    let files = std::mem::take(&mut snapshot.file);
    let written: Vec<(String, Option<String>)> = files
        .iter()
        .map(|file| match write(&folder, file) {
            Ok(name) => (file.name.clone(), Some(format!("{FOLDER}/{name}"))),
            Err(error) => {
                tracing::error!(
                    event = "CONFIG_INLINE_FAILED",
                    folder = %folder.display(),
                    name = file.name,
                    %error,
                    "a file of the configuration cannot be written; let the engine's user write into the folder"
                );
                (file.name.clone(), None)
            }
        })
        .collect();
    settle_inline(snapshot, |name| {
        written.iter().find(|(known, _)| known == name).and_then(|(_, path)| path.clone())
    });
    clear(&folder, &written);
}

/// The name of the file that has this content: the same content is written once, and another one never under its name.
fn write(folder: &Path, file: &InlineFile) -> io::Result<String> {
    let content = file.content.expose().as_bytes();
    let sum = digest(&SHA256, content);
    let name: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ".pem";
    let path = folder.join(&name);
    if path.is_file() {
        return Ok(name);
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Whole or not at all: whoever is killed here leaves a file of another name.
    let part = folder.join(format!("{name}.{}", std::process::id()));
    let _ = fs::remove_file(&part);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&part, &path)?;
    Ok(name)
}

/// Removes what was written for earlier configurations, a day ago or more.
fn clear(folder: &Path, meant: &[(String, Option<String>)]) {
    let is_meant = |path: &PathBuf| {
        meant.iter().filter_map(|(_, file)| file.as_deref()).any(|file| path.ends_with(file))
    };
    let is_old = |path: &PathBuf| {
        let changed = path.metadata().and_then(|meta| meta.modified());
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > KEPT))
    };
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in all.filter(|path| !is_meant(path) && is_old(path)) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const DOCUMENT: &str = "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8443\"]\npool = \"web\"\n\
        certificates = [\"web\"]\n[[pool]]\nname = \"web\"\nserver = []\n[[certificate]]\nname = \"web\"\n\
        chain_file = \"inline:chain\"\nkey_file = \"inline:key\"\n[[file]]\nname = \"chain\"\ncontent = \"C\"\n\
        [[file]]\nname = \"key\"\ncontent = \"KEY\"\n";

    //= test CFG-INLINE-02
    #[test]
    fn a_file_of_the_document_lies_beside_it_for_its_user_alone_until_nothing_means_it() {
        let folder = std::env::temp_dir().join(format!("forebay-inline-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let config = folder.join("se.toml");
        let laid_out = |text: &str| {
            let mut snapshot = forebay_snapshot::check(text).expect("it is right");
            lay_out(&config, &mut snapshot);
            snapshot.certificate.remove(0)
        };
        let first = laid_out(DOCUMENT);
        let key = folder.join(&first.key_file);
        assert_eq!(fs::read_to_string(&key).expect("the key"), "KEY");
        let mode = |path: &Path| path.metadata().expect("it is there").mode() & 0o777;
        assert_eq!((mode(&key), mode(key.parent().expect("a folder"))), (0o600, 0o700));
        // The same content is the same file, another one another.
        let second = laid_out(&DOCUMENT.replace("\"KEY\"", "\"OTHER\""));
        assert_eq!(first.chain_file, second.chain_file);
        assert_ne!(first.key_file, second.key_file);
        assert!(key.is_file(), "an engine may be reading it");
        let long_ago = SystemTime::now() - KEPT - Duration::from_secs(60);
        for file in [&first.chain_file, &first.key_file] {
            let file = fs::File::options().write(true).open(folder.join(file)).expect("it is there");
            file.set_modified(long_ago).expect("its time");
        }
        laid_out(&DOCUMENT.replace("\"KEY\"", "\"OTHER\""));
        assert!(!key.is_file() && folder.join(&first.chain_file).is_file(), "what is meant stays");
        fs::remove_dir_all(&folder).expect("the folder");
    }
}
