//! A Controller whose machine is gone without a word.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_e2e::controller::Curl;
use forebay_e2e::led::{Led, Options};
use forebay_e2e::wait::{eventually, eventually_some, secs};
use forebay_e2e::{Hosts, Lab, Process, bin};
use serde_json::json;

/// What is promised, and half a second for a machine that does other things.
const MISSED: Duration = Duration::from_millis(5_500);

//= test CHAN-SEVERAL-02
#[test]
fn an_engine_misses_a_controller_whose_machine_is_cut_off_without_a_word_within_five_seconds() {
    let lab = Lab::new();
    let Some(hosts) = Hosts::new(2) else { return };
    let at = |port: u16| SocketAddr::from((hosts.address(0), port));
    let (api, engines) = (at(9_443), at(8_443));
    let controller = hosts.at(0, || {
        let mut command = Command::new(bin::path("forebay-controller"));
        command.arg("--data-dir").arg(lab.folder().join("controller"));
        command.arg(format!("--listen={api}")).arg(format!("--listen-engines={engines}"));
        Process::start("controller", command, lab.folder()).brief()
    });
    let password = eventually_some("its first password", secs(15), || {
        let said = controller.printed();
        said.lines().find_map(|line| line.strip_prefix("password: ")?.split(' ').next().map(str::to_owned))
    });
    let admin = Curl::at(api).with(&["--user", &format!("admin:{password}")]);
    let (status, made) = admin.send("POST", "/api/se-token", &json!({}));
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().expect("a text");
    let mut engine = hosts.at(1, || Led::start(&lab, engines, token, &Options::default()));
    engine.says("CONTROLLER_REACHED");
    let uuid = engine.uuid();
    let is_up = || admin.get(&format!("/api/serviceengine/{uuid}/channel")).1["up"] == true;
    eventually("the Controller knows it", secs(20), is_up);
    for (from, to) in [(0, 1), (1, 0)] {
        hosts.cut(from, to);
    }
    let cut = Instant::now();
    engine.says("CONTROLLER_LOST");
    let missed = cut.elapsed();
    println!("missed after {missed:?}");
    assert!(missed <= MISSED, "{missed:?}");
    // And it comes back when the machine does.
    for (from, to) in [(0, 1), (1, 0)] {
        hosts.heal(from, to);
    }
    eventually("it hangs on it again", secs(20), || engine.said("CONTROLLER_REACHED") >= 2);
}
