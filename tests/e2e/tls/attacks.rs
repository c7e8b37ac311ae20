//! Clients that mean harm before there is a session.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use forebay_e2e::wait::secs;
use forebay_e2e::{Wire, bin};

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

/// `openssl s_client` with these words, and what is typed; what it prints.
pub fn typed(scene: &crate::Secured, words: &str, text: &str) -> String {
    let mut child = Command::new(bin::foreign("openssl", "openssl"))
        .args(["s_client", "-connect", &scene.at.to_string(), "-CAfile", "ca.pem", "-servername", "app.test"])
        .args(words.split_whitespace())
        .current_dir(scene.lab.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("openssl reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const ASK: &str = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

//= test TLS-TICKET-01
#[test]
fn early_data_is_not_taken_and_the_request_arrives_all_the_same() {
    let scene = secured("", "", "");
    std::fs::write(scene.lab.folder().join("early"), ASK).expect("the folder");
    let first = typed(&scene, "-tls1_3 -sess_out session -ign_eof", ASK);
    assert!(first.contains("Max Early Data: 0"), "the ticket allows none: {first}");
    let second = typed(&scene, "-tls1_3 -sess_in session -early_data early -ign_eof", ASK);
    assert!(second.contains("Reused, TLSv1.3"), "{second}");
    assert!(second.contains("Early data was not sent"), "{second}");
    assert!(second.contains("HTTP/1.1 200") && second.contains("ok"), "{second}");
    assert_eq!(scene.engine.log_lines(2, |line| line["uri_path"] == "/health").len(), 2, "each once");
}

//= test TLS-PROFILE-01
#[test]
fn a_client_that_wants_to_renegotiate_is_refused() {
    let scene = secured("", "", "");
    let said = typed(&scene, "-tls1_2", "R\n");
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation") || said.contains("handshake failure"), "{said}");
    // Once more, as OpenSSL does it, is no way to other secrets.
    let labels = [("virtual_service", "web"), ("version", "1.2"), ("kind", "full")];
    assert_eq!(scene.engine.metric("forebay_tls_handshakes_total", &labels), 1.0);
}
