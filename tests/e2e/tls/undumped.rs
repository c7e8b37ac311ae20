//! What is left of a process that has read a key.

use std::process::Command;

use forebay_e2e::{Lab, Options, config};

use crate::secured;

/// Whether a process of the engine's user, without the rights of root, can look into process `pid`.
fn is_open(pid: u32) -> bool {
    let file = format!("/proc/{pid}/environ");
    // SAFETY: it takes nothing and cannot fail.
    let mut command = match unsafe { libc::geteuid() } {
        // Who is root without its rights is a user like others.
        0 => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--", "cat", &file]);
            command
        }
        _ => {
            let mut command = Command::new("cat");
            command.arg(&file);
            command
        }
    };
    command.output().expect("it starts").status.success()
}

fn core_limit(pid: u32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    line.split_whitespace().nth(4).expect("a number").to_owned()
}

//= test TLS-KEY-02
#[test]
fn who_has_read_a_key_leaves_no_image_of_its_memory() {
    let lab = Lab::new();
    let at = lab.address();
    let text = config::service("web", at) + &config::pool("web", "", &[lab.address()]);
    let plain = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    assert!(is_open(plain.process.pid()), "who has no key may be looked into: the question is a good one");
    let scene = secured("", "", "");
    assert!(!is_open(scene.engine.process.pid()));
    assert_eq!(core_limit(scene.engine.process.pid()), "0");
    // What the engine itself reads there is there.
    assert!(scene.engine.metric("process_open_fds", &[]) > 3.0);
}
