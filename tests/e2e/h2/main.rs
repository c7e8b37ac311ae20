//! HTTP/2 with foreign peers: judges, clients, and the h2 crate as client and as server.
mod bounds;
mod crate_client;
mod crate_server;
mod front;
mod judge;
mod raw;
mod reloads;
mod server;
mod sockets;
mod streams;
mod through;
mod urgency;
