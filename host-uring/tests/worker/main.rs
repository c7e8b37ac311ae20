//! Workers without the control thread: on a network in memory whose clock is the test's, and on real sockets.
//!
//! One program: what it is made of is compiled once.

#[path = "../../../proto/http/tests/relay/cases.rs"]
mod cases;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../../../proto/http/tests/relay/mod.rs"]
mod relay;
#[path = "../support/mod.rs"]
mod support;

mod accept;
mod behind_proxy;
mod counted;
mod cut;
mod descriptors;
mod framing;
mod generations;
mod grace;
mod greedy;
mod h2_clients;
mod h2_servers;
mod interim;
mod introduced;
mod late;
mod linger;
mod passing;
mod proxy;
mod queue;
mod sessions;
mod stalled;
mod sticky;
mod tcp;
mod timeouts;
mod turns;
