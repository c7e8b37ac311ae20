//! The contract `wit/core`, as the host sees it.
// The macro's own code is not documented; the contract is.
#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit/core",
    world: "decide",
    additional_derives: [PartialEq, Eq],
});
