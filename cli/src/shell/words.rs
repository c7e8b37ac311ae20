//! A line of the shell as words: separated by spaces, with quotes around what has some.

use crate::api::{Failure, usage};

/// The words of a line; `#` begins a remark.
///
/// # Errors
/// A quote that is not closed.
pub fn words(line: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        match rest.peek() {
            None | Some('#') => return Ok(words),
            _ => {}
        }
        let mut word = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
            match c {
                '"' | '\'' => loop {
                    match rest.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(rest.next()),
                        Some(inner) => word.push(inner),
                        None => return Err(usage(format!("the quote {c} is not closed"))),
                    }
                },
                '\\' => word.extend(rest.next()),
                c => word.push(c),
            }
        }
        words.push(word);
    }
}

/// The line without what stands behind `|`, and the texts that its lines must have: `show pool p | grep 10.1.1.1`.
///
/// # Errors
/// Something else than `grep` stands there.
pub fn piped(words: &[String]) -> Result<(&[String], Vec<&str>), Failure> {
    let mut parts = words.split(|word| word == "|");
    let first = parts.next().unwrap_or_default();
    let mut texts = Vec::new();
    for part in parts {
        match part {
            [grep, text] if grep == "grep" => texts.push(text.as_str()),
            _ => return Err(usage("behind | there may be: grep TEXT")),
        }
    }
    Ok((first, texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_words() {
        let read = |line: &str| words(line).expect(line);
        assert_eq!(read("  configure pool  p1 # a remark"), ["configure", "pool", "p1"]);
        assert_eq!(read(r#"name "a b" 'c"d' e\ f "g\"h" """#), ["name", "a b", "c\"d", "e f", "g\"h", ""]);
        assert!(read("# nothing").is_empty() && read("").is_empty());
        assert!(words("name \"a").is_err());
        let line = read("show pool p | grep a | grep b");
        let (first, texts) = piped(&line).expect("two filters");
        assert_eq!((first.len(), texts), (3, vec!["a", "b"]));
        assert!(piped(&read("show pool p | less")).is_err());
    }
}
