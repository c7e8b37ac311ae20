//! A configuration as it travels: sections by their keys.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::proto::{Change, Section};

/// The texts of a configuration's parts; in the order of their keys they make the engine's document.
pub type Sections = BTreeMap<String, String>;

/// The sum over a configuration: two that have the same are the same.
//= CHAN-CONFIG-01
pub fn digest(sections: &Sections) -> [u8; 32] {
    let mut sum = Sha256::new();
    for (key, text) in sections {
        for part in [key, text] {
            // With its length, so that no two configurations are the same bytes.
            sum.update((part.len() as u64).to_be_bytes());
            sum.update(part.as_bytes());
        }
    }
    sum.finalize().into()
}

/// What leads from one configuration to another.
pub fn between(from: &Sections, to: &Sections) -> Change {
    let section = |(key, text): (&String, &String)| Section { key: key.clone(), text: text.clone() };
    let set = to.iter().filter(|(key, text)| from.get(*key) != Some(text)).map(section).collect();
    let gone = from.keys().filter(|key| !to.contains_key(*key)).cloned().collect();
    Change { set, gone }
}

/// The configuration after a change.
pub fn change(from: &Sections, by: Change) -> Sections {
    let mut to = from.clone();
    for key in by.gone {
        to.remove(&key);
    }
    to.extend(by.set.into_iter().map(|section| (section.key, section.text)));
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(pairs: &[(&str, &str)]) -> Sections {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    //= test CHAN-CONFIG-01
    #[test]
    fn what_leads_from_one_to_another_leads_there_and_the_sum_tells() {
        let all = [
            sections(&[]),
            sections(&[("a", "1")]),
            sections(&[("a", "2"), ("b", "")]),
            sections(&[("ab", ""), ("c", "3")]),
            sections(&[("a", "b")]),
        ];
        for from in &all {
            for to in &all {
                let by = between(from, to);
                assert_eq!(by == Change::default(), from == to, "{from:?} {to:?}");
                assert_eq!(change(from, by), *to);
                assert_eq!(digest(from) == digest(to), from == to, "{from:?} {to:?}");
            }
        }
    }
}
