//! Words that may stand in certain folders only: the runtime behind its seam, no clock and no
//! randomness in pure crates (clippy says the same, where its lints reach).

use super::Findings;
use super::arrows::PURE;
use crate::tool::rust;
use crate::tool::tree::File;

/// A word in code, the folders in which it is looked for, and those below them in which it may stand.
struct Seam {
    words: &'static [&'static str],
    within: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

const SEAMS: &[Seam] = &[
    Seam {
        words: &["monoio", "io_uring"],
        within: &["host-uring/src/", "host-uring/tests/"],
        except: &["host-uring/src/rt/", "host-uring/src/rt.rs"],
        why: "only rt/ names monoio and io-uring, so that the runtime can be replaced",
    },
    Seam {
        words: &["tokio"],
        within: &[
            "host-uring/src/rt/",
            "host-uring/src/worker/",
            "host-uring/src/http/",
            "host-uring/src/upstream/",
            "host-uring/src/persist/",
            "host-uring/src/listen/",
        ],
        except: &[],
        why: "workers never name tokio; it belongs to the control thread",
    },
    Seam {
        words: &["hickory_resolver"],
        within: &["host-uring/src/"],
        except: &["host-uring/src/control/names/"],
        why: "names are looked up in the control thread, through control/names alone",
    },
    Seam {
        words: &["rustls", "tokio_rustls", "webpki", "x509_cert"],
        within: &["host-uring/src/"],
        except: &["host-uring/src/tls/"],
        why: "TLS enters through tls/ alone, so that what is trusted is decided in one place",
    },
    Seam {
        words: &["rustls", "tokio_rustls", "webpki"],
        within: &["objsync/tokio/src/"],
        except: &["objsync/tokio/src/identity.rs"],
        why: "whom members trust is decided in identity.rs alone",
    },
    Seam {
        words: &["tokio", "monoio"],
        within: &["host-native/sandbox/"],
        except: &[],
        why: "the sandbox has no runtime inside",
    },
];

/// What a pure crate's code (its tests apart) never names.
const IMPURE: &[(&str, &str)] = &[
    ("std::", "pure crates are no_std: take it from core or alloc"),
    ("f32", "floats differ between targets: use integers"),
    ("f64", "floats differ between targets: use integers"),
    ("unwrap()", "return the error, or expect() with the invariant"),
];

pub fn check(files: &[File]) -> Findings {
    let mut findings = Findings::of("files behind a seam");
    for file in files.iter().filter(|f| f.is("rs")) {
        let seams: Vec<&Seam> = SEAMS
            .iter()
            .filter(|seam| starts(&file.path, seam.within) && !starts(&file.path, seam.except))
            .collect();
        let pure = PURE.iter().any(|folder| file.path.starts_with(&format!("{folder}/src/")));
        if seams.is_empty() && !pure {
            continue;
        }
        findings.looked_at += 1;
        let code = rust::code_only(&file.text);
        for (number, line) in code.lines().enumerate() {
            for seam in &seams {
                for word in seam.words.iter().filter(|w| has_word(line, w)) {
                    findings.problem(
                        format!("{}:{}", file.path, number + 1),
                        format!("names {word}"),
                        seam.why,
                    );
                }
            }
        }
        if pure && file.path.ends_with("/src/lib.rs") {
            for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
                if !code.lines().any(|line| line.trim() == attribute) {
                    findings.problem(
                        &file.path,
                        format!("has no {attribute}"),
                        "a pure crate says so itself",
                    );
                }
            }
        }
        if pure {
            impure(&mut findings, file, &code);
        }
    }
    findings
}

fn impure(findings: &mut Findings, file: &File, code: &str) {
    let tests = rust::first_test_line(&file.path, code).unwrap_or(usize::MAX);
    // Generators for tests are compiled for tests and by feature only.
    if file.path.contains("/testing") {
        return;
    }
    for (number, line) in code.lines().enumerate().take_while(|(number, _)| *number < tests) {
        for (word, why) in IMPURE.iter().filter(|(w, _)| has_word(line, w)) {
            findings.problem(format!("{}:{}", file.path, number + 1), format!("names {word}"), *why);
        }
    }
}

fn starts(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|p| path.starts_with(p))
}

/// Whether `word` stands in `line` with no letter, digit or `_` beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = word.ends_with(|c: char| !part(c));
        !before.is_some_and(part) && (open || !after.is_some_and(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, code: &str) -> Vec<String> {
        check(&[File::new(path, code)]).problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn only_rt_names_the_runtime() {
        assert_eq!(problems("host-uring/src/rt/tcp.rs", "use monoio::net;"), Vec::<String>::new());
        assert_eq!(problems("host-uring/src/http/a.rs", "use monoio::net;"), ["names monoio"]);
        assert_eq!(problems("host-uring/src/main.rs", "use io_uring as ring;"), ["names io_uring"]);
    }

    #[test]
    fn a_comment_or_a_longer_word_is_no_name() {
        assert_eq!(problems("host-uring/src/http/a.rs", "// monoio\nlet tokio_free = \"tokio\";"), [""; 0]);
    }

    #[test]
    fn a_worker_that_names_tokio_is_refused() {
        assert_eq!(problems("host-uring/src/worker/mod.rs", "tokio::spawn(x);"), ["names tokio"]);
        assert_eq!(problems("host-uring/src/control/mod.rs", "tokio::spawn(x);"), [""; 0]);
    }

    #[test]
    fn a_pure_crate_forbids_std_and_unsafe_code() {
        assert_eq!(problems("core/src/lib.rs", "#![no_std]\n#![forbid(unsafe_code)]\n"), [""; 0]);
        assert_eq!(problems("core/src/lib.rs", "#![no_std]\n"), ["has no #![forbid(unsafe_code)]"]);
    }

    #[test]
    fn a_pure_crate_names_no_std_and_no_floats_outside_its_tests() {
        let code = "use std::time::Instant;\nlet x: f64 = y.unwrap();\n#[cfg(test)]\nmod t { use std::fs; }";
        assert_eq!(problems("core/src/lb/a.rs", code), ["names std::", "names f64", "names unwrap()"]);
    }
}
