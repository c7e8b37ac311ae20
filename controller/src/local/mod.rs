//! What is done at the machine itself, by whoever may write the Controller's folder: with the store's file where no
//! Controller runs, by a socket in the folder where one does.

mod socket;

use std::path::Path;

use serde_json::{Value, json};

use crate::backup;
use crate::channel::Authority;
use crate::files::write_private;
use crate::objects::{Denied, Objects};
use crate::sealed::Seal;
use crate::store::{Embedded, Refusal, Store};
use crate::tokens;

pub use socket::{SOCKET, serve};

/// The file that says where the objects are, if they are not in the folder.
const MARK: &str = "store";

/// What is asked for over the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A new password for a user.
    Password(String),
    /// A copy of the store, of one moment, in the folder.
    Copy,
}

/// Does it.
///
/// # Errors
/// As a text.
async fn grant<S: Store>(
    objects: &Objects<S>,
    store: &S,
    folder: &Path,
    wish: &Wish,
) -> Result<Value, String> {
    match wish {
        Wish::Password(user) => {
            let login = objects.login(user).ok_or_else(|| format!("there is no user {user}"))?;
            let password = objects.reset(&login).await.map_err(|denied| text(&denied))?;
            let tokens =
                tokens::end_all(store, &login.held.uuid).await.map_err(|refusal| refusal.to_string())?;
            tracing::warn!(event = "CONTROLLER_PASSWORD_RESET", user, "a password was reset at the machine");
            Ok(json!({"password": password, "tokens": tokens}))
        }
        Wish::Copy => {
            let number = crate::accounts::secret()?;
            let name = format!("copy-{}.redb", &number[..8]);
            store.backup(&folder.join(&name)).await.map_err(|refusal| refusal.to_string())?;
            Ok(json!({"copy": name}))
        }
    }
}

/// Says whether a file is a copy that a backup reads, as it is called above.
fn is_copy(name: &str) -> bool {
    name.starts_with("copy-") && Path::new(name).extension().is_some_and(|end| end == "redb")
}

fn text(denied: &Denied) -> String {
    match denied {
        Denied::Store(refusal) => refusal.to_string(),
        other => format!("{other:?}"),
    }
}

/// Gives a user a new password, whether a Controller runs over the folder or not; sessions and tokens of the user end.
///
/// # Errors
/// As a text that says what to do.
//= CTL-RESET-01
pub async fn reset_password(folder: &Path, user: &str) -> Result<String, String> {
    let wish = Wish::Password(user.to_owned());
    let said = match socket::ask(folder, &wish).await? {
        Some(said) => said,
        None => {
            let store = open(folder)?;
            let seal = Seal::of_store(&folder.join(backup::STORE), &folder.join(backup::KEY))?;
            // What another key sealed does not open, and a password that it seals would lock everybody out.
            Authority::open(&store, &seal).await.map_err(|refusal| refusal.to_string())?;
            let objects = Objects::open(store.clone(), seal).await.map_err(|refusal| refusal.to_string())?;
            grant(&objects, &store, folder, &wish).await?
        }
    };
    said["password"].as_str().map(str::to_owned).ok_or_else(|| format!("the Controller said {said}"))
}

/// Writes a backup, whether a Controller runs over the folder or not.
///
/// # Errors
/// As a text that says what to do.
//= CTL-BACKUP-01
pub async fn back_up(folder: &Path, to: &Path, passphrase: &str) -> Result<backup::Counted, String> {
    match socket::ask(folder, &Wish::Copy).await? {
        None => backup::write(&open(folder)?, folder, to, passphrase).await,
        Some(said) => {
            let name = said["copy"].as_str().filter(|name| is_copy(name) && !name.contains('/'));
            let copy = folder.join(name.ok_or_else(|| format!("the Controller said {said}"))?);
            let done = match Embedded::open(&copy) {
                Ok(store) => backup::write(&store, folder, to, passphrase).await,
                Err(refusal) => Err(refusal.to_string()),
            };
            let _ = std::fs::remove_file(&copy);
            done
        }
    }
}

/// Says in the folder that its objects are in etcd: a file of them that lies there as well is of former days.
///
/// # Errors
/// It cannot be written.
//= CLUSTER-MARK-01
pub fn mark(folder: &Path) -> Result<(), String> {
    let file = folder.join(MARK);
    if file.exists() {
        return Ok(());
    }
    write_private(&file, b"etcd\n").map_err(|error| format!("{}: {error}", file.display()))
}

/// Refuses what would be done to a file that is not what counts; `instead`: what to do.
///
/// # Errors
/// The folder is one of a Controller whose objects are in etcd.
//= CLUSTER-MARK-01
pub fn is_kept_here(folder: &Path, instead: &str) -> Result<(), String> {
    let file = folder.join(MARK);
    match file.exists() {
        true => Err(format!(
            "{} says that this Controller's objects are in etcd, and not in this folder: {instead}",
            file.display()
        )),
        false => Ok(()),
    }
}

/// The store of a folder where no Controller runs.
fn open(folder: &Path) -> Result<Embedded, String> {
    is_kept_here(
        folder,
        "start it, and run this in the folder of the one that leads (GET /api/cluster/runtime)",
    )?;
    let file = folder.join(backup::STORE);
    if !file.exists() {
        return Err(format!("{} is not there: name the Controller's folder by --data-dir", file.display()));
    }
    Embedded::open(&file).map_err(|refusal| match refusal {
        Refusal::Unavailable(text) => format!("{text}; is that a Controller whose socket {SOCKET} is gone?"),
        other => other.to_string(),
    })
}
