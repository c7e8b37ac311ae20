//! HTTP rules: match a request, then choose a pool, redirect, answer, edit, limit or bind.
//!
//! Rules are walked in order. A rule without conditions matches everything; with several, all must hold. What
//! matched rules do accumulates: the first pool chosen is the pool, edits follow each other. An action that
//! ends the request (redirect, answer, close, an exceeded rate) ends the walk.
//!
//! What is compared: the path as servers read it (`/a/%2e%2e/admin` is `/admin`), and where they would read different
//! paths the request is refused; everything else as it was sent. There are no regular expressions: a glob with `*` and `?` has a bound on its time that an attacker cannot move.
//!
//! [`PolicyConfig`] is what a user writes, [`Policy`] its compiled form in one worker.

mod addr;
mod check;
mod compile;
mod config;
mod edit;
mod evaluate;
mod path;
mod rate;
mod text;

pub use addr::Prefix;
pub use compile::{Names, Policy};
pub use config::{
    Action, AddressGroup, ClientMatch, Edit, EscapedSlashes, FieldMatch, Match, On, Part, Per, PolicyConfig,
    Rate, Redirect, Respond, Rule, StringGroup, TextMatch,
};
pub use edit::{RewriteTarget, Rewritten};
pub use evaluate::{End, Outcome, PersistBy, State};
pub use text::glob;
