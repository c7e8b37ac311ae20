//! Algorithms that measure: response times and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_e2e::scene::tally;
use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Lab, Origin, eventually};

use super::{Scene, open_requests_stand_three_to_one};

/// An answer that names its server, as demo servers do.
fn answer(name: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nX-Demo-Server: {name}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A server that takes its time while `slow` is set.
fn sluggish(lab: &Lab, name: &'static str, slow: Arc<AtomicBool>) -> Origin {
    Origin::answering(lab.address(), move |_| {
        if slow.load(Ordering::SeqCst) {
            std::thread::sleep(ms(40)); // Sleep: a slow server is the subject.
        }
        Some(answer(name, "x"))
    })
}

//= test LB-FR-01
#[test]
pub fn fastest_response_avoids_the_slow_server() {
    let lab = Lab::new();
    let slow = sluggish(&lab, "slow", Arc::new(AtomicBool::new(true)));
    let [b, c] = lab.demos(["b", "c"]);
    let servers = [(slow.address, ""), (b.address, ""), (c.address, "")];
    let scene = Scene::new(lab, 1, "algorithm = \"fastest_response\"", &servers, "");
    let counts = tally(scene.ask(300));
    assert!(counts.contains_key("slow"), "it was tried: {counts:?}");
    assert!(counts["slow"] <= 10, "40 ms against less than one: {counts:?}");
}

//= test LB-FR-01
#[test]
pub fn fastest_response_shares_open_requests_by_ratio() {
    // No answer yet: both count as equally fast.
    open_requests_stand_three_to_one("fastest_response", 1.0);
}

//= test LB-LL-01
#[test]
pub fn least_load_avoids_the_server_of_large_answers() {
    let lab = Lab::new();
    let large = "x".repeat(400 * 1024);
    let big = Origin::answering(lab.address(), move |_| Some(answer("big", &large)));
    let [b, c] = lab.demos(["b", "c"]);
    let servers = [(big.address, ""), (b.address, ""), (c.address, "")];
    let scene = Scene::new(lab, 1, "algorithm = \"least_load\"", &servers, "");
    let counts = tally(scene.ask(300));
    assert!(counts.contains_key("big"), "it was tried: {counts:?}");
    assert!(counts["big"] <= 3, "one answer of 400 KiB weighs as much as hundreds of others: {counts:?}");
    assert!(counts["b"].abs_diff(counts["c"]) <= 30, "the others alike: {counts:?}");
}

//= test LB-LL-01
#[test]
pub fn least_load_shares_open_requests_by_ratio() {
    open_requests_stand_three_to_one("least_load", 1.0);
}

//= test LB-FS-02
#[test]
pub fn fewest_servers_spills_over_when_the_first_gets_slow() {
    let lab = Lab::new();
    let slow = Arc::new(AtomicBool::new(false));
    let first = sluggish(&lab, "first", Arc::clone(&slow));
    let second = lab.demo("second");
    let servers = [(first.address, ""), (second.address, "")];
    let scene = Scene::new(lab, 1, "algorithm = \"fewest_servers\"", &servers, "");
    let crowd = |each: usize| -> Vec<String> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| scene.ask(each))).collect();
            clients.into_iter().flat_map(|c| c.join().expect("its requests succeed")).collect()
        })
    };
    assert_eq!(tally(scene.ask(50)).into_keys().collect::<Vec<_>>(), ["first"]);
    slow.store(true, Ordering::SeqCst);
    eventually("the second takes a part", secs(20), || tally(crowd(10)).contains_key("second"));
}
