//! Sockets of datagrams.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::Now;
use super::sockets::Sockets;
use super::sys;
use super::watch::{Got, Readable, Watched};

/// A socket of datagrams: one that many clients send to, or one that is connected to a server.
///
/// **Read until nothing is there** (`WouldBlock`): a wait is told of what comes after that. It may end with nothing to read.
pub struct Datagrams {
    rt: Sockets,
    socket: UdpSocket,
    watch: Watched,
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.rt.inner.unwatch(&self.watch, self.socket.as_raw_fd());
    }
}

impl Datagrams {
    /// Takes over a bound socket.
    ///
    /// # Errors
    /// It could not be made non-blocking.
    pub fn adopt(rt: &Sockets, socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Datagrams { rt: rt.clone(), socket, watch: Watched::default() })
    }

    /// A new socket that speaks with `to` alone; the system picks its port.
    ///
    /// # Errors
    /// No descriptor or port is left, or there is no way to there.
    pub fn connected(rt: &Sockets, to: SocketAddr) -> io::Result<Self> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::UDP))?;
        socket.connect(&to.into())?;
        Ok(Datagrams { rt: rt.clone(), socket: socket.into(), watch: Watched::default() })
    }

    /// The next datagram and who sent it; what is longer than `into` is cut.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub fn try_recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.told(self.socket.recv_from(into))
    }

    /// The next datagram of the other end.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; `ConnectionRefused` if nobody listens there.
    pub fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.told(self.socket.recv(into))
    }

    fn told<T>(&self, got: io::Result<T>) -> io::Result<T> {
        let is_all = got.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.rt.inner.was_read(&self.watch, if is_all { Got::Nothing } else { Got::All });
        got
    }

    /// Sends a datagram to the other end.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no room; `ConnectionRefused` if nobody listened there before.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no room; else what the system says.
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(bytes, to)
    }

    /// Waits until there may be a datagram or an error.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    pub fn readable(&self, deadline: Now) -> impl Future<Output = io::Result<()>> {
        Readable::new(&self.rt.inner, &self.watch, self.socket.as_fd(), deadline)
    }

    /// Says whether `other` is a duplicate of this socket.
    pub fn is_same(&self, other: &UdpSocket) -> bool {
        sys::cookie(self.socket.as_fd()) == sys::cookie(other.as_fd())
    }

    /// Datagrams that the kernel has thrown away since the socket was made, because they came faster than they were read; 0
    /// where that cannot be told.
    pub fn unread(&self) -> u32 {
        sys::dropped(self.socket.as_fd())
    }

    /// The address of our end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
