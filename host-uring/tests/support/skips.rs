//! What this machine cannot show is written where the gate counts it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;

/// The name of the test that runs on this thread: the test harness names its threads so.
pub fn this_test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Says once for each test that its io_uring half ran on epoll instead.
pub fn no_io_uring(test: &str, refusal: &io::Error) {
    say(test, &format!("io_uring is refused here ({refusal}), so it ran on epoll only"));
}

/// Says once for each test what it could not show, and why.
pub fn say(test: &str, what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !SAID.lock().expect("not poisoned").insert(test.to_owned()) {
        return;
    }
    let line = format!("{test}: {what}\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("FOREBAY_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skips can be written");
    }
}
