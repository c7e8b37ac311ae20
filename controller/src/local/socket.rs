//! The socket in the Controller's folder: a line of JSON each way.
//!
//! The folder lets nobody else in, so whoever reaches the socket could read the store and its key as well.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::{Wish, grant};
use crate::api::App;
use crate::store::Store;

/// The socket's name in the folder.
pub const SOCKET: &str = "local.sock";
/// The longest line, bytes.
const LINE_MAX: u64 = 4096;
/// Who connects says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked for takes no longer: a copy of a store with 200,000 objects takes a few seconds.
const ANSWER: Duration = Duration::from_secs(300);

/// Serves the socket, one after another, until it is dropped: by whoever `whom` names, or with why nobody can.
pub async fn serve<S: Store + 'static>(folder: PathBuf, whom: impl Fn() -> Result<Arc<App<S>>, String>) {
    if let Err(error) = answer(folder, whom).await {
        tracing::error!(event = "CONTROLLER_LOCAL_FAILED", %error, "backups and new passwords need a Controller that is stopped");
    }
}

async fn answer<S: Store + 'static>(
    folder: PathBuf,
    whom: impl Fn() -> Result<Arc<App<S>>, String>,
) -> io::Result<()> {
    let file = folder.join(SOCKET);
    // Nobody else listens here: the folder is held.
    let _ = std::fs::remove_file(&file);
    sweep(&folder);
    let listener = UnixListener::bind(&file)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors: neither a reason to stop, nor to spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (mut from, mut to) = stream.into_split();
        let mut line = String::new();
        let mut limited = BufReader::new((&mut from).take(LINE_MAX));
        let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, limited.read_line(&mut line)).await else { continue };
        let done = match (read(&line), whom()) {
            (Some(wish), Ok(app)) => grant(&app.objects, &app.store, &folder, &wish).await,
            (Some(_), Err(why)) => Err(why),
            (None, _) => Err("this version knows no such wish".to_owned()),
        };
        let said = done.unwrap_or_else(|text| json!({"error": text}));
        let _ = tokio::time::timeout(PATIENCE, to.write_all(format!("{said}\n").as_bytes())).await;
    }
}

/// Takes away what a backup that was killed has left: a copy of the store is of no use to anybody else.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if super::is_copy(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn read(line: &str) -> Option<Wish> {
    let said: Value = serde_json::from_str(line).ok()?;
    match said.get("do")?.as_str()? {
        "password" => Some(Wish::Password(said.get("user")?.as_str()?.to_owned())),
        "copy" => Some(Wish::Copy),
        _ => None,
    }
}

/// Asks the Controller that runs over a folder; `None`: none does.
pub(super) async fn ask(folder: &Path, wish: &Wish) -> Result<Option<Value>, String> {
    let file = folder.join(SOCKET);
    let Ok(mut stream) = UnixStream::connect(&file).await else { return Ok(None) };
    let said = match wish {
        Wish::Password(user) => json!({"do": "password", "user": user}),
        Wish::Copy => json!({"do": "copy"}),
    };
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    stream.write_all(format!("{said}\n").as_bytes()).await.map_err(failed)?;
    let mut line = String::new();
    let mut limited = BufReader::new((&mut stream).take(LINE_MAX));
    match tokio::time::timeout(ANSWER, limited.read_line(&mut line)).await {
        Ok(done) => done.map_err(failed)?,
        Err(_) => return Err(format!("{}: the Controller does not answer", file.display())),
    };
    let said: Value = serde_json::from_str(&line).map_err(|_| format!("{}: no answer", file.display()))?;
    match said["error"].as_str() {
        Some(text) => Err(text.to_owned()),
        None => Ok(Some(said)),
    }
}
