//! A worker's share of the file limit: what is idle never takes what is wanted.

use crate::memory::{Lab, Peer};

const SERVERS: usize = 20;

fn document() -> String {
    let servers: String =
        (1..=SERVERS).map(|n| format!("[[pool.server]]\naddress = \"10.0.0.{n}:80\"\n")).collect();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nalgorithm = \"round_robin\"\n{servers}"
    )
}

async fn get(client: &mut Peer) {
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = client.until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Connections to clients and to servers.
fn open(lab: &Lab) -> u64 {
    let slots = lab.worker.current().tree.server_slots;
    let servers: u64 = (0..slots).map(|at| lab.of_server(at).connections.now()).sum();
    lab.metrics.connections.now() + servers
}

//= test SE-UPSTREAM-04
#[test]
fn idle_connections_stay_within_the_workers_share_and_make_room_for_clients() {
    const SHARE: u64 = 12;
    let lab = Lab::with_descriptors(&document(), SHARE as usize);
    for n in 1..=SERVERS {
        lab.server(&format!("10.0.0.{n}:80"), |_, mut peer| async move {
            while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        });
    }
    lab.run(async {
        let mut first = lab.client().await;
        for n in 0..2 * SERVERS {
            get(&mut first).await;
            assert!(open(&lab) <= SHARE, "request {n}: {} are open", open(&lab));
        }
        assert_eq!(open(&lab), SHARE, "what nobody else wants may be idle");
        // Clients come: the idle ones go, one for each, and each client still has its server.
        let mut clients = vec![first];
        for n in 1..SHARE / 2 {
            let mut client = lab.client().await;
            get(&mut client).await;
            clients.push(client);
            assert!(open(&lab) <= SHARE, "client {n}: {} are open", open(&lab));
        }
        for client in &mut clients {
            get(client).await;
            assert!(open(&lab) <= SHARE, "{} are open", open(&lab));
        }
    });
    assert!(lab.metrics.upstream_evictions.get() as usize >= SERVERS - SHARE as usize);
}

#[test]
fn without_want_of_descriptors_no_idle_connection_is_given_up() {
    let lab = Lab::new(&document());
    for n in 1..=SERVERS {
        lab.server(&format!("10.0.0.{n}:80"), |_, mut peer| async move {
            while peer.until("\r\n\r\n").await.ends_with("\r\n\r\n") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        });
    }
    lab.run(async {
        let mut client = lab.client().await;
        for _ in 0..2 * SERVERS {
            get(&mut client).await;
        }
        assert_eq!(open(&lab), 1 + SERVERS as u64);
    });
    assert_eq!(lab.metrics.upstream_evictions.get(), 0);
}
