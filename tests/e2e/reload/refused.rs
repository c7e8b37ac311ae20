//! What is not loaded, and who asks.

use std::io::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use forebay_e2e::wait::{eventually, ms, secs};
use forebay_e2e::{Client, Engine, Lab, Options, bin};

use crate::web;

//= test RELOAD-BROKEN-01
//= test RELOAD-START-01
#[test]
fn a_broken_file_or_a_setting_of_the_start_changes_nothing_and_is_said() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address]));
    let good = std::fs::read_to_string(&engine.config).expect("its file");
    let other = good.replace(&a.address.to_string(), &b.address.to_string());
    let cases = [
        (other.replace("[[pool]]", "[[pool"), "line "),
        (other.replace("[[pool]]", "[[pools]]"), "pools"),
        (other.replace("workers = 2", "workers = 1"), "engine.workers"),
        (other.replace("memory_gib = 1", "memory_gib = 2"), "engine.memory_gib"),
        (other.replace("\"access.log\"", "\"other.log\""), "engine.access_log"),
        (
            other.replace("[engine]", "[engine]\ntable_secret = \"AAECAwQFBgcICQoLDA0ODw==\""),
            "engine.table_secret",
        ),
    ];
    for (text, named) in &cases {
        assert_ne!(*text, other, "{named}");
        std::fs::write(&engine.config, text).expect("written");
        let answer = engine.reload();
        assert_eq!(answer["ok"], false, "{named}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(named), "{named}: {reason}");
        assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a", "{named}");
    }
    std::fs::remove_file(&engine.config).expect("it is there");
    assert_eq!(engine.reload()["ok"], false, "no file");
    assert_eq!(
        engine.metric("forebay_config_reloads_total", &[("result", "refused")]),
        cases.len() as f64 + 1.0
    );
    assert_eq!(engine.metric("forebay_config_last_reload_ok", &[]), 0.0);
    assert_eq!(engine.metric("forebay_config_generation", &[]), 1.0);
    assert!(engine.process.printed().contains("CONFIG_REFUSED"));
    std::fs::write(&engine.config, other).expect("written");
    assert_eq!(engine.reload()["data"]["outcome"], "loaded");
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b");
    assert_eq!(engine.metric("forebay_config_last_reload_ok", &[]), 1.0);
}

//= test OBS-CLI-02
#[test]
fn every_command_finds_an_engine_by_a_file_that_is_broken() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address, b.address]));
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(bin::path("forebay-se"));
        command.args(arguments).arg("--config").arg(&engine.config).output().expect("the program starts")
    };
    let good = std::fs::read_to_string(&engine.config).expect("its file");
    let server = format!("web/{}", a.address);
    let url = format!("http://{at}/");
    let asked: [(&[&str], &str); 9] = [
        (&["status"], "web"),
        (&["servers"], &server[4..]),
        (&["top"], "web"),
        (&["persistence"], ""),
        (&["explain", &url], "web"),
        (&["drain", &server], "drain"),
        (&["disable", &server], "disable"),
        (&["enable", &server], "enable"),
        (&["enable", "--reset", &server], ""),
    ];
    let mut refused = 0.0;
    // A value that is refused, a name that is unknown, what is no TOML any more, and a file of which half is written.
    let half = good.find("[[pool]]").expect("a pool") + 4;
    let broken = ["\njunk = 1\n", "\n[[pools]]\n", "\n[[pool\n"].map(|more| format!("{good}{more}"));
    for text in broken.iter().map(String::as_str).chain([&good[..half]]) {
        std::fs::write(&engine.config, text).expect("written");
        for (arguments, said) in &asked {
            let done = run(arguments);
            let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert_eq!(done.status.code(), Some(0), "{arguments:?}: {error}");
            assert!(out.contains(said), "{arguments:?}: {out}");
        }
        refused += 1.0;
        let done = run(&["reload"]);
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{error}");
        assert!(error.contains("line "), "the engine lists what is wrong: {error}");
        assert_eq!(engine.metric("forebay_config_reloads_total", &[("result", "refused")]), refused);
    }
    let done = run(&["upgrade"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("the new process"),
        "the engine has tried: {done:?}"
    );
    assert_eq!(Client::new(at).get_once("/").expect("served").status, 200);
    // A file that is not there says nothing of any engine.
    std::fs::remove_file(&engine.config).expect("it is there");
    let done = run(&["status"]);
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("--socket"), "{done:?}");
}

//= test RELOAD-LOG-01
#[test]
fn sighup_loads_the_file_and_opens_the_access_log_anew() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let engine = lab.engine(&web(at, "", &[a.address]));
    assert_eq!(Client::new(at).get_once("/before").expect("served").server(), "a");
    engine.log_lines(1, |line| line["uri_path"] == "/before");
    let (log, old) = (lab.folder().join("access.log"), lab.folder().join("old.log"));
    std::fs::rename(&log, &old).expect("it is there");
    engine.process.signal(libc::SIGHUP);
    eventually("the log is opened anew", secs(5), || log.exists());
    eventually("the file says what it said", secs(5), || {
        engine.metric("forebay_config_reloads_total", &[("result", "unchanged")]) == 1.0
    });
    assert_eq!(engine.metric("forebay_config_generation", &[]), 1.0);
    engine.write(&web(at, "", &[b.address]));
    engine.process.signal(libc::SIGHUP);
    eventually("the new one serves", secs(5), || {
        Client::new(at).get_once("/after").is_ok_and(|answer| answer.server() == "b")
    });
    engine.log_lines(1, |line| line["uri_path"] == "/after");
}

//= test RELOAD-WATCH-01
#[test]
fn a_watched_file_is_loaded_when_it_has_changed() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let at = lab.address();
    let options = Options { engine: "watch_config = true".into(), ..Options::default() };
    let engine = lab.engine_with(&web(at, "", &[a.address]), options);
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "a");
    engine.write(&web(at, "", &[b.address]));
    eventually("the change is seen", secs(10), || {
        Client::new(at).get_once("/").is_ok_and(|answer| answer.server() == "b")
    });
    engine.write("[[virtual_service]]\n");
    eventually("a broken one too", secs(10), || {
        engine.metric("forebay_config_reloads_total", &[("result", "refused")]) == 1.0
    });
    assert_eq!(Client::new(at).get_once("/").expect("served").server(), "b");
}

//= test RELOAD-WATCH-01
#[test]
fn a_file_is_loaded_by_itself_only_where_that_is_wanted_and_when_it_is_whole() {
    let lab = Lab::new();
    let [a, b] = lab.demos(["a", "b"]);
    let [watched, left_alone] = lab.addresses();
    let options = Options { engine: "watch_config = true".into(), ..Options::default() };
    let watches = lab.engine_with(&web(watched, "", &[a.address]), options);
    let other = lab.engine(&web(left_alone, "", &[a.address]));
    other.write(&web(left_alone, "", &[b.address]));
    let reloads =
        |engine: &Engine, result: &str| engine.metric("forebay_config_reloads_total", &[("result", result)]);
    // Somebody writes for longer than the time between two looks. One who stands still for so long is taken for done, and
    // rightly: then once more.
    const BETWEEN_LOOKS: Duration = ms(500);
    let mut servers = [b.address, a.address].into_iter().cycle();
    eventually("a writer who never stands still", secs(60), || {
        let refused = reloads(&watches, "refused");
        let (began, mut last, mut longest) = (Instant::now(), Instant::now(), ms(0));
        let mut file = std::fs::File::create(&watches.config).expect("its file");
        let mut text = "version = 1\n[[virtual_service]]\n";
        while began.elapsed() < BETWEEN_LOOKS * 4 {
            file.write_all(text.as_bytes()).expect("its file");
            longest = longest.max(last.elapsed());
            last = Instant::now();
            text = "# to be continued\n";
            // Sleep: the writer takes its time.
            std::thread::sleep(ms(20));
        }
        watches.write(&web(watched, "", &[servers.next().expect("endless")]));
        longest = longest.max(last.elapsed());
        let refused = reloads(&watches, "refused") - refused;
        assert!(refused == 0.0 || longest >= BETWEEN_LOOKS, "loaded while it was written");
        longest < BETWEEN_LOOKS
    });
    eventually("the whole file is loaded", secs(10), || reloads(&watches, "loaded") >= 1.0);
    assert_eq!(reloads(&other, "refused") + reloads(&other, "loaded"), 0.0, "nobody asked for that");
    assert_eq!(Client::new(left_alone).get_once("/").expect("served").server(), "a");
}
