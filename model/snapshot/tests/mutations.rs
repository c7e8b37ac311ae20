//! Documents changed at random: the reader must answer, never panic.

use forebay_snapshot::check;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../../docs/examples/se.toml");

/// One change: where, how many bytes go, what comes.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let pieces = prop_oneof![
        Just("[[pool]]\n".to_owned()),
        Just("[[pool.server]]\naddress = \"192.0.2.7\"\n".to_owned()),
        Just("type = \"app_cookie\"\n".to_owned()),
        Just("= [[{".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("\"\u{0}\u{1f980}\"".to_owned()),
        "[ -~\n]{0,12}",
        any::<char>().prop_map(String::from),
        "[0-9]{1,25}",
    ];
    (any::<prop::sample::Index>(), 0..24_usize, pieces)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    //= test CFG-PANIC-01
    #[test]
    fn no_change_of_a_document_panics_the_reader(changes in prop::collection::vec(change(), 1..6)) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, gone, piece) in changes {
            let from = at.index(text.len() + 1);
            let to = (from + gone).min(text.len());
            text.splice(from..to, piece.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = check(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(!problem.path.is_empty() && !problem.reason.is_empty() && !problem.fix.is_empty());
                prop_assert!(problem.line.is_none_or(|line| line as usize <= text.lines().count() + 1));
                prop_assert!(!problem.to_string().contains("AAECAwQF"), "a key is shown: {problem}");
            }
        }
    }

    #[test]
    fn no_text_at_all_panics_the_reader(text in "\\PC{0,200}") {
        let _ = check(&text);
    }
}
