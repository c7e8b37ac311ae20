//! Who becomes a member, and who does not.

use std::net::TcpStream;
use std::process::Command;

use forebay_e2e::led::{Led, Options, member, seen, token};
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Controller, Lab, Network, Process, bin};

//= test CHAN-ENROLL-01
//= test CHAN-TOKEN-02
//= test CHAN-SEEN-01
#[test]
fn an_engine_joins_by_a_token_which_is_good_once_and_leaves_with_its_object() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let text = token(&controller);
    let mut first = Led::start(&lab, controller.engines, &text, &Options::default());
    first.says("SE_ENROLLED");
    let uuid = first.uuid();
    eventually("it is up", secs(20), || seen(&controller, &uuid)["up"] == true);
    let mut second = Led::start(&lab, controller.engines, &text, &Options::default());
    assert_eq!(second.process.wait(secs(20)).code(), Some(1));
    assert!(second.process.printed().contains("used already"), "{}", second.process.printed());
    let (status, list) = controller.admin().get("/api/serviceengine");
    assert_eq!((status, &list["count"]), (200, &1.into()), "{list}");
    assert_eq!(controller.admin().ask("DELETE", &format!("/api/serviceengine/{uuid}"), None).0, 204);
    first.says("CONTROLLER_REFUSES");
    assert!(first.process.ended().is_none(), "it serves on");
}

//= test CHAN-LISTEN-01
#[test]
fn engines_are_let_in_at_the_port_that_they_expect() {
    // Others of this machine may use it.
    let Some(_network) = Network::own() else { return };
    let lab = Lab::new();
    let mut command = Command::new(bin::path("forebay-controller"));
    command.args(["--data-dir", "data", "--listen", &lab.address().to_string()]);
    let controller = Process::start("controller", command, lab.folder());
    eventually("it listens", secs(20), || TcpStream::connect((lab.ip(), 8443)).is_ok());
    eventually("it says so", secs(20), || controller.printed().contains("engines: 0.0.0.0:8443"));
}

//= test CHAN-TLS-02
#[test]
fn an_engine_of_another_controller_trusts_and_is_trusted_by_its_own_alone() {
    let (lab, other) = (Lab::new(), Lab::new());
    let (ours, theirs) = (Controller::start(&lab), Controller::start(&other));
    let mut engine = member(&lab, &theirs, &Options::default());
    assert!(engine.process.end(secs(10)).success());
    // It knows its own Controller's address besides the one that it is given, and would go on there.
    drop(theirs);
    engine.again(&lab, ours.engines, &Options::default());
    engine.says("CONTROLLER_LOST");
    assert_eq!(engine.said("CONTROLLER_REACHED"), 0);
    // It would trust this one now, which does not trust it.
    let honest = member(&lab, &ours, &Options::default());
    assert!(engine.process.end(secs(10)).success());
    std::fs::copy(honest.state.join("authority.pem"), engine.state.join("authority.pem")).expect("room");
    engine.again(&lab, ours.engines, &Options::default());
    eventually("it is refused", secs(20), || ours.said(&lab).contains("ENGINE_REFUSED"));
    assert_eq!(engine.said("CONTROLLER_REACHED"), 0);
}

//= test CHAN-VERSION-01
#[test]
fn an_engine_that_speaks_another_protocol_is_told_who_is_to_be_upgraded() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let mut engine = member(&lab, &controller, &Options::default());
    assert!(engine.process.end(secs(10)).success());
    let arguments = vec!["--channel-protocol".to_owned(), "7-9".to_owned()];
    engine.again(&lab, controller.engines, &Options { arguments, ..Options::default() });
    engine.says("upgrade the Controller");
    assert!(engine.process.ended().is_none(), "it serves on");
}

//= test CHAN-VERSION-01
#[test]
fn an_engine_that_knows_a_later_protocol_as_well_is_led_by_the_one_that_both_know() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let mut engine = member(&lab, &controller, &Options::default());
    let uuid = engine.uuid();
    assert!(engine.process.end(secs(10)).success());
    // As in an upgrade that begins with the engines.
    let arguments = vec!["--channel-protocol".to_owned(), "1-2".to_owned()];
    engine.again(&lab, controller.engines, &Options { arguments, ..Options::default() });
    eventually("it is led", secs(20), || {
        let seen = seen(&controller, &uuid);
        seen["up"] == true && seen["configuration"]["current"] == true
    });
}
