//! A terminal with a program on it: what a person would see, and keys.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::wait::eventually_some;

/// A pseudo-terminal whose foreground program is ours.
pub struct Terminal {
    keys: File,
    /// Kept open, so that the settings can be read after the program's end.
    line: OwnedFd,
    child: Child,
    screen: Screen,
    /// The program moves about in its lines: what it wrote counts, and not what a window shows of it.
    is_raw: bool,
    /// All bytes that the program wrote.
    pub written: Vec<u8>,
    /// The settings that the program found.
    pub before: Settings,
}

/// A terminal's settings: modes and special keys.
pub type Settings = (u32, u32, u32, u32, Vec<u8>);

fn settings_of(line: &OwnedFd) -> Settings {
    // SAFETY: all zeroes is a valid termios, and the call writes one through the pointer it gets.
    unsafe {
        let mut t: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(line.as_raw_fd(), &raw mut t), 0, "tcgetattr");
        (t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag, t.c_cc.to_vec())
    }
}

impl Terminal {
    /// Starts a program on a terminal of this size. It dies with the thread that starts it.
    ///
    /// # Panics
    /// If there is no terminal to be had or the program does not start.
    pub fn start(mut command: Command, height: u16, width: u16) -> Self {
        let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: the pointers are to values that live through the call; name and settings may be null.
        // The descriptors are fresh and owned by nobody else.
        let (ours, line) = unsafe {
            let (name, settings) = (std::ptr::null_mut(), std::ptr::null());
            let done = libc::openpty(&raw mut ours, &raw mut theirs, name, settings, &raw const size);
            assert_eq!(done, 0, "openpty: {}", std::io::Error::last_os_error());
            for fd in [ours, theirs] {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            libc::fcntl(ours, libc::F_SETFL, libc::O_NONBLOCK);
            (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
        };
        let end = || line.try_clone().expect("a second handle");
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        // SAFETY: the three calls are async-signal-safe, and nothing else runs between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        // The program may change them before anybody could look.
        let before = settings_of(&line);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let screen = Screen::new(usize::from(height), usize::from(width));
        Self { keys: ours, line, before, child, screen, is_raw: false, written: Vec::new() }
    }

    /// Types keys, for example `"\x03"` for Ctrl-C.
    ///
    /// # Panics
    /// If the terminal does not take them.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// What the window shows now.
    pub fn shows(&mut self) -> String {
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = self.keys.read(&mut part) {
            self.written.extend_from_slice(&part[..n]);
            if !self.is_raw {
                self.screen.write(&part[..n]);
            }
        }
        self.screen.text()
    }

    /// Waits until this text is among all that the program wrote, whatever a window would show of it.
    ///
    /// # Panics
    /// If it is not within `limit`, with what was written instead.
    pub fn wait_to_write(&mut self, text: &str, limit: Duration) {
        self.is_raw = true;
        let until = std::time::Instant::now() + limit;
        eventually_some(text, limit * 2, || {
            self.shows();
            let written = String::from_utf8_lossy(&self.written);
            let found = written.contains(text);
            assert!(found || std::time::Instant::now() < until, "no {text} in\n{written}");
            found.then_some(())
        });
    }

    /// Waits until the window shows what `fits` wants, and returns what it finds.
    ///
    /// # Panics
    /// If it does not within `limit`, with what it shows instead.
    pub fn wait_for<T>(&mut self, what: &str, limit: Duration, mut fits: impl FnMut(&str) -> Option<T>) -> T {
        let until = std::time::Instant::now() + limit;
        eventually_some(what, limit * 2, || {
            let shown = self.shows();
            let found = fits(&shown);
            assert!(found.is_some() || std::time::Instant::now() < until, "no {what} in\n{shown}");
            found
        })
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub fn ends(&mut self, limit: Duration) -> ExitStatus {
        let ended = eventually_some("the program on the terminal ends", limit, || {
            // What nobody reads would keep it from ending.
            self.shows();
            self.child.try_wait().expect("a child of ours")
        });
        self.shows();
        ended
    }

    /// The terminal's settings now.
    pub fn settings(&self) -> Settings {
        settings_of(&self.line)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A window: as much of a terminal as our programs may use, and nothing more.
struct Screen {
    rows: Vec<Vec<char>>,
    height: usize,
    width: usize,
    row: usize,
    column: usize,
    pending: Vec<u8>,
}

impl Screen {
    fn new(height: usize, width: usize) -> Self {
        Self { rows: vec![Vec::new(); height], height, width, row: 0, column: 0, pending: Vec::new() }
    }

    fn text(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|r| r.iter().collect::<String>()).collect();
        rows.join("\n")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        // A character or a sequence may come in two parts.
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            Err(e) => e.valid_up_to(),
        };
        let text = String::from_utf8_lossy(&self.pending[..whole]).into_owned();
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if c != '\x1b' {
                self.put(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) else { break };
            self.obey(&rest[1..=end]);
            rest = &rest[end + 1..];
        }
        let used = whole - rest.len();
        self.pending.drain(..used);
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.column = 0,
            '\n' if self.row + 1 < self.height => self.row += 1,
            '\n' => {
                self.rows.remove(0);
                self.rows.push(Vec::new());
            }
            c => {
                if self.column == self.width {
                    self.column = 0;
                    self.put('\n');
                }
                let row = &mut self.rows[self.row];
                row.resize(row.len().max(self.column + 1), ' ');
                row[self.column] = c;
                self.column += 1;
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        match sequence {
            "[J" => {
                self.rows[self.row].truncate(self.column);
                self.rows[self.row + 1..].iter_mut().for_each(Vec::clear);
            }
            up if up.starts_with('[') && up.ends_with('A') => {
                let n: usize = up[1..up.len() - 1].parse().expect("a number of lines");
                self.row = self.row.saturating_sub(n);
            }
            other => panic!("the program uses what not every terminal has: ESC {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_scrolls_wraps_and_is_written_over() {
        let mut screen = Screen::new(3, 4);
        screen.write(b"a\r\nb\r\nabcdef\r\n");
        assert_eq!(screen.text(), "abcd\nef\n");
        screen.write(b"\x1b[1");
        screen.write(b"A\x1b[Jg");
        assert_eq!(screen.text(), "abcd\ng\n");
    }
}
