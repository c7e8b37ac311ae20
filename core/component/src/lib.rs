//! The decision core as a WASM component: world `decide` of `wit/core`.
//!
//! Nothing is decided here. The contract's records become the core's, the core decides, and its answer becomes
//! records again. Built, checked and kept by `cargo xtask wasm`; run by `host-native/sandbox`.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod batch;
mod input;
mod output;
mod placed;
mod planner;
mod pool;
#[cfg(target_arch = "wasm32")]
mod runtime;

// The macro's own code is not documented; the contract is, in wit/core.
#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/core", world: "decide" });

    use super::Component;
    export!(Component);
}

use bindings::exports::forebay::core::{planner as planning, types as wit};

struct Component;

impl bindings::exports::forebay::core::decider::Guest for Component {
    type Pool = pool::Pool;

    fn pick_batch(
        frames: alloc::vec::Vec<alloc::vec::Vec<u8>>,
    ) -> Result<alloc::vec::Vec<alloc::vec::Vec<u8>>, bindings::exports::forebay::core::decider::Error> {
        batch::pick(&frames)
    }
}
