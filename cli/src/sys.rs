//! The few calls to the system that std does not offer, each with a safe face.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::SeqCst);
}

/// From now on SIGINT and SIGTERM only set the mark that [`stop_asked`] reads.
///
/// The calls that they interrupt are not restarted, so that a sleep ends at once.
pub fn catch_stop_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the action is fully initialised, the handler only stores to an atomic, which is
        // async-signal-safe, and it lives as long as the program.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_stop as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Whether somebody asked this program to end.
pub fn stop_asked() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Makes the children of `command` live in a process group of their own (Ctrl-C at the terminal
/// reaches only us, and we end them in order) and die with the thread that starts them, even if we
/// are killed.
pub fn tie_to_us(command: &mut Command) {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: between fork and exec only prctl and getppid are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have died before the line above.
            if libc::getppid() as u32 != parent {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// Makes the child of `command` the first of a session of its own: what becomes of our terminal does not reach it.
pub fn apart_from_terminal(command: &mut Command) {
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
    }
}

/// From now on what this program prints goes into a file.
///
/// # Errors
/// Those of the system.
pub fn print_into(file: &File) -> io::Result<()> {
    for stream in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: plain system call on descriptors that are open.
        if unsafe { libc::dup2(file.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A process that need not be our child. As long as this is held, its number is not given to another one in our eyes: signals
/// reach this process or none.
pub struct Held(OwnedFd);

impl Held {
    /// Takes hold of the process that has this number now.
    ///
    /// # Errors
    /// There is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: plain system call; what it returns is a descriptor of ours, or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match libc::c_int::try_from(fd) {
            // SAFETY: the descriptor is new, open, and nobody else's.
            Ok(fd) if fd >= 0 => Ok(Held(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended, or is somebody else's.
    pub fn signal(&self, signal: libc::c_int) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: plain system call on a descriptor of ours; without a siginfo it is as kill is.
        let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, none, 0) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Says whether it has ended, after waiting for that as long as this.
    pub fn has_ended(&self, wait: Duration) -> bool {
        let mut asked = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let ms = libc::c_int::try_from(wait.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the pointer is to one entry that lives through the call.
        unsafe { libc::poll(&raw mut asked, 1, ms) > 0 }
    }
}

/// Asks a child of ours to end.
pub fn terminate(child: &Child) {
    // SAFETY: plain system call; the pid cannot have been reused, because the child is not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

/// Lines and columns of the terminal on standard output; `None` without one.
pub fn terminal_size() -> Option<(usize, usize)> {
    // SAFETY: all zeroes is a valid winsize, and the call writes one through the pointer it gets.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        if libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) != 0 || size.ws_row == 0 {
            return None;
        }
        Some((usize::from(size.ws_row), usize::from(size.ws_col)))
    }
}

/// Does something while the terminal on standard input does not show what is typed.
pub fn unshown<T>(done: impl FnOnce() -> T) -> T {
    // SAFETY: all zeroes is a valid termios, and the call writes one through the pointer it gets.
    let before = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) == 0).then_some(settings)
    };
    let set = |settings: &libc::termios| {
        // SAFETY: the pointer is to settings that live through the call.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, settings) };
    };
    if let Some(before) = before {
        let mut without = before;
        without.c_lflag &= !libc::ECHO;
        set(&without);
    }
    let done = done();
    if let Some(before) = before {
        set(&before);
    }
    done
}
