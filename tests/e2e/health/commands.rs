//! Monitors that run a command.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use forebay_e2e::wait::{ms, secs};
use forebay_e2e::{Client, Engine, Lab, Options, Origin, config, eventually, origin};

use crate::monitor;

/// A monitor that lets the shell run this script; the shell is a program like any other here.
fn script(lab: &Lab, text: &str) -> String {
    let file = lab.folder().join("check.sh");
    fs::write(&file, text).expect("the lab's folder can be written");
    monitor("external", &format!("command = [\"/bin/sh\", \"{}\", \"an argument\"]", file.display()))
}

fn with_script(lab: &Lab, servers: &[SocketAddr], at: SocketAddr, text: &str) -> Engine {
    let text = config::service("web", at)
        + &config::pool("web", "health_monitors = [\"m\"]\npassive_health_monitor = false", servers)
        + &script(lab, text);
    lab.engine(&text)
}

/// Processes of this script.
fn running(script: &Path) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").expect("a list of processes").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_script = |id: &u32| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == script.as_os_str().as_encoded_bytes())
    };
    ids.filter(of_script).collect()
}

fn is_alive(id: &str) -> bool {
    // A process that ended and was not waited for yet is dead as well.
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

//= test HM-EXTERNAL-01
//= test OBS-HEALTH-03
#[test]
fn the_exit_status_of_a_command_puts_a_server_out_and_back() {
    let lab = Lab::new();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let bad = lab.folder().join("bad");
    let text = format!("[ -e {0} ] && {{ cat {0} >&2; exit 3; }}; exit 0", bad.display());
    let engine = with_script(&lab, &[origin.address], lab.address(), &text);
    engine.wait_for_server(origin.address, true);
    let put = |text: &str| {
        let fresh = bad.with_extension("new");
        fs::write(&fresh, text).expect("a file");
        fs::rename(&fresh, &bad).expect("a file");
    };
    put("the disk is full\n");
    engine.wait_for_server(origin.address, false);
    let why = engine.why(origin.address);
    assert!(why.contains("ended with status 3 and printed \"the disk is full\\n\""), "{why}");
    put("the key is gone\n");
    eventually("what is wrong now is said", secs(20), || {
        engine.why(origin.address).contains("printed \"the key is gone\\n\"")
    });
    let told = engine.process.printed();
    assert!(
        told.contains("the disk is full") && !told.contains("the key is gone"),
        "events are of changes: {told}"
    );
    fs::remove_file(&bad).expect("the file is there");
    engine.wait_for_server(origin.address, true);
}

//= test HM-EXTERNAL-03
#[test]
fn a_command_gets_the_servers_address_and_nothing_of_the_engines() {
    let lab = Lab::new();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let out = lab.folder().join("out");
    let text = format!(
        "{{ env; echo \"arg=$1\"; echo \"cwd=$(pwd)\"; ls /proc/$$/fd; }} > {}.new; mv {0}.new {0}",
        out.display()
    );
    let engine = with_script(&lab, &[origin.address], lab.address(), &text);
    engine.wait_for_server(origin.address, true);
    let seen = fs::read_to_string(&out).expect("the command ran");
    let lines: BTreeSet<&str> =
        seen.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_=")).collect();
    let (ip, port) = (origin.address.ip(), origin.address.port());
    let want = [
        format!("FOREBAY_SERVER_ADDRESS={ip}"),
        format!("FOREBAY_SERVER_PORT={port}"),
        "FOREBAY_MONITOR=m".to_owned(),
        "LANG=C".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "arg=an argument".to_owned(),
        "cwd=/".to_owned(),
    ];
    // The descriptors: its input, its outputs, and those on which the shell keeps its script and what it has set aside.
    let files: Vec<&str> = lines.iter().copied().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert!(files.len() <= 5 && files.starts_with(&["0", "1"]), "{files:?}");
    let rest: BTreeSet<&str> = lines.iter().copied().filter(|line| !files.contains(line)).collect();
    assert_eq!(rest, want.iter().map(String::as_str).collect());
}

//= test HM-EXTERNAL-02
#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started_and_costs_no_request() {
    let lab = Lab::new();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let at = lab.address();
    let (hang, ids) = (lab.folder().join("hang"), lab.folder().join("ids"));
    let text = format!(
        "[ -e {} ] || exit 0\nsleep 600 &\necho $$ $! >> {}\ntrap '' TERM\nwhile :; do sleep 600; done",
        hang.display(),
        ids.display()
    );
    let engine = with_script(&lab, &[origin.address], at, &text);
    engine.wait_for_server(origin.address, true);
    fs::write(&hang, "").expect("a file");
    let began = Instant::now();
    loop {
        let one = Instant::now();
        let answer = Client::new(at).get_once("/");
        assert!(one.elapsed() < ms(900), "a request waited for a command: {:?}", one.elapsed());
        assert!(began.elapsed() < secs(15), "a server whose command hangs goes down");
        // It may have gone down since it was asked for.
        if engine.metric("forebay_server_up", &[("server", &origin.address.to_string())]) == 0.0 {
            break;
        }
        assert_eq!(answer.expect("an answer of a server that is up").status, 200);
    }
    let why = engine.why(origin.address);
    assert!(why.contains("within the receive time-out"), "{why}");
    fs::remove_file(&hang).expect("the file is there");
    engine.wait_for_server(origin.address, true);
    let seen = fs::read_to_string(&ids).expect("commands have hung");
    assert!(seen.lines().count() >= 2, "{seen}");
    eventually("nothing of the commands is left", secs(5), || {
        seen.split_whitespace().all(|id| !is_alive(id))
    });
}

//= test HM-EXTERNAL-02
#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let lab = Lab::new();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let ids = lab.folder().join("ids");
    let text = format!("sleep 600 &\necho $! >> {}\nexit 0", ids.display());
    let engine = with_script(&lab, &[origin.address], lab.address(), &text);
    engine.wait_for_server(origin.address, true);
    let seen = fs::read_to_string(&ids).expect("commands have run");
    eventually("no child of a command is left", secs(5), || seen.split_whitespace().all(|id| !is_alive(id)));
}

//= test HM-EXTERNAL-04
#[test]
fn a_command_that_prints_without_end_fails_and_fills_nothing() {
    let lab = Lab::new();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let engine = with_script(&lab, &[origin.address], lab.address(), "exec yes");
    engine.wait_for_state(origin.address, "down");
    let why = engine.why(origin.address);
    assert!(why.contains("printed more than 64 KiB"), "{why}");
}

//= test HM-EXTERNAL-05
//= test HM-OWN-01
#[test]
fn at_most_32_commands_run_at_once_and_a_server_that_found_no_place_is_not_blamed() {
    let lab = Lab::new();
    let servers: Vec<SocketAddr> = (1..=60).map(|n| SocketAddr::from((lab.ip(), n))).collect();
    let engine = {
        let text = config::service("web", lab.address())
            + &config::pool("web", "health_monitors = [\"m\"]\npassive_health_monitor = false", &servers)
            + &script(&lab, "sleep 600; exit 0");
        Engine::spawn(&lab, &text, &Options::default())
    };
    let file = lab.folder().join("check.sh");
    // The list of processes is no snapshot: when all places change hands, a few are seen twice.
    let mut most = 0;
    let began = Instant::now();
    while began.elapsed() < secs(5) {
        most = most.max(running(&file).len());
    }
    assert!((20..=45).contains(&most), "{most} commands at once, and 60 were wanted");
    let page = engine.page();
    let not_made = page.sum("forebay_health_probes_total", &[("result", "not_made")]);
    assert!(not_made > 0.0, "28 of 60 find no place with the first look");
}

//= test HM-EXTERNAL-05
#[test]
fn a_program_that_is_not_there_is_said_at_the_start() {
    let lab = Lab::new();
    let plain = lab.folder().join("plain");
    fs::write(&plain, "").expect("a file");
    for (program, reason) in [
        ("/no/such/program", "No such file"),
        ("/tmp", "is no program"),
        (plain.to_str().expect("a text"), "chmod a+x"),
    ] {
        let text = config::service("web", lab.address())
            + &config::pool("web", "health_monitors = [\"m\"]", &[lab.address()])
            + &monitor("external", &format!("command = [\"{program}\"]"));
        let mut engine = Engine::spawn(&lab, &text, &Options::default());
        assert_eq!(engine.process.wait(secs(10)).code(), Some(1));
        let said = engine.process.printed();
        assert!(said.contains("health_monitor \"m\"") && said.contains(reason), "{said}");
    }
}
