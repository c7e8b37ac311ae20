//! The generated code is what the .proto says.

use std::path::Path;

/// Made with `FOREBAY_BLESS=1`.
#[test]
fn the_code_is_what_the_proto_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let read = protox::compile(["engine.proto"], [&folder]).expect("a .proto that makes sense");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("room");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .bytes(".forebay.engine.v1.Part.content")
        .out_dir(&out)
        .compile_fds(read)
        .expect("code");
    let made = std::fs::read_to_string(out.join("forebay.engine.v1.rs")).expect("a file");
    std::fs::remove_dir_all(&out).expect("ours");
    let file = folder.join("engine.generated");
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(&file, &made).expect("room");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(made == kept, "{} is not what the .proto says: make it with FOREBAY_BLESS=1", file.display());
}
