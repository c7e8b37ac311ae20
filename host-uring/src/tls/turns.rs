//! Clients that send much and say little.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, ServerConfig};

use super::judge::Unjudged;
use super::session::{Broken, Session, Step};
use super::{Securable, Secured};
use crate::limits::sizes::CONNECTION_BYTES;
use crate::limits::{TLS_READ_BYTES, TLS_WASTE_BYTES_MAX};
use crate::rt::memory::{Memory, MemoryStream};
use crate::rt::{NEVER, Rt, Stream, give_way};

/// A server that shows what is no certificate at all, which its client does not mind.
fn server() -> Arc<ServerConfig> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
    let key = PrivatePkcs8KeyDer::from(key.as_ref().to_vec());
    let key = sign::any_ecdsa_type(&key.into()).expect("a key");
    let shown = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(vec![0x30, 0])], key);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    Arc::new(config)
}

fn client() -> ClientConnection {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unjudged(Arc::new(default_provider()))))
        .with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(config), "app.test".try_into().expect("a name")).expect("a client");
    client.set_buffer_limit(None);
    client
}

/// A stream that speaks TLS, its client, and the client's socket.
async fn connected(rt: &Memory) -> (Secured<MemoryStream>, ClientConnection, Secured<MemoryStream>) {
    rt.pipe_capacity(16 << 20);
    let at = SocketAddr::from(([127, 0, 0, 1], 443));
    let listener = rt.bind(at);
    let near = rt.connect(at, NEVER).await.expect("it listens");
    let (mut far, _) = rt.accept(&listener).await.expect("a connection");
    let mut client = client();
    let session = Session::accept(server()).expect("a session");
    while session.shake(far.bare()).expect("a handshake") != Step::Done || client.is_handshaking() {
        hear(&mut client, &near);
        put(&mut client, &near);
    }
    far.secure(Box::new(session));
    (far, client, near)
}

fn hear(client: &mut ClientConnection, near: &impl Stream) {
    let mut bytes = [0; 4096];
    loop {
        match near.try_read(&mut bytes) {
            Ok(count) => {
                let mut records = &bytes[..count];
                while !records.is_empty() {
                    client.read_tls(&mut records).expect("room");
                    client.process_new_packets().expect("no broken rule");
                }
            }
            Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Sends what the client has sealed; gives how much that is.
fn put(client: &mut ClientConnection, near: &impl Stream) -> usize {
    let mut sealed = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut sealed).expect("memory takes all");
    }
    if !sealed.is_empty() {
        assert_eq!(near.try_write(&[IoSlice::new(&sealed)]).expect("room"), sealed.len());
    }
    sealed.len()
}

//= test TLS-HANDSHAKE-01
#[test]
fn a_first_message_that_is_never_whole_holds_less_than_a_connection_is_reckoned_with() {
    let rt = Memory::new();
    rt.block_on(async {
        let at = SocketAddr::from(([127, 0, 0, 1], 443));
        let listener = rt.bind(at);
        let near = rt.connect(at, NEVER).await.expect("it listens");
        let (far, _) = rt.accept(&listener).await.expect("a connection");
        let session = Session::accept(server()).expect("a session");
        // A ClientHello of 60,000 bytes in records of 1,000.
        let mut record = vec![0x16, 3, 1, 0x03, 0xe8, 1, 0, 0xea, 0x60];
        record.resize(5 + 1000, 0);
        let mut sent = 0;
        let broken = loop {
            sent += near.try_write(&[IoSlice::new(&record)]).expect("room");
            match session.shake(far.bare()) {
                Ok(step) => assert_eq!(step, Step::Read),
                Err(broken) => break broken,
            }
            record[5..9].fill(0);
        };
        assert!(matches!(broken, Broken::TooLong), "{broken:?}");
        assert!(sent > 20_000, "{sent}: a long one has room");
        assert!(sent as u64 <= CONNECTION_BYTES * 3 / 4, "{sent}: beside all else that a connection has");
    });
}

/// A task that wants a turn whenever there is one: how many it has had.
fn bystander(rt: &Memory) -> Rc<Cell<usize>> {
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    rt.spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            give_way().await;
        }
    });
    turns
}

/// Reads until the client says no more; gives the text and how often it was the others' turn.
async fn read_all(
    far: &Secured<MemoryStream>,
    near: &Secured<MemoryStream>,
    turns: &Cell<usize>,
) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    let mut into = vec![0; 128 << 10];
    let (mut waits, mut since) = (0, 0);
    loop {
        let before = near.room().expect("known");
        let got = far.try_read(&mut into);
        since += near.room().expect("known") - before;
        match got {
            Ok(count) => text.extend_from_slice(&into[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // All of them count: this text weighs next to nothing.
                assert!(since <= TLS_WASTE_BYTES_MAX + TLS_READ_BYTES + 4096, "{since} bytes at once");
                if !far.bare().is_spent() {
                    return (text, waits);
                }
                let seen = turns.get();
                far.readable(NEVER).await.expect("there is more");
                assert!(turns.get() > seen, "nobody else had a turn");
                (waits, since) = (waits + 1, 0);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

//= test TLS-FAIR-01
#[test]
fn a_client_of_tiny_records_gives_the_others_turns_and_keeps_its_deadline() {
    let rt = Memory::new();
    rt.block_on(async {
        let (far, mut client, near) = connected(&rt).await;
        let turns = bystander(&rt);
        for _ in 0..20_000 {
            client.writer().write_all(b"x").expect("no limit");
        }
        let bytes = put(&mut client, &near);
        assert!(bytes > 400_000, "{bytes}: each has its record");
        let mut first = vec![0; 128 << 10];
        let mut got = far.try_read(&mut first).expect("something came");
        assert!(far.bare().is_spent(), "it was all read in one go");
        let late = far.readable(rt.now()).await.map_err(|error: io::Error| error.kind());
        assert_eq!(late, Err(ErrorKind::TimedOut), "its deadline has come");
        let (text, waits) = read_all(&far, &near, &turns).await;
        got += text.len();
        assert_eq!(got, 20_000, "every byte came once");
        assert!(waits >= bytes / (TLS_WASTE_BYTES_MAX + TLS_READ_BYTES) - 1, "{waits} turns");
    });
}

//= test TLS-FAIR-01
#[test]
fn a_client_of_full_records_is_read_without_a_pause() {
    let rt = Memory::new();
    rt.block_on(async {
        let (far, mut client, near) = connected(&rt).await;
        let sent: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 251) as u8).collect();
        client.writer().write_all(&sent).expect("no limit");
        put(&mut client, &near);
        let mut into = vec![0; 128 << 10];
        let mut text = Vec::new();
        while text.len() < sent.len() {
            let count = far.try_read(&mut into).expect("all of it is there");
            assert!(count == into.len() || text.len() + count == sent.len(), "{count} after {}", text.len());
            text.extend_from_slice(&into[..count]);
        }
        assert!(text == sent, "what was sent");
    });
}
