//! What the service manager is told, by the protocol of systemd's `sd_notify`.
//!
//! It is one datagram of `KEY=value` lines to a socket that the manager names in the environment; without that variable
//! nobody is told anything.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ShutdownStage, State};
use crate::limits::READY_LOOK_MS;

/// Where the manager listens, and how often it wants to hear that all is well.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    //= OBS-UNIT-01
    /// As the environment says. Connected at once: later the engine may not be who may connect. A process that takes over
    /// has the environment of the one before, and its duties (`takes_over`).
    pub fn from_environment(takes_over: bool) -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let socket = match connect(&name) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything (NOTIFY_SOCKET)");
                return Self::default();
            }
        };
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours =
            takes_over || number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| is_ours && *us > 0).map(Duration::from_micros);
        Self { socket: Some(socket), watchdog }
    }

    /// Sends lines such as `STOPPING=1`. A manager that does not read loses them: nobody waits for it.
    pub fn tell(&self, lines: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(lines.as_bytes())
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    /// Says that a change of the configuration, or something of its kind, begins; [`Manager::ready`] ends it.
    pub fn reloading(&self) {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a value that lives through the call.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000));
    }

    /// Says that the engine takes traffic.
    pub fn ready(&self) {
        self.tell("READY=1");
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Says when the engine is ready, and from then on, three times in each span of the watchdog, that every worker has
/// moved since the last time. One worker that stands still is silence, and silence is what the manager acts on.
//= OBS-NOTIFY-01
//= OBS-NOTIFY-02
pub async fn keep_telling(manager: Arc<Manager>, state: Arc<State>) {
    if manager.socket.is_none() {
        return;
    }
    while !state.is_ready() {
        tokio::time::sleep(Duration::from_millis(READY_LOOK_MS)).await;
    }
    manager.ready();
    let Some(span) = manager.watchdog else { return };
    let ticks = || -> Vec<u64> { state.workers.iter().map(|w| w.ticks.load(Ordering::Relaxed)).collect() };
    let mut before = ticks();
    loop {
        tokio::time::sleep(span / 3).await;
        let now = ticks();
        // Workers that end because the engine stops do not move any more; the manager has its own patience for that.
        let stops = state.shutdown.stage() != ShutdownStage::Running;
        if state.is_given() {
            return;
        }
        if stops || now.iter().zip(&before).all(|(now, before)| now != before) {
            manager.tell("WATCHDOG=1");
        }
        before = now;
    }
}
