//! Bad documents with the problems that must be found in them, and documents that are right.
//!
//! Each case of `tests/golden` is a document (`.toml`) whose name is the rule, and the list of its problems
//! (`.problems`), one a line. `FOREBAY_BLESS=1` writes the lists anew; read the difference before committing.

use std::fs;
use std::path::Path;

use forebay_snapshot::{Snapshot, check};

/// How many documents stand in `tests/golden`: one that gets lost is missed.
const CASES: usize = 43;

fn problems(text: &str) -> String {
    match check(text) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

//= test CFG-CHECK-01
//= test CFG-UNKNOWN-01
//= test CFG-RULE-01
//= test CFG-RULE-02
//= test CFG-REF-01
//= test CFG-CONFLICT-01
//= test CFG-LISTEN-01
//= test CFG-PATH-01
//= test CFG-MONITOR-01
//= test CFG-MONITOR-02
//= test CFG-LOOP-01
//= test CFG-NAME-01
//= test CFG-COOKIE-01
//= test CFG-IGNORED-01
//= test CFG-IGNORED-02
//= test CFG-SECRET-01
//= test L4-CHECK-01
//= test TLS-CHECK-01
//= test TLS-EARLY-CHECK-01
//= test TLS-SERVER-CHECK-01
//= test TLS-CHECK-03
//= test TLS-PASS-CHECK-01
//= test SE-HOST-CHECK-01
//= test TLS-CLIENT-CHECK-01
//= test TLS-HTTPS-02
//= test CFG-INLINE-01
//= test CFG-OBJSYNC-01
//= test CFG-OBJSYNC-02
//= test CFG-OBJSYNC-03
#[test]
fn every_bad_document_gets_exactly_its_list_of_problems() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(&folder).expect("the golden folder") {
        let document = entry.expect("an entry").path();
        if document.extension().is_none_or(|ext| ext != "toml") {
            continue;
        }
        cases += 1;
        let list = document.with_extension("problems");
        let got = problems(&fs::read_to_string(&document).expect("a document"));
        assert!(!got.is_empty(), "{} has no problem", document.display());
        if std::env::var_os("FOREBAY_BLESS").is_some() {
            fs::write(&list, &got).expect("the list is written");
        }
        let want = fs::read_to_string(&list).unwrap_or_default();
        if got != want {
            wrong.push(format!("{}\n--- got\n{got}--- want\n{want}", document.display()));
        }
    }
    assert_eq!(cases, CASES, "a case was added or is gone");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_example_in_the_docs_is_right() {
    let text = include_str!("../../../docs/examples/se.toml");
    let snapshot = check(text).unwrap_or_else(|_| panic!("{}", problems(text)));
    assert_eq!((snapshot.virtual_service.len(), snapshot.pool[0].server[1].ratio), (3, 2));
}

#[test]
fn the_example_of_tls_in_the_docs_is_right() {
    let text = include_str!("../../../docs/examples/tls.toml");
    let snapshot = check(text).unwrap_or_else(|_| panic!("{}", problems(text)));
    assert!(snapshot.virtual_service.iter().all(|service| service.certificates == ["site"]));
    assert_eq!((snapshot.ticket_key.len(), snapshot.tls_profile[0].session_lifetime_s), (1, 3600));
}

//= test OBS-CLI-02
#[test]
fn the_admin_socket_is_found_in_a_document_that_is_not_right() {
    let named = "version = 1\n[engine]\nadmin_socket = \"a/b.sock\"\n";
    for more in ["", "junk = 1\n", "[[pool]]\nname = 7\n", "[[pool\n", "workers = \n"] {
        assert_eq!(forebay_snapshot::admin_socket(&format!("{named}{more}")), "a/b.sock", "{more:?}");
    }
    for without in
        ["", "version = ", "[engine]\nadmin_socket = 3\n", "[engine]\nadmin_socket = \"\"\n", "engine = 1\n"]
    {
        assert_eq!(forebay_snapshot::admin_socket(without), "forebay-se.sock", "{without:?}");
    }
}

//= test CFG-DEFAULT-01
#[test]
fn defaults_are_those_that_users_know() {
    let snapshot = check(
        "version = 1\n[[pool]]\nname = \"p\"\nserver = [{ address = \"192.0.2.1\" }]\n\
         [[health_monitor]]\nname = \"h\"\ntype = \"http\"\n[[persistence]]\nname = \"a\"\ntype = \"app_cookie\"\ncookie_name = \"s\"\n\
         [[persistence]]\nname = \"i\"\ntype = \"client_ip\"",
    )
    .expect("a right document");
    let pool = &snapshot.pool[0];
    assert_eq!(pool.algorithm.word(), "least_connections");
    assert_eq!((pool.connection_ramp_min, pool.default_server_port, pool.request_queue.depth), (10, 80, 128));
    assert_eq!((pool.server_reselect.num_retries, pool.graceful_disable_timeout_min), (4, 1));
    assert_eq!((pool.connection_pool.idle_ms, pool.connection_pool.life_ms), (60_000, 600_000));
    let monitor = &snapshot.health_monitor[0];
    let timing = (
        *monitor.send_interval_s(),
        *monitor.receive_timeout_s(),
        *monitor.failed_checks(),
        *monitor.successful_checks(),
    );
    assert_eq!(timing, (10, 4, 2, 2));
    let text = format!("{:?}", snapshot.persistence);
    assert!(
        text.contains("timeout_min: 20") && text.contains("timeout_min: 5") && text.contains("PickNewServer"),
        "{text}"
    );
    assert_eq!((snapshot.engine.memory_gib, snapshot.engine.stop_grace_s), (2, 30));
    // Avi: 1 to 128 GB for an engine, 2 unless told.
    for (gib, is_right) in [(0, false), (1, true), (128, true), (129, false)] {
        let text = format!("version = 1\n[engine]\nmemory_gib = {gib}\n");
        assert_eq!(check(&text).is_ok(), is_right, "{gib}");
    }
}

#[test]
fn a_snapshot_written_as_toml_reads_back_the_same() {
    // A snapshot never writes its keys out, so what is read back must have none.
    let text = include_str!("../../../docs/examples/se.toml")
        .replace("[[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "")
        .replace("type = \"http_cookie\"", "type = \"client_ip\"")
        .replace("http_only = true", "");
    let snapshot = check(&text).unwrap_or_else(|_| panic!("{}", problems(&text)));
    let written = toml::to_string(&snapshot).expect("TOML");
    assert_eq!(check(&written), Ok(snapshot.clone()), "{written}");
    assert_eq!(toml::from_str::<Snapshot>(&written).expect("serde reads it too"), snapshot);
}

/// The tables in the specification come from the declarations that read the document.
#[test]
fn the_reference_in_the_docs_is_the_one_that_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/configuration.md");
    let page = fs::read_to_string(&file).expect("the specification");
    let (head, _) = page.split_once("<!-- reference -->\n").expect("the mark");
    let want = format!("{head}<!-- reference -->\n{}", forebay_snapshot::reference());
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        fs::write(&file, &want).expect("the page is written");
    }
    assert!(
        page == want || std::env::var_os("FOREBAY_BLESS").is_some(),
        "run with FOREBAY_BLESS=1 to write {} anew",
        file.display()
    );
}
