//! Black-box tests: real processes, real sockets, foreign peers.
//!
//! A test makes a [`Lab`], puts servers and a service engine into it, sends traffic with [`Client`]
//! or [`Wire`], and looks at answers, metrics and the access log. Each lab has a loopback address and
//! a folder of its own; everything in it ends with it. A failing test prints the logs.
//!
//! The programs under test are taken from beside the test's own executable (`target/<profile>`), or
//! from `FOREBAY_BIN_DIR`; they must be newer than their sources.

pub mod beside;
pub mod bin;
pub mod cgroup;
pub mod client;
pub mod clock;
pub mod config;
pub mod controller;
pub mod engine;
pub mod hosts;
pub mod idle;
pub mod lab;
pub mod led;
pub mod lively;
pub mod metrics;
pub mod network;
pub mod origin;
pub mod pki;
pub mod process;
pub mod python;
pub mod scene;
pub mod spec;
pub mod system;
pub mod terminal;
pub mod wait;
pub mod wire;

pub use client::{Answer, Client, Request};
pub use controller::Controller;
pub use engine::{Engine, Options};
pub use hosts::Hosts;
pub use lab::{Demo, Lab};
pub use led::Led;
pub use network::Network;
pub use origin::Origin;
pub use process::Process;
pub use scene::Scene;
pub use terminal::Terminal;
pub use wait::{eventually, eventually_some};
pub use wire::Wire;

/// Whether the long form of the tests is wanted (`FOREBAY_LONG=1`).
pub fn long() -> bool {
    std::env::var_os("FOREBAY_LONG").is_some_and(|v| v != "0" && !v.is_empty())
}

/// `full` if the long form is wanted, else `short`.
pub fn long_or<T>(full: T, short: T) -> T {
    if long() { full } else { short }
}

/// Says where the gate counts it that the running test cannot show what it is named for on this machine.
///
/// # Panics
/// If the file of skips cannot be written.
pub fn skip(reason: &str) {
    use std::io::Write;
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    eprint!("{line}");
    if let Some(file) = std::env::var_os("FOREBAY_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skips can be written");
    }
}
