//! What is not loaded, and who asks.

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Client, Lab, Options};

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
