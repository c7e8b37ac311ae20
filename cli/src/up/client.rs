//! One client of the load: an address, a cookie jar, a connection that it may keep.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::http::{Framing, Reader, bad};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that speaks one request at a time.
pub struct Client {
    from: Ipv4Addr,
    to: SocketAddr,
    /// What it calls itself, so that a log tells it from others with its address.
    name: String,
    jar: BTreeMap<String, String>,
    connection: Option<Kept>,
    used: Used,
}

/// A connection, and its port at our end.
struct Kept {
    reader: Reader<TcpStream>,
    port: u16,
    since: Instant,
}

/// The connections of one request, by their ports at our end.
#[derive(Clone, Copy, Default)]
pub struct Used {
    /// The one that it was sent over; `None`: there was none to be had.
    pub port: Option<u16>,
    /// When that one was begun.
    pub since: Option<Instant>,
    /// One that was kept, and that the other end had closed when this request was to be sent.
    pub found_closed: Option<u16>,
}

/// What came back.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The demo server that answered, if one did.
    pub server: Option<String>,
}

impl Client {
    /// A client that connects from `from`, a loopback address.
    pub fn new(from: Ipv4Addr, to: SocketAddr) -> Self {
        Self {
            from,
            to,
            name: "forebay-up".to_owned(),
            jar: BTreeMap::new(),
            connection: None,
            used: Used::default(),
        }
    }

    /// One of many, which it says in its `User-Agent`.
    pub fn numbered(mut self, number: usize) -> Self {
        self.name = numbered_name(number);
        self
    }

    /// Sends a GET with the cookies it was given so far; with `last`, asks to close the connection.
    ///
    /// # Errors
    /// Whatever went wrong; the connection is given up, and the request is not repeated.
    pub fn get(&mut self, path: &str, last: bool) -> io::Result<Answer> {
        let answer = self.exchange(path, last);
        if last || answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// Whether it was given this cookie.
    pub fn has_cookie(&self, name: &str) -> bool {
        self.jar.contains_key(name)
    }

    /// The connections of the last request.
    pub fn used(&self) -> Used {
        self.used
    }

    fn exchange(&mut self, path: &str, last: bool) -> io::Result<Answer> {
        self.used = Used::default();
        // As every client does: what was closed meanwhile gets no request.
        if let Some(gone) = self.connection.take_if(|kept| is_closed(kept.reader.stream())) {
            self.used.found_closed = Some(gone.port);
        }
        if self.connection.is_none() {
            let since = Instant::now();
            let stream = connect(self.from, self.to)?;
            let port = stream.local_addr()?.port();
            self.connection = Some(Kept { reader: Reader::new(stream), port, since });
        }
        let Kept { reader, port, since } = self.connection.as_mut().expect("set above");
        (self.used.port, self.used.since) = (Some(*port), Some(*since));
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\n", self.to, self.name);
        if !self.jar.is_empty() {
            let cookies: Vec<String> = self.jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        request.push_str(if last { "Connection: close\r\n\r\n" } else { "\r\n" });
        reader.stream().write_all(request.as_bytes())?;
        let head = reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status: u16 =
            head.start.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status"))?;
        let framing = if matches!(status, 204 | 304) { Framing::Length(0) } else { head.framing(true)? };
        reader.body(framing, |_| ())?;
        for cookie in head.all("set-cookie") {
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.jar.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        if framing == Framing::UntilClose || head.has_token("connection", "close") {
            self.connection = None;
        }
        let server = head.get("x-demo-server").map(str::to_owned);
        Ok(Answer { status, server })
    }
}

/// What a numbered client calls itself.
pub fn numbered_name(number: usize) -> String {
    format!("forebay-up/{number}")
}

/// Whether the other end has closed a connection, as far as is known here.
fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is of the length given, and the descriptor is open for as long as `stream` is borrowed.
    let got = unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    match got {
        0 => true,
        // Bytes that nobody asked for are read as the answer, and are wrong there.
        1.. => false,
        _ => io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock,
    }
}

/// Connects from a chosen address; the port is chosen at connect, so that each address has all of them.
fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(to) = to else { return Err(bad("the load speaks IPv4")) };
    // SAFETY: plain system calls; the addresses are fully initialised and of the length given, and
    // the descriptor is fresh and owned by nobody else.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let on: libc::c_int = 1;
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const on).cast(), 4);
        let source = address(from, 0);
        if libc::bind(fd, (&raw const source).cast(), size_of::<libc::sockaddr_in>() as u32) != 0 {
            return Err(io::Error::last_os_error());
        }
        let target = address(*to.ip(), to.port());
        if libc::connect(fd, (&raw const target).cast(), size_of::<libc::sockaddr_in>() as u32) != 0 {
            return Err(io::Error::last_os_error());
        }
        socket
    };
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn address(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    }
}
