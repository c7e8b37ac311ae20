//! How connections and datagrams are carried that are passed on unread.

use super::cx::{Cx, Making};
use super::place::Held;
use super::pool::{Introduced, Speaks};
use super::table::Part;

/// The longest time without a byte, milliseconds: a day.
const IDLE_MS_MAX: i64 = 86_400_000;

/// Milliseconds without a byte after which a connection is over; 0 stands for as long as there can be.
pub(super) fn idle_ms(network: &Held) -> i64 {
    let profile = network.view().part("profile");
    let seconds = match profile.text("type") {
        "PROTOCOL_TYPE_TCP_FAST_PATH" => profile.part("tcp_fast_path_profile").int("session_idle_timeout"),
        "PROTOCOL_TYPE_UDP_FAST_PATH" => profile.part("udp_fast_path_profile").int("session_idle_timeout"),
        "PROTOCOL_TYPE_UDP_PROXY" => profile.part("udp_proxy_profile").int("session_idle_timeout"),
        _ => {
            let proxy = profile.part("tcp_proxy_profile");
            // What is found automatically is what stands there by default.
            let chosen = proxy.int("idle_connection_timeout").filter(|_| !proxy.is_on("automatic"));
            Some(chosen.unwrap_or(600))
        }
    };
    match seconds.unwrap_or(0) {
        0 => IDLE_MS_MAX,
        seconds => (seconds * 1000).min(IDLE_MS_MAX),
    }
}

/// Makes the profile of a service that passes bytes or datagrams on; its name is the service's.
pub(super) fn profile(cx: &mut Cx<'_>, from: &mut Making, network: &Held, speaks: Speaks, name: &str) {
    let what = if speaks == Speaks::Udp { "udp_profile" } else { "tcp_profile" };
    let making = Making::new(format!("{what}/{name}"), network);
    let part = Part::named(name).with("idle_timeout_ms", idle_ms(network));
    // The longest of a datagram's flows is shorter than that of a connection.
    let part = match (speaks, idle_ms(network)) {
        (Speaks::Udp, idle) => part.with("idle_timeout_ms", idle.min(3_600_000)),
        _ => part,
    };
    cx.done(making, part);
    from.needs(what, name);
}

/// How servers are told of the client.
pub(super) fn introduced(application: &Held, speaks: Speaks) -> Introduced {
    let by = application.view().part("tcp_app_profile");
    let says = speaks == Speaks::Tcp && by.is_on("proxy_protocol_enabled");
    match by.text("proxy_protocol_version") {
        _ if !says => Introduced::Not,
        "PROXY_PROTOCOL_VERSION_2" => Introduced::V2,
        _ => Introduced::V1,
    }
}
