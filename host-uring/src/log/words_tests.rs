//! What the Controller makes of an engine's words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use forebay_http::RuleId;
use forebay_http::h2::Rule;
use forebay_proxy_protocol::Malformed as Proxy;
use forebay_tls_hello::Malformed as Hello;
use forebay_wire::significance::{BAD_ANSWER, Ended, name, names};

use crate::l4::record::End;
use crate::tls::{Unreached, Unshaken};
use crate::upstream::h2::Lost;
use crate::worker::Why;

/// The texts in quotes behind a mark, as far as its statement goes.
fn quoted(source: &str, mark: &str, found: &mut BTreeSet<String>) {
    for (at, _) in source.match_indices(mark) {
        let rest = &source[at + mark.len()..];
        let statement = &rest[..rest.find(';').unwrap_or(rest.len())];
        found.extend(statement.split('"').skip(1).step_by(2).map(str::to_owned));
    }
}

/// Every source file below a folder.
fn each(folder: &Path, with: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            each(&path, with);
        } else if path.extension().is_some_and(|end| end == "rs") {
            with(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

//= test LOG-ADF-01
#[test]
fn every_word_that_makes_a_record_significant_has_a_name() {
    let mut words: BTreeSet<String> = BTreeSet::new();
    let mut add = |text: &str| {
        words.insert(text.to_owned());
    };
    End::ALL.iter().filter(|end| !matches!(end, End::Whole)).for_each(|end| add(end.text()));
    Unshaken::ALL.iter().for_each(|why| add(why.text()));
    Unreached::ALL.iter().for_each(|why| add(why.text()));
    [Why::Server, Why::Service].iter().for_each(|why| add(why.text()));
    [Lost::Unseen, Lost::Connection].iter().for_each(|lost| add(lost.text()));
    for why in [
        Proxy::Start,
        Proxy::TooLong,
        Proxy::Line,
        Proxy::Command,
        Proxy::Family,
        Proxy::Address,
        Proxy::Port,
        Proxy::Values,
        Proxy::Checksum,
    ] {
        add(why.as_str());
    }
    for why in [Hello::Start, Hello::Record, Hello::Kind, Hello::TooLong, Hello::Parts, Hello::Name] {
        add(why.as_str());
    }
    // What stands in the code of the exchange itself.
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let before = words.len();
    for folder in ["http", "upstream", "l4"] {
        each(&src.join(folder), &mut |source| {
            for mark in ["why: ", ".significant(", "words.add(", "Refusal { kind"] {
                quoted(source, mark, &mut words);
            }
        });
    }
    assert!(words.len() > before + 12, "they are not found any more: {words:?}");
    for words in &words {
        assert!(name(words).is_some(), "{words:?} has no name: put it in forebay_wire::significance");
    }
    // What breaks a rule was a server's answer, whose words are the rule's.
    let rules = RuleId::ALL.iter().map(|rule| rule.text()).chain(Rule::ALL.iter().map(|rule| rule.text()));
    for text in rules {
        assert_eq!(
            names([text].into_iter(), Ended { code: Some(200), state: "complete" }),
            [BAD_ANSWER],
            "{text}"
        );
    }
}
