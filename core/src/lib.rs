//! Every choice the product makes, as functions of explicit inputs.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod table;
pub mod units;
