//! Objects of the Controller from the command line, by the tables of `model`.

pub mod change;
pub mod cluster;
pub mod differences;
pub mod engines;
pub mod file;
pub mod kinds;
pub mod logs;
pub mod many;
pub mod order;
pub mod plain;
pub mod ports;
pub mod scale;
pub mod show;
pub mod verbs;
pub mod wait;
pub mod words;
pub mod yaml;
