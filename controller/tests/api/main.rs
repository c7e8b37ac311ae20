//! The API over a real store, within the test's process: who may do what, and what is told of it.

mod accounts;
mod audit;
mod configuration;
mod front;
mod roles;
mod site;
mod tried;
