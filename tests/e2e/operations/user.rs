//! As whom the engine runs.

use std::fs;
use std::net::SocketAddr;

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Engine, Lab, Options, Origin, config, eventually, origin};

/// A program that starts the engine as a user without any right.
fn nobody() -> Vec<String> {
    let words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    words.map(str::to_owned).to_vec()
}

fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        forebay_e2e::skip("only root can become another user");
    }
    root
}

/// What the kernel says of each thread of a process under this key.
fn of_threads(pid: u32, key: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let status = tasks.map(|task| fs::read_to_string(task.path().join("status")).expect("a thread's status"));
    let line =
        |text: String| text.lines().find_map(|line| line.strip_prefix(key)).map(|v| v.trim().to_owned());
    status.map(|text| line(text).expect("the key")).collect()
}

//= test OBS-USER-01
#[test]
fn an_engine_of_root_binds_and_then_is_another_user_in_every_thread() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.give_to_nobody();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    // A port that only root may have.
    let at = SocketAddr::from((lab.ip(), 81));
    let text = config::service("web", at)
        + &config::pool("web", "health_monitors = [\"m\"]", &[origin.address])
        + &format!(
            "[[health_monitor]]\nname = \"m\"\ntype = \"external\"\ncommand = [\"/bin/sh\", \"-c\", \"id -u > {}/id\"]\n",
            lab.folder().display()
        );
    let options =
        Options { engine: "user = \"nobody\"\ngroup = \"nogroup\"".to_owned(), ..Options::default() };
    let engine = lab.engine_with(&text, options);
    let pid = engine.process.pid();
    assert!(of_threads(pid, "Uid:").iter().all(|ids| ids.split_whitespace().all(|id| id == "65534")));
    assert!(of_threads(pid, "Gid:").iter().all(|ids| ids.split_whitespace().all(|id| id == "65534")));
    assert!(of_threads(pid, "Groups:").iter().all(|groups| groups == "65534"));
    for key in ["CapEff:", "CapPrm:", "CapAmb:"] {
        assert!(of_threads(pid, key).iter().all(|set| set.bytes().all(|digit| digit == b'0')), "{key}");
    }
    assert!(of_threads(pid, "NoNewPrivs:").iter().all(|set| set == "1"));
    assert!(of_threads(pid, "Uid:").len() >= 3, "workers and the control thread");
    eventually("a monitor's command runs as that user", secs(5), || {
        fs::read_to_string(lab.folder().join("id")).is_ok_and(|id| id.trim() == "65534")
    });
    // Everything that is opened again works as at the start.
    assert_eq!(Client::new(at).get_once("/").expect("an answer").status, 200);
    engine.log_lines(1, |_| true);
    fs::rename(lab.folder().join("access.log"), lab.folder().join("access.log.1")).expect("a log");
    engine.process.signal(libc::SIGHUP);
    eventually("the log is opened anew", secs(5), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.status == 200) && !engine.log().is_empty()
    });
    assert!(engine.ask(&["status"]).contains("web"));
    assert!(engine.metric("process_open_fds", &[]) > 3.0, "its own files can still be counted");
}

//= test OBS-USER-01
#[test]
fn who_cannot_be_had_is_said_and_nothing_is_started() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.give_to_nobody();
    let text = config::service("web", lab.address()) + &config::pool("web", "", &[lab.address()]);
    for (under, user, reason) in [
        (Vec::new(), "no-such-user", "there is no user \"no-such-user\""),
        (nobody(), "root", "only root can become \"root\""),
    ] {
        let options = Options { under, engine: format!("user = \"{user}\""), ..Options::default() };
        let mut engine = Engine::spawn(&lab, &text, &options);
        assert_eq!(engine.process.wait(secs(10)).code(), Some(1));
        let said = engine.process.printed();
        assert!(said.contains("engine.user") && said.contains(reason), "{said}");
    }
}

//= test OBS-USER-01
#[test]
fn an_engine_without_any_right_serves_on_a_high_port() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.give_to_nobody();
    let origin = Origin::fixed(lab.address(), origin::ok("hi"));
    let at = lab.address();
    let text = config::service("web", at) + &config::pool("web", "", &[origin.address]);
    let engine = lab.engine_with(&text, Options { under: nobody(), ..Options::default() });
    assert_eq!(Client::new(at).get_once("/").expect("an answer").status, 200);
    assert!(
        of_threads(engine.process.pid(), "CapEff:").iter().all(|set| set.bytes().all(|digit| digit == b'0'))
    );
}
