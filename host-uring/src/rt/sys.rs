//! System calls on sockets, each with a safe face.

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use forebay_core::units::Now;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

pub(super) fn monotonic_us() -> Now {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Now(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

pub(super) fn thread_cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Receives by the bare system call. The library's `recv` and `send` are cancellation points: with a second thread in the
/// process each of them pays for two atomic operations on a line that nobody else needs.
fn recvfrom(fd: BorrowedFd<'_>, into: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live, writable slice; no address is asked for.
    let got = unsafe {
        libc::syscall(
            libc::SYS_recvfrom,
            fd.as_raw_fd(),
            into.as_mut_ptr(),
            into.len(),
            flags | libc::MSG_DONTWAIT,
            std::ptr::null_mut::<libc::sockaddr>(),
            std::ptr::null_mut::<libc::socklen_t>(),
        )
    };
    check_len(got as libc::ssize_t)
}

pub(super) fn recv(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    recvfrom(fd, into, 0)
}

/// Has urgent data read in its place among the other bytes.
pub(super) fn read_urgent_inline(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, &1)
}

/// Bytes that wait to be read, on whichever side of a mark of urgent data.
pub(super) fn unread(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int, for which `count` has room.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut count) } {
        0 => usize::try_from(count).unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn peek(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    // SAFETY: pointer and length are those of a live, writable slice.
    check_len(unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), FLAGS) })
}

pub(super) fn send(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let [piece] = pieces {
        // SAFETY: pointer and length are those of a live slice; no address is given.
        let put = unsafe {
            libc::syscall(
                libc::SYS_sendto,
                fd.as_raw_fd(),
                piece.as_ptr(),
                piece.len(),
                FLAGS,
                std::ptr::null::<libc::sockaddr>(),
                0 as libc::socklen_t,
            )
        };
        return check_len(put as libc::ssize_t);
    }
    // SAFETY: all-zero is a valid msghdr (no name, no control data).
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr() as *mut libc::iovec;
    message.msg_iovlen = pieces.len() as _;
    // SAFETY: IoSlice is guaranteed to have iovec's layout on Unix; the kernel only reads it.
    let put = unsafe { libc::syscall(libc::SYS_sendmsg, fd.as_raw_fd(), &raw const message, FLAGS) };
    check_len(put as libc::ssize_t)
}

/// True when a read would not wait: bytes are there, or the peer's end, or a failure.
///
/// Not by peeking: that takes the failure off the socket, and whoever reads then is told of an end that never came.
pub(super) fn is_spent(fd: BorrowedFd<'_>) -> bool {
    look(fd, libc::POLLIN | libc::POLLRDHUP) != 0
}

/// True when the connection is gone in both directions: a reset, an error, or both ends closed.
pub(super) fn is_reset(fd: BorrowedFd<'_>) -> bool {
    // No events are asked for: failure and hang-up are told in any case, a half-close is not.
    look(fd, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Which of `events`, and of failure and hang-up, the system tells of now.
fn look(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut look = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd that lives for the call, which does not wait.
    unsafe { libc::poll(&mut look, 1, 0) };
    look.revents
}

pub(super) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: a plain call on a descriptor that the caller holds open.
    unsafe { libc::shutdown(fd.as_raw_fd(), how) };
}

fn set_option<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a live T and its size is passed with it.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (value as *const T).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Switches Nagle's algorithm off; accepted sockets inherit it from their listener.
pub(super) fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1)
}

/// Bytes that the kernel takes of what is not sent yet where it is to be little: half a millisecond at 1 Gbit/s is left when
/// it says that it takes more.
const UNSENT_BYTES: libc::c_int = 128 * 1024;

pub(super) fn bound_unsent(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &UNSENT_BYTES)
}

pub(super) fn set_linger_zero(fd: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // Without the option the close is an orderly one: worse for the peer, fatal for nobody.
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain fcntl calls on a descriptor that the caller holds open.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: storage and its length are valid for the call to fill.
    let fd = check(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            storage.as_mut_ptr().cast(),
            &mut len,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    })?;
    // SAFETY: accept4 returned a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zeroed memory is a valid sockaddr_storage, and the kernel filled a prefix of it.
    Ok((fd, address(unsafe { storage.assume_init_ref() })))
}

fn address(storage: &libc::sockaddr_storage) -> SocketAddr {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this storage holds a sockaddr_in.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            SocketAddrV4::new(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()), u16::from_be(v4.sin_port))
                .into()
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this storage holds a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )
            .into()
        }
        // A Unix socket in a test: there is no better answer, and nothing routes by it.
        _ => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

pub(super) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: storage and its length are valid for the call to fill.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), storage.as_mut_ptr().cast(), &mut len) })?;
    // SAFETY: zeroed memory is a valid sockaddr_storage, and the kernel filled a prefix of it.
    Ok(address(unsafe { storage.assume_init_ref() }))
}

/// Opens a socket and starts to connect it; the flag says whether it is connected already.
pub(super) fn connect(to: SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a plain call.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: socket returned a new descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_nodelay(borrow(&fd))?;
    let result = match to {
        SocketAddr::V4(v4) => {
            // SAFETY: all-zero is a valid sockaddr_in.
            let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            // SAFETY: `raw` is a live sockaddr_in and its size is passed with it.
            unsafe {
                libc::connect(fd.as_raw_fd(), (&raw const raw).cast(), size_of::<libc::sockaddr_in>() as _)
            }
        }
        SocketAddr::V6(v6) => {
            // SAFETY: all-zero is a valid sockaddr_in6.
            let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            // SAFETY: `raw` is a live sockaddr_in6 and its size is passed with it.
            unsafe {
                libc::connect(fd.as_raw_fd(), (&raw const raw).cast(), size_of::<libc::sockaddr_in6>() as _)
            }
        }
    };
    match check(result) {
        Ok(_) => Ok((fd, true)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok((fd, false)),
        Err(error) => Err(error),
    }
}

/// The error that an asynchronous operation left on the socket.
pub(super) fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `code` and its length are valid for the call to fill.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut code).cast(), &mut len)
    })?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// The kernel's smoothed round-trip time, microseconds.
pub(super) fn rtt_us(fd: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: all-zero is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and its length are valid for the call to fill.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &mut len)
    };
    (result == 0).then_some(info.tcpi_rtt)
}

/// Bytes of data that the socket's send buffer surely takes now: half of what is free, because the kernel's own
/// bookkeeping may take as much as the data.
pub(super) fn send_room(fd: BorrowedFd<'_>) -> Option<usize> {
    // SK_MEMINFO_VARS values of `linux/sock_diag.h`; newer kernels have more of them and cut to our length.
    const SNDBUF: usize = 3;
    const WMEM_QUEUED: usize = 5;
    let mut info = [0_u32; 9];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` and its length are valid for the call to fill.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    let free = info[SNDBUF].saturating_sub(info[WMEM_QUEUED]) as usize;
    (result == 0).then_some(free / 2)
}

/// Bytes in the send queue that the peer has not acknowledged, an end that was sent included.
pub(super) fn unacknowledged(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) fills the one int that it is given.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    // A connection that was reset keeps its number, and nobody will acknowledge anything any more.
    if result == 0 && bytes > 0 && !is_closed(fd) { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// What tells a socket from all others of this machine, whichever duplicate of it one has; 0 where the kernel does not
/// tell.
pub(super) fn cookie(fd: BorrowedFd<'_>) -> u64 {
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    let into = (&raw mut cookie).cast();
    // SAFETY: the number and its length are valid for the call to fill.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_COOKIE, into, &mut len) };
    if result == 0 { cookie } else { 0 }
}

/// Datagrams that the kernel has thrown away for want of room in the socket's queue, modulo 2^32; 0 where it does not tell.
pub(super) fn dropped(fd: BorrowedFd<'_>) -> u32 {
    // `linux/sock_diag.h`: nine numbers, of which SK_MEMINFO_DROPS is the last.
    let mut info = [0_u32; 9];
    let mut len = size_of_val(&info) as libc::socklen_t;
    let into = info.as_mut_ptr().cast();
    // SAFETY: the numbers and their length are valid for the call to fill; the kernel cuts to the length.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, into, &mut len) };
    if result == 0 { info[8] } else { 0 }
}

/// True when the connection is over for both sides: reset, or ended by a time-out of the kernel's.
fn is_closed(fd: BorrowedFd<'_>) -> bool {
    // The state is the first byte of `tcp_info`, and TCP_CLOSE of `linux/tcp_states.h` is 7.
    const TCP_CLOSE: u8 = 7;
    let mut state = 0_u8;
    let mut len = 1 as libc::socklen_t;
    // SAFETY: one byte and its length are valid for the call to fill; the kernel cuts to the length.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut state).cast(), &mut len)
    };
    result == 0 && state == TCP_CLOSE
}

pub(super) fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

/// Makes a pipe; the first end is read from.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which the call fills.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    // SAFETY: pipe2 returned two new descriptors that nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Sets how many bytes a pipe takes at least, if every page is full.
pub(super) fn set_pipe_capacity(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: a plain call on a descriptor that the caller holds open.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).map(drop)
}

/// Moves at most `most` bytes between a socket and a pipe without waiting; the socket must not block by itself.
pub(super) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    const FLAGS: libc::c_uint = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let none = std::ptr::null_mut();
    // SAFETY: both descriptors are held open by the caller; no offsets are given.
    check_len(unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, most, FLAGS) })
}

pub(super) fn read(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live, writable slice.
    check_len(unsafe { libc::read(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) })
}

/// Creates an epoll instance.
pub(super) fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: a plain call.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: epoll_create1 returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn epoll_ctl(epoll: &OwnedFd, operation: libc::c_int, fd: RawFd, events: u32) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: fd as u64 };
    // SAFETY: `event` is live for the call; a bad descriptor is an error, not a fault.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) }).map(drop)
}

/// Waits at most `timeout_ms` (-1: for ever) and gives the number of events.
pub(super) fn epoll_wait(
    epoll: &OwnedFd,
    events: &mut [libc::epoll_event],
    timeout_ms: i32,
) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live, writable slice.
    check(unsafe {
        libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, timeout_ms)
    })
    .map(|count| count as usize)
}
