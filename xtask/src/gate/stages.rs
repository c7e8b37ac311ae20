//! The stages, one function each.

use anyhow::Result;

use super::report::Outcome;
use super::suites::Suite;
use super::{Gate, Stage, checked, lanes, suites};
use crate::check::{acceptance, arrows, features, licences, links, manifests, planted, seams, spec, tidy};
use crate::cmd::wasm;
use crate::tool::workspace::Workspace;
use crate::tool::{process, tree};

pub const ALL: &[Stage] = &[
    Stage { name: "fmt", about: "formatting of all Rust files", takes: "seconds", run: fmt },
    Stage { name: "tidy", about: "habits that no compiler checks", takes: "seconds", run: tidy },
    Stage { name: "deps", about: "who may depend on whom, and why", takes: "seconds", run: deps },
    Stage { name: "licences", about: "licences and second versions", takes: "seconds", run: licences },
    Stage { name: "spec", about: "every promise is built and tested", takes: "seconds", run: spec },
    Stage { name: "acceptance", about: "every named proof exists", takes: "seconds", run: acceptance },
    Stage { name: "planted", about: "the planted faults still apply", takes: "seconds", run: planted },
    Stage {
        name: "build",
        about: "the product and all tests, once",
        takes: "over 1 min, more at first",
        run: build,
    },
    Stage { name: "unit", about: "unit, property and golden tests", takes: "about 3 min", run: unit },
    Stage { name: "fuzz", about: "replay of the fuzz corpora", takes: "seconds", run: fuzz },
    Stage { name: "e2e", about: "real processes, sockets, peers", takes: "about 12 min", run: e2e },
    Stage { name: "wasm", about: "pure crates and the component", takes: "about 1 min", run: wasm },
    Stage { name: "clippy", about: "lints, each feature set alone", takes: "about 3 min", run: clippy },
    Stage { name: "doc", about: "documentation and its examples", takes: "about 30 s", run: doc },
];

/// Packages whose tests are stages of their own.
const E2E: &str = "forebay-e2e";
const FUZZ: &str = "forebay-fuzz";

fn fmt(_: &mut Gate) -> Result<Outcome> {
    let good = process::succeeds(&mut process::cargo(&["fmt", "--all", "--check"]))?;
    if !good {
        println!("  problem: not formatted; run `cargo xtask fmt`");
    }
    Ok(Outcome { problems: usize::from(!good), ..Outcome::default() })
}

fn tidy(gate: &mut Gate) -> Result<Outcome> {
    let files = gate.files()?;
    let mut findings = tidy::check(files);
    findings.join(tidy::check_exceptions(files));
    findings.join(links::check(files));
    findings.join(tidy::check_large(&tree::larger_than(&tree::root(), tidy::BYTES_MAX)?));
    Ok(checked(&findings))
}

fn deps(gate: &mut Gate) -> Result<Outcome> {
    let (workspace, files) = gate.tree()?;
    let mut findings = arrows::check(workspace);
    findings.join(arrows::unused(workspace));
    findings.join(manifests::check(workspace, files));
    findings.join(seams::check(files));
    Ok(checked(&findings))
}

fn licences(gate: &mut Gate) -> Result<Outcome> {
    let (workspace, files) = gate.tree()?;
    let text = files.iter().find(|f| f.path == "deny.toml").map_or("", |f| f.text.as_str());
    let apart = Workspace::load_all_apart(files)?;
    Ok(checked(&licences::check(workspace, &apart, &licences::Lists::read(text)?)))
}

fn spec(gate: &mut Gate) -> Result<Outcome> {
    Ok(checked(&spec::check(gate.files()?)))
}

fn acceptance(gate: &mut Gate) -> Result<Outcome> {
    let names = super::stage_names();
    Ok(checked(&acceptance::check(gate.files()?, &names)))
}

fn planted(gate: &mut Gate) -> Result<Outcome> {
    let (workspace, files) = gate.tree()?;
    let text = files.iter().find(|f| f.path == planted::LIST).map_or("", |f| f.text.as_str());
    let faults = planted::read(text)?;
    let mut findings = planted::check(&faults, workspace, files);
    findings.join(planted::check_sections(&faults, &planted::sections(text)?, files));
    Ok(checked(&findings))
}

fn build(gate: &mut Gate) -> Result<Outcome> {
    let suites = suites::build()?;
    let outcome = Outcome::checks(suites.len(), "test programs", 0);
    gate.suites = Some(suites);
    Ok(outcome)
}

fn unit(gate: &mut Gate) -> Result<Outcome> {
    run_suites(gate, |package| package != E2E && package != FUZZ, lanes::units)
}

fn fuzz(gate: &mut Gate) -> Result<Outcome> {
    run_suites(gate, |package| package == FUZZ, lanes::one_by_one)
}

fn e2e(gate: &mut Gate) -> Result<Outcome> {
    run_suites(gate, |package| package == E2E, lanes::side_by_side)
}

/// How programs are run beside each other.
type Order = fn(&[&Suite], bool) -> Result<Outcome>;

fn run_suites(gate: &mut Gate, chosen: fn(&str) -> bool, order: Order) -> Result<Outcome> {
    if gate.suites.is_none() {
        gate.suites = Some(suites::build()?);
    }
    let programs: Vec<&Suite> = gate.suites.iter().flatten().filter(|s| chosen(&s.package)).collect();
    let mut sum = order(&programs, gate.long)?;
    sum.looked_at = Some((programs.len(), "test programs"));
    if sum.passed + sum.failed == 0 {
        println!("  problem: no test ran");
        sum.problems += 1;
    }
    Ok(sum)
}

fn doc(_: &mut Gate) -> Result<Outcome> {
    let mut outcome = suites::run_doc_tests()?;
    let mut build = process::cargo(&["doc", "--profile=gate", "--no-deps", "--workspace", "--keep-going"]);
    // Links to private items help whoever reads the source.
    build.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    if !process::succeeds(build.arg("--quiet"))? {
        outcome.problems += 1;
        outcome.red.push("the documentation has warnings, see above".to_owned());
    }
    Ok(outcome)
}

fn wasm(gate: &mut Gate) -> Result<Outcome> {
    wasm::gate(gate.workspace()?)
}

/// What pure crates promise, beyond what their clippy.toml disallows by name.
const PURE_LINTS: &[&str] = &[
    "-Dunsafe_code",
    "-Dclippy::unwrap_used",
    "-Dclippy::get_unwrap",
    "-Dclippy::float_arithmetic",
    "-Dclippy::iter_over_hash_type",
    "-Dclippy::std_instead_of_core",
    "-Dclippy::std_instead_of_alloc",
    "-Dclippy::print_stdout",
    "-Dclippy::exit",
];

fn clippy(gate: &mut Gate) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut builds = 0;
    let mut lint = |args: &[&str], more: &[&str]| -> Result<()> {
        let mut command = process::cargo(&["clippy", "--quiet", "--profile=gate"]);
        command.args(args).args(["--", "-D", "warnings"]).args(more).current_dir(tree::root());
        builds += 1;
        if !process::succeeds(&mut command)? {
            outcome.problems += 1;
            outcome.red.push(process::shown(&command));
        }
        Ok(())
    };
    lint(&["--workspace", "--all-targets"], &[])?;
    let long = gate.long;
    for set in features::sets(gate.workspace()?).into_iter().filter(|set| set.real || long) {
        let mut args = vec!["--package", set.package.as_str()];
        args.extend(set.args.iter().map(String::as_str));
        // The code alone, not its tests: they may unwrap.
        lint(&args, if set.pure { PURE_LINTS } else { &[] })?;
    }
    outcome.looked_at = Some((builds, "feature sets"));
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_in_which_no_test_ran_is_red() {
        let mut gate = Gate::new(false);
        gate.suites = Some(Vec::new());
        for stage in [unit, fuzz, e2e] {
            let outcome = stage(&mut gate).unwrap();
            assert_eq!((outcome.problems, outcome.good()), (1, false));
        }
    }
}
