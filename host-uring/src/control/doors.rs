//! Where people and programs ask the engine: the admin socket, the metrics address, and the socket at which a new process
//! asks to take over.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use forebay_snapshot::Engine;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

use super::handover::{self, Giver, Heir, What};
use super::lock::StateLock;
use super::reload::Reloader;
use super::successor::Program;
use super::supervisor::Orders;
use super::{State, admin, web};

/// The doors, bound and not yet answered at.
pub(super) struct Doors {
    /// The admin socket.
    pub admin: UnixListener,
    /// Where a new process asks to take over; `None`: its path is too long for a socket.
    pub upgrade: Option<UnixListener>,
    /// The metrics address.
    pub web: Option<TcpListener>,
    lock: Lock,
}

/// The lock on the state folder.
enum Lock {
    Held(StateLock),
    /// Another process holds it, until this one answers.
    Handed(Option<OwnedFd>),
}

impl Lock {
    fn hold(self, socket: &Path) -> anyhow::Result<StateLock> {
        match self {
            Self::Held(lock) => Ok(lock),
            // Where somebody has removed it, as where there was none, it is made anew.
            Self::Handed(Some(file)) => StateLock::inherit(socket, file).or_else(|_| StateLock::take(socket)),
            Self::Handed(None) => StateLock::take(socket),
        }
    }
}

/// The doors as another process gets them.
pub(super) type Lent = Arc<Mutex<Vec<(What, OwnedFd)>>>;

/// Doors that are answered at.
pub(super) struct Open {
    tasks: Vec<AbortHandle>,
    remove: Vec<RemoveAtEnd>,
    lent: Lent,
    lock: Option<StateLock>,
}

impl Doors {
    /// Makes the sockets; `web` was bound before, with more rights.
    ///
    /// # Errors
    /// Another engine has them, or the path cannot be used.
    pub(super) fn bind(engine: &Engine, web: Option<TcpListener>) -> anyhow::Result<Self> {
        let lock = Lock::Held(StateLock::take(Path::new(&engine.admin_socket))?);
        let admin = admin::bind(Path::new(&engine.admin_socket))?;
        let path = handover::path(&engine.admin_socket);
        let upgrade = if path.as_os_str().len() > handover::PATH_BYTES_MAX {
            tracing::warn!(
                path = %path.display(),
                "the path of the socket for upgrades is too long: no new process can take over from this one; shorten \
                 engine.admin_socket"
            );
            None
        } else {
            Some(admin::bind(&path)?)
        };
        Ok(Self { admin, upgrade, web, lock })
    }

    /// The sockets that another process has handed over; one that it does not have is made.
    ///
    /// # Errors
    /// As [`Doors::bind`].
    pub(super) fn take_over(
        engine: &Engine,
        web: Option<TcpListener>,
        heir: &mut Heir,
    ) -> anyhow::Result<Self> {
        let taken = |socket: Option<std::os::unix::net::UnixListener>, path: PathBuf| match socket {
            Some(socket) => {
                socket.set_nonblocking(true)?;
                Ok(UnixListener::from_std(socket)?)
            }
            None => admin::bind(&path),
        };
        let admin = taken(heir.admin.take(), PathBuf::from(&engine.admin_socket))?;
        let upgrade = Some(taken(heir.upgrade.take(), handover::path(&engine.admin_socket))?);
        Ok(Self { admin, upgrade, web, lock: Lock::Handed(heir.lock.take()) })
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(super) fn open(
        self,
        state: &Arc<State>,
        reloader: &Arc<Reloader>,
        orders: &Orders,
        (allow_faults, program): (bool, Option<Program>),
        giver: Giver,
    ) -> anyhow::Result<Open> {
        let Self { admin, upgrade, web, lock } = self;
        let socket = state.tree().engine.admin_socket.clone();
        let lock = lock.hold(Path::new(&socket))?;
        let mut lent = vec![(What::Admin, admin.as_fd().try_clone_to_owned()?), (What::Lock, lock.lend()?)];
        let mut remove = vec![RemoveAtEnd::new(PathBuf::from(&socket))];
        let mut tasks = Vec::new();
        if let Some(web) = web {
            lent.push((What::Metrics(web.local_addr()?), web.as_fd().try_clone_to_owned()?));
            tasks.push(tokio::spawn(web::serve(web, Arc::clone(state))).abort_handle());
        }
        let answers = admin::serve(
            admin,
            Arc::clone(state),
            Arc::clone(reloader),
            orders.clone(),
            allow_faults,
            program,
        );
        tasks.push(tokio::spawn(answers).abort_handle());
        if let Some(upgrade) = &upgrade {
            //= UPG-ALONE-01
            // Not before this process serves: until then whoever asks is answered by the one before.
            handover::answer_as_this_process(upgrade.as_fd())?;
            lent.push((What::Upgrade, upgrade.as_fd().try_clone_to_owned()?));
            remove.push(RemoveAtEnd::new(handover::path(&socket)));
        }
        let lent: Lent = Arc::new(Mutex::new(lent));
        if let Some(upgrade) = upgrade {
            let giver = Arc::new(giver.with(Arc::clone(&lent)));
            tasks.push(tokio::spawn(handover::serve(upgrade, giver)).abort_handle());
        }
        Ok(Open { tasks, remove, lent, lock: Some(lock) })
    }
}

impl Open {
    /// Another process answers from now on: this one lets go of the sockets and leaves their paths.
    pub(super) fn give_up(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for path in &mut self.remove {
            path.ours = None;
        }
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // The other process has it; its file stays.
        drop(self.lock.take().map(StateLock::hand_over));
    }
}

/// Removes our socket; another engine may have made one in its place, which is then not ours to remove.
//= OBS-ADMIN-01
struct RemoveAtEnd {
    path: PathBuf,
    ours: Option<(u64, u64)>,
}

impl RemoveAtEnd {
    fn new(path: PathBuf) -> Self {
        let ours = file_id(&path);
        Self { path, ours }
    }
}

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        if self.ours.is_some() && file_id(&self.path) == self.ours {
            // Somebody may have removed it in this moment.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file a path leads to: device and inode.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
