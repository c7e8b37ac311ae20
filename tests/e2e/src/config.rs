//! Pieces of configuration, as text.

use std::net::SocketAddr;

/// A cookie key for tests; it protects nothing.
pub const COOKIE_KEY: &str =
    "[[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n";

/// A virtual service with a pool of its own name and the default profile.
pub fn service(name: &str, listen: SocketAddr) -> String {
    format!("[[virtual_service]]\nname = \"{name}\"\nlisten = [\"{listen}\"]\npool = \"{name}\"\n")
}

/// A virtual service with further keys.
pub fn service_with(name: &str, listen: SocketAddr, keys: &str) -> String {
    format!("{}{keys}\n", service(name, listen))
}

/// A pool: further keys, then its servers. No slow start, so that shares are what tests expect.
pub fn pool(name: &str, keys: &str, servers: &[SocketAddr]) -> String {
    let plain: Vec<(SocketAddr, &str)> = servers.iter().map(|s| (*s, "")).collect();
    pool_of(name, keys, &plain)
}

/// A pool whose servers have keys of their own.
pub fn pool_of(name: &str, keys: &str, servers: &[(SocketAddr, &str)]) -> String {
    let mut text = format!("[[pool]]\nname = \"{name}\"\nconnection_ramp_min = 0\n{keys}\n");
    for (address, keys) in servers {
        text += &format!("[[pool.server]]\naddress = \"{address}\"\n{keys}\n");
    }
    text
}

/// A persistence profile.
pub fn persistence(name: &str, kind: &str, keys: &str) -> String {
    format!("[[persistence]]\nname = \"{name}\"\ntype = \"{kind}\"\n{keys}\n")
}

/// An HTTP health monitor of `/health` that looks every second.
pub fn monitor(name: &str) -> String {
    format!(
        "[[health_monitor]]\nname = \"{name}\"\ntype = \"http\"\nrequest = \"GET /health HTTP/1.0\"\nsend_interval_s = 2\nreceive_timeout_s = 1\nfailed_checks = 2\nsuccessful_checks = 1\n"
    )
}

/// The default HTTP profile with these keys changed.
pub fn profile(keys: &str) -> String {
    format!("[[http_profile]]\nname = \"default\"\n{keys}\n")
}
