//! HTTP/2 with foreign peers.
mod judge;
mod server;
