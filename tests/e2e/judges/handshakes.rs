//! Handshakes that break the rules of TLS, one at a time, by tlslite-ng. The cases stand in Python beside this file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use forebay_e2e::wait::{eventually, secs};
use forebay_e2e::{Engine, Lab, Options, Origin, config, pki, python, system};
use serde_json::Value;

/// Asked for were 60.
const CASES_MIN: usize = 340;
/// In which the library does something else than the rule says, harmlessly; each has it written beside it.
const KNOWN_MAX: usize = 10;
/// All that 340 broken handshakes may leave behind, in KiB.
const MEMORY_KIB_MAX: u64 = 16 * 1024;

/// What the judge says of each case whose name has these words.
fn judged(at: SocketAddr, authority: &Path, words: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/handshakes");
    let mut command = Command::new(python::interpreter(&folder, env!("CARGO_TARGET_TMPDIR")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(folder.join("judge.py"));
    command.arg(at.ip().to_string()).arg(at.port().to_string()).arg(authority).arg(words);
    let out = command.output().expect("the judge starts");
    assert!(out.status.success(), "the judge: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn descriptors(engine: &Engine) -> usize {
    let folder = format!("/proc/{}/fd", engine.process.pid());
    std::fs::read_dir(folder).expect("the engine runs").count()
}

//= test TLS-HANDSHAKE-01
//= test TLS-HANDSHAKE-02
//= test TLS-PROFILE-01
#[test]
fn every_broken_handshake_gets_what_its_rule_says_and_harms_nobody() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    pki::certificate(lab.folder(), "app", "ca", pki::EC, "DNS:app.test", 2);
    let server = lab.demo("a");
    let at = lab.address();
    let text = config::service_with("web", at, "certificates = [\"app\"]")
        + &config::pool("web", "", &[server.address])
        + &pki::section("app");
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let authority = lab.folder().join("ca.pem");
    // What a first request leaves behind, a connection to the server say, is there before it is counted.
    let first = judged(at, &authority, "TLS 1.3: an honest handshake");
    assert!(first.len() == 1 && first[0]["ok"] == true, "{first:?}");
    eventually("nobody asks for metrics any more", secs(10), || !engine.asked_for_metrics());
    let (files, memory) = (descriptors(&engine), system::private_kib(engine.process.pid()));

    let cases = judged(at, &authority, "");
    let bad: Vec<String> = cases.iter().filter(|case| case["ok"] != true).map(told).collect();
    let known: Vec<String> = cases.iter().filter(|case| case["known"] == true).map(told).collect();
    println!("{} handshakes, {} not as their rule wants", cases.len(), bad.len());
    println!("of them {} in which the library does otherwise:\n{}", known.len(), known.join("\n"));
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), cases.len(), bad.join("\n"));
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    assert!(known.len() <= KNOWN_MAX, "{}", known.join("\n"));
    eventually("every connection is gone", secs(20), || descriptors(&engine) <= files);
    let more = system::private_kib(engine.process.pid()).saturating_sub(memory);
    println!("{more} KiB stay behind");
    assert!(more < MEMORY_KIB_MAX, "{more} KiB stay behind");
    // That they are told apart is another test's; that each was seen is this one's.
    let failed = engine.metric("forebay_tls_handshake_failures_total", &[]);
    assert!(failed >= 200.0, "{failed}");
}

fn told(case: &Value) -> String {
    let said = |key: &str| case[key].as_str().map_or_else(|| case[key].to_string(), str::to_owned);
    format!(
        "  {} ({}): {}, wanted {}, the next client: {}",
        said("name"),
        said("rule"),
        said("saw"),
        said("want"),
        said("well")
    )
}

#[test]
fn the_judge_of_handshakes_finds_each_case_in_a_server_that_is_no_good() {
    let lab = Lab::new();
    pki::authority(lab.folder(), "ca");
    // Whatever it is told, it has an internal error.
    let server = Origin::start(lab.address(), |mut wire, _| {
        wire.more()?;
        wire.send([21, 3, 3, 0, 2, 2, 80])?;
        wire.finish();
        wire.rest().map(|_| ())
    });
    let cases = judged(server.address, &lab.folder().join("ca.pem"), "");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let content: Vec<String> = cases.iter().filter(|case| case["fits"] == true).map(told).collect();
    assert!(content.is_empty(), "content with it:\n{}", content.join("\n"));
    assert!(cases.iter().all(|case| case["ok"] == false && case["well"] != true));
}
