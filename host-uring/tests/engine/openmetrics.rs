//! A strict reader of OpenMetrics 1.0 text, of the parts that we use (no exemplars, no timestamps).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// One sample.
#[derive(Debug)]
pub struct Sample {
    /// The sample's name with its suffix.
    pub name: String,
    /// Its labels, unescaped, in order.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

#[derive(Default)]
struct Family {
    kind: String,
    unit: String,
    help: bool,
}

/// Reads a page.
///
/// Checked: the end mark; TYPE, UNIT, HELP once each and before the samples; families not interleaved and none
/// twice; names and label names by the grammar; suffixes by type; the unit at the name's end; no sample twice;
/// counters not negative; histograms' buckets growing, ending in +Inf, equal to their count; state sets 0 or 1.
pub fn parse(page: &str) -> Result<Vec<Sample>, String> {
    let body = page.strip_suffix("# EOF\n").ok_or("the page does not end in # EOF")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut samples = Vec::new();
    let mut seen = BTreeSet::new();
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for line in body.lines() {
        let fail = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# ") {
            let mut parts = rest.splitn(3, ' ');
            let (what, name, text) =
                (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if !is_name(name) {
                return fail("a bad name");
            }
            if name != current {
                if families.contains_key(name) {
                    return fail("a family twice or interleaved");
                }
                name.clone_into(&mut current);
                families.insert(current.clone(), Family::default());
            }
            let family = families.get_mut(name).ok_or("a family")?;
            match what {
                Some("TYPE") if family.kind.is_empty() => text.clone_into(&mut family.kind),
                Some("UNIT") if family.unit.is_empty() && name.ends_with(&format!("_{text}")) => {
                    text.clone_into(&mut family.unit);
                }
                Some("HELP") if !family.help && !text.is_empty() => family.help = true,
                _ => return fail("a bad or repeated line of a family"),
            }
            continue;
        }
        let (name, labels, value) = sample(line).ok_or_else(|| format!("no sample: {line}"))?;
        let family = families.get(&current).ok_or_else(|| format!("a sample before its family: {line}"))?;
        let suffix =
            name.strip_prefix(current.as_str()).ok_or_else(|| format!("not of {current}: {line}"))?;
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" | "stateset" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => return fail("an unknown type"),
        };
        if !allowed.contains(&suffix) {
            return fail("a wrong suffix");
        }
        if !seen.insert(format!("{name}{labels:?}")) {
            return fail("a sample twice");
        }
        if family.kind == "counter" && value < 0.0 {
            return fail("a counter below 0");
        }
        if family.kind == "stateset"
            && !(labels.iter().any(|(n, _)| *n == current) && (value == 0.0 || value == 1.0))
        {
            return fail("a bad state");
        }
        if family.kind == "histogram" {
            let (bounds, rest): (Vec<_>, Vec<_>) = labels.iter().partition(|(n, _)| n == "le");
            let key = format!("{current}{rest:?}");
            match (suffix, bounds.first()) {
                ("_bucket", Some((_, le))) => {
                    let bound = if le == "+Inf" {
                        f64::INFINITY
                    } else {
                        le.parse().map_err(|_| format!("a bad bound: {line}"))?
                    };
                    buckets.entry(key).or_default().push((bound, value));
                }
                ("_count", None) => {
                    let list = buckets.get(&key).ok_or_else(|| format!("no buckets: {line}"))?;
                    let grows = list.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
                    if !grows || list.last() != Some(&(f64::INFINITY, value)) {
                        return fail("buckets that do not add up");
                    }
                }
                ("_sum", None) => {}
                _ => return fail("a bad bucket"),
            }
        }
        samples.push(Sample { name, labels, value });
    }
    Ok(samples)
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

type Labels = Vec<(String, String)>;

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(list) = rest.strip_prefix('{') {
        rest = list;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let mut text = String::new();
            let mut chars = value.char_indices();
            let close = loop {
                match chars.next()? {
                    (_, '\\') => text.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (at, '"') => break at,
                    (_, c) => text.push(c),
                }
            };
            if !is_name(label) || label.contains(':') {
                return None;
            }
            labels.push((label.to_owned(), text));
            rest = &value[close + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    (is_name(name) && !value.contains(' ')).then_some(())?;
    Some((name.to_owned(), labels, value.parse().ok()?))
}

/// Families that have no sample on the page.
pub fn without_sample(page: &str) -> Vec<&str> {
    let mut empty = Vec::new();
    for line in page.lines() {
        match line.strip_prefix("# ") {
            Some(told) => empty.extend(told.strip_prefix("TYPE ").and_then(|rest| rest.split(' ').next())),
            None => {
                let last = empty.last().is_some_and(|family| line.starts_with(family));
                if last {
                    empty.pop();
                }
            }
        }
    }
    empty
}

/// The page's families as a table for the specification.
pub fn reference(page: &str) -> String {
    let mut rows: Vec<[String; 5]> = Vec::new();
    for line in page.lines() {
        let mut parts = line.splitn(4, ' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                rows.push([name.to_owned(), kind.to_owned(), String::new(), String::new(), String::new()]);
            }
            (Some("#"), Some("UNIT"), Some(_), Some(unit)) => {
                if let Some(row) = rows.last_mut() {
                    unit.clone_into(&mut row[2]);
                }
            }
            (Some("#"), Some("HELP"), Some(_), Some(help)) => {
                if let Some(row) = rows.last_mut() {
                    help.clone_into(&mut row[4]);
                }
            }
            _ => {
                if let (Some((_, labels, _)), Some(row)) = (sample(line), rows.last_mut()) {
                    let names: Vec<&str> =
                        labels.iter().map(|(name, _)| name.as_str()).filter(|n| *n != "le").collect();
                    if row[3].is_empty() {
                        row[3] = names.join(", ");
                    }
                }
            }
        }
    }
    let mut out = String::from("\n| family | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for [name, kind, unit, labels, help] in rows {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_reader_refuses_what_the_grammar_forbids() {
        let right = "# TYPE a counter\n# HELP a Help.\na_total{b=\"c\\\"\\\\\"} 1\n# EOF\n";
        assert!(parse(right).is_ok());
        for (from, to) in [
            ("# EOF\n", ""),
            ("a_total{", "a{"),
            (" 1\n", " -1\n"),
            (" 1\n", " one\n"),
            ("b=", "0b="),
            ("\\\"", "\\x"),
            ("counter", "count"),
            ("# HELP", "# TYPE"),
            ("\n# EOF", "\na_total{b=\"c\\\"\\\\\"} 1\n# EOF"),
        ] {
            assert!(parse(&right.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
        }
        let histogram = "# TYPE h histogram\n# HELP h Help.\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_count 3\nh_sum 1\n# EOF\n";
        assert!(parse(histogram).is_ok());
        assert!(parse(&histogram.replace("} 2", "} 4")).is_err());
        assert!(parse(&histogram.replace("h_count 3", "h_count 2")).is_err());
    }
}
