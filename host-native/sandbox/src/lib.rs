//! The one wasmtime embedding, without a runtime inside.
