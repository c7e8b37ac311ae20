//! The admin socket: one JSON request a line, one JSON answer a line.
//!
//! Only the user that runs the engine can open it (mode 0600). Whatever is sent is bounded in size and time,
//! and a line that is no request gets an answer that says so.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use super::explain::{self, Question};
use super::leaving;
use super::mailbox::Message;
use super::objsync::{self, What};
use super::overrides::{self, Asker, Want};
use super::places::{Mark, Places};
use super::refused::{Code, Refused};
use super::rehearse::{self, Deed};
use super::reload::Reloader;
use super::successor::{self, Program};
use super::supervisor::{Order, Orders};
use super::{State, answers};
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_EXCHANGE_S, ADMIN_REQUEST_BYTES_MAX, PLACE_LOOK_MS};

/// What the engine is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The engine, its services and pools.
    Status {},
    /// Servers, each with its state and why.
    Servers {
        /// Only those of this pool.
        #[serde(default)]
        pool: Option<String>,
    },
    /// Entries of the persistence tables.
    Persistence(answers::Filter),
    /// Which server a request would get, and why.
    Explain(Question),
    /// The tables that engines share.
    Show {
        /// What of them.
        what: What,
        /// Only what fits.
        #[serde(default)]
        filter: answers::Filter,
    },
    /// Compares the tables with every other member now.
    ObjsyncVerify {},
    /// Loads the configuration file again.
    Reload {},
    /// Starts the program anew, which takes over.
    Upgrade {},
    /// Decides about a server, on all workers and over reloads.
    Server {
        /// The server, like `pool/192.0.2.1:80`.
        server: String,
        /// What is wanted of it.
        want: Want,
    },
    /// Ends what is under way for clients of a virtual service that lets nobody in any more.
    Close {
        /// The service; its parts (`web/tls`) with it.
        service: String,
    },
    /// Makes a worker panic or stand still; refused unless the engine was started for tests.
    Fault {
        /// The worker.
        worker: usize,
        /// Milliseconds to stand still; absent: panic.
        #[serde(default)]
        stall_ms: Option<u64>,
    },
    /// Writes to the persistence tables, or into them; refused unless the engine was started for tests.
    ObjsyncDebug {
        /// The pool.
        pool: String,
        /// What is to be done.
        deed: Deed,
    },
}

/// Makes the socket.
///
/// A socket that a dead engine left behind is replaced; one that a living engine listens on is not.
///
/// # Errors
/// Another engine uses it, or the path cannot be used.
//= OBS-ADMIN-01
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            bail!("engine.admin_socket: {shown} exists and is no socket; remove it or name another path");
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            bail!("engine.admin_socket: an engine is running with {shown}; stop it or name another path");
        }
        std::fs::remove_file(path)
            .with_context(|| format!("engine.admin_socket: {shown} cannot be replaced"))?;
    }
    // Nobody else may connect even in the moment between making the socket and setting its mode.
    // SAFETY: umask changes a number of this process; no other thread makes files yet.
    let before = unsafe { libc::umask(0o177) };
    let listener = UnixListener::bind(path);
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    let listener = listener.with_context(|| {
        format!("engine.admin_socket: {shown} cannot be made; does its folder exist and may you write there?")
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("engine.admin_socket: the mode of {shown} cannot be set"))?;
    Ok(listener)
}

/// Answers until dropped. `allow_faults`: planted faults are carried out.
pub async fn serve(
    listener: UnixListener,
    state: Arc<State>,
    reloader: Arc<Reloader>,
    orders: Orders,
    allow_faults: bool,
    program: Option<Program>,
) {
    let mut places = Places::new(ADMIN_CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while !places.make_room() {
                    tokio::time::sleep(Duration::from_millis(PLACE_LOOK_MS)).await;
                }
                let hall = Hall {
                    state: Arc::clone(&state),
                    reloader: Arc::clone(&reloader),
                    orders: orders.clone(),
                    allow_faults,
                    program: program.clone(),
                };
                places.take(|mark| async move {
                    // Whoever goes away in the middle gets nothing more; there is nobody to tell.
                    let _ = talk(stream, &mark, &hall).await;
                });
                // It reads what has come with the connection before the next one could take its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::debug!(%error, "admin client not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What requests are answered from.
pub(super) struct Hall {
    /// The engine.
    pub(super) state: Arc<State>,
    /// What loads its configuration.
    pub(super) reloader: Arc<Reloader>,
    /// What tells its workers.
    pub(super) orders: Orders,
    /// Planted faults are carried out.
    pub(super) allow_faults: bool,
    /// How the process was started.
    pub(super) program: Option<Program>,
}

//= OBS-ADMIN-02
async fn talk(mut stream: UnixStream, mark: &Mark, hall: &Hall) -> io::Result<()> {
    let peer = stream.peer_cred().ok();
    let asker = Asker { uid: peer.map(|peer| peer.uid()), pid: peer.and_then(|peer| peer.pid()) };
    let patience = Duration::from_secs(ADMIN_EXCHANGE_S);
    let mut waiting = Vec::new();
    loop {
        let Some(line) = tokio::time::timeout(patience, line(&mut stream, &mut waiting)).await?? else {
            return Ok(());
        };
        mark.asked();
        let (answer, go_on) = match line {
            Line::Request(line) => (answer(&line, hall, asker).await, true),
            Line::TooLong => (
                refuse(&Refused::new(
                    Code::Usage,
                    format!("the request is longer than {ADMIN_REQUEST_BYTES_MAX} bytes"),
                    "send less",
                )),
                false,
            ),
        };
        let mut bytes = answer.to_string().into_bytes();
        bytes.push(b'\n');
        tokio::time::timeout(patience, mark.write(&mut stream, &bytes)).await??;
        if !go_on {
            return Ok(());
        }
        mark.waits();
    }
}

enum Line {
    Request(Vec<u8>),
    TooLong,
}

async fn line(stream: &mut UnixStream, waiting: &mut Vec<u8>) -> io::Result<Option<Line>> {
    let mut seen = 0;
    loop {
        if let Some(end) = waiting[seen..].iter().position(|b| *b == b'\n') {
            let rest = waiting.split_off(seen + end + 1);
            let mut line = std::mem::replace(waiting, rest);
            line.pop();
            return Ok(Some(Line::Request(line)));
        }
        seen = waiting.len();
        if seen > ADMIN_REQUEST_BYTES_MAX {
            return Ok(Some(Line::TooLong));
        }
        let mut piece = [0; 4_096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(None);
        }
        waiting.extend_from_slice(&piece[..read]);
    }
}

fn refuse(refused: &Refused) -> Value {
    json!({ "ok": false, "error": refused })
}

/// Answers one request.
pub(super) async fn answer(line: &[u8], hall: &Hall, asker: Asker) -> Value {
    let state = &*hall.state;
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            let fix = "send one JSON object a line, as in {\"command\":\"status\"}";
            return refuse(&Refused::new(Code::Usage, format!("this is no request: {error}"), fix));
        }
    };
    let answered = match request {
        Request::Status {} => Ok(answers::status(state)),
        Request::Servers { pool } => answers::servers(state, pool.as_deref()).await,
        Request::Persistence(filter) => answers::persistence(state, &filter).await,
        Request::Show { what, filter } => objsync::show(state, what, &filter).await,
        Request::ObjsyncVerify {} => objsync::verify(state).await,
        Request::Explain(question) => explain::answer(state, &question),
        Request::Upgrade {} => successor::start(state, hall.program.as_ref()).await,
        Request::Reload {} => hall.reloader.load("a command").await,
        Request::Server { server, want } => overrides::set(state, &hall.orders, &server, want, asker),
        Request::Close { service } => leaving::close(state, &hall.orders, &service).await,
        Request::Fault { worker, stall_ms } => fault(hall, worker, stall_ms).await,
        Request::ObjsyncDebug { deed: Deed::Panic, .. } => match for_tests(hall) {
            Ok(()) => objsync::fail(state).await,
            Err(refused) => Err(refused),
        },
        Request::ObjsyncDebug { pool, deed } => {
            for_tests(hall).and_then(|()| rehearse::carry_out(state, &pool, &deed))
        }
    };
    match answered {
        Ok(data) => json!({ "ok": true, "data": data }),
        Err(refused) => refuse(&refused),
    }
}

fn for_tests(hall: &Hall) -> Result<(), Refused> {
    if hall.allow_faults {
        return Ok(());
    }
    let fix = "start the engine with --allow-faults, for tests only";
    Err(Refused::new(Code::NotAllowed, "this engine takes no planted faults", fix))
}

async fn fault(hall: &Hall, worker: usize, stall_ms: Option<u64>) -> Result<Value, Refused> {
    for_tests(hall)?;
    let Hall { state, orders, .. } = hall;
    if worker >= state.workers.len() {
        let reason = format!("there is no worker {worker}");
        return Err(Refused::new(Code::NotFound, reason, format!("name one below {}", state.workers.len())));
    }
    let message = stall_ms.map_or(Message::Panic, Message::Sleep);
    orders.give_surely(Order::Tell(worker, message)).await;
    Ok(json!({ "worker": worker }))
}
