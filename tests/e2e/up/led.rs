//! `forebay up` with a Controller: the first five minutes.

use std::io::Write;
use std::process::{Command, Stdio};

use forebay_e2e::metrics::Page;
use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Lab, bin};
use serde_json::Value;

use crate::running::{address, lives, pids, start_with};

/// Runs `forebay` as a user with a home in the lab; gives what it prints, and its exit code.
fn forebay(lab: &Lab, words: &[&str], input: &str) -> (String, Option<i32>) {
    let mut command = Command::new(bin::path("forebay"));
    command.args(words).env("XDG_CONFIG_HOME", lab.folder().join("config")).env_remove("FOREBAY_CONTROLLER");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let said = [done.stdout, done.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), done.status.code())
}

fn answered(engine: &Value) -> f64 {
    let at = address(&engine["status_page"].as_str().expect("a url").trim_end_matches('/').into());
    Page::read(at).unwrap_or_default().sum("forebay_requests_total", &[])
}

/// What the shell completes is there, and tells of what runs.
//= test VIEW-ENGINES-01
//= test VIEW-TABLES-02
fn every_view_that_the_shell_offers_is_answered(lab: &Lab) {
    let telling = [
        ("virtualservice", "address", "keyval", "127.0.1.1"),
        ("pool", "cookie", "hmon", "probes_passed"),
        ("pool", "cookie", "algo", "LB_ALGORITHM_"),
        ("pool", "cookie", "connpool", "requests_on_kept"),
        ("serviceengine", "se-1", "flowtablestat", "connections_open"),
        ("serviceengine", "se-1", "cpu", "se_stats.avg_cpu_usage"),
        ("serviceengine", "se-1", "interface", "127.0.0.1/8"),
    ];
    for (kind, name) in [("virtualservice", "address"), ("pool", "cookie"), ("serviceengine", "se-1")] {
        let (said, _) = forebay(lab, &["shell"], &format!("show {kind} {name} nonsense\n"));
        let (_, known) = said.split_once(&format!("view \"nonsense\" of a {kind}: ")).expect("it names them");
        let known: Vec<&str> = known.lines().next().expect("a line").split(", ").collect();
        let own = telling.iter().filter(|(of, ..)| *of == kind);
        assert!(own.clone().all(|(_, _, view, _)| known.contains(view)), "{known:?}");
        for view in known {
            let (said, code) = forebay(lab, &["shell"], &format!("show {kind} {name} {view}\n"));
            assert!(code == Some(0) && !said.contains("| error"), "{kind} {view}: {said}");
            let what = own.clone().find(|(_, _, told, _)| *told == view).map_or("", |(.., what)| what);
            assert!(said.contains(what), "{kind} {view} does not tell of {what}: {said}");
        }
    }
    // Five clients have asked, and one of them is listed.
    let (said, _) = forebay(lab, &["shell"], "show pool address internal filter page_size 1\n");
    let (_, count) = said.split_once("num_persistence_objs").expect("a count");
    let count = count.split_whitespace().nth(1).and_then(|count| count.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count >= 5), "{said}");
    // A service of which engines know the listeners, and no name of its own.
    let (said, code) = forebay(lab, &["vs", "set", "https", "pool_ref=address"], "");
    assert_eq!(code, Some(0), "{said}");
    eventually("its table is told of", secs(20), || {
        let (said, code) = forebay(lab, &["shell"], "show pool address objsync filter vs_ref https\n");
        code == Some(0) && !said.contains("| error") && said.contains("pooluuid")
    });
}

//= test CLI-SCALE-01
//= test CLI-WAIT-01
#[test]
fn a_user_logs_in_scales_out_kills_the_primary_and_every_client_goes_on() {
    let lab = Lab::new();
    let (mut up, ready) = start_with(&lab, "up", 28_880, &[]);
    let controller = &ready["controller"];
    let text = |name: &str| controller[name].as_str().expect("a text").to_owned();
    let at = text("url").trim_start_matches("https://").to_owned();
    let (said, code) = forebay(
        &lab,
        &["login", &at, "--fingerprint", &text("fingerprint"), "--password-stdin"],
        &text("password"),
    );
    assert_eq!(code, Some(0), "{said}");
    let (list, code) = forebay(&lab, &["vs", "list", "--output", "name"], "");
    assert_eq!((list.lines().count(), code), (5, Some(0)), "{list}");
    let services = ready["services"].as_array().expect("services");
    let by_cookie = address(&services[0]["url"]);
    let mut clients: Vec<Client> = (0..16).map(|_| Client::new(by_cookie)).collect();
    let ask = |client: &mut Client| client.get_once("/").map(|answer| answer.server().to_owned());
    let first: Vec<String> = clients.iter_mut().map(|client| ask(client).expect("an answer")).collect();

    for (change, state) in [("enabled=false", "plain: OPER_DISABLED"), ("enabled=true", "plain: OPER_UP")] {
        let (said, code) = forebay(&lab, &["vs", "set", "plain", change, "--wait"], "");
        assert!(code == Some(0) && said.contains(state), "{said}");
    }

    let (said, code) = forebay(&lab, &["scaleout", "cookie", "--wait"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cookie: SCALEOUT_SUCCESS"), "{said}");
    let (said, code) = forebay(&lab, &["scaleout", "cookie"], "");
    assert!(code != Some(0) && said.contains("no engine can take it"), "{said}");
    let engines = ready["engines"].as_array().expect("engines");
    eventually("both engines answer", secs(10), || {
        clients.iter_mut().zip(&first).for_each(|(client, server)| {
            assert_eq!(ask(client).expect("an answer"), *server, "it finds its server");
        });
        engines.iter().all(|engine| answered(engine) > 0.0)
    });

    let (runtime, _) = forebay(&lab, &["shell"], "show virtualservice cookie runtime\n");
    assert!(runtime.contains("OPER_UP"), "{runtime}");
    every_view_that_the_shell_offers_is_answered(&lab);
    let (said, code) = forebay(&lab, &["switchover", "cookie"], "");
    assert_eq!(code, Some(0), "{said}");
    let killed = engines[0]["pid"].as_u64().expect("an id");
    // SAFETY: a system call without memory; the process is a child of a child of ours.
    unsafe { libc::kill(killed as libc::pid_t, libc::SIGKILL) };
    eventually("it is gone", secs(10), || !lives(killed));
    // The kernel takes its sockets back a moment later: who came to one of them asks again.
    eventually("its sockets are gone", secs(10), || clients.iter_mut().all(|client| ask(client).is_ok()));
    for (client, server) in clients.iter_mut().zip(&first) {
        assert_eq!(ask(client).expect("an answer"), *server, "it finds its server");
    }
    let pids = pids(&ready);
    assert_eq!(pids.len(), 6, "a Controller, two engines, three servers: {ready}");
    up.signal(libc::SIGINT);
    assert!(up.wait(secs(15)).success(), "{}", up.printed());
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
}
