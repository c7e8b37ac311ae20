//! Which service engines carry which virtual services.
//!
//! [`plan`] takes one group: its settings, its engines as they are now, and its services with the engines that they are on.
//! It gives back where each service is to be. What can stay where it is stays: a plan moves a service only off an engine that
//! cannot carry it any more, or says that it cannot while another one may ([`refused`]), and a person's wish is the only
//! other thing that takes an engine away from it.
//!
//! A *service* here is what moves as one: all virtual services that share their addresses. It needs a number of engines (its
//! scale, [`Group::scale`]); the first one of them is its primary.

mod fit;
mod plan;
mod refusal;
mod room;
mod types;

pub use fit::{Candidate, Judge, Reach, Unfit, candidates};
pub use plan::plan;
pub use refusal::{Refusal, refused};
pub use types::{
    Admin, Engine, EngineId, EngineState, Group, Ha, Placed, Plan, Service, ServiceId, Spread, Vip,
};
