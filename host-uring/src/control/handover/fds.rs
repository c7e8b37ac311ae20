//! Open files that travel through a unix socket, and who is at its other end: the calls that the standard library lacks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Files of one message: below the kernel's 253.
pub(super) const FILES_AT_ONCE_MAX: usize = 64;

/// Words of room for the files of one message with its header.
const ROOM: usize = 4 + FILES_AT_ONCE_MAX;

/// Who is at the other end of a unix socket, as the kernel noted it at the connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its process; 0 if that one is in another namespace of processes.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// Asks the kernel who is at the other end.
///
/// # Errors
/// The kernel does not know.
pub(super) fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let mut known = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let into = (&raw mut known).cast();
    // SAFETY: `known` and its length are valid for the call to fill.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, into, &mut len) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: known.pid, uid: known.uid })
}

/// Makes this process the one whom [`peer`] names to those who connect from now on: the kernel notes who has called
/// listen(2) last, and for a socket that was handed over that is another one.
///
/// # Errors
/// It does not listen.
pub(super) fn listen_as_this_process(socket: BorrowedFd<'_>) -> io::Result<()> {
    // The kernel cuts it to what it allows.
    const QUEUE: libc::c_int = 1_024;
    // SAFETY: the call takes no memory.
    if unsafe { libc::listen(socket.as_raw_fd(), QUEUE) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A number-valued option of a socket.
///
/// # Errors
/// It is no socket, or the kernel knows no such option.
pub(super) fn option_of(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u64> {
    let mut value = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `value` and its length are valid for the call to fill; shorter answers fill its low bytes.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut len)
    };
    if result == 0 { Ok(u64::from_le(value)) } else { Err(io::Error::last_os_error()) }
}

/// Sends bytes, and files with the first of them. Gives how many bytes went.
///
/// # Errors
/// The socket's.
pub(super) fn send(stream: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    assert!(files.len() <= FILES_AT_ONCE_MAX, "no more than fit");
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // Words, so that the header in it is aligned.
    let mut room = [0_u64; ROOM];
    // SAFETY: all-zero is a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
    if !files.is_empty() {
        let size = (files.len() * size_of::<RawFd>()) as libc::c_uint;
        message.msg_control = room.as_mut_ptr().cast();
        // SAFETY: arithmetic on a length; the header that it finds lies in `room`, which is long enough for as many
        // files and aligned, and they are written one after the other into what follows it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            let into = libc::CMSG_DATA(header).cast::<RawFd>();
            for (n, file) in files.iter().enumerate() {
                into.add(n).write_unaligned(file.as_raw_fd());
            }
        }
    }
    // SAFETY: the message points to values that live through the call, with their lengths.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there, files among it; 0 is the end. The files are closed at an exec.
///
/// # Errors
/// The socket's; `InvalidData` if more files came than one message may have.
pub(super) fn receive(
    stream: &UnixStream,
    into: &mut [u8],
    files: &mut Vec<OwnedFd>,
    flags: libc::c_int,
) -> io::Result<usize> {
    let mut piece = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut room = [0_u64; ROOM];
    // SAFETY: all-zero is a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
    (message.msg_control, message.msg_controllen) = (room.as_mut_ptr().cast(), size_of_val(&room));
    // SAFETY: the message points to values that live through the call, with their lengths.
    let got = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, flags | libc::MSG_CMSG_CLOEXEC) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled the headers that are walked, each with its true length; every file in them is open
    // and nobody else's.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let from = libc::CMSG_DATA(header).cast::<RawFd>();
                for n in 0..bytes / size_of::<RawFd>() {
                    files.push(OwnedFd::from_raw_fd(from.add(n).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more files than one message may have"));
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_file_that_was_sent_is_the_same_file() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        assert_eq!(send(&near, b"here", &[writer.as_fd()]).expect("sent"), 4);
        drop(writer);
        let (mut bytes, mut files) = ([0; 16], Vec::new());
        assert_eq!(receive(&far, &mut bytes, &mut files, 0).expect("received"), 4);
        let mut file = std::fs::File::from(files.pop().expect("one file"));
        assert!(files.is_empty());
        file.write_all(b"through it").expect("the pipe is open");
        drop(file);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("read to the end");
        assert_eq!(said, "through it");
    }

    #[test]
    fn the_kernel_tells_who_is_there() {
        let (near, _far) = UnixStream::pair().expect("a pair");
        // SAFETY: the calls take nothing and cannot fail.
        let (pid, uid) = unsafe { (libc::getpid(), libc::geteuid()) };
        assert_eq!(peer(&near).expect("known"), Peer { pid, uid });
    }
}
