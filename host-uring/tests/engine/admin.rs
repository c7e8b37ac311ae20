//! The admin socket against whatever is sent to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::rig::{Engine, Origin, address, secs, service};

fn engine() -> (Engine, Origin) {
    let origin = Origin::start();
    (Engine::start("", &service("web", address(), "", &[origin.address])), origin)
}

fn open(engine: &Engine) -> UnixStream {
    let stream = UnixStream::connect(engine.folder.join("a.sock")).expect("the socket is there");
    stream.set_read_timeout(Some(secs(15))).expect("the option is known");
    stream
}

fn answer(stream: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

//= test OBS-ADMIN-02
#[test]
fn garbage_gets_an_answer_or_a_closed_socket_and_harms_nobody() {
    let (engine, _origin) = engine();
    let mut stream = open(&engine);
    for line in [
        "",
        "{",
        "null",
        "{\"command\":\"explode\"}",
        "{\"command\":\"status\",\"x\":1}",
        "[[[[[[",
        "\u{0}\u{1}",
    ] {
        writeln!(stream, "{line}").expect("it is taken");
        let answer = answer(&stream);
        assert_eq!(
            (&answer["ok"], &answer["error"]["code"]),
            (&Value::Bool(false), &"usage".into()),
            "{line:?}"
        );
    }
    // Deep nesting must not exhaust the stack of the control thread.
    writeln!(stream, "{}", "[".repeat(100_000)).expect("it is taken");
    assert_eq!(answer(&stream)["ok"], false);
    writeln!(stream, "{{\"command\":\"status\"}}").expect("it is taken");
    assert_eq!(answer(&stream)["ok"], true);
    let mut endless = open(&engine);
    // It is closed before all of this is taken.
    let _ = endless.write_all(&vec![b'x'; 1 << 20]);
    let mut said = Vec::new();
    let _ = endless.read_to_end(&mut said);
    assert!(said.is_empty() || String::from_utf8_lossy(&said).contains("longer than"));
    for half in [&b"{\"comm"[..], b"\xff\xfe\n", b"\n\n\n"] {
        // Whoever goes away in the middle is not waited for.
        let _ = open(&engine).write_all(half);
    }
    assert_eq!(engine.json(&["status"])["ready"], true);
}

//= test OBS-ADMIN-01
#[test]
fn only_the_engines_user_may_ask_and_a_second_engine_does_not_take_the_socket() {
    let (engine, _origin) = engine();
    let socket = engine.folder.join("a.sock");
    let mode = std::fs::metadata(&socket).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut second = Engine::spawn("", &service("web", address(), "", &[address()]), &[]);
    std::fs::remove_file(second.folder.join("a.sock")).ok();
    second.ended_by_stop();
    let document = format!(
        "version = 1\n[engine]\nadmin_socket = \"{}\"\npersistence_mem_max_bytes = 1048576\naccess_log = {{ path = \"off\" }}\n{}",
        socket.display(),
        service("web", address(), "", &[address()])
    );
    std::fs::write(second.folder.join("other.toml"), document).expect("written");
    let done = std::process::Command::new(crate::rig::PROGRAM)
        .args(["run", "--config", "other.toml"])
        .current_dir(&second.folder)
        .output()
        .expect("it runs");
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("another engine (process "), "{said}");
    assert_eq!(engine.json(&["status"])["ready"], true);
}

/// A second engine, which does not outlive its test.
struct Second(std::process::Child);

impl Second {
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("our child")
    }

    fn ends_when_told(&mut self) {
        // SAFETY: kill takes two integers; the process is our own child and not yet waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        crate::rig::eventually("it ends", secs(20), || self.ended().is_some());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a second engine in the folder of `first`, with its admin socket, on other addresses.
fn second_in_the_folder_of(first: &Engine) -> Second {
    let document = format!(
        "version = 1\n[engine]\nadmin_socket = \"a.sock\"\npersistence_mem_max_bytes = 1048576\n\
         access_log = {{ path = \"off\" }}\n{}",
        service("web", address(), "", &[address()])
    );
    std::fs::write(first.folder.join("second.toml"), document).expect("written");
    let log = std::fs::File::create(first.folder.join("second.log")).expect("the log is made");
    let child = std::process::Command::new(crate::rig::PROGRAM)
        .args(["run", "--config", "second.toml"])
        .current_dir(&first.folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .spawn();
    Second(child.expect("it runs"))
}

fn second_says(first: &Engine, what: &str) -> bool {
    std::fs::read_to_string(first.folder.join("second.log")).is_ok_and(|said| said.contains(what))
}

/// Somebody has removed the socket, so that nothing but the lock shows that an engine is there.
//= test OBS-STATE-01
#[test]
fn one_state_folder_has_one_engine_at_a_time_and_is_free_when_that_one_is_killed() {
    let (mut engine, _origin) = engine();
    std::fs::remove_file(engine.folder.join("a.sock")).expect("it is there");
    let mut second = second_in_the_folder_of(&engine);
    crate::rig::eventually("the second is refused", secs(20), || {
        second.ended().is_some_and(|status| status.code() == Some(1))
    });
    assert!(second_says(&engine, "another engine (process "));
    assert!(!engine.folder.join("a.sock").exists(), "it made nothing");
    engine.signal(libc::SIGKILL);
    engine.ended(secs(10));
    let mut second = second_in_the_folder_of(&engine);
    crate::rig::eventually("the next one starts", secs(20), || second_says(&engine, "SE_UP"));
    assert!(engine.folder.join("a.sock.lock").exists());
    second.ends_when_told();
    assert!(!engine.folder.join("a.sock.lock").exists(), "nothing is left behind");
}

#[test]
fn a_socket_left_by_a_dead_engine_is_replaced() {
    let origin = Origin::start();
    let rest = service("web", address(), "", &[origin.address]);
    let engine = Engine::spawn("", &rest, &[]);
    // SIGKILL leaves the socket behind.
    crate::rig::eventually("the socket is there", secs(10), || engine.folder.join("a.sock").exists());
    engine.signal(libc::SIGKILL);
    crate::rig::eventually("it is dead", secs(5), || {
        UnixStream::connect(engine.folder.join("a.sock")).is_err()
    });
    let mut next = second_in_the_folder_of(&engine);
    crate::rig::eventually("the next one starts", secs(20), || second_says(&engine, "SE_UP"));
    assert!(UnixStream::connect(engine.folder.join("a.sock")).is_ok(), "with a socket of its own");
    next.ends_when_told();
}

//= test OBS-ADMIN-02
#[test]
fn silent_clients_keep_nobody_from_the_admin_socket() {
    let (engine, _origin) = engine();
    let silent: Vec<UnixStream> = (0..40)
        .map(|n| {
            let mut stream = open(&engine);
            if n % 2 == 1 {
                stream.write_all(b"{\"command\":").expect("it takes half a request");
            }
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    assert_eq!(engine.json(&["status"])["ready"], true);
    assert!(began.elapsed() < secs(3), "{:?}", began.elapsed());
    drop(silent);
}

/// Somebody has removed the file, and another engine has made its own in its place.
//= test OBS-ADMIN-01
#[test]
fn an_engine_that_stops_leaves_the_socket_of_another_one() {
    let (mut engine, _origin) = engine();
    let socket = engine.folder.join("a.sock");
    std::fs::remove_file(&socket).expect("it is there");
    let other = std::os::unix::net::UnixListener::bind(&socket).expect("the place is free");
    engine.signal(libc::SIGTERM);
    assert_eq!(engine.ended(secs(10)), Some(0));
    assert!(UnixStream::connect(&socket).is_ok(), "it is still there");
    drop(other);
}
