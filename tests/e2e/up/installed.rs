//! `forebay up` where only the three programs are: no repository, no build.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Process, bin, eventually_some};

/// A user's home with the three programs in a `bin` folder.
struct Home {
    lab: Lab,
    state: PathBuf,
}

impl Home {
    fn new() -> Self {
        let lab = Lab::new();
        let state = lab.folder().join("state");
        for name in ["bin", "work", "home"] {
            std::fs::create_dir(lab.folder().join(name)).unwrap();
        }
        for program in ["forebay", "forebay-se", "forebay-controller"] {
            std::fs::copy(bin::path(program), lab.folder().join("bin").join(program)).unwrap();
        }
        Self { lab, state }
    }

    /// An installed `forebay`, started in an empty folder, with nothing of this build in its environment.
    fn forebay(&self, arguments: &[&str]) -> Command {
        let folder = self.lab.folder();
        // A shell changes the folder: whoever starts the command may set its own.
        let mut command = Command::new("sh");
        command.args(["-c", "cd \"$0\" && exec forebay \"$@\""]).arg(folder.join("work")).args(arguments);
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.join("bin").display()));
        command.env("HOME", folder.join("home")).env("XDG_STATE_HOME", &self.state);
        command
    }
}

#[test]
fn installed_programs_run_anywhere_and_need_no_repository() {
    let home = Home::new();
    let port = (10_000 + home.lab.address().port() % 20_000).to_string();
    let done = home.forebay(&["up", "--once", "--port", &port]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((report["errors"].as_u64(), report["sticky_violations"].as_u64()), (Some(0), Some(0)));
    assert!(report["scaled_out_to"].as_str().is_some_and(|engine| engine.starts_with("se-")), "{report}");

    let mut up = Process::start("up", home.forebay(&["up", "--port", &port]), home.lab.folder());
    let text = eventually_some("it greets", secs(20), || {
        Some(up.printed()).filter(|text| text.contains("Ctrl-C stops all of it"))
    });
    assert!(text.contains(&home.state.join("forebay/up").display().to_string()), "{text}");
    let url = text.split_whitespace().find_map(|word| word.strip_prefix("http://127.0.0.1:")).unwrap();
    let at = format!("127.0.0.1:{}", url.trim_end_matches('/')).parse().unwrap();
    assert_eq!(Client::new(at).get_once("/").unwrap().status, 200);
    // The engine is the installed one, not one that lies near the sources.
    let children = format!("/proc/{0}/task/{0}/children", up.pid());
    let programs: Vec<PathBuf> = std::fs::read_to_string(children)
        .unwrap()
        .split_whitespace()
        .map(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap())
        .collect();
    assert!(programs.contains(&home.lab.folder().join("bin/forebay-se")), "{programs:?}");
    assert!(programs.iter().all(|program| program.starts_with(home.lab.folder())), "{programs:?}");
    up.signal(libc::SIGINT);
    assert!(up.wait(secs(15)).success(), "{}", up.printed());
    for place in ["work", "home"] {
        let left = std::fs::read_dir(home.lab.folder().join(place)).unwrap().count();
        assert_eq!(left, 0, "nothing is left in {place}");
    }
}
