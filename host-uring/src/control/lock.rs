//! The lock on an engine's state: no two engines work with one state folder.
//!
//! What an engine keeps in a folder for itself is its admin socket; the lock is a file beside it, named after it. The
//! kernel holds the lock for as long as the file is open, so it ends with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Tries to get the file that stands at the path: each one that was lost went to an engine that has ended since.
const TRIES_MAX: usize = 8;

/// A lock that this process holds until it is dropped; the file goes with it.
#[derive(Debug)]
pub struct StateLock {
    path: PathBuf,
    /// `None`: handed over.
    file: Option<File>,
}

impl StateLock {
    /// Takes the lock of the engine with this admin socket.
    ///
    /// # Errors
    /// Another engine has it, which is named; or the file cannot be made.
    //= OBS-STATE-01
    pub fn take(admin_socket: &Path) -> anyhow::Result<Self> {
        let path = path_of(admin_socket);
        let shown = path.display();
        for _ in 0..TRIES_MAX {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.custom_flags(libc::O_NOFOLLOW);
            let mut file = options.open(&path).with_context(|| {
                format!(
                    "engine.admin_socket: the lock {shown} beside it cannot be made; does its folder exist and may you \
                     write there?"
                )
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut who = String::new();
                    // It may be about to write its number.
                    let _ = file.read_to_string(&mut who);
                    let who = who.trim();
                    let who = if who.is_empty() { String::new() } else { format!(" (process {who})") };
                    bail!(
                        "engine.admin_socket: another engine{who} has its state in this folder and holds {shown}; stop \
                         it or name another path"
                    );
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error)
                        .with_context(|| format!("engine.admin_socket: {shown} cannot be locked"));
                }
            }
            // The engine that held it removed the file at its end: then this one is nobody's.
            if stands_at(&path, &file) {
                note(&mut file).with_context(|| format!("engine.admin_socket: {shown} cannot be written"))?;
                return Ok(Self { path, file: Some(file) });
            }
        }
        bail!("engine.admin_socket: {shown} comes and goes; is something removing it?")
    }

    /// A copy of the open file, for a successor that may come to nothing: the lock is held here all the same.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn lend(&self) -> std::io::Result<OwnedFd> {
        self.file.as_ref().expect("it goes once, by value").try_clone().map(OwnedFd::from)
    }

    /// For a successor that takes the state over while this process still runs: the open file, to be passed on as a
    /// descriptor. The lock belongs to whoever has a copy of it open, so it is free at no moment; this process neither
    /// holds nor removes it any more.
    ///
    /// # Panics
    /// Never: it is handed over once only, by value.
    pub fn hand_over(mut self) -> OwnedFd {
        self.file.take().expect("it goes once").into()
    }

    /// The successor's part of [`StateLock::hand_over`]: holds the lock on, in its own name.
    ///
    /// # Errors
    /// It is not the lock of this admin socket.
    pub fn inherit(admin_socket: &Path, handed: OwnedFd) -> anyhow::Result<Self> {
        let path = path_of(admin_socket);
        let mut file = File::from(handed);
        if !stands_at(&path, &file) {
            bail!("engine.admin_socket: what was handed over is not the lock {}", path.display());
        }
        note(&mut file)?;
        Ok(Self { path, file: Some(file) })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        if self.file.as_ref().is_some_and(|file| stands_at(&self.path, file)) {
            // Somebody may have removed it in this moment.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn path_of(admin_socket: &Path) -> PathBuf {
    let mut path = admin_socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Whether it is this file that the path leads to.
fn stands_at(path: &Path, file: &File) -> bool {
    let there = std::fs::symlink_metadata(path);
    let ours = file.metadata();
    there.is_ok_and(|there| ours.is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

/// Writes who holds it, for people and for the message of the one that is refused.
fn note(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("forebay-lock-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    //= test OBS-STATE-01
    #[test]
    fn a_lock_is_held_once_and_its_file_goes_with_it() {
        let folder = folder("once");
        let socket = folder.join("a.sock");
        let held = StateLock::take(&socket).expect("free");
        let refused = StateLock::take(&socket).expect_err("held").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 0, "nothing is left");
        // A file that a killed engine left is no obstacle.
        std::fs::write(path_of(&socket), "1\n").expect("written");
        drop(StateLock::take(&socket).expect("free"));
        std::fs::remove_dir(&folder).expect("empty");
    }

    #[test]
    fn a_file_that_another_engine_made_in_its_place_stays() {
        let folder = folder("place");
        let socket = folder.join("a.sock");
        let first = StateLock::take(&socket).expect("free");
        std::fs::remove_file(path_of(&socket)).expect("it is there");
        let second = StateLock::take(&socket).expect("a file of its own");
        drop(first);
        StateLock::take(&socket).expect_err("the second is still there");
        drop(second);
        std::fs::remove_dir(&folder).expect("empty");
    }

    //= test OBS-STATE-01
    #[test]
    fn a_lock_that_is_handed_over_is_free_at_no_moment() {
        let folder = folder("over");
        let socket = folder.join("a.sock");
        let before = StateLock::take(&socket).expect("free");
        let handed = before.hand_over();
        StateLock::take(&socket).expect_err("on its way");
        let after = StateLock::inherit(&socket, handed).expect("ours");
        StateLock::take(&socket).expect_err("held by the successor");
        StateLock::inherit(&socket, File::open("/dev/null").expect("a file").into())
            .expect_err("not the lock");
        drop(after);
        drop(StateLock::take(&socket).expect("free again"));
        std::fs::remove_dir(&folder).expect("empty");
    }
}
