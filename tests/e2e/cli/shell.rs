//! The Avi shell.

use forebay_e2e::Terminal;
use forebay_e2e::wait::secs;
use serde_json::{Value, json};

use crate::User;

impl User {
    fn shell(&self, lines: &str) -> crate::Done {
        self.fed(&["shell"], lines)
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        let done = self.run(&[kind, "get", name, "-o", "json"]);
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {}{}", done.out, done.err))
    }
}

//= test CLI-SHELL-01
//= test CLI-SHELL-02
//= test CLI-PORTS-01
#[test]
fn a_script_configures_shows_and_deletes() {
    let user = User::at_home();
    let done = user.shell(
        "configure serviceenginegroup Default-Group\nobjsync_port 9002\nno use_objsync\nwhere\nshow\nsave\n\
         show serviceenginegroup Default-Group | grep objsync_port\n",
    );
    done.says(0, "Updating an existing object. Currently, the object is:")
        .says(0, "Overwriting the previously entered value for objsync_port")
        .says(0, "serviceenginegroup\n")
        .says(0, "| Field");
    let group = user.object("seg", "Default-Group");
    assert_eq!((&group["objsync_port"], &group["use_objsync"]), (&json!(9002), &json!(false)));
    user.shell("configure seg Default-Group use_objsync\nconfigure serviceenginegroup Default-Group objsync_port 9005\n")
        .says(0, "TCP port 9005 instead of 9002");
    assert_eq!(user.object("seg", "Default-Group")["objsync_port"], 9005);

    user.shell(
        "configure pool p1\nlb_algorithm round_robin\nservers\nip 10.0.0.1\nport 8080\nsave\nservers\nip 10.0.0.2\n\
         save\nservers index 2\nratio 3\nsave\nhealth_monitor_refs System-TCP\nsave\n\
         configure vsvip v1\nvip\nvip_id 1\nip_address 10.1.0.1\nsave\nsave\n\
         configure virtualservice vs1\nservices\nport 80\nsave\npool_ref p1\nvsvip_ref v1\nsave\n\
         show virtualservice\nshow pool p1\n",
    )
    .says(0, "servers[2]")
    .says(0, "vs1");
    let pool = user.object("pool", "p1");
    assert_eq!(
        (&pool["servers"][1]["ratio"], &pool["servers"][0]["port"]),
        (&json!(3), &json!(8080)),
        "{pool}"
    );
    // The second server goes, a new field is dropped, another tenant is looked at.
    user.shell("configure pool p1\nno servers index 1\nsave\nconfigure pool p1\nenabled false\ncancel\n")
        .says(0, "");
    let pool = user.object("pool", "p1");
    assert_eq!(
        (pool["servers"].as_array().map(Vec::len), &pool["enabled"]),
        (Some(1), &json!(true)),
        "{pool}"
    );

    for (lines, said) in [
        ("show pool p1\nshow pool nix\n", "line 2: there is no pool named \"nix\""),
        ("configure pool p1\nserver\n", "line 2: pool has no field \"server\""),
        ("configure pool p1\nenabled false\n", "its changes are not saved"),
        ("configure pool p1\ndefault_server_port 0\nsave\n", "line 3: default_server_port: 0 is not allowed"),
        ("delete pool p1\n", "referred by"),
        ("configre pool p1\n", "did you mean configure?"),
        ("show pool p1 nothing\n", "no view"),
        ("switchto tenant nobody\n", "no tenant"),
    ] {
        let done = user.shell(lines);
        assert!(done.code > 0 && done.err.contains(said), "{lines}: {}\n{}", done.code, done.err);
    }
    user.shell("delete virtualservice vs1\ndelete pool p1\ndelete vsvip v1\nexit\nnothing of this\n")
        .says(0, "p1 deleted");
}

//= test CLI-SHELL-03
#[test]
fn at_a_terminal_the_tables_complete_what_is_typed() {
    let user = User::at_home();
    let mut terminal = Terminal::start(user.command(&["shell"]), 40, 160);
    let prompt = format!("[admin:{}]: ", user.at());
    terminal.wait_to_write(&format!("{prompt}> "), secs(15));
    terminal.press("configure serviceengineg\tDefault-G\t\r");
    terminal.wait_to_write("Updating an existing object", secs(15));
    terminal.wait_to_write(&format!("{prompt}serviceenginegroup> "), secs(15));
    terminal.press("objsync_p\t 9007\r");
    terminal.wait_to_write("Overwriting the previously entered value for objsync_port", secs(15));
    terminal.press("nonsense\r");
    terminal.wait_to_write("no field \"nonsense\"", secs(15));
    terminal.press("save\r");
    terminal.wait_to_write("TCP port 9007", secs(15));
    terminal.press("\x04");
    assert!(terminal.ends(secs(15)).success());
    assert_eq!(terminal.settings(), terminal.before, "the terminal is as it was");
    assert_eq!(user.object("seg", "Default-Group")["objsync_port"], 9007);
}
