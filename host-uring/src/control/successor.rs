//! Starting the process that takes over: `forebay-se upgrade`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::refused::{Code, Refused};
use super::{ShutdownStage, State};
use crate::limits::{HANDOVER_LOOK_MS, HANDOVER_READY_S, HANDOVER_STEP_S};

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program's path, as it was called: after an upgrade of the file it leads to the new one.
    pub path: PathBuf,
    /// All arguments but the name.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This process's own; `None`: how it was called leads to no file.
    pub fn own() -> Option<Self> {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next()?);
        let path = if called.components().count() > 1 {
            std::env::current_dir().ok()?.join(called)
        } else {
            // Found by the search path; where it was found is what the kernel says.
            std::env::current_exe().ok()?
        };
        Some(Self { path, arguments: arguments.collect() })
    }
}

/// Starts the program again, to take over from this process, and waits until it has.
///
/// # Errors
/// It cannot be started, ends, or is not ready in time; then nothing has changed.
//= UPG-COMMAND-01
pub(super) async fn start(state: &State, program: Option<&Program>) -> Result<Value, Refused> {
    let failed = |reason: String| {
        Refused::new(
            Code::Failed,
            reason,
            "nothing has changed; the process log says more (UPGRADE_FAILED, SE_FAILED)",
        )
    };
    let program = program.ok_or_else(|| failed("it is not known how this process was started".to_owned()))?;
    let serves = |pid: i32| Ok(json!({ "pid": pid, "old_pid": std::process::id() }));
    let Ok(_one) = state.upgrading.try_lock() else {
        return Err(Refused::new(
            Code::Failed,
            "an upgrade is under way already",
            "nothing was started; whoever asked before hears what comes of it",
        ));
    };
    if let Some(pid) = state.successor() {
        return serves(pid);
    }
    let _waits = state.wait_for_successor();
    let mut command = Command::new(&program.path);
    command.args(program.arguments.iter().filter(|argument| *argument != "--take-over"));
    command.arg("--take-over").stdin(Stdio::null());
    let started = command.spawn();
    let mut child =
        started.map_err(|error| failed(format!("{} cannot be started: {error}", program.path.display())))?;
    let pid = child.id();
    tracing::info!(pid, program = %program.path.display(), "a new process is started, to take over from this one");
    let until = Instant::now() + Duration::from_secs(HANDOVER_READY_S + 2 * HANDOVER_STEP_S);
    loop {
        if let Some(successor) = state.successor() {
            if i32::try_from(pid) != Ok(successor) {
                tracing::warn!(
                    pid,
                    successor,
                    "another process took over than the one that was started, which is ended"
                );
                end(&mut child);
            }
            return serves(successor);
        }
        if state.shutdown.stage() != ShutdownStage::Running {
            end(&mut child);
            return Err(failed("this process stops".to_owned()));
        }
        match child.try_wait() {
            Ok(None) if Instant::now() < until => {}
            Ok(None) => {
                // It has its own bounds in time; whatever holds it up, it is not wanted any more.
                end(&mut child);
                return Err(failed(format!("the new process {pid} did not get ready in time")));
            }
            Ok(Some(status)) => return Err(failed(format!("the new process {pid} ended: {status}"))),
            Err(error) => return Err(failed(error.to_string())),
        }
        tokio::time::sleep(Duration::from_millis(HANDOVER_LOOK_MS)).await;
    }
}

/// Ends a process that is not wanted any more.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
