//! Clients that mean harm before there is a session.

use std::io::{Read, Write};
use std::thread;

use forebay_e2e::Wire;
use forebay_e2e::wait::secs;

use crate::secured;

/// An alert is a record of its own kind.
const ALERT: u8 = 0x15;

//= test TLS-HANDSHAKE-03
#[test]
fn a_client_that_floods_a_failed_handshake_still_reads_the_alert() {
    let scene = secured("", "", "");
    // What is no TLS, and more of it than is read at once. A client that is held up for a second is let go: then it tries again.
    let is_clean = || {
        let mut flood = Wire::connect(scene.at).expect("it listens");
        let sent = flood.send(vec![b'x'; 200 << 10]);
        let said = flood.rest();
        sent.is_ok() && said.is_ok_and(|said| said.first() == Some(&ALERT))
    };
    assert!((0..5).any(|_| is_clean()), "the alert, then the end, and no reset");
    // One that sends for ever has the alert too, and is not listened to for ever.
    let flood = Wire::connect(scene.at).expect("it listens");
    let (mut writes, mut reads) = (flood.stream(), flood.stream());
    reads.set_read_timeout(Some(secs(20))).expect("a timeout");
    writes.set_write_timeout(Some(secs(20))).expect("a timeout");
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut sent = 0;
            loop {
                match writes.write(&[b'x'; 4096]) {
                    Ok(count) => sent += count,
                    Err(error) => return (sent, error),
                }
            }
        });
        let mut alert = [0; 7];
        reads.read_exact(&mut alert).expect("the alert");
        assert_eq!(alert[0], ALERT, "{alert:?}");
        let (sent, error) = sending.join().expect("no panic");
        assert!(!matches!(error.kind(), std::io::ErrorKind::WouldBlock), "{error} after {sent} bytes");
        println!("attack: flood after a failed handshake: cut after {sent} bytes");
    });
}
