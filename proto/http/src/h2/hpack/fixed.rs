//! The static table (RFC 7541 appendix A).

use super::kind::Kind;
use crate::Known;

/// Entries of the static table; dynamic ones have the indices behind them.
pub(crate) const COUNT: usize = ENTRIES.len();

/// Name and value of index 1 to 61.
pub(crate) const ENTRIES: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What the names of the entries mean.
static MEANINGS: [(Known, Kind); COUNT] = meanings();

const fn meanings() -> [(Known, Kind); COUNT] {
    let mut table = [(Known::Other, Kind::Plain); COUNT];
    let mut i = 0;
    while i < COUNT {
        let name = ENTRIES[i].0.as_bytes();
        let mut k = 0;
        while k < Known::ALL.len() {
            if same(name, Known::ALL[k].name().as_bytes()) {
                table[i].0 = Known::ALL[k];
            }
            k += 1;
        }
        if name[0] == b':' {
            table[i].1 = Kind::of_pseudo(name);
        }
        i += 1;
    }
    table
}

pub(crate) const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && a.len() == b.len() {
        if !a[i].eq_ignore_ascii_case(&b[i]) {
            return false;
        }
        i += 1;
    }
    a.len() == b.len()
}

/// Returns what the name of index `nth` + 1 means.
pub(crate) fn meaning(nth: usize) -> Option<(Known, Kind)> {
    MEANINGS.get(nth).copied()
}

/// The longest name in the table.
const LONGEST: usize = 27;

/// The first index of each name, by the length of the name; 0 behind the last.
static BY_LENGTH: [[u8; 8]; LONGEST + 1] = by_length();

const fn by_length() -> [[u8; 8]; LONGEST + 1] {
    let mut table = [[0; 8]; LONGEST + 1];
    let mut i = 0;
    while i < COUNT {
        let name = ENTRIES[i].0.as_bytes();
        if i == 0 || !same(name, ENTRIES[i - 1].0.as_bytes()) {
            let mut slot = 0;
            while table[name.len()][slot] != 0 {
                slot += 1; // more than eight of one length: a compile error here
            }
            table[name.len()][slot] = i as u8 + 1;
        }
        i += 1;
    }
    table
}

/// Returns the first index with this name, in any case; 0 for none.
pub(crate) fn index_of(name: &[u8]) -> usize {
    let Some(candidates) = BY_LENGTH.get(name.len()) else { return 0 };
    for &index in candidates {
        let Some((text, _)) = usize::from(index).checked_sub(1).and_then(|nth| ENTRIES.get(nth)) else {
            return 0;
        };
        if name.eq_ignore_ascii_case(text.as_bytes()) {
            return usize::from(index);
        }
    }
    0
}

/// Returns the index at or behind `index` with the same name and this value; 0 for none.
pub(crate) fn index_of_value(index: usize, value: &[u8]) -> usize {
    let Some(nth) = index.checked_sub(1) else { return 0 };
    let Some((name, _)) = ENTRIES.get(nth) else { return 0 };
    for (more, (n, v)) in ENTRIES[nth..].iter().enumerate() {
        if n != name {
            return 0;
        }
        if v.as_bytes() == value {
            return index + more;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_name_and_value() {
        for (nth, (name, value)) in ENTRIES.iter().enumerate() {
            let first = index_of(name.as_bytes());
            assert_eq!(ENTRIES[first - 1].0, *name);
            assert_eq!(index_of_value(first, value.as_bytes()), nth + 1);
            assert_eq!(meaning(nth).map(|(known, _)| known), Some(Known::of(name.as_bytes())));
        }
        assert_eq!(index_of(b"x-unheard-of"), 0);
        assert_eq!(index_of_value(8, b"201"), 0);
    }
}
