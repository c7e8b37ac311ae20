//! The unit file, as systemd reads it.

use std::process::Command;

use forebay_e2e::{Lab, bin};

const UNIT: &str = include_str!("../../../packaging/forebay-se.service");

//= test OBS-UNIT-01
#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let lab = Lab::new();
    let file = lab.folder().join("forebay-se.service");
    // The program is looked for where it will be installed.
    let text = UNIT.replace("/usr/bin/forebay-se", bin::path("forebay-se").to_str().expect("a text"));
    std::fs::write(&file, text).expect("the lab's folder can be written");
    let ask = |words: &[&str]| {
        let done = Command::new(bin::foreign("systemd-analyze", "systemd")).args(words).arg(&file).output();
        let done = done.expect("the program starts");
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.success(), said)
    };
    let (right, said) = ask(&["verify"]);
    assert!(right && said.is_empty(), "{said}");
    // The exposure level, times ten.
    let (right, said) = ask(&["security", "--offline=true", "--threshold=20"]);
    assert!(right, "{said}");
}

//= test OBS-UNIT-01
#[test]
fn the_unit_waits_longer_than_the_grace_and_takes_the_exit_code_of_a_cut() {
    let value = |key: &str| UNIT.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
    let wait: u32 = value("TimeoutStopSec=").parse().expect("seconds");
    assert!(wait > 30 + 2, "stop_grace_s is 30 by default, and 2 s are for the rest");
    assert_eq!((value("SuccessExitStatus="), value("Type=")), ("6", "notify"));
}
