//! Another fuzzer, schemathesis, sends what the API's document allows, and what it does not.

use std::path::Path;
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::{Controller, Lab, long_or, python};

//= test API-ERROR-01
#[test]
fn whatever_a_fuzzer_makes_of_the_document_is_no_server_error() {
    let lab = Lab::new();
    let mut controller = Controller::start(&lab);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("avi_api/fuzzer");
    let python = python::interpreter(&folder, env!("CARGO_TARGET_TMPDIR"));
    let base = format!("https://{}", controller.address);
    let mut command = Command::new(python.with_file_name("schemathesis"));
    command.current_dir(lab.folder()).arg("run").arg(format!("{base}/api/openapi.json"));
    command.args(["--url", &base, "--tls-verify", "false", "--no-color", "--continue-on-failure"]);
    command.args(["--auth", &format!("admin:{}", controller.password)]);
    command.args(["--checks", "not_a_server_error", "--phases", "fuzzing"]);
    command.args(["--max-examples", long_or("40", "1")]);
    // The Controller's certificate is its own: these would have the fuzzer mind all the same.
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    let out = command.output().expect("the fuzzer starts");
    let said = String::from_utf8_lossy(&out.stdout);
    let end: String =
        said.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(out.status.success(), "{end}\n{}", String::from_utf8_lossy(&out.stderr));
    let cases =
        said.lines().find_map(|line| line.trim().split_once(" generated")?.0.replace(',', "").parse().ok());
    let cases: u32 = cases.unwrap_or_else(|| panic!("it says how many cases it made:\n{end}"));
    println!("{cases} cases, none of them a server error");
    assert!(cases >= 250, "{cases} cases for every operation of the document");
    assert!(controller.process.ended().is_none(), "the Controller is there");
    assert!(controller.process.end(secs(10)).success());
}
