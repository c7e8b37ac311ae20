//! The thread that writes the access log out.
//!
//! Nothing a disk does reaches a worker: a full, vanished or forbidden log costs lines, which are counted,
//! and one complaint a minute; when the log can be written again, it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ring::Drain;
use crate::limits::{LOG_COMPLAINT_S, LOG_POLL_MS, LOG_RETRY_MS, LOG_WRITE_BYTES};

/// What became of the access log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Written.
    pub written: u64,
    /// Dropped by workers whose ring was full.
    pub dropped: u64,
    /// Lost because the log could not be written.
    pub lost: u64,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Opens the log and closes it again, so that one that cannot be written is known before the first request. A named
    /// pipe whose reader has not come yet is none.
    ///
    /// # Errors
    /// The system's.
    pub fn try_open(&self) -> io::Result<()> {
        let Target::File(path) = self else { return Ok(()) };
        match open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_pipe(path) => Ok(()),
            opened => opened.map(|_| ()),
        }
    }
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// Non-blocking, so that a named pipe without a reader fails at once instead of hanging the thread.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// The writer as the control thread holds it.
pub struct Writer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    drains: Mutex<Vec<Drain>>,
    /// Drops counted by rings that are gone.
    dropped_before: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(target: Target) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            Output { target, to: None, whole: true, opened_at: None, complained: None, lost_since: 0 }
                .run(&theirs);
        })?;
        Ok(Self { shared, thread })
    }

    /// Adds a worker's ring; it is let go when its worker is gone and it is empty.
    pub fn add(&self, drain: Drain) {
        self.shared.drains.lock().unwrap_or_else(PoisonError::into_inner).push(drain);
    }

    /// Closes the file and opens its path anew, after it was renamed by whoever rotates logs.
    //= OBS-LOG-05
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// What became of the lines.
    pub fn counts(&self) -> LogCounts {
        let drains = self.shared.drains.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped: u64 = drains.iter().map(Drain::dropped).sum();
        LogCounts {
            written: self.shared.written.load(Ordering::Relaxed),
            dropped: dropped + self.shared.dropped_before.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
        }
    }

    /// Writes what is left and ends, within `patience`; a disk that hangs does not hold up the stop.
    pub fn stop(&self, patience: Duration) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let until = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

struct Output {
    target: Target,
    to: Option<To>,
    /// Whether the last byte written ended a line.
    whole: bool,
    opened_at: Option<Instant>,
    complained: Option<Instant>,
    /// Lines lost since the last complaint.
    lost_since: u64,
}

enum To {
    Stdout(io::Stdout),
    File(File),
}

impl Output {
    fn run(mut self, shared: &Shared) {
        let mut buffer = Vec::with_capacity(LOG_WRITE_BYTES + crate::limits::LOG_LINE_BYTES_MAX);
        loop {
            // Read before draining, so that what was pushed before the stop is still written.
            let stopping = shared.stop.load(Ordering::Acquire);
            if shared.reopen.swap(false, Ordering::AcqRel) {
                (self.to, self.opened_at, self.complained) = (None, None, None);
                // Now rather than with the next line: whoever sent the signal is still looking.
                //= OBS-LOG-08
                if let Err(error) = self.open() {
                    self.complain(&error);
                }
            }
            buffer.clear();
            let lines = collect(shared, &mut buffer);
            if lines > 0 {
                let written = self.write(&buffer, lines, stopping);
                shared.written.fetch_add(written as u64, Ordering::Relaxed);
                let lost = (lines - written) as u64;
                shared.lost.fetch_add(lost, Ordering::Relaxed);
                self.lost_since += lost;
            } else if stopping {
                break;
            } else {
                std::thread::park_timeout(Duration::from_millis(LOG_POLL_MS));
            }
        }
    }

    /// Writes whole lines, `lines` of them, and returns how many of them got out.
    fn write(&mut self, bytes: &[u8], lines: usize, stopping: bool) -> usize {
        if let Err(error) = self.open() {
            self.complain(&error);
            return 0;
        }
        // Whatever follows a torn line starts a new one, so only the torn one is unreadable.
        if !self.whole && self.put(b"\n", stopping).1.is_none() {
            self.whole = true;
        }
        let (put, error) =
            if self.whole { self.put(bytes, stopping) } else { (0, Some(io::ErrorKind::Other.into())) };
        if put > 0 {
            self.whole = bytes[put - 1] == b'\n';
        }
        if let Some(error) = error {
            self.complain(&error);
            // Opened anew at the next try: the path may by then lead to another disk.
            self.to = None;
        } else if self.complained.is_some() && self.lost_since > 0 {
            tracing::info!(lines_lost = self.lost_since, "the access log is written again");
            self.lost_since = 0;
            self.complained = None;
        }
        if put == bytes.len() { lines } else { bytes[..put].iter().filter(|b| **b == b'\n').count() }
    }

    fn put(&mut self, bytes: &[u8], stopping: bool) -> (usize, Option<io::Error>) {
        let mut put = 0;
        let Some(to) = &mut self.to else { return (0, None) };
        while put < bytes.len() {
            let result = match to {
                To::Stdout(out) => out.write(&bytes[put..]).and_then(|n| out.flush().map(|()| n)),
                To::File(file) => file.write(&bytes[put..]),
            };
            match result {
                Ok(0) => return (put, Some(io::ErrorKind::WriteZero.into())),
                Ok(n) => put += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe whose reader is slow: wait, the rings hold on meanwhile.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !stopping => {
                    std::thread::sleep(Duration::from_millis(LOG_POLL_MS));
                }
                Err(error) => return (put, Some(error)),
            }
        }
        (put, None)
    }

    fn open(&mut self) -> io::Result<()> {
        if self.to.is_some() {
            return Ok(());
        }
        let retry = Duration::from_millis(LOG_RETRY_MS);
        if self.opened_at.is_some_and(|at| at.elapsed() < retry) {
            return Err(io::Error::other("it could not be written a moment ago"));
        }
        self.opened_at = Some(Instant::now());
        self.to = Some(match &self.target {
            Target::Stdout => To::Stdout(io::stdout()),
            Target::File(path) => To::File(open(path)?),
        });
        Ok(())
    }

    //= OBS-LOG-04
    fn complain(&mut self, error: &io::Error) {
        let period = Duration::from_secs(LOG_COMPLAINT_S);
        if self.complained.is_some_and(|at| at.elapsed() < period) {
            return;
        }
        self.complained = Some(Instant::now());
        let path = match &self.target {
            Target::Stdout => "standard output".to_owned(),
            Target::File(path) => path.display().to_string(),
        };
        tracing::warn!(
            path,
            %error,
            lines_lost = self.lost_since,
            "the access log cannot be written: lines are lost and counted until it can (free space, or repair the path)"
        );
    }
}

/// Takes lines from every ring, each in its turn, and lets go of rings whose worker is gone.
fn collect(shared: &Shared, buffer: &mut Vec<u8>) -> usize {
    let mut drains = shared.drains.lock().unwrap_or_else(PoisonError::into_inner);
    let share = LOG_WRITE_BYTES / drains.len().max(1);
    let mut lines = 0;
    drains.retain_mut(|drain| {
        let orphan = drain.is_orphan();
        let end = buffer.len() + share;
        let taken = drain.take(buffer, end);
        lines += taken;
        let done = orphan && taken == 0;
        if done {
            shared.dropped_before.fetch_add(drain.dropped(), Ordering::Relaxed);
        }
        !done
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::ring::ring;

    /// Between two looks.
    const LOOK_EVERY: Duration = Duration::from_millis(2);

    fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !is() {
            assert!(Instant::now() < until, "not within 10 s: {what}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    //= test OBS-LOG-04
    #[test]
    fn a_log_that_cannot_be_opened_costs_lines_and_is_written_once_it_can() {
        let folder = std::env::temp_dir().join(format!("forebay-log-{}", std::process::id()));
        let path = folder.join("sub/access.log");
        let writer = Writer::start(Target::File(path.clone())).expect("a thread");
        let (mut sink, drain) = ring(0, true);
        writer.add(drain);
        sink.push_bytes(b"lost\n");
        wait_for("one line lost", || writer.counts().lost == 1);
        std::fs::create_dir_all(folder.join("sub")).expect("a folder");
        wait_for("a line written", || {
            sink.push_bytes(b"kept\n");
            writer.counts().written > 0
        });
        let text = std::fs::read_to_string(&path).expect("the log");
        assert!(text.lines().all(|line| line == "kept"), "{text}");
        writer.stop(Duration::from_secs(5));
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    //= test OBS-LOG-05
    #[test]
    fn a_renamed_log_is_opened_anew_and_nothing_is_lost_between() {
        let folder = std::env::temp_dir().join(format!("forebay-rotate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("access.log");
        let writer = Writer::start(Target::File(path.clone())).expect("a thread");
        let (mut sink, drain) = ring(0, true);
        writer.add(drain);
        sink.push_bytes(b"first\n");
        wait_for("the first line", || writer.counts().written == 1);
        std::fs::rename(&path, folder.join("access.log.1")).expect("renamed");
        writer.reopen();
        sink.push_bytes(b"second\n");
        wait_for("the second line", || writer.counts().written == 2);
        drop(sink);
        writer.stop(Duration::from_secs(5));
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!((read("access.log.1").as_str(), read("access.log").as_str()), ("first\n", "second\n"));
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    #[test]
    fn lines_that_a_worker_dropped_are_counted_after_its_end() {
        let writer = Writer::start(Target::File("/dev/null".into())).expect("a thread");
        let (mut sink, drain) = ring(0, true);
        // Nobody drains it yet.
        let mut pushed = 0_u64;
        while drain.dropped() < 3 {
            sink.push_bytes(&[b'x'; 1024]);
            pushed += 1;
        }
        drop(sink);
        writer.add(drain);
        let rings = || writer.shared.drains.lock().unwrap_or_else(PoisonError::into_inner).len();
        wait_for("the ring of the worker that has ended is let go", || rings() == 0);
        assert_eq!(writer.counts().dropped, 3);
        // The bytes have no line ends: all that matters here is what was never taken.
        assert!(pushed > 3);
        writer.stop(Duration::from_secs(5));
    }
}
