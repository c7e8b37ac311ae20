//! Engines that are led by a Controller, each a process of its own.

mod clocks;
mod cut;
mod elsewhere;
mod export;
mod judged;
mod logs;
mod member;
mod metrics;
mod rolling;
mod stands;
mod start;
mod vanished;
