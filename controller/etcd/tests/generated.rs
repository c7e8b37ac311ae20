//! The generated code is what the .proto says.

use std::path::Path;

/// Made with `FOREBAY_BLESS=1`.
#[test]
fn the_calls_are_what_the_proto_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let read = protox::compile(["etcd.proto"], [&folder]).expect("a .proto that makes sense");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("room");
    tonic_prost_build::configure()
        .build_transport(false)
        .build_server(false)
        .emit_rerun_if_changed(false)
        .out_dir(&out)
        .compile_fds(read)
        .expect("code");
    let made = std::fs::read_to_string(out.join("etcdserverpb.rs")).expect("a file");
    std::fs::remove_dir_all(&out).expect("ours");
    let file = folder.join("etcd.generated");
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::write(&file, &made).expect("room");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(made == kept, "{} is not what the .proto says: make it with FOREBAY_BLESS=1", file.display());
}
