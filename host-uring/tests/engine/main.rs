//! `forebay-se` as a process: command line, admin socket, metrics, log, health, faults.

mod admin;
mod answers;
mod cli;
mod explain;
mod health;
mod log;
mod openmetrics;
mod rig;
mod table;
mod web;
mod workers;
