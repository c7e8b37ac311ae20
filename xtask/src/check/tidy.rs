//! Habits that no compiler checks: file sizes, left-overs, paths of one machine, titles of documents,
//! reasons for unsafe code, sleeps in tests.

use std::collections::BTreeMap;

use super::Findings;
use crate::tool::rust;
use crate::tool::tree::File;

/// Above this a file hides a second concept.
const LINES_MAX: usize = 600;

/// Above this a file is what some program left, or a product that is to be made and not kept.
pub const BYTES_MAX: u64 = 1 << 20;

/// How far above an unsafe block its reason may begin.
const SAFETY_LINES: usize = 12;

/// Files that may be longer, with the reason.
const LONG: &[(&str, &str)] =
    &[("tests/planted.toml", "one list; a fault has ten lines, and there is no second concept in it")];

/// Words that mark unfinished work. In pieces, so that this file does not hold them.
const LEFT_OVER: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("WI", "P:"),
];
const LEFT_OVER_CODE: &[&str] =
    &[concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("db", "g!(")];

/// Beginnings of paths that exist on one machine only.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp", "/wt"),
    concat!("/Us", "ers/"),
];

pub fn check(files: &[File]) -> Findings {
    let mut findings = Findings::of("files");
    let mut titles: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        findings.looked_at += 1;
        size(&mut findings, file);
        left_overs(&mut findings, file);
        if file.is("md") {
            title(&mut findings, file, &mut titles);
        }
        if file.is("rs") {
            unsafe_reasons(&mut findings, file);
            sleeps(&mut findings, file);
            ignored_tests(&mut findings, file);
        }
    }
    findings
}

/// Refuses files that are too large to be anybody's source.
pub fn check_large(files: &[(String, u64)]) -> Findings {
    let mut findings = Findings::of("");
    for (path, bytes) in files {
        findings.problem(
            path.clone(),
            format!("has {bytes} bytes, more than {BYTES_MAX}"),
            "take it away; what a program makes belongs below `target` or in a temporary folder",
        );
    }
    findings
}

/// Checks the list of files that may be long against the whole tree.
pub fn check_exceptions(files: &[File]) -> Findings {
    check_long(files, LONG)
}

fn check_long(files: &[File], long: &[(&str, &str)]) -> Findings {
    let mut findings = Findings::of("");
    for (path, reason) in long {
        if !files.iter().any(|f| f.path == *path && f.text.lines().count() > LINES_MAX) {
            findings.problem(
                *path,
                "is not long any more",
                "remove it from the list in xtask/src/check/tidy.rs",
            );
        }
        findings.notes.push(format!("{path} may exceed {LINES_MAX} lines: {reason}"));
    }
    findings
}

fn size(findings: &mut Findings, file: &File) {
    let source = ["rs", "py", "sh", "c", "wit", "toml"].iter().any(|e| file.is(e));
    let lines = file.text.lines().count();
    if source && lines > LINES_MAX && !LONG.iter().any(|(path, _)| *path == file.path) {
        findings.problem(
            &file.path,
            format!("has {lines} lines, {LINES_MAX} are the most"),
            "find the second concept in it, or list it with a reason in xtask/src/check/tidy.rs",
        );
    }
}

fn left_overs(findings: &mut Findings, file: &File) {
    let fixture = file.path.contains("/golden/") || file.path.contains("/corpus/") || file.path == "LICENSE";
    if fixture {
        return;
    }
    let code = if file.is("rs") { rust::without_strings(&file.text) } else { file.text.clone() };
    for (number, line) in code.lines().enumerate() {
        let place = || format!("{}:{}", file.path, number + 1);
        for word in LEFT_OVER.iter().chain(LEFT_OVER_CODE).filter(|w| has_token(line, w)) {
            findings.problem(place(), format!("holds {word}"), "do it, or write it down as not done");
        }
    }
    for (number, line) in file.text.lines().enumerate() {
        for path in MACHINE.iter().filter(|p| line.contains(**p)) {
            findings.problem(
                format!("{}:{}", file.path, number + 1),
                format!("names {path}, a path of one machine"),
                "use a path from the root of the repository, or one from the environment",
            );
        }
    }
}

fn has_token(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + word.len()..].chars().next().is_some_and(|c| part(c) && !word.ends_with('('))
    })
}

fn title(findings: &mut Findings, file: &File, titles: &mut BTreeMap<String, String>) {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in file.text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && let Some(title) = line.strip_prefix("# ") {
            found.push(title.trim().to_owned());
        }
    }
    if found.len() != 1 {
        findings.problem(
            &file.path,
            format!("has {} titles", found.len()),
            "a document has one `# title`; sections begin with `##`",
        );
    }
    for title in found {
        if let Some(other) = titles.insert(title.clone(), file.path.clone()) {
            findings.problem(
                &file.path,
                format!("has the title of {other}: {title}"),
                "name one of them anew",
            );
        }
    }
}

fn unsafe_reasons(findings: &mut Findings, file: &File) {
    let code = rust::code_only(&file.text);
    let text: Vec<&str> = file.text.lines().collect();
    for (number, line) in code.lines().enumerate() {
        let block = line.contains("unsafe {") || line.contains("unsafe impl");
        let near = &text[number.saturating_sub(SAFETY_LINES)..=number];
        if block && !near.iter().any(|l| l.contains("SAFETY:")) {
            findings.problem(
                format!("{}:{}", file.path, number + 1),
                "unsafe without a reason",
                "say in `// SAFETY:` what must hold and who upholds it",
            );
        }
    }
}

fn sleeps(findings: &mut Findings, file: &File) {
    let code = rust::code_only(&file.text);
    let Some(first) = rust::first_test_line(&file.path, &code) else { return };
    let text: Vec<&str> = file.text.lines().collect();
    for (number, line) in code.lines().enumerate().skip(first) {
        // The pause between two looks at a condition is how waiting works.
        let sleeps = line.contains("sleep(") && !line.contains("fn ") && !line.contains("LOOK_EVERY");
        let said = text[number.saturating_sub(3)..=number].iter().any(|l| l.contains("// Sleep: "));
        if sleeps && !said {
            findings.problem(
                format!("{}:{}", file.path, number + 1),
                "a sleep in a test",
                "wait for a condition with a deadline (the pause between two looks is called LOOK_EVERY); \
                 where time itself is the subject, say so above the line in `// Sleep: `",
            );
        }
    }
}

fn ignored_tests(findings: &mut Findings, file: &File) {
    for (number, line) in rust::code_only(&file.text).lines().enumerate() {
        if line.trim() == "#[ignore]" {
            findings.problem(
                format!("{}:{}", file.path, number + 1),
                "a test is ignored without a reason",
                "write #[ignore = \"why\"], or better make it run",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check(&[File::new(path, text)]).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_long_source_file_is_refused_and_a_long_document_is_not() {
        assert_eq!(problems("core/src/a.rs", &"x\n".repeat(601)), ["has 601 lines, 600 are the most"]);
        assert_eq!(problems("docs/a.md", &format!("# T\n{}", "x\n".repeat(900))), [""; 0]);
    }

    #[test]
    fn an_exception_for_a_file_that_is_short_or_gone_is_refused() {
        let listed = [("core/src/a.rs", "a reason")];
        assert_eq!(check_long(&[], &listed).problems.len(), 1);
        let file = |lines| [File::new(listed[0].0, &"x\n".repeat(lines))];
        assert_eq!(check_long(&file(LINES_MAX), &listed).problems.len(), 1);
        assert_eq!(check_long(&file(LINES_MAX + 1), &listed).problems.len(), 0);
    }

    #[test]
    fn left_overs_are_refused_in_comments_and_code_but_not_inside_words() {
        let text = format!("// {} later\nlet {}_LIST = 1;", LEFT_OVER[0], LEFT_OVER[1]);
        assert_eq!(problems("a.rs", &text), [format!("holds {}", LEFT_OVER[0])]);
        assert_eq!(problems("a.rs", &format!("fn f() {{ {}) }}", LEFT_OVER_CODE[0])).len(), 1);
    }

    #[test]
    fn a_path_of_one_machine_is_refused_even_in_a_string() {
        assert_eq!(problems("a.py", &format!("open('{}x')", MACHINE[0])).len(), 1);
    }

    #[test]
    fn a_document_has_one_title_and_no_other_has_the_same() {
        assert_eq!(problems("docs/a.md", "text"), ["has 0 titles"]);
        assert_eq!(problems("docs/a.md", "# A\n```\n# not a title\n```\n"), [""; 0]);
        let two = check(&[File::new("a.md", "# A\n"), File::new("b.md", "# A\n")]);
        assert_eq!(two.problems.len(), 1);
    }

    #[test]
    fn unsafe_without_a_reason_is_refused() {
        assert_eq!(problems("a.rs", "let x = unsafe { f() };"), ["unsafe without a reason"]);
        assert_eq!(problems("a.rs", "// SAFETY: f is fine.\nlet x = unsafe { f() };"), [""; 0]);
    }

    #[test]
    fn a_sleep_in_a_test_is_refused_unless_time_is_the_subject() {
        let text = "fn f() { sleep(a); }\n#[cfg(test)]\nmod t {\n  fn g() {\n   std::thread::sleep(a); } }";
        assert_eq!(problems("core/src/a.rs", text), ["a sleep in a test"]);
        assert_eq!(problems("tests/e2e/a.rs", "// Sleep: the server is slow by design\nsleep(a);"), [""; 0]);
        assert_eq!(problems("tests/e2e/a.rs", "thread::sleep(LOOK_EVERY);"), [""; 0]);
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(problems("a.rs", "#[ignore]\nfn f() {}"), ["a test is ignored without a reason"]);
    }
}
