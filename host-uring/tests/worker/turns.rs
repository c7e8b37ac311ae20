//! Beside a stream that always goes on, others have their turn.

use crate::memory::Lab;

const SERVER: &str = "10.0.0.1:80";
const OTHER: &str = "10.0.0.2:80";
const STREAM: usize = 16 << 20;
const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// Everything is ready at any time: no pipe ever fills up, so nothing makes the stream wait.
//= test SE-FAIR-01
#[test]
fn others_are_served_while_an_answer_or_a_tunnel_always_has_more() {
    for tunnel in [false, true] {
        let lab = Lab::new(&format!(
            "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
             [[pool]]\nname = \"web\"\nalgorithm = \"round_robin\"\n[[pool.server]]\naddress = \"{SERVER}\"\n\
             [[pool.server]]\naddress = \"{OTHER}\"\n"
        ));
        lab.memory.pipe_capacity(2 * STREAM);
        for address in [SERVER, OTHER] {
            lab.server(address, |_, mut peer| async move {
                loop {
                    let head = peer.until("\r\n\r\n").await;
                    if head.contains("Upgrade:") {
                        peer.send([UPGRADED.as_bytes(), &vec![b'x'; STREAM]].concat()).await;
                        peer.all().await;
                    } else if head.starts_with("GET /stream ") {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {STREAM}\r\n\r\n");
                        peer.send([head.as_bytes(), &vec![b'x'; STREAM]].concat()).await;
                    } else if head.ends_with("\r\n\r\n") {
                        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                    } else {
                        return;
                    }
                }
            });
        }
        let moved = || {
            (0..lab.worker.current().tree.server_slots)
                .map(|at| lab.of_server(at).rx_bytes.get())
                .max()
                .expect("servers") as usize
        };
        lab.run(async {
            let mut other = lab.client().await;
            let mut busy = lab.client().await;
            let fields = if tunnel { "Upgrade: websocket\r\nConnection: Upgrade\r\n" } else { "" };
            busy.send(format!("GET /stream HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).await;
            // It runs when its head has come; the clock stands all the time.
            assert!(busy.until("\r\n\r\n").await.starts_with("HTTP/1.1 "));
            let begin = lab.now_us();
            for _ in 0..3 {
                other.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
                assert!(other.until("ok").await.starts_with("HTTP/1.1 200 "));
            }
            assert!(moved() < STREAM / 2, "tunnel {tunnel}: {} of {STREAM} had passed before", moved());
            assert_eq!(lab.now_us(), begin, "without a pause");
            assert_eq!(busy.exactly(STREAM).await.len(), STREAM, "and the stream came whole");
        });
    }
}
