//! Clients that send much and say little, and servers that have little to say.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
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
use crate::rt::{Backend, NEVER, Now, Rt, Sockets, Stream, give_way};

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
    let (far, _) = rt.accept(&listener).await.expect("a connection");
    agreed(far, near)
}

fn agreed<S: Securable>(mut far: S, near: S) -> (S, ClientConnection, S) {
    let mut client = client();
    let session = Session::accept(server()).expect("a session");
    while session.shake(far.bare(), false).expect("a handshake") != Step::Done || client.is_handshaking() {
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
            let step = loop {
                match session.shake(far.bare(), false) {
                    Ok(Step::Turn) => {}
                    step => break step,
                }
            };
            match step {
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

//= test SE-TURN-01
//= test TLS-WRITE-01
#[test]
fn a_short_message_is_sealed_and_goes_out_at_the_end_of_the_turn_in_its_order() {
    let (rt, _) = Sockets::new(Backend::Epoll).expect("a runtime");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("bound");
    rt.block_on(async {
        let listener = rt.listen(listener).expect("listening");
        let near = rt.connect(at, NEVER).await.expect("it listens");
        let (far, _) = rt.accept(&listener).await.expect("a connection");
        let (far, mut client, near) = agreed(far, near);
        let is_silent = far.readable(Now(rt.now().0 + 20_000)).await.map_err(|error| error.kind());
        assert_eq!(is_silent, Err(ErrorKind::TimedOut));
        let soon = |text: &[u8]| far.write_soon(text.len(), |all| all.extend_from_slice(text));
        assert!(!soon(b"alone"), "nobody else has anything to do");
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        rt.spawn(async move { counted.set(1) });
        assert!(!soon(&[0; 4096]), "too long");
        assert!(soon(b"one "));
        assert!(!soon(b"two "), "one waits");
        hear(&mut client, &near);
        let mut text = [0; 64];
        let early = client.reader().read(&mut text).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::WouldBlock), "it waits for the others");
        assert_eq!(far.try_write(&[IoSlice::new(b"two ")]).expect("room"), 4);
        assert!(soon(b"three"));
        let mut got = Vec::new();
        while got.len() < 13 {
            near.readable(Now(rt.now().0 + 5_000_000)).await.expect("it comes");
            hear(&mut client, &near);
            while let Ok(count) = client.reader().read(&mut text) {
                got.extend_from_slice(&text[..count]);
            }
        }
        assert_eq!(got, b"one two three");
        assert_eq!(turns.get(), 1, "the other task had its turn");
    });
}
