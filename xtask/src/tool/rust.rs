//! Just enough of Rust's lexical rules to tell code from comments and strings.

/// The same text with the contents of comments and strings blanked, lines and columns kept.
pub fn code_only(text: &str) -> String {
    blank(text, true)
}

/// The same text with strings blanked and comments kept.
pub fn without_strings(text: &str) -> String {
    blank(text, false)
}

fn blank(text: &str, comments: bool) -> String {
    let b = text.as_bytes();
    let mut out = b.to_vec();
    let mut wipe = |from: usize, to: usize| {
        for byte in &mut out[from..to.min(b.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut i = 0;
    while i < b.len() {
        match b[i] {
            b'/' if b.get(i + 1) == Some(&b'/') => {
                let end = line_end(b, i);
                if comments {
                    wipe(i, end);
                }
                i = end;
            }
            b'/' if b.get(i + 1) == Some(&b'*') => {
                let end = block_comment_end(b, i);
                if comments {
                    wipe(i, end);
                }
                i = end;
            }
            b'"' => {
                let end = string_end(b, i + 1);
                wipe(i + 1, end.saturating_sub(1));
                i = end;
            }
            b'r' if !is_word(b, i) && raw_hashes(b, i + 1).is_some() => {
                let hashes = raw_hashes(b, i + 1).unwrap_or(0);
                let start = i + 2 + hashes;
                let end = raw_string_end(b, start, hashes);
                wipe(start, end.saturating_sub(1 + hashes));
                i = end;
            }
            b'\'' => i = char_end(b, i),
            _ => i += 1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the byte before `i` makes `b[i]` part of a longer word (`b` and `c` start raw strings too).
fn is_word(b: &[u8], i: usize) -> bool {
    let Some(&before) = i.checked_sub(1).and_then(|p| b.get(p)) else { return false };
    let prefix = matches!(before, b'b' | b'c') && !is_word(b, i - 1);
    (before.is_ascii_alphanumeric() || before == b'_') && !prefix
}

fn raw_hashes(b: &[u8], from: usize) -> Option<usize> {
    let hashes = b[from..].iter().take_while(|c| **c == b'#').count();
    (b.get(from + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(b: &[u8], start: usize, hashes: usize) -> usize {
    let mut i = start;
    while i < b.len() {
        if b[i] == b'"' && b[i + 1..].iter().take_while(|c| **c == b'#').count() >= hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    b.len()
}

fn string_end(b: &[u8], mut i: usize) -> usize {
    while i < b.len() {
        match b[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    b.len()
}

fn line_end(b: &[u8], from: usize) -> usize {
    b[from..].iter().position(|c| *c == b'\n').map_or(b.len(), |n| from + n)
}

fn block_comment_end(b: &[u8], from: usize) -> usize {
    let (mut depth, mut i) = (0usize, from);
    while i + 1 < b.len() {
        match &b[i..i + 2] {
            b"/*" => {
                depth += 1;
                i += 2;
            }
            b"*/" => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    b.len()
}

/// Past a character literal, or past the quote of a lifetime.
fn char_end(b: &[u8], i: usize) -> usize {
    match b.get(i + 1) {
        Some(b'\\') => {
            // The escaped character may itself be a quote.
            b[(i + 3).min(b.len())..].iter().position(|c| *c == b'\'').map_or(b.len(), |n| i + 3 + n + 1)
        }
        Some(c) if *c < 0x80 && b.get(i + 2) == Some(&b'\'') => i + 3,
        Some(c) if *c >= 0x80 => {
            let width = b[i + 1..].iter().position(|c| *c == b'\'').unwrap_or(0);
            if width <= 4 { i + width + 2 } else { i + 1 }
        }
        _ => i + 1,
    }
}

/// The lines on which code of a test stands: files under `tests/`, and everything from the first
/// `#[cfg(test)]` on (by our habit tests stand last in a file).
pub fn first_test_line(path: &str, code: &str) -> Option<usize> {
    if path.starts_with("tests/") || path.contains("/tests/") {
        return Some(0);
    }
    code.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]"))
}

/// Names of functions that `cargo test` would run in this source, with their lines (from 0).
///
/// Left out is what is marked as ignored, and what a `cfg` other than one of a feature may leave out of the
/// build: neither shows anything.
pub fn test_functions(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut attributes: Vec<&str> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#[") {
            attributes.push(line);
        }
        if let Some(name) = function_name(line) {
            if is_run(&attributes) {
                found.push((number, name));
            }
            attributes.clear();
        } else if !line.starts_with("#[") && line.ends_with([';', '{', '}']) {
            attributes.clear();
        }
    }
    found
}

fn is_run(attributes: &[&str]) -> bool {
    const TESTS: [&str; 3] = ["#[test]", "#[tokio::test", "#[monoio::test"];
    let left_out = |a: &&str| {
        a.contains("ignore")
            || (a.starts_with("#[cfg(") && !a.starts_with("#[cfg(feature") && *a != "#[cfg(test)]")
    };
    attributes.iter().any(|a| TESTS.iter().any(|t| a.starts_with(t))) && !attributes.iter().any(left_out)
}

/// The name of the function that this line declares.
pub fn function_name(line: &str) -> Option<&str> {
    let at = if line.starts_with("fn ") { 0 } else { line.find(" fn ")? + 1 };
    let rest = &line[at + 3..];
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    (end > 0).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank_and_code_stays_in_place() {
        let text =
            "let a = \"todo\"; // todo\nlet b = 'x'; /* a /* b */ c */ let c: &'static str = r#\"q\"q\"#;\n";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("todo"));
        assert!(!code.contains('q'));
        assert!(code.contains("let c: &'static str = r#\""));
        assert!(without_strings(text).contains("// todo"));
    }

    #[test]
    fn quotes_in_characters_start_no_string() {
        let code = code_only("match c { '\"' => 1, '\\'' => 2, b'\"' => 3, 'ä' => 4, _ => x } // y");
        assert!(code.contains("=> 4"));
        assert!(code.contains("=> x"));
        assert!(!code.contains('y'));
    }

    #[test]
    fn raw_byte_strings_end_where_they_end() {
        let code = code_only("a(br\"\\\"); b(br##\"x\"#x\"##); var(\"z\"); keep");
        assert!(code.contains("keep") && code.contains("var("));
        assert!(!code.contains('x') && !code.contains('z'));
    }

    #[test]
    fn test_functions_are_found_behind_other_attributes() {
        let code =
            "#[test]\n#[should_panic]\nfn one() {}\nfn two() {}\n  #[tokio::test]\n  async fn three() {}";
        let names: Vec<_> = test_functions(code).into_iter().map(|(_, n)| n).collect();
        assert_eq!(names, ["one", "three"]);
    }

    #[test]
    fn a_test_that_is_ignored_or_left_out_of_the_build_is_none() {
        let code = "#[test]\n#[ignore = \"later\"]\nfn one() {}\n#[ignore]\n#[test]\nfn two() {}\n\
                    #[cfg(any())]\n#[test]\nfn three() {}\n#[test]\n#[cfg_attr(all(), ignore)]\nfn four() {}\n\
                    #[cfg(any())]\nuse a::b;\n#[cfg(feature = \"serde\")]\n#[test]\nfn five() {}\n";
        let names: Vec<_> = test_functions(code).into_iter().map(|(_, n)| n).collect();
        assert_eq!(names, ["five"]);
    }
}
