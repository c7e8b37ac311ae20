//! Connection limits, exact over all workers, and the queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Origin, eventually, origin};

use crate::Proxied;

/// Servers that take a while, and count how many requests they hold at once.
fn limited(pool: &str, most: &Arc<AtomicUsize>) -> Proxied {
    let most = Arc::clone(most);
    let now = Arc::new(AtomicUsize::new(0));
    Proxied::new::<1>(pool, "", move |_, address| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        Origin::answering(address, move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(ms(30)); // Sleep: a server that takes a while
            now.fetch_sub(1, Ordering::SeqCst);
            Some(origin::ok("hi"))
        })
    })
}

fn rush(p: &Proxied, clients: usize) -> Vec<u16> {
    std::thread::scope(|scope| {
        let at = p.at;
        let threads: Vec<_> = (0..clients)
            .map(|_| scope.spawn(move || Client::new(at).get_once("/").map_or(0, |a| a.status)))
            .collect();
        threads.into_iter().map(|t| t.join().expect("a client does not panic")).collect()
    })
}

#[test]
fn a_limit_of_one_holds_over_all_workers_and_the_queue_serves_everyone() {
    let most = Arc::new(AtomicUsize::new(0));
    let p = limited(
        "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 128, timeout_ms = 60000 }",
        &most,
    );
    let statuses = rush(&p, 40);
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
    assert_eq!(most.load(Ordering::SeqCst), 1, "never two at once");
}

#[test]
fn without_a_queue_what_exceeds_the_limit_is_refused() {
    let most = Arc::new(AtomicUsize::new(0));
    let p = limited(
        "max_concurrent_connections_per_server = 1\nfail_action = { action = \"local_response\", status = 503 }",
        &most,
    );
    let statuses = rush(&p, 20);
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|s| [200, 503].contains(s)), "{statuses:?}");
    assert_eq!(most.load(Ordering::SeqCst), 1, "never two at once");
}

#[test]
fn a_full_queue_refuses() {
    let most = Arc::new(AtomicUsize::new(0));
    let p = limited(
        "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 4, timeout_ms = 60000 }\nfail_action = { action = \"local_response\", status = 503 }",
        &most,
    );
    let statuses = rush(&p, 40);
    assert!(statuses.contains(&503), "the queue holds four: {statuses:?}");
    assert!(statuses.iter().filter(|s| **s == 200).count() >= 5, "{statuses:?}");
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_client_waits_no_longer_than_the_queue_time_out() {
    let p = Proxied::new::<1>(
        "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 8, timeout_ms = 300 }\nfail_action = { action = \"local_response\", status = 503 }",
        "",
        |_, address| Origin::silent(address),
    );
    let at = p.at;
    let first = std::thread::spawn(move || Client::new(at).patience(secs(5)).get_once("/").is_ok());
    eventually("the first request is with the server", secs(5), || p.origins[0].accepted() >= 1);
    let began = Instant::now();
    let answer = p.client().get_once("/").unwrap();
    assert!((ms(300)..secs(3)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(answer.status, 503);
    let line = p.engine.log_lines(1, |_| true).remove(0);
    assert_eq!(line["request_state"], "no server came free in time", "{line}");
    assert_eq!(p.origins[0].accepted(), 1, "it never got to the server");
    drop(p);
    assert!(!first.join().unwrap());
}
