//! The terminal: keys one by one, and lines that are written over.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static END: AtomicBool = AtomicBool::new(false);

extern "C" fn on_end(_signal: libc::c_int) {
    END.store(true, Ordering::SeqCst);
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Further in.
    Enter,
    /// Back out.
    Escape,
    /// Take the last character back.
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// The terminal of this process, set to give keys at once; as it was, when this is dropped.
pub struct Terminal {
    before: libc::termios,
    lines: usize,
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// There is none.
    pub fn take() -> io::Result<Self> {
        // SAFETY: all zeroes is a valid termios, and the call writes one through the pointer it gets.
        let before = unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) != 0 {
                return Err(io::Error::last_os_error());
            }
            before
        };
        for signal in [libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the action is fully initialised, the handler only stores to an atomic, and lives as long as the
            // program. The calls that it interrupts are not restarted, so a wait ends at once.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_end as extern "C" fn(libc::c_int) as libc::sighandler_t;
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
        let mut keys = before;
        keys.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG);
        // SAFETY: the pointer is to settings that live through the call.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const keys) };
        Ok(Self { before, lines: 0 })
    }

    /// Lines and columns.
    pub fn size(&self) -> (usize, usize) {
        // SAFETY: all zeroes is a valid winsize, and the call writes one through the pointer it gets.
        let size = unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size);
            size
        };
        if size.ws_row == 0 { (24, 80) } else { (size.ws_row.into(), size.ws_col.into()) }
    }

    /// Writes these lines over the last ones. They fit the window: what wraps could not be written over.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        self.lines = lines.len();
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// The keys that are pressed within `wait`; returns with the first.
    pub fn keys(&self, wait: Duration) -> io::Result<Vec<Key>> {
        let mut poll = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the pointer is to one entry that lives through the call.
        if unsafe { libc::poll(&raw mut poll, 1, wait) } <= 0 {
            return Ok(Vec::new());
        }
        let mut bytes = [0; 64];
        match io::stdin().read(&mut bytes) {
            // The terminal is gone.
            Ok(0) => Ok(vec![Key::Interrupt]),
            Ok(read) => Ok(parse(&bytes[..read])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether a signal has asked this program to end.
    pub fn is_asked_to_end(&self) -> bool {
        END.load(Ordering::SeqCst)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // SAFETY: the pointer is to settings that live through the call.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const self.before) };
    }
}

fn parse(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    loop {
        let (key, len) = match rest {
            [] => return keys,
            [0x1b, b'[' | b'O', b'A', ..] => (Some(Key::Up), 3),
            [0x1b, b'[' | b'O', b'B', ..] => (Some(Key::Down), 3),
            [0x1b, b'[' | b'O', _, ..] => (None, 3),
            [0x1b, ..] => (Some(Key::Escape), 1),
            [b'\r' | b'\n', ..] => (Some(Key::Enter), 1),
            [0x08 | 0x7f, ..] => (Some(Key::Backspace), 1),
            [0x03, ..] => (Some(Key::Interrupt), 1),
            [c @ b' '..=b'~', ..] => (Some(Key::Char(char::from(*c))), 1),
            _ => (None, 1),
        };
        keys.extend(key);
        rest = &rest[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_what_means_nothing_is_passed_over() {
        use Key::{Backspace, Char, Down, Enter, Escape, Interrupt, Up};
        assert_eq!(parse(b"j\x1b[A\x1bOB\r/\x7f"), [Char('j'), Up, Down, Enter, Char('/'), Backspace]);
        assert_eq!(parse(b"\x1b"), [Escape]);
        assert_eq!(parse(b"\x1b[C\x01\x03\xff"), [Interrupt]);
    }
}
