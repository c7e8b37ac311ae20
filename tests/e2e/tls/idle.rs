//! What a connection costs that speaks TLS and waits for its next request.

use forebay_e2e::idle;

use crate::secured;

/// Private bytes of such a connection. The library's part is 6,300.
const IDLE_BYTES_MAX: usize = 10_000;
const CONNECTIONS: usize = 400;

/// What a client says first, and how it knows that it was answered.
const SPEAK: &str = "ask = b'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'\n\
answered = lambda got: got.endswith(b'ok\\n')\n";

//= test TLS-IDLE-01
#[test]
fn an_idle_connection_costs_what_the_library_needs_and_little_more() {
    let scene = secured("", "", "[[http_profile]]\nname = \"default\"\nidle_timeout_ms = 600000\n");
    let each = idle::bytes(&scene.lab, &scene.engine, scene.at, SPEAK, CONNECTIONS, IDLE_BYTES_MAX);
    println!("an idle TLS connection: {each} bytes private");
}
