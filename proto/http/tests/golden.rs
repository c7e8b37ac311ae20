//! Walks the golden cases; `relay/cases.rs` says how they are written.

#[path = "relay/cases.rs"]
mod cases;
mod relay;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use cases::{Case, Kind, describe};
use forebay_http::h1::write::RequestEdits;
use forebay_http::{Limits, RuleId};
use relay::End;

/// Fewer cases mean that files were lost or that the walk does not find them.
const CASES_MIN: usize = 200;

#[test]
fn every_golden_case_comes_out_as_written() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    let rules = spec_rules();
    let mut wrong = String::new();
    for case in &cases {
        if !rules.contains(&case.rule) {
            let _ =
                writeln!(wrong, "{}: rule {} is not in docs/spec/http1.md", case.path.display(), case.rule);
        }
        let got = describe(&case.run(&[&case.input]));
        if got != case.expected {
            let _ = writeln!(wrong, "--- {}\nexpected:\n{}got:\n{got}", case.path.display(), case.expected);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_golden_case_comes_out_the_same_byte_by_byte_and_in_any_pieces() {
    for case in cases() {
        let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(describe(&case.run(&bytes)), case.expected, "{} byte by byte", case.path.display());
        for seed in 1..=20 {
            let pieces = cut(&case.input, seed);
            assert_eq!(describe(&case.run(&pieces)), case.expected, "{} cut by {seed}", case.path.display());
        }
    }
}

#[test]
fn what_was_forwarded_is_forwarded_unchanged_by_a_second_hop() {
    // Both say something to the next hop only.
    let for_one_hop = |c: &Case| c.option("close").is_some() || c.rule == "H1-MAXFWD-01";
    for case in cases().iter().filter(|c| c.kind == Kind::Request && !for_one_hop(c)) {
        let once = case.run(&[&case.input]);
        if matches!(once.end, End::Refused(_) | End::Incomplete) || once.messages == 0 {
            continue;
        }
        let twice =
            relay::requests([once.forwarded.as_slice()], &Limits::default(), &RequestEdits::default());
        assert_eq!(twice.messages, once.messages, "{}", case.path.display());
        assert_eq!(once.forwarded, twice.forwarded, "{}", case.path.display());
    }
}

#[test]
fn every_rule_that_refuses_is_in_the_spec_and_has_a_case() {
    let spec = spec_rules();
    let refused: BTreeSet<String> = cases().into_iter().filter_map(|c| c.refused_by()).collect();
    for rule in RuleId::ALL {
        assert!(spec.contains(rule.id()), "{rule} is not in docs/spec/http1.md");
        assert!(refused.contains(rule.id()), "no golden case is refused by {rule}");
    }
}

#[test]
fn every_rule_of_the_spec_has_a_case_or_a_test_that_cites_it() {
    let named: BTreeSet<String> = cases().into_iter().map(|c| c.rule).collect();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let cited: String =
        cases::files(&tests, "rs").iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
    for rule in spec_rules() {
        assert!(
            named.contains(&rule) || cited.contains(&format!("//= test {rule}\n")),
            "nothing tests {rule}"
        );
    }
}

fn cases() -> Vec<Case> {
    cases::cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"))
}

fn spec_rules() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/http1.md");
    let text = std::fs::read_to_string(path).unwrap();
    let ids =
        text.lines().filter_map(|l| l.strip_prefix("- **")?.split_once("**:")).map(|(id, _)| id.to_owned());
    ids.collect()
}

/// Cuts the input into 1 to 40 bytes at a time.
fn cut(input: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = (1 + (state >> 33) as usize % 40).min(rest.len());
        let (piece, after) = rest.split_at(len);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
