//! Runs one target under libFuzzer: `FOREBAY_FUZZ_TARGET=h1_request cargo run --release -- corpus/h1_request`.
#![no_main]

use std::sync::LazyLock;

use forebay_fuzz::Target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("FOREBAY_FUZZ_TARGET").unwrap_or_default();
    forebay_fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<_> = forebay_fuzz::TARGETS.iter().map(|t| t.name).collect();
        eprintln!("FOREBAY_FUZZ_TARGET names no target: it is one of {}", names.join(", "));
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
