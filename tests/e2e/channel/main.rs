//! Engines that are led by a Controller, each a process of its own.

mod led;
mod member;
mod scene;
mod start;
