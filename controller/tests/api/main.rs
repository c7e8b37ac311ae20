//! The API over a real store, within the test's process: who may do what, and what is told of it.

mod accounts;
mod addresses;
mod alerts;
mod audit;
mod configuration;
mod front;
mod gone;
mod logs;
mod many;
mod metrics;
mod others;
mod roles;
mod site;
mod standing;
mod tried;
