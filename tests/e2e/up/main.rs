//! `forebay up` and the other commands of the command line.

mod down;
mod installed;
mod led;
mod live;
mod once;
mod readme;
mod running;
mod secure;
mod two;

use std::process::{Command, Stdio};

use forebay_e2e::bin;

#[test]
fn completions_and_manual_page_name_every_command() {
    for arguments in
        [["completions", "bash"].as_slice(), &["completions", "zsh"], &["completions", "fish"], &["man"]]
    {
        let done = Command::new(bin::path("forebay")).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success());
        let text = String::from_utf8(done.stdout).unwrap();
        for word in ["up", "down", "demo", "completions", "login", "apply", "shell", "pool", "virtualservice"]
        {
            assert!(text.contains(word), "{arguments:?} does not name {word}");
        }
    }
}

#[test]
fn a_wrong_option_is_a_usage_error() {
    let done = Command::new(bin::path("forebay")).args(["up", "--nonsense"]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--nonsense"));
}
