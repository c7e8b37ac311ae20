//! What runs out: file descriptors, log disk, io_uring.

use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Options, Scene, Wire, bin, config, eventually, system};

use super::workers::started;

/// Asks or sets the number of descriptors that the running engine may have.
pub(crate) fn descriptors(engine: &Engine, what: &str) -> String {
    let mut command = Command::new(bin::foreign("prlimit", "util-linux"));
    let pid = engine.process.pid().to_string();
    let done =
        command.args(["--pid", &pid, what, "--noheadings", "--raw", "--output=SOFT"]).output().unwrap();
    assert!(done.status.success(), "prlimit {what}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// The numbers of the descriptors that the engine has.
pub(crate) fn open_descriptors(engine: &Engine) -> Vec<u64> {
    let folder = format!("/proc/{}/fd", engine.process.pid());
    let names = std::fs::read_dir(folder).unwrap();
    names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

//= test SE-LIMIT-02
#[test]
fn with_no_descriptor_left_old_connections_are_served_and_new_ones_as_soon_as_one_is_free() {
    let mut scene = Scene::new("", "");
    let mut kept = scene.client();
    for _ in 0..30 {
        // So many that every server has a connection that waits for use.
        assert_eq!(kept.get("/").unwrap().status, 200);
    }
    let usual = descriptors(&scene.engine, "--nofile");
    let open = open_descriptors(&scene.engine);
    let limit = (0..).find(|fd| !open.contains(fd)).unwrap() + 10;
    descriptors(&scene.engine, &format!("--nofile={limit}:"));
    let mut crowd: Vec<Wire> = (0..200).map(|_| Wire::connect(scene.at).unwrap()).collect();
    eventually("the engine has no descriptor left", secs(10), || {
        open_descriptors(&scene.engine).into_iter().filter(|fd| *fd < limit).count() as u64 == limit
    });
    for _ in 0..20 {
        assert_eq!(kept.get("/").unwrap().status, 200, "a kept connection is served all the while");
    }
    descriptors(&scene.engine, &format!("--nofile={usual}:"));
    for (n, wire) in crowd.iter_mut().enumerate() {
        wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = wire.head().unwrap_or_else(|e| panic!("connection {n}, which waited: {e}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "connection {n}: {head}");
    }
    assert!(scene.engine.metric("forebay_accept_errors_total", &[]) > 0.0, "it did run out of descriptors");
    assert_eq!(scene.engine.metric("forebay_connections_refused_total", &[]), 0.0, "that is no refusal");
    drop(crowd);
    super::is_well(&mut scene);
}

#[test]
fn an_engine_started_with_few_descriptors_refuses_what_is_over_its_limit_and_serves_the_rest() {
    let under =
        vec![bin::foreign("prlimit", "util-linux").to_string_lossy().into_owned(), "--nofile=160:160".into()];
    let mut scene = Scene::with(Lab::new(), "", "", Options { under, ..Options::default() });
    let mut kept = scene.client();
    kept.get("/").unwrap();
    let crowd: Vec<Wire> = (0..400).filter_map(|_| Wire::connect(scene.at).ok()).collect();
    eventually("connections over the limit are refused", secs(10), || {
        scene.engine.metric("forebay_connections_refused_total", &[]) > 0.0
    });
    for _ in 0..20 {
        assert_eq!(kept.get("/").unwrap().status, 200, "a kept connection is served all the while");
    }
    assert_eq!(scene.engine.metric("forebay_accept_errors_total", &[]), 0.0, "the limit leaves enough");
    drop(crowd);
    eventually("new clients are served again", secs(10), || {
        scene.client().patience(secs(2)).get_once("/").is_ok_and(|a| a.status == 200)
    });
    super::is_well(&mut scene);
}

/// Starts the engine with a file system of 64 KiB at `log/`, in a mount namespace of its own.
fn on_a_tiny_disk(lab: Lab) -> Scene {
    let folder = lab.folder().join("log");
    std::fs::create_dir(&folder).unwrap();
    let script = format!("mount -t tmpfs -o size=64k tmpfs {} && exec \"$@\"", folder.display());
    let unshare = bin::foreign("unshare", "util-linux").to_string_lossy().into_owned();
    let under = [unshare.as_str(), "--mount", "--map-root-user", "sh", "-c", &script, "sh"];
    let options = Options {
        under: under.map(str::to_owned).to_vec(),
        access_log: "log/access.log".into(),
        ..Options::default()
    };
    Scene::with(lab, "", "", options)
}

#[test]
fn with_a_full_log_disk_requests_are_served_and_what_is_lost_is_counted() {
    let mut scene = on_a_tiny_disk(Lab::new());
    let mut client = scene.client();
    for n in 0..600 {
        assert_eq!(client.get("/").unwrap().status, 200, "request {n}");
    }
    let lines = |result| scene.engine.metric("forebay_access_log_lines_total", &[("result", result)]);
    eventually("every line is counted as what it became", secs(10), || {
        let all = lines("written") + lines("dropped") + lines("lost");
        all == scene.engine.metric("forebay_requests_total", &[])
    });
    let (written, gone) = (lines("written"), lines("dropped") + lines("lost"));
    assert!(written > 0.0 && gone > 0.0, "{written} written, {gone} dropped or lost");
    // A line is longer than 100 bytes, so the disk has room for less than 656.
    assert!(written < 656.0, "{written} lines on a disk of 64 KiB");
    super::is_well(&mut scene);
    // Room again: somebody empties the file, as a rotation would.
    let inside = format!(
        "/proc/{}/root{}",
        scene.engine.process.pid(),
        scene.lab.folder().join("log/access.log").display()
    );
    std::fs::OpenOptions::new().write(true).open(&inside).unwrap().set_len(0).unwrap();
    eventually("lines are written again", secs(10), || {
        client.get("/again").unwrap();
        std::fs::read(&inside).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("/again"))
    });
}

#[test]
fn where_io_uring_is_refused_the_engine_says_so_and_runs_on_epoll() {
    // The last is what a kernel says that does not know SINGLE_ISSUER or DEFER_TASKRUN.
    for error in [libc::ENOMEM, libc::EPERM, libc::ENOSYS, libc::EINVAL] {
        let options = Options { io_uring_error: Some(error), ..Options::default() };
        let mut scene = Scene::with(Lab::new(), "algorithm = \"round_robin\"", "", options);
        for _ in 0..30 {
            assert_eq!(scene.client().get_once("/bytes?n=100000").unwrap().body.len(), 100_000);
        }
        let printed = scene.engine.process.printed();
        assert!(printed.contains("epoll") && printed.contains("io_uring"), "error {error}: {printed}");
        super::is_well(&mut scene);
    }
}

#[test]
fn where_io_uring_is_to_be_had_every_worker_runs_on_it() {
    if let Err(refusal) = system::io_uring_is_to_be_had() {
        return forebay_e2e::skip(&format!("io_uring is refused here ({refusal})"));
    }
    // An empty word turns a wish for epoll in the environment off.
    let env = vec![("FOREBAY_NO_IO_URING".into(), String::new())];
    let mut scene = Scene::with(Lab::new(), "", "", Options { env, ..Options::default() });
    for worker in 0..2 {
        let line = started(&scene.engine, worker).pop().expect("it said that it accepts");
        assert!(line.contains("backend=\"io_uring\""), "{line}");
    }
    super::is_well(&mut scene);
}

#[test]
fn with_no_lockable_memory_and_no_right_to_more_the_engine_runs() {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let program = |name| bin::foreign(name, "util-linux").to_string_lossy().into_owned();
    let words = ["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"].map(str::to_owned);
    let mut under = vec![program("setpriv")];
    under.extend(words);
    under.extend([program("prlimit"), "--memlock=0:0".into()]);
    let mut scene = Scene::with(Lab::new(), "", "", Options { under, ..Options::default() });
    let of_process = |file: &str, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", scene.engine.process.pid())).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(name)).expect("a line of this name");
        line.split_whitespace().next().expect("a value").to_owned()
    };
    assert_eq!(of_process("limits", "Max locked memory"), "0");
    let rights = u64::from_str_radix(&of_process("status", "CapEff:"), 16).unwrap();
    assert_eq!(rights & CAP_IPC_LOCK, 0, "with this right the limit would not count");
    for _ in 0..30 {
        assert_eq!(scene.client().get_once("/bytes?n=100000").unwrap().body.len(), 100_000);
    }
    super::is_well(&mut scene);
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let lab = Lab::new();
    let taken = std::net::TcpListener::bind((lab.ip(), 0)).unwrap();
    let at = taken.local_addr().unwrap();
    let demo = lab.demo("a");
    let text = config::service("web", at) + &config::pool("web", "", &[demo.address]);
    let mut engine = Engine::spawn(&lab, &text, &Options::default());
    let status = engine.process.wait(secs(15));
    assert!(!status.success());
    let printed = engine.process.printed();
    assert!(printed.contains(&at.port().to_string()), "{printed}");
}

#[test]
fn two_engines_never_share_a_port_by_accident() {
    let scene = Scene::new("", "");
    let text = config::service("web", scene.at) + &config::pool("web", "", &[scene.servers[0].address]);
    let mut second = Engine::spawn(&scene.lab, &text, &Options::default());
    assert!(!second.process.wait(secs(15)).success(), "it must not start: {}", second.process.printed());
}
