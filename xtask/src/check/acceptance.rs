//! Acceptance: each row of the tables in `docs/acceptance/*.md` ends in a proof, and what the proof names
//! exists. A proof is one or more of
//! - a test: `` `folder/file.rs::function` ``,
//! - a figure: a link to a heading of a document, `[words](../performance.md#heading)`,
//! - a stage of the gate: `` `stage deps` ``,
//! - `not met: ` with the number or the reason.

use super::Findings;
use super::links::{broken, links, quoted};
use super::planted;
use crate::tool::rust;
use crate::tool::tree::File;

pub fn check(files: &[File], stages: &[&str]) -> Findings {
    let mut findings = Findings::of("rows");
    let mut unmet = 0;
    for file in documents(files).filter(|f| f.path != planted::RECORD) {
        let mut table = Table::Outside;
        for (number, line) in file.text.lines().enumerate() {
            let Some(cells) = cells(line) else {
                table = Table::Outside;
                continue;
            };
            let column = match table {
                Table::Rows { proof } => proof,
                Table::Unread => continue,
                Table::Outside => {
                    let proof = cells.iter().position(|c| c.eq_ignore_ascii_case("proof"));
                    table = proof.map_or(Table::Unread, |proof| Table::Rows { proof });
                    if proof.is_none() {
                        findings.problem(
                            format!("{}:{}", file.path, number + 1),
                            "a table without a column `proof`",
                            "name the column that shows each row",
                        );
                    }
                    continue;
                }
            };
            if cells.iter().all(|c| c.chars().all(|c| matches!(c, '-' | ':'))) {
                continue;
            }
            findings.looked_at += 1;
            let place = format!("{}:{}", file.path, number + 1);
            let proof = cells.get(column).map_or("", |c| c.as_str());
            unmet += usize::from(proof.contains("not met:"));
            row(&mut findings, &place, proof, &file.path, files, stages);
        }
    }
    if unmet > 0 {
        findings.notes.push(format!("{unmet} rows are not met, or in part, and say so"));
    }
    findings
}

/// Where the reader of a document is.
enum Table {
    Outside,
    /// Below a heading with this column.
    Rows {
        proof: usize,
    },
    /// In a table that shows nothing.
    Unread,
}

fn documents(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|f| f.is("md") && f.path.starts_with("docs/acceptance/"))
}

/// All tests that the documents name, as `file.rs::function`.
pub fn named_tests(files: &[File]) -> Vec<String> {
    let mut names = Vec::new();
    for file in documents(files) {
        names.extend(quoted(&file.text).filter(|q| q.contains(".rs::")).map(str::to_owned));
    }
    names
}

fn row(findings: &mut Findings, place: &str, proof: &str, document: &str, files: &[File], stages: &[&str]) {
    let mut proofs = usize::from(proof.contains("not met:"));
    for word in quoted(proof) {
        if let Some(stage) = word.strip_prefix("stage ") {
            proofs += 1;
            if !stages.contains(&stage) {
                findings.problem(
                    place,
                    format!("names the stage {stage}"),
                    "`cargo xtask test --list` has them",
                );
            }
        } else if let Some((path, function)) = word.split_once(".rs::") {
            proofs += 1;
            let path = format!("{path}.rs");
            match files.iter().find(|f| f.path == path) {
                None => findings.problem(place, format!("names the file {path}"), "there is no such file"),
                Some(file) => {
                    let code = rust::code_only(&file.text);
                    if !rust::test_functions(&code).iter().any(|(_, name)| *name == function) {
                        findings.problem(
                            place,
                            format!("names the test {function} in {path}"),
                            "there is no such test, or it is not run: correct the row, or write it",
                        );
                    }
                }
            }
        }
    }
    for link in links(proof) {
        proofs += 1;
        if let Some(missing) = broken(link, document, files) {
            findings.problem(place, format!("links to {link}"), missing);
        }
    }
    if proofs == 0 {
        findings.problem(
            place,
            "a row without a proof",
            "name a test, a figure's place or a stage, or say `not met: ` and why",
        );
    }
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(proof: &str) -> Vec<String> {
        let page = format!("# A\n| demand | proof |\n|---|---|\n| it works | {proof} |\n");
        let files = [
            File::new("docs/acceptance/first.md", &page),
            File::new("docs/performance.md", "# P\n## Cost, at 16 servers\n"),
            File::new(
                "core/src/a.rs",
                "#[test]\nfn it_works() {}\nfn no_test() {}\n#[test]\n#[ignore = \"no\"]\nfn ignored() {}\n",
            ),
        ];
        check(&files, &["deps"]).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn tests_figures_stages_and_admissions_are_proofs() {
        for proof in [
            "`core/src/a.rs::it_works`",
            "[41 ns](../performance.md#cost-at-16-servers)",
            "`stage deps`",
            "not met: 71 bytes",
        ] {
            assert_eq!(problems(proof), [""; 0], "{proof}");
        }
    }

    #[test]
    fn a_test_that_does_not_exist_is_refused() {
        assert_eq!(problems("`core/src/a.rs::it_flies`"), ["names the test it_flies in core/src/a.rs"]);
        assert_eq!(problems("`core/src/a.rs::no_test`"), ["names the test no_test in core/src/a.rs"]);
        assert_eq!(problems("`core/src/a.rs::ignored`"), ["names the test ignored in core/src/a.rs"]);
        assert_eq!(problems("`core/src/b.rs::it_works`"), ["names the file core/src/b.rs"]);
    }

    #[test]
    fn a_figure_or_stage_that_does_not_exist_is_refused() {
        assert_eq!(problems("[x](../performance.md#nothing)"), ["links to ../performance.md#nothing"]);
        assert_eq!(problems("[x](../none.md)"), ["links to ../none.md"]);
        assert_eq!(problems("`stage flight`"), ["names the stage flight"]);
    }

    #[test]
    fn a_row_without_a_proof_is_refused() {
        assert_eq!(problems("surely"), ["a row without a proof"]);
    }

    #[test]
    fn a_table_without_a_column_of_proofs_is_refused() {
        let page = "# A\n| demand | shown by |\n|---|---|\n| it works | surely |\n\n\
                    | proof | demand |\n|---|---|\n| not met: 3 | it flies |\n";
        let found = check(&[File::new("docs/acceptance/first.md", page)], &[]);
        let problems: Vec<_> = found.problems.iter().map(|p| (p.place.as_str(), p.what.as_str())).collect();
        assert_eq!(problems, [("docs/acceptance/first.md:2", "a table without a column `proof`")]);
        assert_eq!(found.looked_at, 1, "the second table's only row");
    }
}
