//! The Controller's API, by the clients that its users have.

mod accounts;
mod ansible;
mod disk;
mod faults;
mod fuzzer;
mod raw;
mod sdk;
mod slow;
mod terraform;
