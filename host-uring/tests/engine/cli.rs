//! The command line: exit codes, messages, scripts.

use std::process::{Command, Output};

use crate::rig::{Engine, Origin, PROGRAM, address, eventually, secs, service, through};

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//= test OBS-CLI-01
#[test]
fn each_failure_has_its_exit_code_and_says_what_to_do() {
    let folder = std::env::temp_dir().join(format!("forebay-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let bad = folder.join("bad.toml");
    std::fs::write(&bad, "version = 1\n[[pool]]\nname = \"p\"\nalgoritm = \"random\"\nserver = 1\n")
        .expect("written");
    let bad = bad.to_str().expect("a path");
    let latin = folder.join("latin.toml");
    std::fs::write(&latin, b"version = 1 # \xe9\n").expect("written");
    let latin = latin.to_str().expect("a path");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["check", "--config", latin], 1, "save it as UTF-8"),
        (&["run", "--config", latin], 1, "save it as UTF-8"),
        (&["status", "--socket", "/nonexistent.sock"], 7, "start one with forebay-se run"),
        (&["check", "--config", "/nonexistent.toml"], 3, "name the configuration"),
        (&["check", "--config", bad], 1, "did you mean \"algorithm\"?"),
        (&["run", "--config", bad], 1, "2 problems"),
        (&["persistence", "--client", "a", "--cookie", "b"], 2, "cannot be used with"),
        (&["explain", "/", "-H", "no colon"], 2, "Cookie: a=b"),
    ];
    for (arguments, code, said) in cases {
        let done = run(arguments);
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let done = run(&["check", "--config", bad, "--output", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(list["problems"][0]["line"], 4);
    assert_eq!(list["problems"][1]["path"], "pool[0].server");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

//= test CFG-PATH-02
#[test]
fn a_configuration_is_not_its_own_log() {
    let folder = std::env::temp_dir().join(format!("forebay-own-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("se.toml");
    let link = folder.join("link.log");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    for named in ["se.toml", "./se.toml", link.to_str().expect("a path")] {
        let document = format!("version = 1\n[engine]\naccess_log = {{ path = \"{named}\" }}\n");
        std::fs::write(&file, &document).expect("written");
        for command in ["check", "run"] {
            let done = run(&[command, "--config", file.to_str().expect("a path")]);
            let error = text(&done.stderr);
            assert_eq!(done.status.code(), Some(1), "{command} {named}: {error}");
            assert!(error.contains("se.toml:3: engine.access_log.path: "), "{command} {named}: {error}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), document);
    }
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

//= test CFG-PATH-03
#[test]
fn a_file_of_authorities_that_is_none_is_a_problem_of_the_configuration() {
    let folder = std::env::temp_dir().join(format!("forebay-authorities-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("se.toml");
    std::fs::write(folder.join("empty.pem"), "nothing\n").expect("written");
    // A pipe that nobody writes into would be waited for.
    for (named, said) in [
        ("absent.pem", "No such file"),
        ("empty.pem", "holds no certificate"),
        ("/dev/zero", "no ordinary file"),
    ] {
        let document = format!(
            "version = 1\n[[health_monitor]]\nname = \"m\"\ntype = \"https\"\nca_file = \"{named}\"\n\
             [[pool]]\nname = \"p\"\nhealth_monitors = [\"m\"]\n[[pool.server]]\naddress = \"127.0.0.1:1\"\n\
             [[virtual_service]]\nname = \"v\"\nlisten = [\"127.0.0.1:18099\"]\npool = \"p\"\n"
        );
        std::fs::write(&file, &document).expect("written");
        let done = run(&["check", "--config", file.to_str().expect("a path")]);
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{named}: {error}");
        assert!(error.contains("se.toml:5: health_monitor[0].ca_file: "), "{named}: {error}");
        assert!(error.contains(said), "{named}: {error}");
    }
    let document = std::fs::read_to_string(&file).expect("it is there").replace(
        "ca_file = \"/dev/zero\"",
        "client_certificate_file = \"absent.pem\"\nclient_key_file = \"empty.pem\"",
    );
    std::fs::write(&file, &document).expect("written");
    let done = run(&["check", "--config", file.to_str().expect("a path")]);
    let error = text(&done.stderr);
    assert!(error.contains("se.toml:5: health_monitor[0].client_certificate_file: "), "{error}");
    assert!(error.contains("No such file") && error.contains("the certificate of the engine"), "{error}");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let bash = text(&run(&["completions", "bash"]).stdout);
    let man = text(&run(&["man"]).stdout);
    for command in ["run", "check", "status", "servers", "persistence", "explain"] {
        assert!(bash.contains(command), "{command} is not completed");
        assert!(man.contains(command), "{command} is not in the manual");
    }
    let syntax =
        Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn().and_then(|mut child| {
            use std::io::Write;
            child.stdin.take().expect("a pipe").write_all(bash.as_bytes())?;
            child.wait()
        });
    assert!(syntax.expect("bash runs").success());
}

#[test]
fn status_and_servers_say_what_is_down_and_why() {
    let (up, down, listen) = (Origin::start(), address(), address());
    let monitor = crate::rig::MONITOR;
    let engine = Engine::start(
        "",
        &(service("web", listen, "health_monitors = [\"http\"]", &[up.address, down]) + monitor),
    );
    eventually("the second server is down", secs(10), || {
        text(&engine.ask(&["status"]).stdout)
            .contains("is down: monitor http: no connection: connection refused")
    });
    let status = text(&engine.ask(&["status"]).stdout);
    assert!(status.contains("1 of 2"), "{status}");
    assert!(status.lines().count() <= 24, "the status fits a screen");
    let servers = engine.json(&["servers", "--pool", "web"]);
    assert_eq!(servers["servers"][1]["state"], "down");
    assert_eq!(servers["servers"][0]["state"], "up");
    let missing = engine.ask(&["servers", "--pool", "wbe"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing.stderr).contains("did you mean \"web\"?"));
}

//= test OBS-EXPLAIN-01
#[test]
fn explain_names_the_server_of_a_cookie_and_changes_nothing() {
    let (one, two, listen) = (Origin::start(), Origin::start(), address());
    let rest = service("web", listen, "persistence = \"sticky\"", &[one.address, two.address])
        + "[[persistence]]\nname = \"sticky\"\ntype = \"http_cookie\"\ncookie_name = \"S\"\n"
        + crate::rig::COOKIE_KEY;
    let engine = Engine::start("", &rest);
    let answer = through(listen, "/", "").expect("an answer");
    let cookie =
        answer.lines().find_map(|l| l.strip_prefix("Set-Cookie: ")).expect("a cookie").split(';').next();
    let cookie = cookie.expect("a value").to_owned();
    let owner = engine.json(&["servers"])["servers"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|s| s["responses"] == 1)
        .map(|s| s["server"].clone())
        .expect("one of them answered");
    let before = (
        one.accepted.load(std::sync::atomic::Ordering::Relaxed),
        engine.metric("forebay_requests_total", &[]),
    );
    for _ in 0..20 {
        let explained = engine.json(&["explain", "/", "-H", &format!("Cookie: {cookie}")]);
        assert_eq!(explained["server"], owner, "{explained}");
        assert_eq!(explained["reason"]["chosen_by"], "persistence");
    }
    let forged = engine.json(&["explain", "/", "-H", "Cookie: S=k1.AAAA"]);
    assert_eq!(
        (&forged["reason"]["key"], &forged["reason"]["chosen_by"]),
        (&"invalid".into(), &"algorithm".into())
    );
    let after = (
        one.accepted.load(std::sync::atomic::Ordering::Relaxed),
        engine.metric("forebay_requests_total", &[]),
    );
    assert_eq!(before, after);
}

//= test OBS-PERSIST-01
#[test]
fn persistence_lists_the_clients_that_the_filter_wants() {
    let (one, listen) = (Origin::start(), address());
    let rest = service("web", listen, "persistence = \"ip\"", &[one.address])
        + &service("other", address(), "persistence = \"ip\"", &[one.address])
        + "[[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\n";
    let engine = Engine::start("", &rest);
    through(listen, "/", "").expect("an answer");
    let found = engine.json(&["persistence"]);
    assert_eq!(found["matching"], 1, "{found}");
    let key = found["entries"][0]["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("127."), "{found}");
    assert_eq!(found["entries"][0]["server"], one.address.to_string());
    assert_eq!(engine.json(&["persistence", "--client", &key])["matching"], 1);
    assert_eq!(engine.json(&["persistence", "--client", "192.0.2.1"])["matching"], 0);
    assert_eq!(engine.json(&["persistence", "--server", &one.address.to_string()])["matching"], 1);
    assert_eq!(engine.json(&["persistence", "--server", "192.0.2.1"])["matching"], 0);
    assert_eq!(engine.ask(&["persistence", "--client", "moon"]).status.code(), Some(2));
    assert_eq!(engine.json(&["persistence", "--pool", "web"])["matching"], 1);
    assert_eq!(engine.json(&["persistence", "--pool", "other"])["matching"], 0);
    assert_eq!(engine.ask(&["persistence", "--pool", "none"]).status.code(), Some(3));
}

//= test OBS-STOP-01
#[test]
fn sigterm_ends_the_engine_cleanly_and_removes_its_socket() {
    let (one, listen) = (Origin::start(), address());
    let mut engine = Engine::start("", &service("web", listen, "", &[one.address]));
    engine.signal(libc::SIGTERM);
    assert_eq!(engine.ended(secs(10)), Some(0));
    assert!(!engine.folder.join("a.sock").exists());
    assert!(through(listen, "/", "").is_none(), "the port is closed");
}

//= test OBS-CONFIG-01
#[test]
fn the_engine_and_its_commands_find_the_paths_of_a_configuration_from_any_folder() {
    let (one, listen) = (Origin::start(), address());
    let mut engine = Engine::start("", &service("web", listen, "", &[one.address]));
    engine.ended_by_stop();
    let elsewhere = engine.folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(crate::rig::PROGRAM);
        command.args(arguments).args(["--config", "../se.toml"]).current_dir(&elsewhere);
        command.stderr(std::process::Stdio::null());
        command
    };
    let mut child = run(&["run"]).spawn().expect("it starts");
    eventually("its commands find it from there", secs(10), || {
        run(&["status"]).output().expect("it runs").status.success()
    });
    assert!(engine.ask(&["status"]).status.success(), "the socket lies beside the configuration");
    through(listen, "/", "").expect("an answer");
    eventually("so does the access log", secs(5), || engine.access_log("access.log").contains("uri_path"));
    assert!(!elsewhere.join("access.log").exists());
    child.kill().expect("it is our child");
    child.wait().expect("it ends");
}

//= test OBS-START-01
#[test]
fn what_keeps_an_engine_from_starting_is_said_with_its_remedy() {
    let taken = std::net::TcpListener::bind(address()).expect("a free address");
    let listen = taken.local_addr().expect("an address");
    let mut engine = Engine::spawn("", &service("web", listen, "", &[address()]), &[]);
    assert_eq!(engine.ended(secs(10)), Some(1));
    assert!(engine.said().contains("another process listens there"), "{}", engine.said());
    let mut engine =
        Engine::spawn("", &service("web", address(), "", &[address()]), &["prlimit", "--nofile=64:64"]);
    assert_eq!(engine.ended(secs(10)), Some(1));
    assert!(engine.said().contains("64 file descriptors are allowed and"), "{}", engine.said());
}

//= test OBS-SIGNAL-01
#[test]
fn a_signal_that_means_nothing_to_the_engine_does_not_end_it() {
    let (one, listen) = (Origin::start(), address());
    let engine = Engine::start("", &service("web", listen, "", &[one.address]));
    engine.signal(libc::SIGUSR1);
    eventually("it is told", secs(5), || engine.said().contains("signal=\"SIGUSR1\""));
    assert!(through(listen, "/", "").is_some_and(|answer| answer.contains(" 200 ")));
}

//= test OBS-BIND-01
#[test]
fn a_port_that_an_outgoing_connection_holds_is_not_said_to_be_listened_on() {
    let server = std::net::TcpListener::bind(address()).expect("a free address");
    let wanted = address();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&wanted.into()).expect("a free address");
    socket.connect(&server.local_addr().expect("it is bound").into()).expect("it listens");
    let mut engine = Engine::spawn("", &service("web", wanted, "", &[address()]), &[]);
    assert_eq!(engine.ended(secs(10)), Some(1));
    let said = engine.said();
    assert!(said.contains("nobody listens there, but a connection of this machine has the port"), "{said}");
    assert!(said.contains("ip_local_reserved_ports"), "the remedy: {said}");
}
