//! What goes wrong, in words.

use std::io;
use std::net::SocketAddr;

use forebay_objsync::Why;

/// Why the engine ended a connection.
pub(crate) fn in_words(why: Why) -> String {
    let words = match why {
        Why::Stranger => {
            "it is not the member that is expected there; look at its objsync.slot and at the members of both"
        }
        Why::Group => {
            "its group or its objsync.secret_file is another one; give all engines the same, and start them anew"
        }
        Why::Protocol => {
            "it speaks no protocol that is spoken here; bring both to releases that follow one another"
        }
        Why::Nonsense => {
            "it left out a frame, or acknowledged what was not sent; report this if both are of one release"
        }
        Why::Bad(bad) => return format!("what it sent cannot be read: {bad}"),
        Why::Silent => "nothing was heard of it for too long",
        Why::Owed => {
            "it asked for more and more entries and took none of them; look at that machine and the way to it, and report \
             this if both are of one release"
        }
        Why::Clock => "its clock is too far ahead of the group's time; set the clock of its machine",
    };
    words.to_owned()
}

/// Why an address cannot be listened on, with the remedy.
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; stop it or change objsync.port",
        io::ErrorKind::AddrNotAvailable => {
            "the address is not one of this machine; correct objsync.address or add it to an interface"
        }
        _ => "correct objsync.address and objsync.port",
    };
    format!("objsync: cannot listen on {address}: {error}; {remedy}")
}
