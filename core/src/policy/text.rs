//! Conditions on texts, and the glob.

use alloc::vec::Vec;

/// A compiled condition on a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    /// Sorted; in lower case if case does not count.
    pub equals: Vec<Vec<u8>>,
    pub begins_with: Vec<Vec<u8>>,
    pub ends_with: Vec<Vec<u8>>,
    pub contains: Vec<Vec<u8>>,
    pub glob: Vec<Vec<u8>>,
    pub ignore_case: bool,
    pub not: bool,
}

impl Text {
    /// Whether the condition holds for `value`, `not` included.
    //= POL-TEXT-01
    pub fn holds(&self, value: &[u8]) -> bool {
        self.fits(value) != self.not
    }

    /// Whether a value of the lists fits, `not` aside.
    pub fn fits(&self, value: &[u8]) -> bool {
        let same: fn(&[u8], &[u8]) -> bool =
            if self.ignore_case { <[u8]>::eq_ignore_ascii_case } else { |a, b| a == b };
        let n = value.len();
        self.is_one_of(value)
            || self.begins_with.iter().any(|p| n >= p.len() && same(&value[..p.len()], p))
            || self.ends_with.iter().any(|p| n >= p.len() && same(&value[n - p.len()..], p))
            || self.contains.iter().any(|p| p.is_empty() || value.windows(p.len()).any(|w| same(w, p)))
            || self.glob.iter().any(|p| glob(p, value, self.ignore_case))
    }

    fn is_one_of(&self, value: &[u8]) -> bool {
        if !self.ignore_case {
            return self.equals.binary_search_by(|e| e[..].cmp(value)).is_ok();
        }
        // The list is in lower case, so the value is compared as if it were.
        let lower = value.iter().map(u8::to_ascii_lowercase);
        self.equals.binary_search_by(|e| e.iter().copied().cmp(lower.clone())).is_ok()
    }
}

/// Returns true if `value` matches `pattern`: `*` stands for any run of bytes, `?` for one byte.
///
/// Time is at most the product of the lengths, and both have bounds.
//= POL-TEXT-02
pub fn glob(pattern: &[u8], value: &[u8], ignore_case: bool) -> bool {
    let same = |p: u8, v: u8| p == b'?' || p == v || (ignore_case && p.eq_ignore_ascii_case(&v));
    let (mut p, mut v) = (0, 0);
    // Where to go on if a literal part does not fit: behind the last star, one byte later.
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, v));
                p += 1;
            }
            Some(c) if same(*c, value[v]) => {
                p += 1;
                v += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    p = after;
                    v = from + 1;
                    star = Some((after, v));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    //= test POL-TEXT-02
    #[test]
    fn globs_match_whole_values() {
        for (pattern, value, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "example.com", false),
            ("/a/*/c", "/a/b/b/c", true),
            ("/a/?/c", "/a/bb/c", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), value.as_bytes(), false), fits, "{pattern} {value}");
        }
        assert!(glob(b"/API/*", b"/api/x", true) && !glob(b"/API/*", b"/api/x", false));
    }

    /// The definition, in exponential time.
    fn plain(p: &[u8], v: &[u8]) -> bool {
        match (p.split_first(), v.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => plain(rest, v) || v.split_first().is_some_and(|(_, v)| plain(p, v)),
            (Some((b'?', p)), Some((_, v))) => plain(p, v),
            (Some((a, p)), Some((b, v))) => a == b && plain(p, v),
            _ => false,
        }
    }

    proptest! {
        //= test POL-TEXT-02
        #[test]
        fn a_glob_agrees_with_its_definition(p in "[ab*?]{0,8}", v in "[ab]{0,10}") {
            prop_assert_eq!(glob(p.as_bytes(), v.as_bytes(), false), plain(p.as_bytes(), v.as_bytes()));
        }
    }
}
