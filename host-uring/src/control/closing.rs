//! Closing the listening sockets without resetting anybody.
//!
//! A listening socket that is closed resets whoever has completed its handshake and waits to be accepted, and who
//! completes it in the moment of the close. So a stop takes three steps: the kernel is told to drop requests for new
//! connections (their clients ask again, after a second by the usual clock of TCP, and are refused then), what is in the
//! handshake or in the queue is accepted and served, and only an empty queue is closed.
//!
//! Datagrams know no handshake: their sockets are closed with the last duplicate.

use std::net::Shutdown;
use std::os::fd::AsRawFd;

use socket2::{SockFilter, SockRef};

use super::ListenSocket;

/// Tells the kernel to drop requests for new connections (SYN); handshakes under way go on.
///
/// # Errors
/// The kernel knows no socket filters: then connections come in until the end, and the last may be reset.
pub(super) fn take_no_new(socket: &ListenSocket) -> std::io::Result<()> {
    let Some(socket) = socket.stream() else { return Ok(()) };
    // On a TCP socket a filter sees the segment from the TCP header on; its flags are byte 13.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let load = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let jump_if_set = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(load, 0, 0, FLAGS),
        SockFilter::new(jump_if_set, 0, 1, SYN),
        SockFilter::new(answer, 0, 0, 0),
        SockFilter::new(answer, 0, 0, u32::MAX),
    ])
}

/// Connections whose handshake is done and that nobody has accepted yet; 0 where that cannot be told.
pub(super) fn waiting(socket: &ListenSocket) -> u32 {
    let Some(socket) = socket.stream() else { return 0 };
    // SAFETY: all-zero is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (fd, into) = (socket.as_raw_fd(), (&raw mut info).cast());
    // SAFETY: `info` and its length are valid for the call to fill.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut len) };
    // Of a listening socket this field is the length of its queue.
    if result == 0 { info.tcpi_unacked } else { 0 }
}

/// Ends the listening for every duplicate of the socket, also those of a worker that stands still; who waits in an
/// accept learns of it.
pub(super) fn close(socket: &ListenSocket) {
    let Some(socket) = socket.stream() else { return };
    // It fails only for a socket that listens no more.
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn who_is_in_the_queue_stays_and_who_comes_later_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("it is bound");
        let copy = socket.try_clone().expect("a descriptor");
        let socket = ListenSocket::Stream(socket);
        let early = TcpStream::connect(address).expect("it listens");
        assert_eq!(waiting(&socket), 1);
        take_no_new(&socket).expect("the kernel knows filters");
        let late = std::thread::spawn(move || TcpStream::connect(address));
        let (accepted, _) = copy.accept().expect("the early one");
        assert_eq!(accepted.peer_addr().ok(), early.local_addr().ok());
        // Sleep: nobody can be seen to be dropped; a request on loopback takes microseconds.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(waiting(&socket), 0, "the late one is not let in");
        close(&socket);
        assert!(copy.accept().is_err(), "duplicates listen no more");
        let late = late.join().expect("no panic").expect_err("refused");
        assert_eq!(late.kind(), ErrorKind::ConnectionRefused);
    }
}
