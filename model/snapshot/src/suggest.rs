//! The nearest known name for a mistyped one.

/// Returns the name of `known` that `typed` most likely means, if one is near enough.
///
/// Near enough: at most a third of the longer name has to be changed (insert, remove, replace or swap of two).
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer input cannot be near any of our names, and the table below grows with it.
    if typed.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (distance(typed, name), name))
        .filter(|(steps, name)| *steps * 3 <= typed.len().max(name.len()))
        .min()
        .map(|(_, name)| name)
}

/// Edit distance with swaps of neighbours counted as one step.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let width = b.len() + 1;
    let mut rows = vec![0_usize; (a.len() + 1) * width];
    for (j, cell) in rows.iter_mut().take(width).enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        rows[i * width] = i;
        for j in 1..=b.len() {
            let replace = rows[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[(i - 1) * width + j] + 1).min(rows[i * width + j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[(i - 2) * width + j - 2] + 1);
            }
            rows[i * width + j] = best;
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["algorithm", "persistence", "health_monitors"];
        assert_eq!(nearest("algoritm", known), Some("algorithm"));
        assert_eq!(nearest("presistence", known), Some("persistence"));
        assert_eq!(nearest("health_monitor", known), Some("health_monitors"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
