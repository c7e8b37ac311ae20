//! A TCP connection spoken byte by byte.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::system;

/// Reads and writes give up after this, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, with what was read ahead.
pub struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
    deadline: Option<Instant>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// Those of connect.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&to, PATIENCE).and_then(Self::from_stream)
    }

    /// Connects from a chosen source address.
    ///
    /// # Errors
    /// Those of bind and connect.
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        system::connect_from(SocketAddr::new(from, 0), to).and_then(Self::from_stream)
    }

    /// Takes over a stream.
    ///
    /// # Errors
    /// Those of setting its options.
    pub fn from_stream(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, ahead: Vec::new(), deadline: None })
    }

    /// Sets how long a read may take.
    pub fn patience(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a time-out above zero");
    }

    /// Reads end at `at`, however many bytes come until then.
    pub fn deadline(&mut self, at: Instant) {
        self.deadline = Some(at);
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Those of write.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads up to and including the end of a head.
    ///
    /// # Errors
    /// Those of read; `UnexpectedEof` if the connection ends before.
    pub fn head(&mut self) -> io::Result<String> {
        self.until(b"\r\n\r\n").map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Reads up to and including `end`.
    ///
    /// # Errors
    /// Those of read; `UnexpectedEof` if the connection ends before.
    pub fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut seen = 0_usize;
        loop {
            let from = seen.saturating_sub(end.len());
            if let Some(at) = self.ahead[from..].windows(end.len()).position(|w| w == end) {
                return Ok(self.ahead.drain(..from + at + end.len()).collect());
            }
            seen = self.ahead.len();
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads exactly `n` bytes.
    ///
    /// # Errors
    /// Those of read; `UnexpectedEof` if the connection ends before.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < n {
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..n).collect())
    }

    /// Reads all there is until the other side closes.
    ///
    /// # Errors
    /// Those of read.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Whether the other side closes (or resets) within `limit`; what comes before is kept.
    pub fn closes_within(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        self.deadline = None;
        while let Some(left) = limit.checked_sub(began.elapsed()).filter(|l| !l.is_zero()) {
            self.patience(left);
            match self.more() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// What was read and not yet taken.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Reads once, whatever comes. Returns how many bytes did; 0 at the end.
    ///
    /// # Errors
    /// Those of read.
    pub fn more(&mut self) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        let mut part = [0; 16 * 1024];
        let n = loop {
            match self.stream.read(&mut part) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ahead.extend_from_slice(&part[..n]);
        Ok(n)
    }

    /// Ends our direction.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset instead of an orderly end.
    pub fn reset(self) {
        system::linger_zero(self.stream.as_raw_fd());
    }

    /// The stream.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Sends `bytes` on a new connection and returns all that comes until the other side closes.
///
/// # Errors
/// Those of the socket.
pub fn exchange(to: SocketAddr, bytes: impl AsRef<[u8]>) -> io::Result<String> {
    let mut wire = Wire::connect(to)?;
    wire.send(bytes)?;
    wire.rest().map(|b| String::from_utf8_lossy(&b).into_owned())
}
