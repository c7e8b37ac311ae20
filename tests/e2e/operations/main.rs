//! How the engine is run: as whom, beside whom, and under what.

mod notify;
mod pki;
mod shared;
mod systemd;
mod top;
mod unit;
mod user;
