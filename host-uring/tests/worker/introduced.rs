//! Headers of the PROXY protocol, received and sent, on the in-memory runtime.

use std::cell::RefCell;
use std::rc::Rc;

use crate::memory::{Lab, Peer, sleep_ms};
use forebay_host_uring::l4::introduce::Refused;

const SERVER: &str = "10.0.0.1:80";
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NAMES: &str = "PROXY TCP4 203.0.113.7 198.51.100.2 4660 443\r\n";

/// `from`: who may send a header. The in-memory clients come from addresses of their own.
fn document(protocol: &str, from: &str, pool: &str) -> String {
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\nprotocol = \"{protocol}\"\n\
         pool = \"web\"\nproxy_protocol = {{ from = [{from}], header_timeout_ms = 2000 }}\n[[pool]]\nname = \"web\"\n\
         {pool}\n[[pool.server]]\naddress = \"{SERVER}\"\n"
    )
}

/// Everybody in this world.
const ALL: &str = "\"0.0.0.0/0\", \"::/0\"";

/// What each connection to the server brought.
type Seen = Rc<RefCell<Vec<String>>>;

/// A server of HTTP that remembers the heads that came.
fn web(lab: &Lab) -> Seen {
    let seen = Seen::default();
    let own = seen.clone();
    lab.server(SERVER, move |_, mut peer| {
        let seen = own.clone();
        async move {
            loop {
                let head = peer.until("\r\n\r\n").await;
                if !head.ends_with("\r\n\r\n") {
                    return;
                }
                seen.borrow_mut().push(head);
                peer.send(OK).await;
            }
        }
    });
    seen
}

/// A server that remembers all that came on each connection.
fn sink(lab: &Lab) -> Seen {
    let seen = Seen::default();
    let own = seen.clone();
    lab.server(SERVER, move |_, mut peer| {
        let seen = own.clone();
        async move {
            let all = peer.all().await;
            seen.borrow_mut().push(all);
            peer.send("bye").await;
        }
    });
    seen
}

fn refused(lab: &Lab, kind: Refused) -> u64 {
    lab.of_service(0).proxy_refused[kind as usize].get()
}

async fn ask(client: &mut Peer) -> String {
    client.send(GET).await;
    client.until("ok").await
}

//= test L4-PROXY-01
#[test]
fn the_client_that_a_trusted_proxy_names_is_the_client() {
    let mut lab = Lab::new(&document("http", ALL, ""));
    let seen = web(&lab);
    lab.run(async {
        let mut client = lab.client().await;
        client.send(NAMES).await;
        assert!(ask(&mut client).await.starts_with("HTTP/1.1 200 "));
        assert!(ask(&mut client).await.starts_with("HTTP/1.1 200 "), "one header for the connection");
    });
    assert!(
        seen.borrow().iter().all(|head| head.contains("\r\nX-Forwarded-For: 203.0.113.7\r\n")),
        "{seen:?}"
    );
    let log = lab.log();
    assert_eq!(log.len(), 2);
    for line in log {
        assert_eq!((&line["client_ip"], &line["client_src_port"]), (&"203.0.113.7".into(), &4660.into()));
        assert_eq!(
            (&line["client_dest_ip"], &line["client_dest_port"]),
            (&"198.51.100.2".into(), &443.into())
        );
    }
}

//= test L4-PROXY-01
#[test]
fn who_may_send_no_header_is_closed_and_logged_by_its_own_address() {
    for protocol in ["http", "tcp"] {
        let mut lab = Lab::new(&document(protocol, "\"198.18.0.0/15\"", ""));
        let seen = web(&lab);
        let said = lab.run(async {
            let mut client = lab.client().await;
            client.send(format!("{NAMES}{GET}")).await;
            let said = client.all_and_reset().await;
            sleep_ms(&lab.memory, 10).await;
            said
        });
        assert_eq!(said, (String::new(), true));
        assert!(seen.borrow().is_empty(), "nothing reached the server: {seen:?}");
        assert_eq!(refused(&lab, Refused::Untrusted), 1);
        assert_eq!(lab.worker.connections.get(), 0);
        let log = lab.log();
        assert_eq!(log.len(), 1);
        assert_ne!(log[0]["client_ip"], "203.0.113.7", "a forged address is not logged");
        assert_eq!(log[0]["connection_state"], "its peer may send no PROXY header");
    }
}

//= test L4-PROXY-01
//= test PP-CUT-01
#[test]
fn whatever_is_no_header_closes_the_connection_and_reaches_no_server() {
    let wrong = [
        GET,
        "PROXY TCP4 203.0.113.7 198.51.100.2 4660 99999\r\n",
        "PROXY TCP4 203.0.113.7\r\n",
        "PROXY TCP4 203.0.113.7 198.51.100.2 4660 443\nGET / HTTP/1.1\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x05abcde",
    ];
    for bytes in wrong {
        let mut lab = Lab::new(&document("tcp", ALL, ""));
        let seen = sink(&lab);
        lab.run(async {
            let mut client = lab.client().await;
            // In pieces, as a slow sender's come.
            for piece in bytes.as_bytes().chunks(7) {
                client.send(piece).await;
                sleep_ms(&lab.memory, 1).await;
            }
            assert_eq!(client.all_and_reset().await, (String::new(), true), "{bytes:?}");
            sleep_ms(&lab.memory, 10).await;
        });
        assert!(seen.borrow().is_empty(), "{bytes:?}: {seen:?}");
        assert_eq!(refused(&lab, Refused::Malformed), 1, "{bytes:?}");
        assert_ne!(lab.log()[0]["client_ip"], "203.0.113.7");
    }
}

//= test L4-PROXY-02
#[test]
fn a_header_may_come_in_pieces_but_not_late_and_what_follows_it_is_the_clients() {
    let mut lab = Lab::new(&document("tcp", ALL, ""));
    let seen = sink(&lab);
    lab.run(async {
        let mut client = lab.client().await;
        let all = format!("{NAMES}hello");
        for piece in all.as_bytes().chunks(3) {
            client.send(piece).await;
            sleep_ms(&lab.memory, 50).await;
        }
        client.end();
        assert_eq!(client.all().await, "bye");
        assert_eq!(seen.borrow().as_slice(), ["hello"], "not a byte of the header, and every byte behind it");

        let mut late = lab.client().await;
        let begin = lab.now_us();
        late.send("PROXY TCP4 203.0").await;
        assert!(late.all_and_reset().await.1);
        assert!((2_000_000..2_100_000).contains(&(lab.now_us() - begin)));

        let mut gone = lab.client().await;
        gone.send("PROXY TCP4 203.0").await;
        gone.end();
        gone.all().await;
        sleep_ms(&lab.memory, 10).await;
    });
    assert_eq!(seen.borrow().len(), 1);
    assert_eq!((refused(&lab, Refused::Late), refused(&lab, Refused::Cut)), (1, 1));
    assert_eq!(lab.metrics.timeouts.proxy_header.get(), 1);
    let served =
        lab.log().into_iter().find(|line| line["connection_state"] == "complete").expect("one was served");
    assert_eq!((&served["client_ip"], &served["rx_bytes"]), (&"203.0.113.7".into(), &5.into()));
}

//= test L4-PROXY-01
#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    let mut lab = Lab::new(&document("tcp", ALL, ""));
    sink(&lab);
    lab.run(async {
        for header in ["PROXY UNKNOWN\r\n", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
            let mut client = lab.client().await;
            client.send(header).await;
            client.end();
            assert_eq!(client.all().await, "bye");
        }
        sleep_ms(&lab.memory, 10).await;
    });
    let log = lab.log();
    assert_eq!(log.len(), 2);
    assert!(
        log.iter()
            .all(|line| line["client_dest_ip"] == "192.0.2.1" && line["connection_state"] == "complete")
    );
}

//= test L4-PROXY-03
#[test]
fn servers_get_the_header_that_they_want_and_no_two_clients_share_a_connection() {
    let lab = Lab::new(&document("http", ALL, "send_proxy_protocol = \"v1\""));
    let seen = web(&lab);
    lab.run(async {
        for _ in 0..2 {
            let mut client = lab.client().await;
            client.send(NAMES).await;
            for _ in 0..2 {
                assert!(ask(&mut client).await.starts_with("HTTP/1.1 200 "));
            }
        }
    });
    assert_eq!(seen.borrow().len(), 4);
    assert!(seen.borrow().iter().all(|head| head.starts_with(&format!("{NAMES}GET /"))), "{seen:?}");
    assert_eq!(lab.of_server(0).reused.get(), 0);
    // The same in binary; 203 is no UTF-8, so the text that was seen has replacement characters.
    let binary = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    for (version, begins) in [("v1", NAMES), ("v2", binary)] {
        let lab = Lab::new(&document("tcp", ALL, &format!("send_proxy_protocol = \"{version}\"")));
        let seen = sink(&lab);
        lab.run(async {
            let mut client = lab.client().await;
            client.send(format!("{NAMES}hello")).await;
            client.end();
            client.all().await;
        });
        let seen = seen.borrow();
        assert!(seen.len() == 1 && seen[0].starts_with(begins) && seen[0].ends_with("hello"), "{seen:?}");
    }
}
