//! HTTP/2 without sockets, for either side (RFC 9113, 7541, 8441, 9218).
//!
//! The loop of a driver, for one [`Connection`]:
//!
//! 1. Send what [`Connection::new`] wrote. Read into a buffer; call [`Connection::feed`] with what is in it, until
//!    it needs more. Bytes that were taken never come again; a frame that is not DATA is taken whole, so the buffer
//!    must hold [`Config::frame_bytes`] and a frame's head. Content is given as ranges of the buffer.
//! 2. Heads come as those of HTTP/1.1, in an [`Inbox`]; whoever rewrites, routes or logs them needs
//!    nothing new. A head for the peer is written with [`h1::write`](crate::h1::write) and handed over as it is:
//!    [`Connection::open`] and [`Connection::head`] make HTTP/2 of it. So all ways between both versions obey the
//!    same rules.
//! 3. For content ask [`Connection::next`] which stream goes first and how much of it, send
//!    [`Connection::data`]'s bytes and the content behind them. Tell with [`Connection::release`] what of the
//!    peer's content is gone.
//! 4. What the engine has to say itself it appends to `out`. A driver whose `out` is not taken stops feeding.
//!
//! Time is milliseconds of a clock that does not go back; it serves the budgets of [`Budgets`] alone. How long a peer
//! may keep us waiting is the driver's decision: [`Connection::is_blocked`], [`Connection::settings_acked`] and
//! [`Connection::has_streams`] say what it waits for.

mod budget;
mod connection;
mod error;
mod frame;
mod head;
mod hpack;
mod priority;
mod settings;
mod stream;

pub use budget::{Budgets, Rate, SMALL};
pub use connection::{Config, Connection, Event, OpenError, Role, SendError, Step};
pub use error::{Code, Rule};
pub use frame::{HEAD as FRAME_HEAD, PREFACE};
pub use head::{Inbox, last_chunk, response_text};
pub use priority::Priority;
