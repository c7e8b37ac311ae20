//! `forebay down`: what `up` runs is ended, and what it has made is removed.

use std::path::Path;
use std::process::{Command, Output};

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, bin, eventually};
use serde_json::Value;

use crate::running::{address, lives, pids, start};

/// `forebay` of a user whose state folder is in the lab.
fn forebay(lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(bin::path("forebay"));
    command.args(words).env("XDG_STATE_HOME", lab.folder().join("state"));
    command
}

fn done(mut command: Command) -> (Output, String) {
    let output = command.output().expect("it runs");
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// What `down` says to programs.
fn down(lab: &Lab, words: &[&str]) -> Value {
    let (output, said) = done(forebay(lab, &[&["down", "--output", "json"], words].concat()));
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one document")
}

fn texts<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    let list = list.as_array().expect("a list");
    list.iter().map(|one| one.get(field).unwrap_or(one).as_str().expect("a text")).collect()
}

/// Ends what a test has left in the background.
struct Ends<'l>(&'l Lab);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let _ = forebay(self.0, &["down"]).output();
    }
}

//= test CLI-UP-01
//= test CLI-DOWN-01
//= test CLI-DOWN-02
#[test]
fn what_goes_on_in_the_background_is_ended_and_all_that_is_gone_is_listed() {
    let lab = Lab::new();
    let _ends = Ends(&lab);
    let (output, said) =
        done(forebay(&lab, &["up", "--files", "--detach", "--port", "29080", "--output", "json"]));
    assert!(output.status.success(), "{said}");
    let ready: Value = serde_json::from_slice(&output.stdout).expect("one document, and nothing behind it");
    let service = address(&ready["services"][3]["url"]);
    assert_eq!(Client::new(service).get_once("/").unwrap().status, 200, "it goes on: {ready}");
    let up = ready["pid"].as_u64().unwrap();
    let mut running = pids(&ready);
    running.push(up);
    assert!(running.len() == 6 && running.iter().all(|pid| lives(*pid)), "{ready}");
    let session = |pid: u64| {
        // SAFETY: a system call without memory.
        unsafe { libc::getsid(pid as libc::pid_t) }
    };
    assert_eq!(session(up), up as libc::pid_t, "no terminal takes it along");
    let data = Path::new(ready["data"].as_str().unwrap()).to_owned();
    std::fs::write(data.join("notes.txt"), "a person's").unwrap();
    // An engine that ended before is not one that `down` has ended.
    let killed = ready["engines"][1]["pid"].as_u64().unwrap();
    // SAFETY: a system call without memory; the process is one of the `up` above.
    unsafe { libc::kill(killed as libc::pid_t, libc::SIGKILL) };
    eventually("it is gone", secs(15), || !lives(killed));

    let told = down(&lab, &[]);
    assert!(!running.iter().any(|pid| lives(*pid)), "{told}");
    assert_eq!(texts(&told["ended"], "name"), ["up", "se-1", "demo-1", "demo-2", "demo-3"], "{told}");
    let freed = texts(&told["freed"], "address");
    for at in [service.to_string(), ready["engines"][0]["object_sync"].as_str().unwrap().to_owned()] {
        assert!(freed.contains(&at.as_str()), "{at}: {told}");
    }
    assert_eq!(texts(&told["kept"], ""), [data.join("notes.txt").to_str().unwrap()]);
    let removed = texts(&told["removed"], "");
    for name in ["se-1", "se-2", "pki", "https.key", "up.log", "demo-1.log"] {
        assert!(removed.contains(&data.join(name).to_str().unwrap()), "{name}: {told}");
        assert!(!data.join(name).exists(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(data.join("notes.txt")).unwrap(), "a person's");

    std::fs::remove_file(data.join("notes.txt")).unwrap();
    let told = down(&lab, &[]);
    assert_eq!(
        (texts(&told["removed"], ""), texts(&told["ended"], "name")),
        (vec![data.to_str().unwrap()], vec![])
    );
    assert!(!data.exists());
    let (output, said) = done(forebay(&lab, &["down"]));
    assert!(output.status.success() && said.contains("nothing to remove"), "{said}");
}

//= test CLI-DOWN-01
#[test]
fn the_run_of_a_folder_is_ended_from_elsewhere_and_no_other_one() {
    let lab = Lab::new();
    let (mut one, ready) = start(&lab, "one", 29_180);
    let (mut two, other) = start(&lab, "two", 29_180);
    let folder = lab.folder().join("one");
    let folder = folder.to_str().unwrap();
    let told = down(&lab, &["--keep-data", "--data", folder]);
    assert!(one.wait(secs(15)).success(), "it is asked to end: {}", one.printed());
    assert_eq!(told["ended"].as_array().unwrap().len(), 6, "{told}");
    assert_eq!((texts(&told["kept"], "").len(), texts(&told["removed"], "").len()), (1, 0), "{told}");
    assert!(Path::new(folder).join("https.key").is_file());
    assert!(!pids(&ready).iter().any(|pid| lives(*pid)) && pids(&other).iter().all(|pid| lives(*pid)));
    // A record says nothing of a process that has its number now.
    let record = Path::new(folder).join("forebay-up.json");
    let mut said: Value = serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
    said["processes"][0]["pid"] = two.pid().into();
    std::fs::write(&record, said.to_string()).unwrap();
    let told = down(&lab, &["--data", folder]);
    assert_eq!(texts(&told["ended"], "name"), Vec::<&str>::new(), "{told}");
    assert!(
        !Path::new(folder).exists() && two.ended().is_none() && pids(&other).iter().all(|pid| lives(*pid))
    );
    assert_eq!(texts(&down(&lab, &["--data", folder])["removed"], ""), Vec::<&str>::new(), "nothing is left");

    let theirs = lab.folder().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("https.key"), "theirs").unwrap();
    let (output, said) = done(forebay(&lab, &["down", "--data", theirs.to_str().unwrap()]));
    assert!(output.status.code() == Some(1) && said.contains("nothing in it is touched"), "{said}");
    assert!(theirs.join("https.key").is_file());
    assert!(two.end(secs(15)).success());
}

//= test CLI-UP-01
#[test]
fn what_does_not_come_up_in_the_background_says_why_and_is_gone() {
    let lab = Lab::new();
    let _ends = Ends(&lab);
    let wrong = ["up", "--files", "--detach", "--server", "nonsense"];
    let (output, said) = done(forebay(&lab, &wrong));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("write it as host:port"), "{said}");
    assert_eq!(down(&lab, &[])["ended"].as_array().unwrap().len(), 0);
}
