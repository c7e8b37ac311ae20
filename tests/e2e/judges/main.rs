//! Other people's judges: what they find in TLS.

mod handshakes;
mod python;
mod testssl;
mod websocket;
