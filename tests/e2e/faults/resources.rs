//! What runs out: file descriptors, log disk, io_uring.

use forebay_e2e::wait::secs;
use forebay_e2e::{Engine, Lab, Options, Scene, Wire, bin, config, eventually};

#[test]
fn with_no_descriptor_left_old_connections_are_served_and_new_ones_as_soon_as_possible() {
    let under =
        vec![bin::foreign("prlimit", "util-linux").to_string_lossy().into_owned(), "--nofile=160:160".into()];
    let mut scene = Scene::with(Lab::new(), "", "", Options { under, ..Options::default() });
    let mut kept = scene.client();
    kept.get("/").unwrap();
    let crowd: Vec<Wire> = (0..400).filter_map(|_| Wire::connect(scene.at).ok()).collect();
    eventually("the engine says that it cannot accept", secs(10), || {
        kept.get("/").is_ok_and(|a| a.status == 200) && {
            // Its own page may have no descriptor either; the connection that asks for it waits.
            forebay_e2e::metrics::Page::read(scene.engine.metrics).is_some_and(|p| {
                p.sum("forebay_accept_errors_total", &[]) + p.sum("forebay_connections_refused_total", &[])
                    > 0.0
            })
        }
    });
    for _ in 0..20 {
        assert_eq!(kept.get("/").unwrap().status, 200, "a kept connection is served all the while");
    }
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
    let dropped = |engine: &Engine| {
        engine.metric("forebay_access_log_lines_total", &[("result", "dropped")])
            + engine.metric("forebay_access_log_lines_total", &[("result", "lost")])
    };
    eventually("what does not fit is counted", secs(5), || dropped(&scene.engine) > 0.0);
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
    for error in [libc::ENOMEM, libc::EPERM, libc::ENOSYS] {
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
fn with_no_lockable_memory_the_engine_runs() {
    let under =
        vec![bin::foreign("prlimit", "util-linux").to_string_lossy().into_owned(), "--memlock=0:0".into()];
    let mut scene = Scene::with(Lab::new(), "", "", Options { under, ..Options::default() });
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
