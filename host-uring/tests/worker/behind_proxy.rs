//! Client addresses that a trusted proxy names: thousands of them share its connections.

use crate::memory;
use crate::memory::{Lab, sleep_ms};
use forebay_host_uring::control::Tables;

const SERVERS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

/// A lab whose servers answer with their number; `/slow` takes them three minutes.
fn lab() -> Lab {
    let servers: String =
        SERVERS.iter().map(|server| format!("[[pool.server]]\naddress = \"{server}\"\n")).collect();
    let lab = Lab::new(&format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         http_profile = \"p\"\n[[http_profile]]\nname = \"p\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         idle_timeout_ms = 600000\nresponse_timeout_ms = 600000\n[[pool]]\nname = \"web\"\n\
         algorithm = \"round_robin\"\npersistence = \"p\"\n{servers}\
         [[persistence]]\nname = \"p\"\ntype = \"client_ip\"\ntimeout_min = 1\n"
    ));
    for (at, server) in SERVERS.iter().enumerate() {
        lab.server(server, move |rt, mut peer| async move {
            loop {
                let head = peer.until("\r\n\r\n").await;
                if head.is_empty() {
                    return;
                }
                if head.starts_with("GET /slow ") {
                    sleep_ms(&rt, 180_000).await;
                }
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{at}")).await;
            }
        });
    }
    lab
}

/// Asks for a client and gives the number of the server that answered.
async fn ask(proxy: &mut memory::Peer, path: &str, client: &str) -> String {
    proxy.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n")).await;
    let head = proxy.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    String::from_utf8(proxy.exactly(1).await).expect("a number")
}

/// Entries that are left when everything that has expired is swept away.
fn entries(lab: &Lab) -> u64 {
    let store = &lab.worker.current().store;
    store.sweep(store.partitions(), forebay_core::units::Now(lab.now_us()));
    store.view().entries
}

//= test SE-PERSIST-04
#[test]
fn a_proxys_connection_holds_no_entry_of_its_clients() {
    const CLIENTS: u32 = 100_000;
    let lab = lab();
    lab.run(async {
        let mut proxy = lab.client().await;
        for n in 0..CLIENTS {
            ask(&mut proxy, "/", &format!("198.{}.{}.{}", 51 + (n >> 16), (n >> 8) & 255, n & 255)).await;
        }
        assert_eq!(entries(&lab), u64::from(CLIENTS));
        lab.sleep_ms(65_000).await;
        assert_eq!(entries(&lab), 0, "entries that the proxy's connection keeps");
        // The connection is still the proxy's, and serves.
        ask(&mut proxy, "/", "198.51.0.1").await;
        assert_eq!(entries(&lab), 1);
    });
}

//= test SE-PERSIST-04
#[test]
fn a_named_clients_entry_lives_for_its_time_out_after_its_last_request() {
    let lab = lab();
    lab.run(async {
        let mut proxy = lab.client().await;
        let first = ask(&mut proxy, "/", "198.51.100.7").await;
        for _ in 0..4 {
            lab.sleep_ms(50_000).await;
            assert_eq!(ask(&mut proxy, "/", "198.51.100.7").await, first, "each request renews it");
        }
        lab.sleep_ms(55_000).await;
        assert_eq!(entries(&lab), 1);
        lab.sleep_ms(10_000).await;
        assert_eq!(entries(&lab), 0);
    });
}

//= test SE-PERSIST-04
#[test]
fn a_named_clients_entry_does_not_end_while_its_request_runs() {
    let lab = lab();
    lab.run(async {
        let mut proxy = lab.client().await;
        let slow = async {
            let server = ask(&mut proxy, "/slow", "198.51.100.7").await;
            assert_eq!(entries(&lab), 1, "it was open for three minutes");
            server
        };
        let beside = async {
            lab.sleep_ms(120_000).await;
            assert_eq!(entries(&lab), 1);
            let mut other = lab.client().await;
            ask(&mut other, "/", "198.51.100.7").await
        };
        let (mut slow, mut beside) = (std::pin::pin!(slow), std::pin::pin!(beside));
        let mut answers = (None, None);
        std::future::poll_fn(|context| {
            use std::task::Poll;
            if answers.0.is_none()
                && let Poll::Ready(answer) = slow.as_mut().poll(context)
            {
                answers.0 = Some(answer);
            }
            if answers.1.is_none()
                && let Poll::Ready(answer) = beside.as_mut().poll(context)
            {
                answers.1 = Some(answer);
            }
            if answers.0.is_some() && answers.1.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(answers.0, answers.1, "one client, one server, over both of the proxy's connections");
        lab.sleep_ms(65_000).await;
        assert_eq!(entries(&lab), 0, "nothing is open any more");
    });
}
