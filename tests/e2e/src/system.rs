//! The few calls to the system that std does not offer, each with a safe face.

use std::ffi::CString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Connects from a chosen source address; with port 0 the port is chosen at connect, so that each
/// source address has all ports for itself.
///
/// # Errors
/// Those of socket, bind and connect.
pub fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let (from, from_len) = raw(from);
    let (to, to_len) = raw(to);
    // SAFETY: the addresses live through the calls and the lengths are theirs; the descriptor is
    // fresh and owned by nobody else.
    unsafe {
        let fd = libc::socket(i32::from(from.ss_family), libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let on: libc::c_int = 1;
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const on).cast(), 4);
        if libc::bind(fd, (&raw const from).cast(), from_len) != 0
            || libc::connect(fd, (&raw const to).cast(), to_len) != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(TcpStream::from(socket))
    }
}

/// The kernel's monotonic clock, microseconds.
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Bytes that may be written below a folder; 0 where that is not known.
pub fn free_bytes(folder: &Path) -> u64 {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return 0 };
    // SAFETY: all-zero bytes are a value of this plain struct.
    let mut disk: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live through the call; the path ends with a zero byte.
    let failed = unsafe { libc::statvfs(path.as_ptr(), &raw mut disk) } != 0;
    if failed { 0 } else { disk.f_bavail * disk.f_frsize }
}

/// A socket that is bound and does not listen; others that set SO_REUSEADDR may bind beside it.
///
/// # Errors
/// Those of socket and bind: somebody listens there.
pub fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let (at, at_len) = raw(address);
    let on: libc::c_int = 1;
    // SAFETY: the address lives through the call and the length is its own; the descriptor is fresh and owned by nobody
    // else.
    unsafe {
        let fd = libc::socket(i32::from(at.ss_family), libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), 4);
        match libc::bind(fd, (&raw const at).cast(), at_len) {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn raw(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let at = &raw mut storage;
    let len = match address {
        SocketAddr::V4(v4) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_storage has room and alignment for every kind of address.
            unsafe { at.cast::<libc::sockaddr_in>().write(value) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { at.cast::<libc::sockaddr_in6>().write(value) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// Makes the close of this socket a reset.
pub fn linger_zero(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value lives through the call and the length is its own.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len) };
}

/// Makes the receive buffer of this socket as small as the system allows.
pub fn smallest_receive_buffer(fd: RawFd) {
    receive_buffer(fd, 2048);
}

/// Bounds what a socket takes that its owner does not read.
pub fn receive_buffer(fd: RawFd, bytes: libc::c_int) {
    // SAFETY: the value lives through the call and the length is its own.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const bytes).cast(), 4) };
}

/// Makes the segments of this socket, or of those that come to it, as large as on an Ethernet: the kernel sizes the other
/// end's send buffer by them, and by loopback's it is two and a half MB.
pub fn segments_of_ethernet(fd: RawFd) {
    let bytes: libc::c_int = 1460;
    // SAFETY: the value lives through the call and the length is its own.
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, (&raw const bytes).cast(), 4) };
}

/// Connects as a client on an Ethernet does whose receive buffer is as small as the system allows.
///
/// # Errors
/// Those of socket and connect.
pub fn connect_by_ethernet(to: SocketAddr) -> io::Result<TcpStream> {
    let (to, to_len) = raw(to);
    // SAFETY: the address lives through the call and the length is its own; the descriptor is fresh and owned by nobody
    // else.
    unsafe {
        let fd = libc::socket(i32::from(to.ss_family), libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        segments_of_ethernet(fd);
        smallest_receive_buffer(fd);
        if libc::connect(fd, (&raw const to).cast(), to_len) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(TcpStream::from(socket))
    }
}

/// Lets this process have as many open files as it may, and returns how many that is.
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a value that lives through them.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
    }
    limit.rlim_cur
}

/// Puts the calling thread (and what it starts from now on) onto one core.
pub fn pin_thread(core: usize) {
    // SAFETY: all zeroes is a valid set; the calls get its true length.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Lets others on its core go before the calling thread, at once: the lowest priority alone would let it end its turn first, which
/// is some milliseconds.
pub fn step_back() {
    let none = libc::sched_param { sched_priority: 0 };
    // The lowest: whoever runs the test may have stepped back already.
    // SAFETY: the calls take numbers and a structure that they only read. A thread may always lower its own priority.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none);
    }
}

/// How many cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Memory of a process in KiB that is its own alone, from the kernel's own account.
pub fn private_kib(pid: u32) -> u64 {
    rollup_kib(pid, &["Private_Clean:", "Private_Dirty:"])
}

/// Memory in KiB that a process has written to: without its program's pages, which are its own as soon as another process
/// of the same program ends.
pub fn written_kib(pid: u32) -> u64 {
    rollup_kib(pid, &["Private_Dirty:"])
}

fn rollup_kib(pid: u32, rows: &[&str]) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let number = |l: &str| l.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    text.lines().filter(|l| rows.iter().any(|row| l.starts_with(row))).map(number).sum()
}

/// Whether this process may set up an io_uring of the kind that the service engine uses.
///
/// # Errors
/// Those of `io_uring_setup`.
pub fn io_uring_is_to_be_had() -> io::Result<()> {
    const SINGLE_ISSUER: u32 = 1 << 12;
    const DEFER_TASKRUN: u32 = 1 << 13;
    // `struct io_uring_params`: 30 words, the third of them the flags.
    let mut parameters = [0_u32; 30];
    parameters[2] = SINGLE_ISSUER | DEFER_TASKRUN;
    // SAFETY: the parameters are as long as the kernel's and live through the call; the descriptor is
    // fresh and owned by nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_io_uring_setup, 8, parameters.as_mut_ptr());
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        drop(OwnedFd::from_raw_fd(fd as RawFd));
    }
    Ok(())
}

/// Makes this system call fail with this error number in the program that `command` starts: a filter
/// of system calls, as containers have it.
pub fn refuse(command: &mut Command, call: libc::c_long, error: i32) {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, 0, 1, call as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | (error as u32 & libc::SECCOMP_RET_DATA)),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: prctl is async-signal-safe; the filter is owned by the closure and lives through the calls.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}
