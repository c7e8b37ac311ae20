//! `forebay up` on a terminal: the view that refreshes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Terminal, bin};

/// Sequences that change a terminal and need their opposite at the end.
const MODES: [(&str, &str); 3] =
    [("\x1b[?25l", "\x1b[?25h"), ("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?7l", "\x1b[?7h")];

fn start(lab: &Lab, height: u16, width: u16) -> Terminal {
    let mut command = Command::new(bin::path("forebay"));
    command.args(["up", "--files", "--port", "28080", "--data"]).arg(lab.folder().join("up"));
    Terminal::start(command, height, width)
}

/// The words of the view's line about `name`; `None` while there is none.
fn line(shown: &str, name: &str) -> Option<Vec<String>> {
    // Below the greeting, which has lines about the same names.
    let view = &shown[shown.rfind("per second    failed")?..];
    let line = view.lines().find(|l| l.split_whitespace().next() == Some(name))?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}

fn requests(shown: &str, name: &str) -> Option<u64> {
    line(shown, name)?.get(1)?.parse().ok()
}

#[test]
fn the_live_view_shows_services_and_servers_follows_them_and_leaves_the_terminal_as_it_was() {
    let lab = Lab::new();
    let mut terminal = start(&lab, 24, 80);
    let before = terminal.before.clone();
    let services = ["cookie", "address", "session", "plain"];
    let servers = ["demo-1", "demo-2", "demo-3"];
    let engines = ["se-1", "se-2"];
    let first = terminal.wait_for("view of all services, engines and servers", secs(20), |shown| {
        let all = services.iter().chain(&engines).chain(&servers);
        all.into_iter().all(|name| requests(shown, name).is_some()).then(|| shown.to_owned())
    });
    for name in engines {
        assert_eq!(line(&first, name).unwrap()[4..], ["entries,", "shared"], "{first}");
    }
    for name in services {
        let words = line(&first, name).unwrap();
        assert!(requests(&first, name).unwrap() > 0, "up sends a little traffic: {first}");
        assert_eq!(words[3], "0", "nothing fails while it starts: {first}");
    }
    for name in servers {
        assert_eq!(line(&first, name).unwrap()[3], "up", "{first}");
    }

    let config = std::fs::read_to_string(lab.folder().join("up/se-1/se.toml")).unwrap();
    let listen = config.lines().filter(|l| l.starts_with("listen")).nth(3).unwrap();
    let plain: SocketAddr = listen.split('"').nth(1).unwrap().parse().unwrap();
    let before_load = requests(&first, "plain").unwrap();
    for _ in 0..30 {
        assert_eq!(Client::new(plain).get_once("/").unwrap().status, 200);
    }
    let want = before_load + 30;
    terminal.wait_for("count of 30 further requests", secs(5), |shown| {
        requests(shown, "plain").filter(|n| *n == want)
    });
    let second = terminal.shows();
    assert_eq!(second.matches("per second    failed").count(), 1, "it is written over, not below: {second}");

    let kill = |pid: i32| {
        // SAFETY: a system call without memory; the process is a child of the `up` on our terminal.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    };
    kill(pid_of(&lab.folder().join("up"), &["demo-server", "demo-2"]));
    terminal.wait_for("line about the server that ended", secs(15), |shown| {
        line(shown, "demo-2").filter(|words| words[3] == "down:")
    });
    // One engine serves on alone; what the other one counted stays counted.
    kill(pid_of(&lab.folder().join("up/se-2"), &["forebay-se", "run"]));
    terminal.wait_for("line about the engine that ended", secs(15), |shown| {
        line(shown, "se-2").filter(|words| words[3..] == ["its", "process", "has", "ended"])
    });
    terminal.wait_for("the other one alone", secs(15), |shown| {
        line(shown, "se-1").filter(|words| words[4..] == ["entries,", "shared", "with", "nobody"])
    });
    assert!(requests(&terminal.shows(), "plain").unwrap() >= want, "{}", terminal.shows());

    terminal.press("\x03");
    assert!(terminal.ends(secs(15)).success(), "Ctrl-C is a proper end: {}", terminal.shows());
    let last = terminal.shows();
    assert!(last.contains("what stays is"), "{last}");
    assert_eq!(terminal.settings(), before, "the terminal's settings are as they were");
    let written = String::from_utf8_lossy(&terminal.written).into_owned();
    for (on, off) in MODES {
        assert_eq!(written.matches(on).count(), written.matches(off).count(), "{on:?} is taken back");
    }
}

#[test]
fn the_live_view_fits_a_window_of_few_lines() {
    let lab = Lab::new();
    let mut terminal = start(&lab, 6, 50);
    terminal.wait_for("short view", secs(20), |shown| shown.contains("more").then_some(()));
    assert!(requests(&terminal.shows(), "cookie").is_some());
    for _ in 0..2 {
        // Each refresh writes over the one before: its last line stands in the window once.
        let so_far = terminal.written.len();
        forebay_e2e::eventually("it refreshes", secs(5), || {
            let shown = terminal.shows();
            assert!(shown.matches(" more").count() <= 1, "{shown}");
            terminal.written.len() > so_far
        });
    }
    terminal.press("\x03");
    assert!(terminal.ends(secs(15)).success());
}

/// Id of the process that runs in a folder and has these words in its command line.
fn pid_of(folder: &Path, words: &[&str]) -> i32 {
    let folder = folder.canonicalize().unwrap();
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let ours = all.filter(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)
            && words.iter().all(|word| line.contains(word))
    });
    ours.into_iter().next().expect("a process in this folder")
}
