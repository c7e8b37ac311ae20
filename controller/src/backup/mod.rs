//! A backup: all that a Controller has, in one file that a passphrase seals.
//!
//! It holds what the store has, of one moment, and the files beside it: the key of its secrets among them, which is why
//! nothing of it can be read without the passphrase.

mod seal;

use std::fs;
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::{create_private, rename, write_private};
use crate::store::{Embedded, KEY_BYTES_MAX, Pages, STEP_BYTES_MAX, STEP_MAX, Step, Store, VALUE_BYTES_MAX};
pub(crate) use seal::key_of as key;
use seal::{Opening, Sealing};

/// The store's file in a Controller's folder.
pub const STORE: &str = "store.redb";
/// The key of the store's secrets.
pub const KEY: &str = "store.key";
/// The certificate of the API, and its key.
pub const CERTIFICATE: [&str; 2] = ["api.crt", "api.key"];

/// A key of the store and its value.
const ENTRY: u8 = b'K';
/// The name of a file and its content.
const FILE: u8 = b'F';
/// Behind the last one.
const END: u8 = b'E';

/// What a backup held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Entries of the store.
    pub entries: u64,
    /// Files.
    pub files: u64,
}

/// Writes what `store` has, which must not change meanwhile, and the files of `folder` to `to`, which must not be there.
///
/// # Errors
/// As a text that says what to do.
//= CTL-BACKUP-01
pub async fn write(store: &Embedded, folder: &Path, to: &Path, passphrase: &str) -> Result<Counted, String> {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let failed = |error: std::io::Error| format!("{}: {error}", unfinished.display());
    if to.exists() {
        return Err(format!("{} is there already, and a backup overwrites nothing", to.display()));
    }
    // What an earlier one left behind when it was killed; nothing else goes.
    if unfinished.exists() {
        if !seal::is_ours(&unfinished).map_err(failed)? {
            return Err(format!("{} is in the way and is no backup: move it away", unfinished.display()));
        }
        fs::remove_file(&unfinished).map_err(failed)?;
    }
    let file = create_private(&unfinished).map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut out = Sealing::begin(BufWriter::new(file), passphrase, now)?;
    let mut counted = Counted::default();
    let written = async {
        for name in [KEY, CERTIFICATE[0], CERTIFICATE[1]] {
            match fs::read(folder.join(name)) {
                Ok(content) => {
                    out.record(FILE, name.as_bytes(), &content).map_err(failed)?;
                    counted.files += 1;
                }
                Err(error) if name == KEY => return Err(format!("{}: {error}", folder.join(name).display())),
                Err(_) => {}
            }
        }
        let mut pages = Pages::of(store, "");
        while let Some(page) = pages.next().await.map_err(|refusal| refusal.to_string())? {
            for (key, stored) in &page {
                out.record(ENTRY, key.as_bytes(), &stored.value).map_err(failed)?;
                counted.entries += 1;
            }
        }
        out.record(END, &[], &counted.entries.to_be_bytes()).map_err(failed)?;
        let file = out.end().map_err(failed)?.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        rename(&unfinished, to).map_err(failed)?;
        Ok(counted)
    };
    let done = written.await;
    if done.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    done
}

/// Reads a backup into a folder that has no store. Nothing is put in its place before all of it was read and found whole.
///
/// # Errors
/// As a text that says what to do.
//= CTL-BACKUP-02
pub async fn read(from: &Path, folder: &Path, passphrase: &str) -> Result<Counted, String> {
    let store = folder.join(STORE);
    if store.exists() {
        return Err(format!(
            "{} is there: a restore overwrites no store; stop the Controller and move the file away first",
            store.display()
        ));
    }
    let new = folder.join("restored.redb");
    let _ = fs::remove_file(&new);
    let done = into(from, &new, passphrase).await;
    let (counted, files) = match done {
        Ok(done) => done,
        Err(text) => {
            let _ = fs::remove_file(&new);
            return Err(text);
        }
    };
    if let Err(text) = put(folder, &files) {
        let _ = fs::remove_file(&new);
        return Err(text);
    }
    // Last: a Controller begins with this file or with none.
    rename(&new, &store).map_err(|error| format!("{}: {error}", store.display()))?;
    Ok(counted)
}

/// Puts the files of a backup beside its store. What is there and is another one is not lost: the key of another store is
/// all that opens that store, so it has to be moved with it; certificates are set aside.
fn put(folder: &Path, files: &Files) -> Result<(), String> {
    let mut others = Vec::new();
    for (name, content) in files {
        let there = folder.join(name);
        match fs::read(&there) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => others.push((there, content)),
            Err(error) => return Err(format!("{}: {error}", there.display())),
            Ok(held) if held == *content => {}
            Ok(_) if name == KEY => {
                return Err(format!(
                    "{} is there, and it is not the key of this backup: the store that was moved away opens with no \
                     other; move it to where that store is, and restore again",
                    there.display()
                ));
            }
            Ok(_) => {
                let aside = folder.join(format!("{name}.before"));
                if aside.exists() {
                    return Err(format!(
                        "{} would be set aside, and {} is there already: move that one away",
                        there.display(),
                        aside.display()
                    ));
                }
                others.push((there, content));
            }
        }
    }
    for (there, content) in others {
        let named = |end: &str| {
            let mut name = there.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let (beside, aside) = (named(".restored"), named(".before"));
        let _ = fs::remove_file(&beside);
        let done = write_private(&beside, content)
            .and_then(|()| if there.exists() { rename(&there, &aside) } else { Ok(()) })
            .and_then(|()| rename(&beside, &there));
        done.map_err(|error| format!("{}: {error}", there.display()))?;
    }
    Ok(())
}

type Files = Vec<(String, Vec<u8>)>;

async fn into(from: &Path, new: &Path, passphrase: &str) -> Result<(Counted, Files), String> {
    let failed = |text: String| format!("{}: {text}", from.display());
    let file = fs::File::open(from).map_err(|error| failed(error.to_string()))?;
    let mut opening = Opening::begin(BufReader::new(file), passphrase).map_err(failed)?;
    let store = Embedded::open(new).map_err(|refusal| refusal.to_string())?;
    let (mut counted, mut files) = (Counted::default(), Files::new());
    let mut step = Step::default();
    let mut bytes = 0;
    loop {
        let (sort, name, content) = opening.record().map_err(failed)?;
        let name = String::from_utf8(name).map_err(|_| failed("a name in it is no text".to_owned()))?;
        match sort {
            ENTRY if name.len() <= KEY_BYTES_MAX && content.len() <= VALUE_BYTES_MAX => {
                counted.entries += 1;
                let more = Step::bytes(&name, Some(&content));
                // In steps that the store takes.
                if step.writes.len() == STEP_MAX || bytes + more > STEP_BYTES_MAX {
                    store.commit(std::mem::take(&mut step)).await.map_err(|refusal| refusal.to_string())?;
                    bytes = 0;
                }
                bytes += more;
                step = step.write(name, Some(content));
            }
            // Each once: what a restore holds in memory has a bound.
            FILE if (name == KEY || CERTIFICATE.contains(&name.as_str()))
                && !files.iter().any(|(held, _)| *held == name) =>
            {
                counted.files += 1;
                files.push((name, content));
            }
            END if content == counted.entries.to_be_bytes() => break,
            _ => {
                return Err(failed(
                    "it holds what this version does not know: restore it by the version that made it"
                        .to_owned(),
                ));
            }
        }
    }
    if !step.writes.is_empty() {
        store.commit(step).await.map_err(|refusal| refusal.to_string())?;
    }
    opening.end().map_err(failed)?;
    if !files.iter().any(|(name, _)| name == KEY) {
        return Err(failed("it has no key for the secrets in it".to_owned()));
    }
    Ok((counted, files))
}

/// Reads a passphrase: from a file, from the environment, or from standard input.
///
/// # Errors
/// There is none, or it is too short.
pub fn passphrase(file: Option<&PathBuf>) -> Result<String, String> {
    const SHORTEST: usize = 8;
    let text = match (file, std::env::var("FOREBAY_PASSPHRASE")) {
        (Some(file), _) => {
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        (None, Ok(text)) => text,
        (None, Err(_)) => {
            eprintln!("passphrase, and then a new line:");
            let mut text = String::new();
            let mut input = std::io::stdin().lock().take(4096);
            std::io::BufRead::read_line(&mut BufReader::new(&mut input), &mut text)
                .map_err(|error| error.to_string())?;
            text
        }
    };
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    match text.len() {
        SHORTEST..=1024 => Ok(text),
        _ => Err(format!(
            "the passphrase must have {SHORTEST} to 1024 bytes: it is all that keeps the secrets"
        )),
    }
}

#[cfg(test)]
mod tests;
