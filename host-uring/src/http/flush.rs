//! The frames of a connection that carries many requests, on their way into its socket.

use std::io::{ErrorKind, IoSlice};

use crate::tls::Securable;

/// Bytes that go to a TLS session at once whatever the socket takes: one record of the largest size.
const TLS_PIECE_BYTES: usize = 16 * 1024;

/// Writes what the socket takes of `out` behind `sent`; what has gone is forgotten. The memory stays for what comes.
///
/// # Errors
/// The peer has gone.
pub fn flush<S: Securable>(socket: &S, out: &mut Vec<u8>, sent: &mut usize) -> Result<(), ()> {
    while *sent < out.len() {
        let rest = &out[*sent..];
        let most = match socket.is_secured() && rest.len() > TLS_PIECE_BYTES {
            // What is sealed and not taken waits beside what waits here.
            true => socket.room().map_or(rest.len(), |room| room.clamp(TLS_PIECE_BYTES, rest.len())),
            false => rest.len(),
        };
        match socket.try_write(&[IoSlice::new(&rest[..most])]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                out.drain(..std::mem::take(sent));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(()),
        }
    }
    *sent = 0;
    out.clear();
    Ok(())
}
