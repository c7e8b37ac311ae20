//! Promises: each rule in `docs/spec/*.md` (`- **ID**: sentence. (source)`) has one id, is cited by the
//! code that keeps it (`//= ID`) and by a test or golden case that shows it (`//= test ID`). A rule whose line says
//! `(planned)` need not be cited yet; one that says `(decision only)` is kept by the pure crates, and no host cites it.

use std::collections::BTreeMap;

use super::Findings;
use crate::tool::tree::File;

/// The mark of a rule that the pure crates keep and no host uses or carries out yet.
const DECISION_ONLY: &str = "(decision only)";
/// The folders of the hosts and of the tests through them.
const HOSTS: &[&str] = &["host-uring/", "tests/e2e/"];

/// A rule and where it is cited.
#[derive(Debug, Default)]
pub struct Rule {
    pub place: String,
    pub planned: bool,
    pub decision_only: bool,
    pub code: Vec<String>,
    pub tests: Vec<String>,
}

/// All rules by id, with citations.
pub fn table(files: &[File], findings: &mut Findings) -> BTreeMap<String, Rule> {
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for file in files.iter().filter(|f| f.is("md") && f.path.starts_with("docs/spec/")) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(id) = rule_id(line) else { continue };
            let place = format!("{}:{}", file.path, number + 1);
            let rule = Rule {
                place: place.clone(),
                planned: line.contains("(planned"),
                decision_only: line.contains(DECISION_ONLY),
                ..Rule::default()
            };
            if let Some(first) = rules.insert(id.to_owned(), rule) {
                findings.problem(
                    place,
                    format!("{id} stands already in {}", first.place),
                    "give it its own id",
                );
            }
        }
    }
    for file in files.iter().filter(|f| f.is("rs") || f.is("wit") || f.is("txt")) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(cited) = line.trim_start().strip_prefix("//= ") else { continue };
            let place = format!("{}:{}", file.path, number + 1);
            let (ids, test) = match cited.strip_prefix("test ") {
                Some(ids) => (ids, true),
                None => (cited, false),
            };
            for id in ids.split([',', ' ']).filter(|id| !id.is_empty()) {
                match rules.get_mut(id) {
                    Some(rule) if test => rule.tests.push(place.clone()),
                    Some(rule) => rule.code.push(place.clone()),
                    None => findings.problem(
                        place.clone(),
                        format!("cites {id}, which no document in docs/spec holds"),
                        "write the rule down, or cite the right one",
                    ),
                }
            }
        }
    }
    rules
}

pub fn check(files: &[File]) -> Findings {
    let mut findings = Findings::of("rules");
    let rules = table(files, &mut findings);
    findings.looked_at = rules.len();
    for (id, rule) in &rules {
        let hosts = rule.code.iter().chain(&rule.tests).find(|c| HOSTS.iter().any(|h| c.starts_with(h)));
        if let (true, Some(host)) = (rule.decision_only, hosts) {
            findings.problem(
                &rule.place,
                format!("{id} is marked as a decision only, but {host} cites it"),
                "take the mark away",
            );
        }
        let what = match (rule.code.is_empty(), rule.tests.is_empty()) {
            (false, false) if rule.planned => {
                findings.problem(
                    &rule.place,
                    format!("{id} is marked as planned, but code and tests cite it"),
                    "take the mark away",
                );
                continue;
            }
            (false, false) => continue,
            _ if rule.planned => continue,
            (true, true) => "neither code nor test",
            (true, false) => "no code",
            (false, true) => "no test",
        };
        findings.problem(
            &rule.place,
            format!("{what} cites {id}"),
            format!("write `//= {id}` above what keeps it and `//= test {id}` above what shows it"),
        );
    }
    let planned = rules.values().filter(|r| r.planned).count();
    if planned > 0 {
        findings.notes.push(format!("{planned} rules are planned"));
    }
    let decisions = rules.values().filter(|r| r.decision_only).count();
    if decisions > 0 {
        findings
            .notes
            .push(format!("{decisions} rules are decided by the core and not carried out by the engine"));
    }
    findings
}

/// The id in `- **ID**…`.
fn rule_id(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("- **")?;
    let id = &rest[..rest.find("**")?];
    let well_formed = id.contains('-')
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
        && id.starts_with(|c: char| c.is_ascii_uppercase());
    well_formed.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: &str, code: &str) -> Vec<String> {
        check(&[File::new("docs/spec/lb.md", spec), File::new("core/src/a.rs", code)])
            .problems
            .into_iter()
            .map(|p| p.what)
            .collect()
    }

    const RULE: &str = "# Rules\n- **LB-RR-01**: Turns are taken in order. (Avi)\n";

    #[test]
    fn a_rule_that_is_built_and_tested_passes() {
        assert_eq!(problems(RULE, "//= LB-RR-01\nfn f() {}\n  //= test LB-RR-01\n  fn t() {}"), [""; 0]);
    }

    #[test]
    fn a_rule_without_a_test_or_without_code_is_refused() {
        assert_eq!(problems(RULE, "//= LB-RR-01\n"), ["no test cites LB-RR-01"]);
        assert_eq!(problems(RULE, "//= test LB-RR-01\n"), ["no code cites LB-RR-01"]);
        assert_eq!(problems(RULE, ""), ["neither code nor test cites LB-RR-01"]);
    }

    #[test]
    fn a_planned_rule_may_wait_but_not_longer_than_its_code() {
        let planned = "- **LB-RR-02** (planned): Later.\n";
        assert_eq!(problems(planned, ""), [""; 0]);
        assert_eq!(problems(planned, "//= LB-RR-02\n//= test LB-RR-02\n").len(), 1);
    }

    #[test]
    fn a_rule_of_the_decision_only_is_cited_by_no_host() {
        let marked = "- **LB-RR-03** (decision only): Decided.\n";
        let cited = "//= LB-RR-03\n//= test LB-RR-03\n";
        let problems = |path: &str| {
            check(&[File::new("docs/spec/lb.md", marked), File::new(path, cited)]).problems.len()
        };
        assert_eq!(problems("core/src/a.rs"), 0);
        assert_eq!(problems("host-uring/src/a.rs"), 1);
        assert_eq!(problems("tests/e2e/a.rs"), 1);
    }

    #[test]
    fn an_unknown_or_repeated_id_is_refused() {
        assert_eq!(problems("", "//= test LB-X-1"), ["cites LB-X-1, which no document in docs/spec holds"]);
        let twice = format!("{RULE}- **LB-RR-01**: Again.\n");
        assert_eq!(problems(&twice, "//= LB-RR-01\n//= test LB-RR-01").len(), 1);
    }
}
