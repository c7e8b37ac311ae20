//! What the Controller and its engines say to each other.
//!
//! `proto/engine.proto` has the messages; the code of [`proto`] is generated from it. Both ends share the form of a token
//! ([`Token`]), of a configuration ([`Sections`]) and of its pieces ([`parts()`], [`Collector`]), the range of versions that they
//! speak, and every bound.

#![forbid(unsafe_code)]

pub mod call;
pub mod limits;
pub mod lines;
mod parts;
mod sections;
pub mod significance;
pub mod tally;
mod token;

/// The messages and the service, as `proto/engine.proto` says.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/engine.generated"));
}

pub use parts::{Collector, Misfit, Whole, parts};
pub use sections::{Sections, between, change, digest};
pub use token::{Token, TokenProblem};

/// The versions of the protocol that this software speaks, the oldest and the newest.
pub const PROTOCOL: (u32, u32) = (1, 1);

/// The name in the certificate of every Controller, whatever its address: engines know it by its authority.
pub const CONTROLLER_NAME: &str = "controller.forebay.internal";

/// The name of an engine in its certificate.
pub fn engine_name(uuid: &str) -> String {
    format!("{uuid}.engine.forebay.internal")
}

/// The uuid of the engine that has this name; `None`: no engine has it.
pub fn engine_of(name: &str) -> Option<&str> {
    name.strip_suffix(".engine.forebay.internal").filter(|uuid| !uuid.is_empty() && !uuid.contains('.'))
}

/// The newest version of the protocol that both know.
///
/// # Errors
/// There is none; the text says what to do.
//= CHAN-VERSION-01
pub fn agreed(engine: (u32, u32), controller: (u32, u32)) -> Result<u32, String> {
    let newest = engine.1.min(controller.1);
    if newest >= engine.0.max(controller.0) {
        return Ok(newest);
    }
    let older = if engine.1 < controller.0 { "the engine" } else { "the Controller" };
    Err(format!(
        "the engine speaks versions {} to {} of the protocol and the Controller {} to {}: upgrade {older}",
        engine.0, engine.1, controller.0, controller.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test CHAN-VERSION-01
    #[test]
    fn two_ends_agree_on_the_newest_version_that_both_know_or_say_who_is_too_old() {
        assert_eq!(agreed((1, 1), (1, 1)), Ok(1));
        assert_eq!(agreed((1, 3), (2, 5)), Ok(3));
        assert_eq!(agreed((4, 9), (1, 4)), Ok(4));
        assert!(agreed((1, 1), (2, 3)).expect_err("none").ends_with("upgrade the engine"));
        assert!(agreed((7, 9), (1, 2)).expect_err("none").ends_with("upgrade the Controller"));
    }

    #[test]
    fn a_name_in_a_certificate_tells_which_engine_it_is() {
        assert_eq!(engine_of(&engine_name("serviceengine-1")), Some("serviceengine-1"));
        for other in [
            CONTROLLER_NAME,
            ".engine.forebay.internal",
            "a.b.engine.forebay.internal",
            "se-0.g.forebay.internal",
        ] {
            assert_eq!(engine_of(other), None, "{other}");
        }
    }
}
