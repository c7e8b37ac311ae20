//! The vendor's client in Python. What it does stands beside this file.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use forebay_e2e::led::{Led, Options};
use forebay_e2e::{Controller, Lab, python};
use forebay_model::{example, kinds};
use serde_json::Value;

/// Kinds of which there is one only, or whose objects are found and not made.
fn is_made(kind: &forebay_model::Kind) -> bool {
    kind.scope != forebay_model::kind::Scope::Single
}

//= test API-CLIENT-01
//= test API-BUILTIN-01
//= test API-VERSION-01
//= test API-NAME-01
//= test API-STALE-01
//= test API-DELETE-01
//= test API-LIST-01
//= test API-REF-01
#[test]
fn the_vendors_client_in_python_does_what_its_users_do() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let examples: serde_json::Map<String, Value> = kinds()
        .filter(|kind| is_made(kind))
        .map(|kind| (kind.path.to_owned(), Value::Object(example::least(kind))))
        .collect();
    let count = examples.len();
    let cases = judged(&controller, "judge.py", &[], &Value::Object(examples).to_string());
    println!("{cases} cases, {count} kinds");
    assert!(cases > 50 + 2 * count, "{cases} cases");
}

//= test API-CLIENT-01
//= test SCALE-OUT-01
//= test SCALE-IN-01
//= test SCALE-MIGRATE-01
//= test SCALE-API-01
#[test]
fn the_vendors_client_in_python_scales_and_moves_a_service() {
    let lab = Lab::new();
    let controller = Controller::start(&lab);
    let options = Options { arguments: vec!["--share-addresses".to_owned()], ..Options::default() };
    let mut engines = [(); 2].map(|()| Led::new(&lab, &controller, &options));
    engines.iter_mut().for_each(|engine| engine.joins(&controller));
    let server = lab.demo("a");
    let places = [server.address, lab.address()].map(|at| at.to_string());
    let cases = judged(&controller, "scale.py", &places, "");
    assert!(cases > 15, "{cases} cases");
}

/// Runs a program of the client's; gives how many cases it has had, which all were good.
fn judged(controller: &Controller, program: &str, arguments: &[String], input: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("avi_api/sdk");
    let mut command = Command::new(python::interpreter(&folder, env!("CARGO_TARGET_TMPDIR")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(folder.join(program));
    command.arg(controller.address.to_string()).arg(&controller.password).args(arguments);
    // The Controller's certificate is its own, and the client is told not to mind: these would have it mind all the same.
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = command.spawn().expect("the judge starts");
    let mut pipe = judge.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).expect("the judge reads");
    drop(pipe);
    let out = judge.wait_with_output().expect("the judge ends");
    assert!(out.status.success(), "the judge: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("text");
    let cases: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let bad: Vec<String> = cases.iter().filter(|case| case["ok"] != true).map(Value::to_string).collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), cases.len(), bad.join("\n"));
    cases.len()
}
