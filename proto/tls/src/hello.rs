//! What is in a ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2): names, and what they stand between.

use crate::records::Message;
use crate::{Hello, Malformed, NAME_BYTES_MAX, Name};

/// Bytes of the version and of the random number.
const VERSION_AND_RANDOM: usize = 2 + 32;
/// The most bytes of a session's id.
const SESSION_ID_MAX: usize = 32;
/// The extension that has the name (RFC 6066, section 3).
const SERVER_NAME: usize = 0;
/// The kind of a name that there is.
const HOST_NAME: u8 = 0;

/// Reads it. Extensions other than the name's are passed over, known or not.
//= TLS-HELLO-PARTS-01
pub(crate) fn read(mut message: Message<'_>) -> Result<Hello, Malformed> {
    let name = parts(&mut message)?;
    Ok(Hello { name, len: message.len })
}

fn parts(message: &mut Message<'_>) -> Result<Option<Name>, Malformed> {
    let garbled = || Malformed::Parts;
    message.skip(VERSION_AND_RANDOM).ok_or_else(garbled)?;
    let id = usize::from(message.byte().ok_or_else(garbled)?);
    if id > SESSION_ID_MAX {
        return Err(Malformed::Parts);
    }
    message.skip(id).ok_or_else(garbled)?;
    let suites = message.number().ok_or_else(garbled)?;
    if suites == 0 || !suites.is_multiple_of(2) {
        return Err(Malformed::Parts);
    }
    message.skip(suites).ok_or_else(garbled)?;
    let compressions = usize::from(message.byte().ok_or_else(garbled)?);
    if compressions == 0 {
        return Err(Malformed::Parts);
    }
    message.skip(compressions).ok_or_else(garbled)?;
    // A client of TLS 1.2 may end here.
    if message.left() == 0 {
        return Ok(None);
    }
    let extensions = message.number().ok_or_else(garbled)?;
    if extensions != message.left() {
        return Err(Malformed::Parts);
    }
    let mut name = None;
    while message.left() > 0 {
        let kind = message.number().ok_or_else(garbled)?;
        let len = message.number().ok_or_else(garbled)?;
        if kind != SERVER_NAME {
            message.skip(len).ok_or_else(garbled)?;
            continue;
        }
        if len > message.left() {
            return Err(Malformed::Parts);
        }
        //= TLS-HELLO-NAME-01
        let found = host(message, len).ok_or(Malformed::Name)?;
        if name.replace(found).is_some() {
            return Err(Malformed::Name);
        }
    }
    Ok(name)
}

/// The one name of an extension of `len` bytes, which are there.
//= TLS-HELLO-NAME-01
fn host(message: &mut Message<'_>, len: usize) -> Option<Name> {
    let list = message.number()?;
    let kind = message.byte()?;
    let count = message.number()?;
    // One name, and nothing around it.
    let is_alone = len == list + 2 && list == count + 3;
    if kind != HOST_NAME || !is_alone || count == 0 || count > NAME_BYTES_MAX {
        return None;
    }
    let mut name = Name { bytes: [0; NAME_BYTES_MAX], len: count };
    for slot in name.bytes.iter_mut().take(count) {
        let byte = message.byte()?;
        if !byte.is_ascii_graphic() {
            return None;
        }
        *slot = byte.to_ascii_lowercase();
    }
    Some(name)
}
