//! Engines that share their tables: real processes, mutual TLS, two addresses of the loopback network.

mod differences;
mod files;
mod group;
mod restart;
mod seen;
mod shares;
mod strangers;
