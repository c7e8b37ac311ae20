//! Another server is tried only where the request cannot have been executed twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_e2e::{Origin, Request, origin};

use crate::Proxied;

/// Two servers: the first resets every connection after it has read a request, the second answers.
fn one_bad(reset_after_part: bool) -> Proxied {
    one_bad_with("", reset_after_part)
}

/// The same with these keys in the pool.
fn one_bad_with(keys: &str, reset_after_part: bool) -> Proxied {
    Proxied::new::<2>(keys, "", move |n, address| {
        if n == 1 {
            return Origin::answering(address, |_| Some(origin::ok("good")));
        }
        Origin::start(address, move |mut wire, _| {
            wire.head()?;
            if reset_after_part {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")?;
                // The part has to arrive before the end does.
                std::thread::sleep(forebay_e2e::wait::ms(30)); // Sleep: a server that fails late
            }
            wire.reset();
            Ok(())
        })
    })
}

#[test]
fn an_idempotent_request_is_tried_elsewhere_when_its_server_fails_before_answering() {
    let p = one_bad(false);
    let mut client = p.client();
    for n in 0..20 {
        let answer = client.get("/").unwrap_or_else(|e| panic!("request {n}: {e}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "request {n}");
    }
    assert!(p.origins[0].accepted() > 0, "the bad server was met");
    let tried = p.engine.log_lines(20, |_| true);
    assert!(tried.iter().any(|l| l["servers_tried"].as_u64() > Some(1)), "{tried:?}");
}

#[test]
fn a_post_that_a_server_may_have_executed_is_never_repeated() {
    let p = one_bad(false);
    let before = p.origins[1].accepted();
    assert_eq!(before, 0);
    let mut failed = 0;
    let mut good = 0;
    for _ in 0..20 {
        match p.client().send(&Request::post("/", "order").last()) {
            Ok(answer) if answer.status == 200 => good += 1,
            _ => failed += 1,
        }
    }
    assert!(failed > 0, "the bad server was met");
    let reached = (p.origins[0].accepted(), p.origins[1].heads().len());
    assert_eq!(reached, (failed, good), "each POST reached one server only");
}

//= test LB-RETRY-02
#[test]
fn a_post_is_repeated_where_the_pool_says_that_it_may_be() {
    let p = one_bad_with("server_reselect = { retry_nonidempotent = true }", false);
    for n in 0..20 {
        let answer = p.client().send(&Request::post("/", "order").last()).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "request {n}");
    }
    assert!(p.origins[0].accepted() > 0, "the bad server was met");
}

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let p = Proxied::new::<3>("", "", |n, address| match n {
        0 => Origin::answering(address, |_| Some(origin::ok("good"))),
        // Bound to a port of its own: nobody listens at the address of the pool.
        _ => Origin::answering("127.0.0.1:0".parse().unwrap(), |_| Some(origin::ok("elsewhere"))),
    });
    for n in 0..20 {
        let answer = p.client().send(&Request::post("/", "order").last()).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"), "request {n}");
    }
}

#[test]
fn nothing_is_repeated_once_the_answer_has_begun() {
    let p = one_bad(true);
    let (mut whole, mut cut) = (0, 0);
    for _ in 0..20 {
        match p.client().get_once("/") {
            Ok(answer) => {
                assert_eq!(answer.text(), "good", "never one answer's head with another's body");
                whole += 1;
            }
            Err(_) => cut += 1,
        }
    }
    assert!(cut > 0, "the bad server was met");
    let reached = (p.origins[0].accepted(), p.origins[1].heads().len());
    assert_eq!(reached, (cut, whole), "each request reached one server only");
}

#[test]
fn a_status_that_is_named_leads_to_another_try() {
    let bad = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&bad);
    let p = Proxied::new::<2>(
        "server_reselect = { enabled = true, num_retries = 2, statuses = [\"503\"] }",
        "",
        move |n, address| {
            let seen = Arc::clone(&seen);
            Origin::answering(address, move |_| {
                if n == 1 {
                    return Some(origin::ok("good"));
                }
                seen.fetch_add(1, Ordering::SeqCst);
                Some(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy".to_vec())
            })
        },
    );
    for n in 0..20 {
        assert_eq!(p.client().get_once("/").unwrap().text(), "good", "request {n}");
    }
    assert!(bad.load(Ordering::SeqCst) > 0, "the busy server was met");
}
