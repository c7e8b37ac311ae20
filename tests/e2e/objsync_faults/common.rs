//! What several of these tests begin with.

use std::net::{IpAddr, Ipv4Addr, TcpStream};

use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Options, eventually};
use serde_json::json;

use crate::group::Group;

/// An engine with this setting, for tests.
pub fn options(engine: &str) -> Options {
    Options { engine: engine.to_owned(), arguments: vec!["--allow-faults".to_owned()], ..Options::default() }
}

/// Binds clients whom nobody else has, `first` and those that follow.
pub fn bind(engine: &Engine, first: u32, count: u32) {
    let ip = |n: u32| IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + first + n));
    let all: Vec<IpAddr> = (0..count).map(ip).collect();
    for some in all.chunks(500) {
        let deed = json!({ "command": "objsync_debug", "pool": "ip", "deed": { "write": some } });
        let answer = engine.admin(&deed);
        assert_eq!(answer["data"]["bound"], some.len(), "{answer}");
    }
}

/// Waits until nobody listens for an engine that was killed.
pub fn wait_until_gone(group: &Group, slot: usize) {
    // The kernel takes back a ring's sockets some time after the process is gone.
    eventually("the old one's sockets are gone", secs(20), || {
        TcpStream::connect(group.vips[slot][0]).is_err()
    });
}
