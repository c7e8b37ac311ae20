//! A probe by a command: a process group of its own, which is ended with its probe.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use forebay_health::verdict::command::Evaluator;
use forebay_health::{Exit, Kind, Monitor, Verdict};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::limits::is_shortage;

/// Where a command's own children are looked for; a monitor must not depend on who started the engine.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the monitor's command until it has ended or `abandon` resolves; `None`: we could not start it.
///
/// The place is kept until the system has let go of the process, which may be long after it was killed: commands that
/// hang in the kernel do not pile up.
pub async fn run(
    address: SocketAddr,
    monitor: Arc<Monitor>,
    place: OwnedSemaphorePermit,
    abandon: oneshot::Receiver<()>,
) -> Option<Verdict> {
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let _place = place;
        // Starting a program reads files, which may hang: not on the thread that all other probes need.
        let started = tokio::task::spawn_blocking(move || Running::start(address, &monitor)).await;
        let mut running = match started.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())) {
            Ok(running) => running,
            Err(error) => {
                let _ = tell.send(not_started(&error));
                return;
            }
        };
        let mut evaluator = Evaluator::default();
        let verdict = tokio::select! {
            verdict = running.watch(&mut evaluator) => verdict,
            //= HM-EXTERNAL-02
            _ = abandon => Some(evaluator.timed_out()),
        };
        running.end();
        // Nobody listens any more if the engine ends.
        let _ = tell.send(verdict);
        running.reap().await;
    });
    told.await.ok().flatten()
}

/// Trouble of our own says nothing about the server: no descriptor, no memory, no room for a process.
fn not_started(error: &io::Error) -> Option<Verdict> {
    if is_shortage(error) || error.raw_os_error() == Some(libc::EAGAIN) {
        tracing::debug!(%error, "a monitor's command could not be started");
        return None;
    }
    Some(Evaluator::default().exited(Exit::NotStarted(error.to_string())))
}

/// A command that was started.
struct Running {
    child: Child,
    output: pipe::Receiver,
    /// Readable once the process has ended.
    process: AsyncFd<OwnedFd>,
    /// Its status was taken, and its id may be another's.
    is_over: bool,
}

impl Running {
    //= HM-EXTERNAL-01
    //= HM-EXTERNAL-03
    fn start(address: SocketAddr, monitor: &Monitor) -> io::Result<Self> {
        let Kind::External(external) = &monitor.kind else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (program, arguments) = external.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (output, into) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C")
            .env("FOREBAY_MONITOR", &monitor.name)
            .env("FOREBAY_SERVER_ADDRESS", &host)
            .env("FOREBAY_SERVER_PORT", &port)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(into.try_clone()?)
            .stderr(into)
            .process_group(0)
            .spawn()?;
        match watch(&child) {
            Ok(process) => Ok(Self { child, output, process, is_over: false }),
            Err(error) => {
                end_group(&child);
                // It was killed just now; nobody else would wait for it.
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Reads what it prints until it ends.
    async fn watch(&mut self, evaluator: &mut Evaluator) -> Option<Verdict> {
        let mut is_open = true;
        let mut buffer = [0; 1_024];
        loop {
            tokio::select! {
                // Before its end is looked at: what it printed last is the reason that people want to read.
                biased;
                read = self.output.read(&mut buffer), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(read) => {
                        if let Some(verdict) = evaluator.receive(&buffer[..read]) {
                            return Some(verdict);
                        }
                    }
                },
                _ = self.process.readable() => {
                    // What it left running goes with it.
                    self.end();
                    return self.wait().map(|status| evaluator.exited(exit(status)));
                }
            }
        }
    }

    /// Ends the command with all that it started. As long as nobody has waited for it, its id is its own.
    fn end(&mut self) {
        if !self.is_over {
            end_group(&self.child);
        }
    }

    /// Takes its status; only once it has ended.
    fn wait(&mut self) -> Option<ExitStatus> {
        self.is_over = true;
        self.child.wait().ok()
    }

    /// Waits until the system has let go of it.
    async fn reap(&mut self) {
        if !self.is_over {
            let _ = self.process.readable().await;
            self.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The engine ends, and with it what it started.
        self.end();
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// Kills the command's process group.
fn end_group(child: &Child) {
    let Ok(group) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: a system call without memory. The child is not waited for yet, so the group of its id is still its own.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// A descriptor that becomes readable when the child ends.
fn watch(child: &Child) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: a system call without memory; the child is not waited for yet, so its id is its own.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let process = match i32::try_from(fd) {
        // SAFETY: the descriptor is fresh and owned by nobody else.
        Ok(fd @ 0..) => unsafe { OwnedFd::from_raw_fd(fd) },
        _ => return Err(io::Error::last_os_error()),
    };
    // SAFETY: the descriptor is owned by what is registered, which neither closes nor replaces it.
    Ok(unsafe { AsyncFd::register_with_interest(process, Interest::READABLE)? })
}

/// Fails if a monitor's program cannot be run at all.
///
/// # Errors
/// Why, and what to do about it.
//= HM-EXTERNAL-05
pub fn can_start(program: &str) -> Result<(), String> {
    const EXECUTABLE: u32 = 0o111;
    match fs::metadata(program) {
        Err(error) => {
            Err(format!("{program} cannot be run: {error}; correct the path, or install the program"))
        }
        Ok(meta) if !meta.is_file() => Err(format!("{program} is no program; name a file")),
        Ok(meta) if meta.permissions().mode() & EXECUTABLE == 0 => {
            Err(format!("{program} may not be executed; run: chmod a+x {program}"))
        }
        Ok(_) => Ok(()),
    }
}
