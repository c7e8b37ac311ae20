mod record;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::check::planted::{self, Fault, LIST, RECORD};
use crate::gate::suites;
use crate::tool::{process, tree};

/// Plant the faults of tests/planted.toml one by one and demand that each turns its test red
///
/// Works on a copy below target/planted with a target folder of its own; the first fault waits for a full
/// build, each further one for the crates it touches. Before that each test must be green without its fault: one
/// that is red anyway shows nothing. docs/acceptance/planted-faults.md says of each fault at which commit
/// its test was seen red; it is written after each one, so that a run that is ended has not been in vain.
#[derive(Args)]
pub struct Planted {
    /// Plant the faults of this area only
    #[arg(long)]
    area: Option<String>,
    /// Plant only those that have not been seen red yet
    #[arg(long)]
    new: bool,
    /// Keep the build below target/planted for the next time
    #[arg(long)]
    keep: bool,
}

impl Planted {
    pub fn run(self) -> Result<ExitCode> {
        let root = tree::root();
        let text = fs::read_to_string(root.join(LIST)).with_context(|| format!("reading {LIST}"))?;
        let list = planted::read(&text)?;
        let mut seen = record::read(&fs::read_to_string(root.join(RECORD)).unwrap_or_default());
        let faults: Vec<Fault> = list
            .iter()
            .filter(|f| self.area.as_ref().is_none_or(|area| *area == f.area))
            .filter(|f| !self.new || !seen.contains_key(&record::key(f)))
            .cloned()
            .collect();
        if faults.is_empty() {
            bail!("no fault to plant; the areas stand in {LIST}, and what was seen red in {RECORD}");
        }
        let mut describe = Command::new("git");
        describe.args(["describe", "--always", "--exclude=*", "--dirty=+"]).current_dir(&root);
        let commit = process::output(&mut describe)?.trim().to_owned();
        let place = root.join("target").join("planted");
        let copy = place.join("tree");
        if copy.exists() {
            fs::remove_dir_all(&copy).context("removing the last copy")?;
        }
        copy_tree(&root, &copy)?;
        println!("xtask: {} faults, each in a copy at {}", faults.len(), tree::shown(&copy));
        let build = place.join("build");
        let red_anyway = not_green(&faults, |fault| run_test(fault, &copy, &build))?;
        if !red_anyway.is_empty() {
            bail!("without a fault these are not green, and would show nothing: {}", red_anyway.join(", "));
        }
        let (count, mut missed) = (faults.len(), 0);
        for (number, fault) in faults.into_iter().enumerate() {
            let begun = Instant::now();
            print!("[{}/{count}] {}: {} ", number + 1, fault.area, fault.what);
            std::io::Write::flush(&mut std::io::stdout()).ok();
            let green = plant(&fault, &copy, &build)?;
            let word = if green.is_none() { "-> red, as it must be" } else { "-> NOT RED" };
            println!("{word} ({} s)", begun.elapsed().as_secs());
            match green {
                None => {
                    seen.insert(record::key(&fault), commit.clone());
                }
                Some(said) => {
                    missed += 1;
                    seen.remove(&record::key(&fault));
                    println!("{said}");
                }
            }
            fs::write(root.join(RECORD), record::text(&list, &seen))
                .with_context(|| format!("writing {RECORD}"))?;
        }
        if !self.keep {
            fs::remove_dir_all(&place).ok();
        }
        println!("planted: {} of {count} turned their test red; the record is {RECORD}", count - missed);
        Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Plants one fault, runs its test, takes the fault out again. Returns what was said if the test stayed green.
fn plant(fault: &Fault, copy: &Path, build: &Path) -> Result<Option<String>> {
    let file = copy.join(&fault.file);
    let good = fs::read_to_string(&file).with_context(|| format!("reading {}", fault.file))?;
    if good.matches(&fault.old).count() != 1 {
        bail!("`old` must stand exactly once in {}", fault.file);
    }
    fs::write(&file, good.replacen(&fault.old, &fault.new, 1))?;
    let said = run_test(fault, copy, build);
    fs::write(&file, good)?;
    let said = said?;
    Ok((judge(&said, &fault.test) != Judged::Red).then_some(said))
}

/// What became of a test.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Green,
    Red,
    /// Nothing ran: the code does not compile, or there is no such test. That proves nothing.
    NotRun,
}

/// Reads libtest's lines.
fn judge(said: &str, test: &str) -> Judged {
    let mut judged = Judged::NotRun;
    for line in said.lines().filter(|l| l.starts_with("test ") && l.contains(test)) {
        match line.trim_end().rsplit(' ').next() {
            Some("FAILED") => return Judged::Red,
            Some("ok") => judged = Judged::Green,
            _ => {}
        }
    }
    judged
}

/// The tests that are not green as the tree is, each asked once.
fn not_green(faults: &[Fault], run: impl Fn(&Fault) -> Result<String>) -> Result<Vec<String>> {
    let mut asked = BTreeSet::new();
    let mut found = Vec::new();
    for fault in faults {
        if !asked.insert((&fault.package, &fault.target, &fault.test)) {
            continue;
        }
        let said = run(fault)?;
        let judged = judge(&said, &fault.test);
        if judged != Judged::Green {
            println!("{said}");
            found.push(format!("{} {} ({judged:?})", fault.package, fault.test));
        }
    }
    Ok(found)
}

fn run_test(fault: &Fault, copy: &Path, build: &Path) -> Result<String> {
    let cargo = |args: &[&str]| {
        let mut command = process::cargo(args);
        suites::in_a_known_environment(&mut command);
        command.current_dir(copy).env("CARGO_TARGET_DIR", build).stderr(Stdio::piped());
        command
    };
    if fault.package == "forebay-e2e" {
        let programs = cargo(&[
            "build",
            "--profile=gate",
            "--package=forebay",
            "--package=forebay-host-uring",
            "--package=forebay-controller",
        ])
        .output()
        .context("building the programs")?;
        if !programs.status.success() {
            return Ok(String::from_utf8_lossy(&programs.stderr).into_owned());
        }
    }
    let mut test = cargo(&["test", "--profile=gate", "--package", &fault.package]);
    match fault.target.as_deref() {
        None => test.arg("--lib"),
        Some("bins") => test.arg("--bins"),
        Some(target) => test.args(["--test", target]),
    };
    let out = test.args(["--", &fault.test]).output().context("starting cargo test")?;
    Ok(format!("{}{}", String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout)))
}

/// Copies all files of the tree that git knows or would know.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(from);
    for path in process::output(&mut git)?.split('\0').filter(|p| !p.is_empty()) {
        let (source, target): (PathBuf, PathBuf) = (from.join(path), to.join(path));
        if !source.is_file() {
            continue;
        }
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(&source, &target).with_context(|| format!("copying {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(test: &str) -> Fault {
        Fault {
            area: "lb".into(),
            what: "turns are not taken".into(),
            file: "core/src/a.rs".into(),
            old: "a".into(),
            new: "b".into(),
            package: "forebay-core".into(),
            test: test.into(),
            target: None,
        }
    }

    #[test]
    fn only_a_test_that_ran_and_failed_is_red() {
        let test = "a::tests::turns_are_taken";
        for (said, judged) in [
            ("test a::tests::turns_are_taken ... FAILED\ntest other ... ok", Judged::Red),
            ("test a::tests::turns_are_taken ... ok\ntest other ... FAILED", Judged::Green),
            ("test a::tests::turns_are_taken - should panic ... FAILED", Judged::Red),
            ("test a::tests::turns_are_taken ... ignored, no network", Judged::NotRun),
            ("error[E0425]: a::tests::turns_are_taken FAILED", Judged::NotRun),
            ("error: could not compile `forebay-core`", Judged::NotRun),
            ("running 0 tests\ntest result: ok. 0 passed", Judged::NotRun),
        ] {
            assert_eq!(judge(said, test), judged, "{said}");
        }
    }

    #[test]
    fn a_test_that_is_red_without_its_fault_shows_nothing() {
        let faults = ["one", "two", "one", "three"].map(fault);
        let asked = std::cell::Cell::new(0);
        let found = not_green(&faults, |fault| {
            asked.set(asked.get() + 1);
            Ok(match fault.test.as_str() {
                "one" => "test one ... ok".into(),
                "two" => "test two ... FAILED".into(),
                _ => "error: could not compile".into(),
            })
        });
        assert_eq!(found.unwrap(), ["forebay-core two (Red)", "forebay-core three (NotRun)"]);
        assert_eq!(asked.get(), 3);
    }
}
