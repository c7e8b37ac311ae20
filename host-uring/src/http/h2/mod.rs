//! HTTP/2 of clients: one connection, many requests.
//!
//! The [`front`] owns a connection: its socket, the engine of `forebay_http::h2`, and one buffer of frames that all
//! streams write into. Each stream is a [`Client`](super::client::Client) of its own whose [`way`](way::Way) is a
//! [`part`](part::Part) of the connection, so that [`exchange`](super::exchange::exchange) serves its request as it serves
//! one of HTTP/1.1: heads are read and written as those of HTTP/1.1, content is bare, and the end is told by
//! [`Part::finish`](part::Part::finish).

mod events;
pub mod front;
mod hold;
mod lane;
pub mod part;
mod share;
pub mod way;
