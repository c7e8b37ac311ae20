//! Those who ask the engine while another process takes over.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use forebay_e2e::lively::{echoes, websocket};
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, bin, eventually, eventually_some};
use serde_json::{Value, json};

use crate::speak::Speaker;
use crate::{options, web};

/// A connection to an admin socket that stays open.
struct Asker(BufReader<UnixStream>);

impl Asker {
    fn new(engine: &Engine) -> Self {
        let stream = UnixStream::connect(engine.config.with_extension("sock")).expect("it listens");
        stream.set_read_timeout(Some(secs(30))).expect("a time-out above zero");
        Self(BufReader::new(stream))
    }

    fn asks(&mut self, command: &str) {
        let line = format!("{}\n", json!({ "command": command }));
        self.0.get_mut().write_all(line.as_bytes()).expect("it reads");
    }

    #[track_caller]
    fn hears(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// Puts a program in the place of another one, in one step.
fn replace(program: &Path, write: impl FnOnce(&Path)) {
    let fresh = program.with_extension("fresh");
    write(&fresh);
    std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).expect("ours");
    std::fs::rename(fresh, program).expect("ours");
}

//= test UPG-COMMAND-01
#[test]
fn a_command_names_the_process_that_serves_and_ends_the_one_that_it_has_started_for_nothing() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let (program, children) = (lab.folder().join("program"), lab.folder().join("children"));
    replace(&program, |to| {
        std::fs::copy(bin::path("forebay-se"), to).expect("it can be copied");
    });
    let script = format!("shift; exec {} \"$@\"", program.display());
    let under = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), Options { under, ..options() });
    // The next program does nothing but wait.
    let sleeper = format!("#!/bin/sh\necho $$ >> {}\nexec sleep 600\n", children.display());
    replace(&program, |to| std::fs::write(to, sleeper).expect("the lab's folder"));
    let mut first = Asker::new(&engine);
    first.asks("upgrade");
    let started = || std::fs::read_to_string(&children).unwrap_or_default();
    let child: u32 = eventually_some("it is started", secs(10), || started().trim().parse().ok());
    let refused = engine.admin(&json!({ "command": "upgrade" }));
    assert_eq!(refused["error"]["reason"], "an upgrade is under way already", "{refused}");
    assert_eq!(started().lines().count(), 1, "one at a time");
    let old = engine.upgrade(&options());
    let answer = first.hears();
    assert_eq!(answer["data"]["pid"], engine.process.pid(), "{answer}");
    assert_eq!(answer["data"]["old_pid"], old.process.pid(), "{answer}");
    // It is waited for as well: nothing is left of it.
    eventually("the other one is ended", secs(5), || !Path::new(&format!("/proc/{child}")).exists());
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
}

//= test UPG-DOOR-01
#[test]
fn a_reload_that_meets_an_upgrade_is_answered_with_the_process_that_serves() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine(&web(at, "", &[a.address]));
    let mut chat = websocket(at);
    // In the middle of it: nothing is settled, and the one who takes over has not said that it is ready.
    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("copied");
    let mut waits = Asker::new(&engine);
    waits.asks("reload");
    // It fails, and the reload is carried out.
    drop(new);
    assert_eq!(waits.hears()["data"]["outcome"], "unchanged");
    // Once it is settled, also for who was connected before.
    let old = engine.upgrade(&options());
    waits.asks("reload");
    let answer = waits.hears();
    assert_eq!(answer["error"]["code"], "moved", "{answer}");
    let reason = answer["error"]["reason"].to_string();
    assert!(reason.contains(&format!("process {} serves", engine.process.pid())), "{reason}");
    assert!(echoes(&mut chat), "the old process lives");
    assert!(engine.ask(&["reload"]).contains("what it was"));
    drop((chat, old));

    let mut new = Speaker::new(&engine);
    new.hello();
    new.waits_for("copied");
    let mut waits = Asker::new(&engine);
    waits.asks("reload");
    new.say(&json!({ "say": "ready" }));
    new.waits_for("go");
    new.say(&json!({ "say": "taken", "listeners": [at], "datagrams": [] }));
    new.waits_for("yours");
    new.say(&json!({ "say": "serving" }));
    let answer = waits.hears();
    assert_eq!(answer["error"]["code"], "moved", "{answer}");
}

//= test UPG-DOOR-01
#[test]
fn the_command_asks_once_more_when_another_process_has_taken_over() {
    let lab = Lab::new();
    let path = lab.folder().join("moving.sock");
    let listener = UnixListener::bind(&path).expect("a path");
    listener.set_nonblocking(true).expect("a socket");
    let moved =
        json!({ "ok": false, "error": { "code": "moved", "reason": "process 7 serves", "fix": "ask it" } });
    let loaded = json!({ "ok": true, "data": { "outcome": "unchanged", "generation": 3 } });
    let reload = |answers: &[&Value]| {
        let mut command = Command::new(bin::path("forebay-se"));
        let child = command.args(["reload", "--socket"]).arg(&path);
        let child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
        let child = child.expect("the program starts");
        for answer in answers {
            let (stream, _) = eventually_some("it asks", secs(10), || listener.accept().ok());
            stream.set_nonblocking(false).expect("a socket");
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).expect("it asks");
            assert_eq!(line.trim(), "{\"command\":\"reload\"}");
            if **answer != Value::Null {
                stream.get_mut().write_all(format!("{answer}\n").as_bytes()).expect("it reads");
            }
        }
        let done = child.wait_with_output().expect("it ends");
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.code(), text.concat())
    };
    let (code, said) = reload(&[&moved, &loaded]);
    assert!(code == Some(0) && said.contains("generation 3"), "{code:?} {said}");
    let (code, said) = reload(&[&moved, &moved]);
    assert!(code == Some(1) && said.contains("process 7 serves"), "{code:?} {said}");
    // A process that ends has taken the question, and says nothing.
    let (code, said) = reload(&[&Value::Null, &loaded]);
    assert!(code == Some(0) && said.contains("generation 3"), "{code:?} {said}");
    let (code, said) = reload(&[&Value::Null, &Value::Null]);
    assert!(
        code == Some(7) && said.contains("whether it has read the question is not known"),
        "{code:?} {said}"
    );
}

//= test UPG-STOP-01
#[test]
fn a_new_process_without_clients_that_is_told_to_stop_does_not_wait_for_the_one_before() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut options = options();
    options.engine += "\nstop_grace_s = 600";
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), options);
    let mut chat = websocket(at);
    let old = engine.upgrade(&crate::options());
    assert_eq!(engine.process.end(secs(30)).code(), Some(0));
    assert!(echoes(&mut chat), "the one before serves on");
    drop((chat, old));
}
