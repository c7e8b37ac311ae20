//! Other people's judges: what they find in TLS.

mod handshakes;
mod responses;
mod testssl;
mod websocket;
