//! Services that pass bytes on unread.
//!
//! A connection is decided once, when it comes, by the client's address ([`tcp`]); after that it is a
//! [`Tunnel`](crate::http::tunnel::Tunnel) between two sockets; datagrams go by flows ([`udp`]). [`introduce`]
//! reads and sends headers of the PROXY protocol; [`welcome`] makes the handshake of clients that speak TLS; [`hello`] reads
//! where clients go whose TLS is passed on; [`record`] tells how it ended.

pub mod hello;
pub mod introduce;
pub mod record;
pub mod tcp;
pub mod udp;
pub mod welcome;
