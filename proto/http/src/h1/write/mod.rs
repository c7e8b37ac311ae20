//! Writing heads anew from their meaning.
//!
//! What a head means decides what is written; hop-by-hop fields, fields named by `Connection` and framing fields
//! are never taken over. All functions append to `out` and leave it as it was when they fail.

mod answer;
mod cookies;
mod edit;
mod elements;
mod forwarded;
mod request;
mod response;

pub(crate) use answer::reason;
pub use answer::{Answer, answer};
pub use edit::{BadEdit, FieldEdit};
pub use forwarded::{Forwarding, Hop, Policy};
pub use request::{RequestEdits, request};
pub use response::{ResponseEdits, Sent, response};

use alloc::vec::Vec;

use super::fields::{Field, Fields};

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A digit is below 256.
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) fn content_length(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, n);
    out.extend_from_slice(b"\r\n");
}

/// Writes the fields for which `keep` holds and that no edit replaces or removes.
///
/// Neighbours that came in the very form we write are copied in one piece: the bytes are the same as if each
/// line were written, at a third of the cost.
//= H1-FIELD-10
fn kept_fields(
    buf: &[u8],
    fields: &Fields,
    edits: &[FieldEdit<'_>],
    out: &mut Vec<u8>,
    mut keep: impl FnMut(&Field, &mut Vec<u8>) -> bool,
) {
    let mut run = 0..0;
    for field in fields.iter() {
        let start = field.name.start as usize;
        let end = field.value.end as usize + 2;
        let takes = !field.drop && !edit::covers(edits, field, buf);
        // `keep` may write the field itself: what precedes it must be out by then.
        let plain = takes && field.known == crate::Known::Other;
        if plain && field.canonical && run.end == start {
            run.end = end;
            continue;
        }
        out.extend_from_slice(buf.get(run.clone()).unwrap_or(&[]));
        run = 0..0;
        if !takes || !(plain || keep(field, out)) {
            continue;
        }
        if field.canonical {
            run = start..end;
        } else {
            line(out, field.name.of(buf), field.value.of(buf));
        }
    }
    out.extend_from_slice(buf.get(run).unwrap_or(&[]));
}
