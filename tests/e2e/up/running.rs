//! `forebay up` that runs until it is told to stop.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Client, Lab, Process, bin, eventually, eventually_some};
use serde_json::Value;

/// Starts `up` without a Controller and waits for what it says when it is ready. Each test has its own `port`, below those that the system
/// gives to connections: what one test frees must not be taken by another that runs beside it.
pub fn start(lab: &Lab, name: &str, port: u16) -> (Process, Value) {
    start_with(lab, name, port, &["--files"])
}

/// As [`start`], with these arguments.
pub fn start_with(lab: &Lab, name: &str, port: u16, arguments: &[&str]) -> (Process, Value) {
    let mut command = Command::new(bin::path("forebay"));
    let port = port.to_string();
    command
        .args(["up", "--output", "json", "--port", &port, "--data"])
        .arg(lab.folder().join(name))
        .args(arguments);
    let process = Process::start(name, command, lab.folder());
    let ready = eventually_some("it says that it is ready", secs(20), || {
        process.printed().lines().find_map(|l| serde_json::from_str::<Value>(l).ok())
    });
    (process, ready)
}

/// The ids of all processes.
pub fn pids(ready: &Value) -> Vec<u64> {
    let all = ["engines", "servers"].map(|kind| ready[kind].as_array().unwrap());
    let led = ready["controller"]["pid"].as_u64();
    all.into_iter().flatten().map(|one| one["pid"].as_u64().unwrap()).chain(led).collect()
}

/// Whether a process with this id and one of our names is there.
pub fn lives(pid: u64) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    name.starts_with("forebay") && !state.contains(") Z ")
}

/// The address in a URL.
pub fn address(url: &Value) -> SocketAddr {
    url.as_str().unwrap().trim_start_matches("http://").parse().unwrap()
}

#[test]
fn an_interrupt_ends_all_of_it_and_leaves_only_the_data_folder() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let lab = Lab::new();
        let (mut process, ready) = start(&lab, "up", 28_180);
        assert_eq!(ready["services"].as_array().unwrap().len(), 4, "{ready}");
        for service in ready["services"].as_array().unwrap() {
            assert_eq!(Client::new(address(&service["url"])).get_once("/").unwrap().status, 200, "{service}");
        }
        let pids = pids(&ready);
        assert_eq!(pids.len(), 5, "two engines and three servers: {ready}");
        assert!(pids.iter().all(|p| lives(*p)), "{pids:?}");
        process.signal(signal);
        assert!(process.wait(secs(15)).success(), "{}", process.printed());
        assert!(!pids.iter().any(|p| lives(*p)), "{pids:?}");
        let here: Vec<PathBuf> =
            std::fs::read_dir(lab.folder()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(here.len(), 2, "the data folder, and the log of this test: {here:?}");
        assert!(
            process.printed().contains(&lab.folder().join("up").display().to_string()),
            "it names the folder"
        );
        for service in ready["services"].as_array().unwrap() {
            assert!(TcpStream::connect(address(&service["url"])).is_err(), "{service}");
        }
    }
}

#[test]
fn nothing_survives_even_if_it_is_killed() {
    let lab = Lab::new();
    let (mut process, ready) = start(&lab, "up", 28_280);
    let pids = pids(&ready);
    process.kill();
    eventually("its children die with it", secs(5), || !pids.iter().any(|p| lives(*p)));
}

#[test]
fn a_second_one_works_beside_the_first_and_a_used_folder_is_refused() {
    let lab = Lab::new();
    let (_first, one) = start(&lab, "one", 28_380);
    let (_second, two) = start(&lab, "two", 28_380);
    for ready in [&one, &two] {
        for service in ready["services"].as_array().unwrap() {
            assert_eq!(Client::new(address(&service["url"])).get_once("/").unwrap().status, 200, "{service}");
        }
    }
    assert_ne!(one["services"][0]["url"], two["services"][0]["url"]);
    assert!(two["notes"].to_string().contains("is taken"), "{two}");
    let again = Command::new(bin::path("forebay"))
        .args(["up", "--files", "--data"])
        .arg(lab.folder().join("one"))
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("in use"));
}

#[test]
fn a_folder_with_keys_of_somebody_else_is_refused_and_nothing_in_it_changes() {
    let lab = Lab::new();
    let folder = lab.folder().join("theirs");
    std::fs::create_dir_all(folder.join("pki")).unwrap();
    let files = ["pki/ca.key", "pki/notes.txt", "https.pem", "https.key", "lock"];
    for file in files {
        std::fs::write(folder.join(file), format!("their {file}")).unwrap();
    }
    let done = Command::new(bin::path("forebay"))
        .args(["up", "--files", "--once", "--clients", "8", "--port", "28780", "--data"])
        .arg(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    for file in files {
        assert_eq!(std::fs::read_to_string(folder.join(file)).ok(), Some(format!("their {file}")), "{said}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "nothing is made in it: {said}");
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("https.key, https.pem, lock, pki; name a folder with --data"), "{said}");
}

#[test]
fn the_greeting_names_addresses_lines_to_try_and_the_folder_in_few_lines() {
    let lab = Lab::new();
    let mut command = Command::new(bin::path("forebay"));
    command.args(["up", "--files", "--port", "28480", "--data"]).arg(lab.folder().join("up"));
    let process = Process::start("up", command, lab.folder());
    let text = eventually_some("it greets", secs(20), || {
        Some(process.printed()).filter(|t| t.contains("Ctrl-C stops all of it"))
    });
    // What was passed over stands above it.
    let greeting = text.lines().skip_while(|line| !line.starts_with("Forebay is up: "));
    assert!((20..=30).contains(&greeting.count()), "{text}");
    assert!(text.contains(&lab.folder().join("up").display().to_string()), "{text}");
    let curls: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("curl ")).collect();
    assert!(curls.len() >= 5, "four services and the metrics: {text}");
    for line in curls {
        // What is printed to be tried works as it stands.
        let done = Command::new("sh")
            .args(["-c", &format!("curl --silent --show-error --fail {line}")])
            .output()
            .unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let verify: Vec<&str> = text.lines().filter(|l| l.contains(" objsync verify ")).collect();
    assert_eq!(verify.len(), 1, "{text}");
    let done = Command::new("sh").args(["-c", verify[0].trim()]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let words = ["share their tables", "se-1 at 127.0.0.2:9", "se-2 at 127.0.0.3:9", "kill "];
    let told = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(told, "where they share their tables, and how one is stopped: {text}");
    let page = text.lines().find_map(|l| l.strip_prefix("Status page: http://")).unwrap();
    let answer = Client::new(page.trim_end_matches('/').parse().unwrap()).get_once("/").unwrap();
    assert!(answer.status == 200 && answer.text().contains("every monitor passes"), "{}", answer.text());
    assert!(!text.contains('\u{1b}'), "no terminal, no live view");
}
