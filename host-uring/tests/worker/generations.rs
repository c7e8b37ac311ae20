//! Configurations that live on for the requests that began with them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::memory;
use crate::memory::Lab;
use forebay_host_uring::config::{Addresses, Tree};
use forebay_host_uring::control::Running;
use forebay_host_uring::limits::RETIRED_SERVERS_MAX;
use forebay_host_uring::rt::Rt;

/// A pool of as many servers, the first of which is asked.
fn document(servers: usize, keys: &str) -> String {
    let list: Vec<String> = (0..servers)
        .map(|n| format!("{{ address = \"10.0.{}.{}:80\", enabled = {} }}", n / 250, n % 250 + 1, n == 0))
        .collect();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nconnection_ramp_min = 0\n{keys}\nserver = [{}]\n",
        list.join(", ")
    )
}

/// What the control thread does with a file that is right.
fn reload(lab: &Lab, document: &str) {
    let before = lab.worker.current();
    let snapshot = forebay_snapshot::check(document).expect("it is right");
    let mut tree = Tree::after(snapshot, std::slice::from_ref(&before.tree), &Addresses::default());
    // The real clock is none of this world's.
    tree.started = lab.memory.now();
    let tree = Arc::new(tree);
    let store = Arc::new(before.store.next(&tree, lab.memory.now()).expect("tables"));
    store.adopt(lab.memory.now());
    lab.worker.configure(&Running { number: before.number + 1, tree, store });
}

fn live(lab: &Lab) -> u64 {
    lab.metrics.generations.load(Ordering::Relaxed)
}

/// A server that answers when it is told to.
fn waiting_server(lab: &Lab) -> Rc<Cell<bool>> {
    let may = Rc::new(Cell::new(false));
    let told = may.clone();
    lab.server("10.0.0.1:80", move |rt, mut peer| {
        let told = told.clone();
        async move {
            while !peer.until("\r\n\r\n").await.is_empty() {
                while !told.get() {
                    memory::sleep_ms(&rt, 10).await;
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
            }
        }
    });
    may
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

//= test RELOAD-OLD-01
#[test]
fn configurations_live_as_long_as_a_request_and_the_oldest_is_cut_when_they_hold_too_much() {
    const SERVERS: usize = 1_000;
    let lab = Lab::new(&document(SERVERS, ""));
    let may = waiting_server(&lab);
    lab.follow_servers();
    lab.run(async {
        let mut clients = Vec::new();
        // As many as may live, and two more; the current one does not count.
        for round in 0..RETIRED_SERVERS_MAX / SERVERS + 2 {
            let mut client = lab.client().await;
            client.send(GET).await;
            lab.sleep_ms(1).await;
            clients.push(client);
            reload(&lab, &document(SERVERS, ["", "algorithm = \"round_robin\""][round % 2]));
            if round < RETIRED_SERVERS_MAX / SERVERS {
                assert_eq!(live(&lab), round as u64 + 2, "a request holds each");
            }
        }
        lab.sleep_ms(200).await;
        for oldest in 0..2 {
            let answer = clients.remove(0).until("\r\n\r\n").await;
            assert!(
                answer.starts_with("HTTP/1.1 503 "),
                "the request of the oldest is cut, {oldest}: {answer}"
            );
        }
        may.set(true);
        for mut client in clients {
            let answer = client.until("\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "all others end as they began: {answer}");
        }
        lab.sleep_ms(200).await;
        assert_eq!(live(&lab), 1, "nothing is left of the others");
    });
}

//= test RELOAD-KEEP-01
#[test]
fn what_ends_under_an_earlier_configuration_is_open_no_more_for_the_current_one() {
    let lab = Lab::new(&document(1, ""));
    let may = waiting_server(&lab);
    let open = || {
        let current = lab.worker.current();
        let pool = current.routes[0].pool.borrow();
        let first = pool.indices().next().expect("a server");
        pool.open(first)
    };
    lab.run(async {
        let mut clients = Vec::new();
        for round in 0..4 {
            let mut client = lab.client().await;
            client.send(GET).await;
            lab.sleep_ms(1).await;
            clients.push(client);
            assert_eq!(open(), round + 1);
            reload(&lab, &document(1 + round as usize, "algorithm = \"round_robin\""));
            assert_eq!(open(), round + 1, "it is known over the change");
        }
        // Away and back: the pool begins anew with it, whatever is still open there.
        reload(&lab, &document(1, "").replace("10.0.0.1:80", "10.0.0.9:80"));
        reload(&lab, &document(1, ""));
        assert_eq!(open(), 0);
        may.set(true);
        for mut client in clients {
            assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
        }
        lab.sleep_ms(100).await;
        assert_eq!(open(), 0, "an earlier stay is not counted back");
        let mut client = lab.client().await;
        client.send(GET).await;
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
        lab.sleep_ms(10).await;
        assert_eq!(open(), 0);
    });
}
