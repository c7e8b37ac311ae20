//! Who may ask, and what is answered to those who may not or make no sense.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use forebay_e2e::lively::Over;
use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, bin, config, eventually, eventually_some};
use serde_json::json;

use crate::speak::{Speaker, door};
use crate::{options, web};

//= test UPG-PROTOCOL-01
#[test]
fn whatever_is_sent_the_old_process_answers_or_closes_and_serves_on() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let mut engine = lab.engine(&web(at, "", &[a.address]));
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0; 64],
        &[4, 0, 0, 0, 0, b'n', b'u', b'l', b'l'],
        &[2, 0, 0, 0, 1, 1, 2],
    ] {
        let mut new = Speaker::new(&engine);
        new.send(bytes);
        let said = new.hears().expect("a reason");
        assert_eq!(said["say"], "refused", "{bytes:?}");
        assert!(new.hears().is_none(), "and closed");
    }
    // The right greeting of another time, then words at the wrong moment.
    let mut new = Speaker::new(&engine);
    new.say(&json!({ "say": "hello", "protocol": 99, "version": "9.9" }));
    let reason = new.hears().expect("a reason")["reason"].to_string();
    assert!(reason.contains("protocol 99") && reason.contains("start the other one"), "{reason}");
    for say in [
        json!({ "say": "go" }),
        json!({ "say": "applied", "frame": 7 }),
        json!({ "say": "taken", "listeners": [], "datagrams": [] }),
    ] {
        let mut new = Speaker::new(&engine);
        new.hello();
        new.waits_for("copied");
        new.say(&say);
        assert_eq!(new.waits_for("refused")["reason"], "the new process says what makes no sense", "{say}");
        eventually("the next one may ask", secs(5), || {
            let mut next = Speaker::new(&engine);
            next.hello();
            next.hears().is_some_and(|said| said["say"] == "welcome")
        });
        eventually("and is given up", secs(5), || {
            let printed = engine.process.printed();
            printed.matches("UPGRADE_BEGUN").count() == printed.matches("UPGRADE_FAILED").count()
        });
    }
    // While one is served, another one is told so.
    let mut first = Speaker::new(&engine);
    first.hello();
    first.waits_for("copied");
    let mut second = Speaker::new(&engine);
    second.hello();
    assert_eq!(second.waits_for("refused")["reason"], "another process is taking over");
    drop(first);
    eventually("it is over", secs(5), || {
        let printed = engine.process.printed();
        printed.matches("UPGRADE_BEGUN").count() == printed.matches("UPGRADE_FAILED").count()
    });
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    drop(engine.upgrade(&options()));
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
}

//= test UPG-PEER-01
#[test]
fn a_stranger_gets_nothing_from_an_engine_and_gives_nothing_to_one() {
    // SAFETY: the call takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        forebay_e2e::skip("only root can become another user");
        return;
    }
    let lab = Lab::new();
    lab.give_to_nobody();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "", &[a.address]);
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let nobody = || Options { under: words.map(str::to_owned).to_vec(), ..options() };
    let mut engine = lab.engine(&text);
    let mode = std::fs::metadata(door(&engine)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Even where somebody has opened the path to all the old process looks by itself.
    std::fs::set_permissions(door(&engine), PermissionsExt::from_mode(0o777)).expect("ours");
    let mut stranger = engine.successor(&nobody());
    assert_eq!(stranger.process.wait(secs(10)).code(), Some(1));
    let said = stranger.process.printed();
    assert!(said.contains("user 65534 may not take over from this engine"), "{said}");
    assert!(engine.process.printed().contains("UPGRADE_REFUSED"));
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    assert!(engine.process.end(secs(10)).success());
    // Root that becomes nobody else trusts only itself.
    let strangers = lab.engine_with(&text, Options { access_log: "theirs.log".into(), ..nobody() });
    let mut new = strangers.successor(&options());
    assert_eq!(new.process.wait(secs(10)).code(), Some(1));
    let said = new.process.printed();
    assert!(said.contains("the engine there is one of user 65534, which is not trusted"), "{said}");
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
}

//= test UPG-SOCKET-01
#[test]
fn a_process_without_rights_takes_over_a_port_that_only_root_may_have() {
    // SAFETY: the call takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        forebay_e2e::skip("only root can become another user");
        return;
    }
    let lab = Lab::new();
    lab.give_to_nobody();
    let a = lab.demo("a");
    let at = std::net::SocketAddr::from((lab.ip(), 81));
    let engine = "user = \"65534\"\ngroup = \"65534\"".to_owned();
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), Options { engine, ..options() });
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    let nobody = Options { under: words.map(str::to_owned).to_vec(), ..options() };
    // One started by root, one started by who cannot bind the port.
    for options in [options(), nobody] {
        let mut old = engine.upgrade(&options);
        for _ in 0..10 {
            assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
        }
        assert_eq!(old.process.wait(secs(10)).code(), Some(0));
    }
}

//= test UPG-PROTOCOL-01
#[test]
fn a_new_process_takes_nothing_from_what_is_no_engine() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let text = web(lab.address(), "", &[a.address]);
    let start = |arguments: &[&str]| {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        Engine::spawn(&lab, &text, &Options { arguments, ..options() })
    };
    let mut alone = start(&["--take-over"]);
    assert_eq!(alone.process.wait(secs(10)).code(), Some(1));
    assert!(
        alone.process.printed().contains("start this one without --take-over"),
        "{}",
        alone.process.printed()
    );
    let talk = |answer: &[u8]| {
        let listener = UnixListener::bind(door(&alone)).expect("a path");
        let mut new = alone.successor(&options());
        let (mut stream, _): (UnixStream, _) = listener.accept().expect("it asks");
        std::io::Write::write_all(&mut stream, answer).expect("it listens");
        let status = new.process.wait(secs(20));
        std::fs::remove_file(door(&alone)).expect("ours");
        assert_eq!(status.code(), Some(1));
        new.process.printed()
    };
    let frame = |say: &str| {
        let mut bytes = (say.len() as u32).to_le_bytes().to_vec();
        bytes.push(0);
        bytes.extend(say.bytes());
        bytes
    };
    let welcome = |sockets: u32| {
        format!(
            "{{\"say\":\"welcome\",\"protocol\":2,\"version\":\"x\",\"slot\":0,\"secret\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],\"sockets\":{sockets}}}"
        )
    };
    let printed = talk(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(printed.contains("--take-over"), "{printed}");
    let printed = talk(&frame("{\"say\":\"ready\"}"));
    assert!(printed.contains("no engine that can be taken over"), "{printed}");
    let mut bytes = frame(&welcome(1));
    bytes.extend(frame("{\"say\":\"sockets\",\"list\":[\"admin\"]}"));
    let printed = talk(&bytes);
    assert!(printed.contains("0 files for 1 sockets"), "{printed}");
    let printed = talk(&frame(&welcome(u32::MAX)));
    assert!(printed.contains("announces 4294967295 sockets"), "{printed}");
}

/// A process that the engine has started; it ends with the test.
struct Started(i32);

impl Started {
    fn ends(&self, signal: i32) {
        // SAFETY: a system call without memory; the process is the engine's own, started for this test.
        unsafe { libc::kill(self.0, signal) };
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.ends(libc::SIGKILL);
    }
}

/// The process that took over from `engine` last, as that one's log says; it is the engine's child and ends with this.
fn successor(engine: &Engine) -> Option<i32> {
    let printed = engine.process.printed();
    let line = printed.lines().rfind(|line| line.contains("UPGRADE_GIVEN"))?;
    line.split_once("pid=")?.1.split_whitespace().next()?.parse().ok()
}

//= test UPG-COMMAND-01
//= test OBS-SIGNAL-01
#[test]
fn a_signal_upgrades_as_the_command_does_and_the_metrics_tell_of_it() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "persistence = \"p\"", &[a.address]) + &config::persistence("p", "client_ip", "");
    let mut engine = lab.engine(&text);
    for n in 0..5 {
        let mut client = Client::new(at).from(lab.client_ip(n));
        assert_eq!(client.get_once("/").expect("served").status, 200);
    }
    let figures = |engine: &Engine| {
        ["forebay_takeover_seconds", "forebay_takeover_entries"].map(|name| engine.metric(name, &[]))
    };
    assert_eq!(figures(&engine), [0.0, 0.0], "it took over from nobody");
    let sound = std::fs::read_to_string(&engine.config).expect("its file");
    std::fs::write(&engine.config, sound.replace("[engine]", "[engyne]")).expect("its file");
    engine.process.signal(libc::SIGUSR2);
    eventually("it is told why not", secs(15), || engine.process.printed().contains("UPGRADE_NOT_DONE"));
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    std::fs::write(&engine.config, sound).expect("its file");
    engine.process.signal(libc::SIGUSR2);
    let new = Started(eventually_some("another process serves", secs(20), || successor(&engine)));
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    let [took, entries] = figures(&engine);
    assert!(took > 0.0 && took < 20.0, "{took} s");
    assert!(entries >= 5.0, "{entries} entries");
    drop(new);
}

//= test UPG-COMMAND-01
#[test]
fn a_command_upgrades_and_says_which_process_serves_or_why_nothing_has_changed() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let text = web(at, "", &[a.address]);
    let mut engine = lab.engine(&text);
    let sound = std::fs::read_to_string(&engine.config).expect("its file");
    std::fs::write(&engine.config, sound.replace("[engine]", "[engyne]")).expect("its file");
    let refused = engine.admin(&json!({ "command": "upgrade" }));
    assert_eq!(refused["ok"], false, "{refused}");
    assert!(refused["error"]["reason"].to_string().contains("ended: exit status: 1"), "{refused}");
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    std::fs::write(&engine.config, sound).expect("its file");
    let said = engine.ask(&["upgrade"]);
    let pid = said.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("its number");
    let new = Started(pid);
    assert!(said.contains(&format!("process {} ends", engine.process.pid())), "{said}");
    assert_eq!(engine.process.wait(secs(10)).code(), Some(0));
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    // The next one is started by the one that was started.
    let said = engine.ask(&["upgrade"]);
    let pid = said.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("its number");
    let next = Started(pid);
    eventually("the one before has ended", secs(10), || {
        std::fs::read_to_string(format!("/proc/{}/stat", new.0)).map_or(true, |stat| stat.contains(") Z"))
    });
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    assert!(engine.ask(&["status"]).contains("web"));
    next.ends(libc::SIGTERM);
    eventually("nobody listens any more", secs(10), || std::net::TcpStream::connect(at).is_err());
}

//= test UPG-COMMAND-01
#[test]
fn of_two_signals_at_once_one_upgrades_the_other_is_refused_and_nothing_is_lost() {
    let lab = Lab::new();
    let a = lab.demo("a");
    let at = lab.address();
    let (program, children) = (lab.folder().join("program"), lab.folder().join("children"));
    let put = |write: &dyn Fn(&std::path::Path)| {
        let fresh = program.with_extension("fresh");
        write(&fresh);
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).expect("ours");
        std::fs::rename(&fresh, &program).expect("ours");
    };
    put(&|to| {
        std::fs::copy(bin::path("forebay-se"), to).expect("it can be copied");
    });
    let script = format!("shift; exec {} \"$@\"", program.display());
    let under = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let mut engine = lab.engine_with(&web(at, "", &[a.address]), Options { under, ..options() });
    // What takes over is counted, and the first one is nobody who can.
    let counted = |then: &str| {
        let text = format!("#!/bin/sh\necho $$ >> {}\nexec {then}\n", children.display());
        put(&|to| std::fs::write(to, &text).expect("the lab's folder"));
    };
    let started = || std::fs::read_to_string(&children).unwrap_or_default().lines().count();
    counted("sleep 600");
    engine.process.signal(libc::SIGUSR2);
    eventually("one is started", secs(10), || started() == 1);
    engine.process.signal(libc::SIGUSR2);
    eventually("the second is refused", secs(10), || {
        let printed = engine.process.printed();
        printed.contains("UPGRADE_NOT_DONE") && printed.contains("an upgrade is under way already")
    });
    assert_eq!(started(), 1, "one at a time");
    let sleeper = std::fs::read_to_string(&children).expect("one line");
    drop(Started(sleeper.trim().parse().expect("its number")));
    eventually("the first is told", secs(10), || {
        engine.process.printed().contains(&format!("the new process {} ended", sleeper.trim()))
    });
    // Both at once, while clients come: none of them notices.
    counted(&format!("{} \"$@\"", bin::path("forebay-se").display()));
    let is_over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let new = std::thread::scope(|scope| {
        for n in 0..2 {
            let (ip, is_over, served) = (lab.client_ip(n), &is_over, &served);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = Client::new(at).from(ip).get_once("/").expect("a request is served");
                    assert_eq!(answer.status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Over(&is_over);
        let some_more = |what: &str| {
            let before = served.load(Ordering::Relaxed);
            eventually(what, secs(20), || served.load(Ordering::Relaxed) > before + 20);
        };
        some_more("clients come");
        for _ in 0..5 {
            engine.process.signal(libc::SIGUSR2);
        }
        let new = Started(eventually_some("another process serves", secs(30), || successor(&engine)));
        some_more("clients come to it");
        assert_eq!(engine.process.wait(secs(20)).code(), Some(0), "{}", engine.process.printed());
        some_more("nobody misses the old one");
        new
    });
    assert_eq!(started(), 2, "however many signals, one process has taken over");
    assert_eq!(engine.process.printed().matches("UPGRADE_GIVEN").count(), 1);
    drop(new);
}
