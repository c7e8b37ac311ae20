//! Every time-out ends what it is for, in time, and has a counter of its own.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Engine, Lab, Origin, Request, Wire, config, eventually_some, origin};

use crate::Proxied;

/// A time-out may be this much late: the wheel's tick, and a machine shared with other tests.
const LATE: Duration = secs(5);
/// A test may look at its own clock this long after the engine looked at its.
const EARLY: Duration = ms(200);

/// Waits until so many time-outs of a kind are counted, and finds none of another kind.
#[track_caller]
fn counted(engine: &Engine, kind: &str, times: u32) {
    let page = eventually_some(&format!("the {kind} time-out is counted"), secs(3), || {
        let page = engine.page();
        (page.sum("forebay_timeouts_total", &[("kind", kind)]) >= f64::from(times)).then_some(page)
    });
    let kinds: Vec<(String, f64)> = page
        .rows("forebay_timeouts_total", &[])
        .filter(|row| row.value != 0.0)
        .map(|row| (row.labels["kind"].clone(), row.value))
        .collect();
    assert_eq!(kinds, [(kind.to_owned(), f64::from(times))]);
}

#[track_caller]
fn ends_after(wire: &mut Wire, limit: Duration) {
    let began = Instant::now();
    assert!(wire.closes_within(limit + LATE), "still open {:?} after it should end", began.elapsed() - limit);
    took(began, limit);
}

/// A time-out ends what it is for when its time is over: not before, and not long after.
#[track_caller]
fn took(began: Instant, limit: Duration) {
    // What the clock runs from, a byte that arrived, may be a little before the test's own look at it.
    assert!((limit - EARLY..limit + LATE).contains(&began.elapsed()), "{:?} of {limit:?}", began.elapsed());
}

#[test]
fn a_head_that_does_not_come_ends_at_the_header_time_out() {
    let p = Proxied::one(&config::profile("header_timeout_ms = 400"), |_| Some(origin::ok("hi")));
    for part in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nA: b"] {
        let mut wire = Wire::connect(p.at).unwrap();
        wire.send(part).unwrap();
        ends_after(&mut wire, ms(400));
        let text = String::from_utf8_lossy(wire.ahead()).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    }
    counted(&p.engine, "header", 3);
    // Drip-feeding does not help: the time is for the whole head.
    let mut wire = Wire::connect(p.at).unwrap();
    let began = Instant::now();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    while began.elapsed() < ms(400) + LATE && wire.send("A: b\r\n").is_ok() && !wire.closes_within(ms(50)) {}
    assert!(began.elapsed() < ms(400) + LATE, "a dripping head lives on");
    assert_eq!(p.heads().len(), 0);
}

#[test]
fn a_body_that_stands_still_ends_at_the_body_time_out() {
    let p = Proxied::new::<1>("", &config::profile("body_timeout_ms = 400"), |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.exactly(10).map(|_| ())
        })
    });
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    ends_after(&mut wire, ms(400));
    counted(&p.engine, "body", 1);
}

#[test]
fn a_server_that_does_not_begin_its_answer_is_a_504() {
    let p = Proxied::new::<1>("", &config::profile("response_timeout_ms = 400"), |_, address| {
        Origin::silent(address)
    });
    let began = Instant::now();
    let answer = p.client().get_once("/").unwrap();
    assert_eq!(answer.status, 504);
    took(began, ms(400));
    counted(&p.engine, "response", 1);
}

#[test]
fn an_answer_that_stands_still_is_cut() {
    let p = Proxied::new::<1>("", &config::profile("body_timeout_ms = 400"), |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")?;
            wire.rest().map(|_| ())
        })
    });
    let began = Instant::now();
    assert!(p.client().get_once("/").is_err());
    took(began, ms(400));
    counted(&p.engine, "body", 1);
}

#[test]
fn an_idle_client_is_let_go_at_the_idle_time_out() {
    let p = Proxied::one(&config::profile("idle_timeout_ms = 400"), |_| Some(origin::ok("hi")));
    let mut wire = Wire::connect(p.at).unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wire.head().unwrap();
    wire.exactly(2).unwrap();
    ends_after(&mut wire, ms(400));
    assert!(wire.ahead().is_empty(), "an idle end is silent");
    counted(&p.engine, "idle", 1);
}

#[test]
fn a_request_that_takes_too_long_as_a_whole_is_ended() {
    let p = Proxied::new::<1>("", &config::profile("total_timeout_ms = 500"), |_, address| {
        Origin::start(address, |mut wire, _| {
            wire.head()?;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            // Always a little, never done: no other time-out can see it.
            loop {
                wire.send("x")?;
                std::thread::sleep(ms(20)); // Sleep: a server that drips
            }
        })
    });
    let began = Instant::now();
    assert!(p.client().send(&Request::get("/").last()).is_err());
    took(began, ms(500));
    counted(&p.engine, "total", 1);
}

#[test]
fn a_server_that_does_not_accept_ends_at_the_connect_time_out() {
    let lab = Lab::new();
    // A listener whose queue is full drops what comes: the connect hangs, as with a dead machine.
    let full = TcpListener::bind((lab.ip(), 0)).unwrap();
    // SAFETY: a system call on a descriptor that lives.
    unsafe { libc::listen(full.as_raw_fd(), 0) };
    let server = full.local_addr().unwrap();
    let mut fill = Vec::new();
    for _ in 0..4 {
        if let Ok(stream) = std::net::TcpStream::connect_timeout(&server, ms(100)) {
            fill.push(stream);
        }
    }
    let at = lab.address();
    let text = config::service("web", at)
        + &config::pool("web", "passive_health_monitor = false", &[server])
        + &config::profile("connect_timeout_ms = 400");
    let engine = lab.engine(&text);
    let began = Instant::now();
    let answer = forebay_e2e::Client::new(at).get_once("/").unwrap();
    assert!((ms(400)..secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(answer.status, 504);
    counted(&engine, "connect", 1);
}
