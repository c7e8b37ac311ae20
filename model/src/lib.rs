//! The objects of Avi's API, as its public clients send and expect them.
//!
//! Each kind of object is a table ([`mod@kind`], [`field`], [`schema`]); whatever the API does with an object is read off its
//! table: [`mod@check`] finds everything that is wrong with a document at once and puts the defaults in, [`mod@reference`] reads
//! the forms in which one object names another, [`patch`] changes one, [`shape`] makes what a client asked to see of it.
//! [`builtin`] has the objects of a first start, [`version`] says which releases of the API are spoken.
//! Nothing here knows of storage, users or other objects: who holds them decides what a reference leads to.
//!
//! ```
//! let pool = forebay_model::kind("pool").expect("a kind");
//! let sent = serde_json::json!({"name": "p", "default_server_port": 70_000, "lb_algoritm": "x"});
//! let problems = forebay_model::check(pool, sent.as_object().expect("an object")).expect_err("two mistakes");
//! assert_eq!(problems[0].path, "default_server_port");
//! assert!(problems[1].fix.contains("lb_algorithm"));
//! ```

#![forbid(unsafe_code)]

pub mod builtin;
pub mod check;
pub mod compile;
pub mod example;
pub mod field;
pub mod fields;
pub mod kind;
mod merge;
pub mod openapi;
pub mod patch;
pub mod reference;
pub mod schema;
pub mod shape;
pub mod version;

pub use check::check;
pub use forebay_snapshot::{Problem, member_name, reader_name};
pub use kind::{Kind, Object, kind, kinds};
pub use version::Version;
