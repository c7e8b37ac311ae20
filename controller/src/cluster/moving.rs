//! A store moves from the file of one Controller to etcd.
//!
//! Both have the same authority of engines, which no other store has: by it they are known to be one. While the move is
//! under way a key in etcd says so, and nobody but the node with the file leads; it writes all of the file again then,
//! which is what is there already.

use std::path::{Path, PathBuf};

use super::tending::NODES;
use crate::backup::STORE;
use crate::channel::Authority;
use crate::files::{rename, write_private};
use crate::local;
use crate::store::{Embedded, Leading, Pages, Refusal, STEP_BYTES_MAX, STEP_MAX, Step, Store};

/// Stands in etcd while the move is under way.
const UNDER_WAY: &str = "moving";
/// Stands in the folder of a node that has joined others: it is not the first one to lead.
const JOINED: &str = "joined";

/// What a node may do where nobody leads.
pub enum May {
    /// Lead.
    Lead,
    /// Lead, and bring what its file has.
    Bring,
    /// Nothing, for this reason.
    Wait(String),
}

/// The file of a store that is to move, of this folder.
fn file(folder: &Path) -> Option<PathBuf> {
    let file = folder.join(STORE);
    (file.exists() && local::is_kept_here(folder, "").is_ok()).then_some(file)
}

/// Says in the folder that its objects are in etcd, unless they are on their way.
///
/// # Errors
/// It cannot be written.
pub fn mark(folder: &Path) -> Result<(), String> {
    match file(folder) {
        Some(_) => Ok(()),
        None => local::mark(folder),
    }
}

/// Says in the folder that this node's store is that of others.
///
/// # Errors
/// It cannot be written.
pub fn has_joined(folder: &Path) -> Result<(), String> {
    let file = folder.join(JOINED);
    match file.exists() {
        true => Ok(()),
        false => write_private(&file, b"").map_err(|error| format!("{}: {error}", file.display())),
    }
}

/// What this node may do now. A file that is in etcd already is set aside.
///
/// # Errors
/// etcd does not answer, or the file cannot be read.
//= CLUSTER-MOVE-01
pub async fn may(folder: &Path, leading: &Leading) -> Result<May, Refusal> {
    let there = leading.peek(Authority::KEY).await?;
    let is_under_way = leading.peek(UNDER_WAY).await?.is_some();
    let Some(file) = file(folder) else {
        return Ok(match (is_under_way, &there) {
            (true, _) => May::Wait(
                "the objects are on their way from the file of another Controller: that one has to be started"
                    .to_owned(),
            ),
            (false, None) if folder.join(JOINED).exists() => May::Wait(
                "etcd is empty, and this Controller has joined others: the one whose objects count leads first"
                    .to_owned(),
            ),
            _ => May::Lead,
        });
    };
    let store = Embedded::open(&file)?;
    let ours = store.get(Authority::KEY).await?.map(|stored| stored.value);
    Ok(match (there, ours) {
        (None, _) => May::Bring,
        (Some(there), Some(ours)) if there == ours && is_under_way => May::Bring,
        (Some(there), Some(ours)) if there == ours => {
            settle(folder).map_err(Refusal::Unavailable)?;
            May::Lead
        }
        (Some(_), _) => May::Wait(format!(
            "etcd has the objects of another store than {}: move the file away, or name another --etcd-prefix",
            file.display()
        )),
    })
}

/// Brings what the file has. Nobody else writes meanwhile.
///
/// # Errors
/// As a text.
//= CLUSTER-MOVE-01
pub async fn bring(folder: &Path, to: &impl Store, name: &str) -> Result<(), String> {
    let Some(file) = file(folder) else { return Ok(()) };
    let told = |refusal: Refusal| refusal.to_string();
    let from = Embedded::open(&file).map_err(told)?;
    to.commit(Step::default().write(UNDER_WAY, Some(name.as_bytes().to_vec()))).await.map_err(told)?;
    let (mut pages, mut entries) = (Pages::of(&from, ""), 0_u64);
    let (mut step, mut bytes) = (Step::default(), 0);
    while let Some(page) = pages.next().await.map_err(told)? {
        // Which nodes there are it knows of the days before it was a file.
        for (key, stored) in page.into_iter().filter(|(key, _)| key != NODES) {
            let more = Step::bytes(&key, Some(&stored.value));
            if step.writes.len() == STEP_MAX || bytes + more > STEP_BYTES_MAX {
                to.commit(std::mem::take(&mut step)).await.map_err(told)?;
                bytes = 0;
            }
            bytes += more;
            entries += 1;
            step = step.write(key, Some(stored.value));
        }
    }
    to.commit(step).await.map_err(told)?;
    to.commit(Step::default().write(UNDER_WAY, None)).await.map_err(told)?;
    drop(pages);
    drop(from);
    settle(folder)?;
    tracing::info!(event = "CLUSTER_MOVED", entries, "the objects are in etcd now, and no more in the file");
    Ok(())
}

/// The file counts no more, and the folder says so.
fn settle(folder: &Path) -> Result<(), String> {
    local::mark(folder)?;
    let (from, to) = (folder.join(STORE), folder.join("store.redb.moved"));
    rename(&from, &to).map_err(|error| format!("{}: {error}", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::Folder;

    //= test CLUSTER-MOVE-01
    #[tokio::test]
    async fn all_that_a_file_has_is_brought_and_the_file_is_set_aside() {
        let folder = Folder::new("moving");
        let from = Embedded::open(&folder.0.join(STORE)).expect("a store");
        // More than one step takes, by number and by bytes.
        for n in 0..300 {
            let step = Step::default().write(format!("small/{n:03}"), Some(vec![7; 10]));
            from.commit(step).await.expect("room");
        }
        for n in 0..5 {
            from.commit(Step::default().write(format!("large/{n}"), Some(vec![n; 1 << 20])))
                .await
                .expect("room");
        }
        let had = from.list("", None, 1000).await.expect("readable").entries;
        drop(from);
        let to = Embedded::open(&folder.0.join("other.redb")).expect("a store");
        // One that was interrupted has left something.
        let left =
            Step::default().write("small/000", Some(vec![7; 10])).write(UNDER_WAY, Some(b"a".to_vec()));
        to.commit(left).await.expect("room");
        bring(&folder.0, &to, "a").await.expect("it fits");
        let has = to.list("", None, 1000).await.expect("readable").entries;
        let plain = |entries: &[(String, crate::store::Stored)]| -> Vec<(String, Vec<u8>)> {
            entries.iter().map(|(key, stored)| (key.clone(), stored.value.clone())).collect()
        };
        assert!(plain(&had) == plain(&has), "{} entries, and {}", had.len(), has.len());
        assert!(!folder.0.join(STORE).exists() && folder.0.join("store.redb.moved").exists());
        assert!(local::is_kept_here(&folder.0, "").is_err(), "the folder says where they are");
        bring(&folder.0, &to, "a").await.expect("there is nothing to bring");
    }
}
