//! Which host a client's first message asks for, where that decides what it is served TLS with.

use std::io::ErrorKind;

use forebay_tls_hello::{HELLO_BYTES_MAX, Name, Peek, peek};

use super::greet::Unshaken;
use crate::rt::{Now, Stream};

/// Bytes of one read: the longest first message that is usual.
const READ_BYTES: usize = 4 * 1024;

/// What a client has sent so far, and the host that it asks for.
pub struct Heard {
    /// In lower case; `None`: it names none, or what came is no message that can be read, of which the handshake tells why.
    pub name: Option<Name>,
    /// All that was read.
    pub(super) bytes: Vec<u8>,
}

/// Reads a client's first message, by `deadline`. What comes in pieces waits in no more memory than it needs.
///
/// # Errors
/// It was not whole in time, or the client left.
//= TLS-HOST-01
pub async fn hear(stream: &impl Stream, deadline: Now) -> Result<Heard, Unshaken> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let left = |bytes: &[u8]| if bytes.is_empty() { Unshaken::Unbegun } else { Unshaken::Gone };
        if let Err(error) = stream.readable(deadline).await {
            return Err(match error.kind() {
                ErrorKind::TimedOut => Unshaken::Late,
                _ => left(&bytes),
            });
        }
        match read_some(stream, &mut bytes) {
            Ok(0) => return Err(left(&bytes)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(_) => return Err(left(&bytes)),
        }
        match peek(&bytes) {
            Ok(Peek::NeedMore) => {}
            Ok(Peek::Done(hello)) => return Ok(Heard { name: hello.name, bytes }),
            Err(_) => return Ok(Heard { name: None, bytes }),
        }
    }
}

/// Reads what is there, no more than one message may have.
fn read_some(stream: &impl Stream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut piece = [0; READ_BYTES];
    let most = READ_BYTES.min(HELLO_BYTES_MAX - bytes.len());
    let count = stream.try_read(&mut piece[..most])?;
    bytes.reserve_exact(count);
    bytes.extend_from_slice(&piece[..count]);
    Ok(count)
}
