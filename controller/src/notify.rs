//! What the service manager is told, by the protocol of systemd's `sd_notify`: a datagram to a socket that it names in the
//! environment; without that variable nobody is told anything.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that the API answers.
//= API-UNIT-01
pub fn ready() {
    tell("READY=1");
}

/// Says that no more requests are taken.
pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(line: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(name.as_bytes(), line) {
        tracing::warn!(%error, line, "the service manager was not told (NOTIFY_SOCKET)");
    }
}

fn send(name: &[u8], line: &str) -> io::Result<()> {
    let address = match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(line.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test API-UNIT-01
    #[test]
    fn a_manager_is_told_by_a_path_or_by_an_abstract_name() {
        let folder = std::env::temp_dir().join(format!("forebay-notify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let name = format!("forebay-notify-{}", std::process::id());
        let abstracted = SocketAddr::from_abstract_name(&name).expect("a name");
        let sockets = [
            (path.as_os_str().as_bytes().to_vec(), UnixDatagram::bind(&path).expect("a socket")),
            (format!("@{name}").into_bytes(), UnixDatagram::bind_addr(&abstracted).expect("a socket")),
        ];
        for (name, socket) in sockets {
            send(&name, "READY=1").expect("it is there");
            let mut heard = [0; 16];
            let length = socket.recv(&mut heard).expect("it was told");
            assert_eq!(&heard[..length], b"READY=1");
        }
        assert!(send(folder.join("nobody").as_os_str().as_bytes(), "READY=1").is_err());
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
