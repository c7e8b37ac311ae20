//! Test programs: built once for the whole workspace, run, counted by what they say.
//!
//! A test that cannot run here (a kernel feature is missing, say) appends `name: reason` to the file that
//! `FOREBAY_SKIPS` names and returns; the gate counts it as skipped and prints the reason.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::report::Outcome;
use crate::tool::{process, tree};

/// A program whose tests take longer is stuck: twice what the slowest needs in full length.
const SUITE_SECONDS_MAX: u64 = 30 * 60;

/// How often a running program says that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(30);

/// One test program.
#[derive(Debug, Clone)]
pub struct Suite {
    pub package: String,
    /// `lib`, or the target's name.
    pub target: String,
    /// The package's folder, in which the program runs.
    pub folder: PathBuf,
    pub program: PathBuf,
    /// The product's programs by name.
    pub binaries: BTreeMap<String, PathBuf>,
}

impl Suite {
    /// Package and target.
    pub fn name(&self) -> String {
        format!("{} {}", self.package, self.target)
    }
}

/// Builds the product's programs and all tests, with one resolution of features, and shows cargo's progress.
///
/// # Errors
/// Something does not compile.
pub fn build() -> Result<Vec<Suite>> {
    let mut command = process::cargo(&[
        "build",
        "--profile=gate",
        "--workspace",
        "--bins",
        "--tests",
        "--message-format=json-render-diagnostics",
    ]);
    let messages = process::output(&mut command)?;
    Ok(read(messages.lines().filter_map(|line| serde_json::from_str(line).ok())))
}

fn read(messages: impl Iterator<Item = Value>) -> Vec<Suite> {
    let mut suites = Vec::new();
    let mut binaries = BTreeMap::new();
    for m in messages {
        let (Some(program), Some(manifest)) = (m["executable"].as_str(), m["manifest_path"].as_str()) else {
            continue;
        };
        let name = m["target"]["name"].as_str().unwrap_or_default().to_owned();
        if m["profile"]["test"] != true {
            binaries.insert(name, PathBuf::from(program));
            continue;
        }
        let kind = m["target"]["kind"][0].as_str().unwrap_or_default();
        let folder = Path::new(manifest).parent().unwrap_or(Path::new(".")).to_path_buf();
        suites.push(Suite {
            package: package(m["package_id"].as_str().unwrap_or_default(), &folder),
            target: match kind {
                "test" => name,
                "bin" => format!("bin {name}"),
                _ => "lib".to_owned(),
            },
            folder,
            program: PathBuf::from(program),
            binaries: BTreeMap::new(),
        });
    }
    for suite in &mut suites {
        suite.binaries = binaries.clone();
    }
    suites.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    suites
}

/// The name in `path+file:///folder#name@1.0.0`, or the folder's where cargo leaves it out.
fn package(id: &str, folder: &Path) -> String {
    let end = id.rsplit('#').next().unwrap_or_default();
    match end.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// Settings by which a person's shell would change what tests demand, how much they try, or whose programs they run.
const NOT_INHERITED: &[&str] = &[
    "FOREBAY_BLESS",
    "FOREBAY_BIN_DIR",
    "FOREBAY_FUZZ_TARGET",
    "FOREBAY_LONG",
    "PROPTEST_CASES",
    "PROPTEST_MAX_LOCAL_REJECTS",
    "PROPTEST_MAX_GLOBAL_REJECTS",
    "PROPTEST_MAX_SHRINK_ITERS",
    "PROPTEST_RNG_SEED",
    "RUST_TEST_SHUFFLE",
];

/// Takes out of the environment what would make a test pass that is red elsewhere.
pub fn in_a_known_environment(command: &mut Command) {
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
}

/// Runs one program, or one test of it, and counts.
///
/// # Errors
/// It cannot be started.
pub fn run(suite: &Suite, only: Option<&str>, long: bool, out: &Path) -> Result<Outcome> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let name = suite.name();
    let log = out.join(format!("{}.stderr", name.replace([' ', '/'], "-")));
    let skips = out.join(format!("{}.skips", name.replace([' ', '/'], "-")));
    fs::write(&skips, "").context("emptying the file of skips")?;
    let mut command = Command::new(&suite.program);
    in_a_known_environment(&mut command);
    command
        .current_dir(&suite.folder)
        .env("CARGO_MANIFEST_DIR", &suite.folder)
        .env("FOREBAY_SKIPS", &skips)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).with_context(|| format!("creating {}", log.display()))?);
    for (name, path) in &suite.binaries {
        command.env(format!("CARGO_BIN_EXE_{name}"), path);
    }
    if long {
        command.env("FOREBAY_LONG", "1");
    }
    if let Some(test) = only {
        command.args([test, "--exact"]);
    }
    let begun = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {}", suite.program.display()))?;
    let stdout = child.stdout.take().context("the pipe is there")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // Ends with the pipe; a grandchild that outlives its test may hold it open, so nobody joins.
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut count = Count::default();
    let deadline = begun + Duration::from_secs(SUITE_SECONDS_MAX);
    let mut said = Instant::now();
    let status = loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                count.line(&line);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break child.wait().context("waiting for tests")?,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait().context("waiting for tests")? {
            // Nobody writes any more: what the program itself wrote has arrived.
            while let Ok(line) = lines.recv_timeout(Duration::from_millis(100)) {
                count.line(&line);
            }
            break status;
        }
        if Instant::now() > deadline {
            child.kill().ok();
            break child.wait().context("waiting for tests")?;
        }
        if said.elapsed() > ALIVE_EVERY {
            println!("  {name}: {} tests done after {} s", count.done(), begun.elapsed().as_secs());
            said = Instant::now();
        }
    };
    let skipped = fs::read_to_string(&skips).unwrap_or_default();
    let mut outcome = count.outcome(&name, &skipped);
    if !status.success() && outcome.failed == 0 {
        // It died outside any test, or ran past its time.
        outcome.failed = 1;
        outcome.red.push(format!("{name}: {status} after {} s", begun.elapsed().as_secs()));
    } else if status.success() && !count.summed_up {
        // A test called `exit(0)`: the others were never run.
        outcome.failed += 1;
        outcome.red.push(format!("{name}: ended before its tests had"));
    }
    // At once: another program may run beside it and say something too.
    let mut said = String::new();
    if outcome.failed > 0 {
        count.details.iter().for_each(|line| said += &format!("    {line}\n"));
        said += &tail(&log);
    }
    println!(
        "{said}  {:<44} {:>5} passed {:>3} failed {:>3} skipped {:>7.1} s",
        name,
        outcome.passed,
        outcome.failed,
        outcome.skipped.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(outcome)
}

/// Runs all doc tests.
///
/// # Errors
/// Cargo cannot be started.
pub fn run_doc_tests() -> Result<Outcome> {
    let mut command = process::cargo(&["test", "--profile=gate", "--workspace", "--doc"]);
    in_a_known_environment(&mut command);
    let out = command.stderr(Stdio::inherit()).output().context("starting cargo test --doc")?;
    let mut count = Count::default();
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().for_each(|line| count.line(line));
    let mut outcome = count.outcome("doc", "");
    if !out.status.success() {
        println!("{text}");
        if outcome.failed == 0 {
            bail!("`{}` failed, see above", process::shown(&command));
        }
    }
    outcome.looked_at = None;
    Ok(outcome)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(40)).map(|line| format!("    stderr: {line}\n")).collect()
}

/// Where the tests' own output is kept.
pub fn logs() -> PathBuf {
    tree::root().join("target").join("gate-logs")
}

/// What libtest's lines add up to.
#[derive(Debug, Default)]
struct Count {
    passed: Vec<String>,
    failed: Vec<String>,
    ignored: Vec<(String, String)>,
    /// Everything from "failures:" on.
    details: Vec<String>,
    in_details: bool,
    /// Whether libtest came to its last line.
    summed_up: bool,
}

impl Count {
    fn done(&self) -> usize {
        self.passed.len() + self.failed.len() + self.ignored.len()
    }

    fn line(&mut self, line: &str) {
        if line == "failures:" {
            self.in_details = true;
        }
        if self.in_details {
            self.details.push(line.to_owned());
        }
        self.summed_up |= line.starts_with("test result: ");
        let Some((name, result)) = line.strip_prefix("test ").and_then(|l| l.rsplit_once(" ... ")) else {
            return;
        };
        let name = name.trim_end_matches(" - should panic").to_owned();
        match result {
            "ok" => self.passed.push(name),
            "FAILED" => self.failed.push(name),
            _ if result.starts_with("ignored") => {
                let reason = result.trim_start_matches("ignored").trim_start_matches(", ");
                self.ignored.push((name, if reason.is_empty() { "ignored".into() } else { reason.into() }));
            }
            _ => {}
        }
    }

    fn outcome(&self, suite: &str, skips: &str) -> Outcome {
        let mut skipped: Vec<(String, String)> =
            self.ignored.iter().map(|(t, r)| (format!("{suite} {t}"), r.clone())).collect();
        let said: Vec<(String, String)> = skips
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(test, reason)| (format!("{suite} {test}"), reason.to_owned()))
            .collect();
        let passed = self.passed.len().saturating_sub(said.len());
        skipped.extend(said);
        Outcome {
            passed,
            failed: self.failed.len(),
            skipped,
            red: self.failed.iter().map(|t| format!("{suite} {t}")).collect(),
            tests: self.failed.iter().map(|t| (suite.to_owned(), t.clone())).collect(),
            ..Outcome::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest_are_counted() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test a::one ... ok",
            "test a::two - should panic ... ok",
            "test a::three ... FAILED",
            "test a::four ... ignored, needs a network",
            "failures:",
            "---- a::three stdout ----",
        ] {
            count.line(line);
        }
        let outcome = count.outcome("core lib", "a::one: no wrk here\n");
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        assert_eq!(outcome.red, ["core lib a::three"]);
        assert_eq!(outcome.tests, [("core lib".to_owned(), "a::three".to_owned())]);
        assert_eq!(outcome.skipped.len(), 2);
        assert_eq!(outcome.skipped[1], ("core lib a::one".to_owned(), "no wrk here".to_owned()));
        assert_eq!(count.details.len(), 2);
    }

    /// Runs a program of the system as if it were one of tests.
    fn run_program(program: &str) -> Outcome {
        let folder = std::env::temp_dir();
        let suite = Suite {
            package: "p".into(),
            target: Path::new(program).file_name().unwrap().to_string_lossy().into_owned(),
            folder: folder.clone(),
            program: program.into(),
            binaries: BTreeMap::new(),
        };
        let out = folder.join(format!("forebay-xtask-{}-{}", std::process::id(), suite.target));
        let outcome = run(&suite, None, false, &out).unwrap();
        fs::remove_dir_all(&out).ok();
        outcome
    }

    #[test]
    fn a_program_of_tests_that_dies_is_red() {
        let outcome = run_program("/bin/false");
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert!(outcome.red[0].starts_with("p false: exit status: 1 after"), "{:?}", outcome.red);
    }

    #[test]
    fn a_program_that_ends_well_before_its_tests_is_red() {
        let outcome = run_program("/bin/true");
        assert_eq!((outcome.failed, outcome.red), (1, vec!["p true: ended before its tests had".to_owned()]));
    }

    #[test]
    fn tests_do_not_inherit_what_would_make_them_pass() {
        let mut command = Command::new("x");
        in_a_known_environment(&mut command);
        let removed: Vec<_> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(n, _)| n).collect();
        for name in ["FOREBAY_BLESS", "FOREBAY_BIN_DIR", "PROPTEST_CASES"] {
            assert!(removed.contains(&std::ffi::OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn suites_and_programs_are_read_from_cargos_messages() {
        let lines = [
            r#"{"reason":"compiler-artifact","package_id":"path+file:///x/cli#forebay@0.1.0","manifest_path":"/x/cli/Cargo.toml","target":{"kind":["bin"],"name":"forebay"},"profile":{"test":false},"executable":"/t/forebay"}"#,
            r#"{"reason":"compiler-artifact","package_id":"path+file:///x/core#forebay-core@0.1.0","manifest_path":"/x/core/Cargo.toml","target":{"kind":["lib"],"name":"forebay_core"},"profile":{"test":true},"executable":"/t/core-1"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let suites = read(lines.iter().filter_map(|l| serde_json::from_str(l).ok()));
        assert_eq!(suites.len(), 1);
        assert_eq!((suites[0].package.as_str(), suites[0].target.as_str()), ("forebay-core", "lib"));
        assert_eq!(suites[0].binaries["forebay"], PathBuf::from("/t/forebay"));
    }
}
