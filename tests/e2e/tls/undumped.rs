//! What is left of a process that has read a key.

use std::os::unix::fs::{MetadataExt, chown};

use forebay_e2e::{Engine, Lab, Options, config, pki};

use crate::app;

/// A user without rights, and its group.
const NOBODY: u32 = 65_534;

/// Whom the kernel lets look into a process: its own user, or root alone.
fn may_look(engine: &Engine) -> u32 {
    let file = format!("/proc/{}/environ", engine.process.pid());
    std::fs::metadata(file).expect("it runs").uid()
}

fn core_limit(engine: &Engine) -> String {
    let file = format!("/proc/{}/limits", engine.process.pid());
    let limits = std::fs::read_to_string(file).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    line.split_whitespace().nth(4).expect("a number").to_owned()
}

//= test TLS-KEY-02
#[test]
fn who_has_read_a_key_leaves_no_image_of_its_memory() {
    let lab = Lab::new();
    app(&lab);
    // SAFETY: the call takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let user = if is_root { "user = \"nobody\"\ngroup = \"nogroup\"" } else { "" };
    let options = || Options { workers: 1, engine: user.to_owned(), ..Options::default() };
    if is_root {
        lab.give_to_nobody();
        for file in ["app.pem", "app.key"] {
            chown(lab.folder().join(file), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }
    let [clear, at, server] = lab.addresses();
    let pool = config::pool("web", "", &[server]);
    let plain = lab.engine_with(&(config::service("web", clear) + &pool), options());
    assert_ne!(may_look(&plain), 0, "who has read no key is like others");
    let text = config::service_with("web", at, "certificates = [\"app\"]") + &pool + &pki::section("app");
    let engine = lab.engine_with(&text, options());
    assert_eq!((may_look(&engine), core_limit(&engine)), (0, "0".to_owned()));
    // What the engine itself reads there can still be read.
    assert!(engine.metric("process_open_fds", &[]) > 3.0);
}
