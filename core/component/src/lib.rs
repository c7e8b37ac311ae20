//! The decision core as a WASM component.
