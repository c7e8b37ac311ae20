//! The version of the API that a request asks for, in the header `X-Avi-Version`.
//!
//! Clients name the release that they were made for. Objects have the same form for all of them: a field that is newer
//! than the version asked for is taken, and shown to who set it. Only a version that is newer than ours is refused, as
//! its client may count on what is not there.

use std::fmt::{self, Display, Formatter};

use forebay_snapshot::Problem;

/// A release, as in `30.2.1`; what is left out at the end is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    parts: [u16; 4],
}

/// The name of the header.
pub const HEADER: &str = "X-Avi-Version";

/// The version whose objects these are, and the newest that is taken.
pub const OURS: Version = Version { parts: [30, 2, 1, 0] };

/// What a request without the header asks for.
pub const UNSAID: Version = Version { parts: [16, 4, 1, 0] };

impl Version {
    /// Reads a version: two to four numbers with dots between, as in `22.1` or `20.1.7.2`.
    ///
    /// `None` if it is something else.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = [0; 4];
        let mut count = 0;
        for part in text.split('.') {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            *parts.get_mut(count)? = if is_number { part.parse().ok()? } else { return None };
            count += 1;
        }
        (count >= 2).then_some(Version { parts })
    }

    /// The version that a request asks for, from the text of its header.
    ///
    /// # Errors
    /// The text is no version, or one that is newer than [`OURS`]. Clients look for `Invalid version` in the answer.
    pub fn asked(header: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = header.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(UNSAID) };
        let problem = |reason: String| Problem {
            line: None,
            path: HEADER.to_owned(),
            reason,
            fix: format!("ask for {OURS}, or an older one"),
        };
        let version = Version::read(text).ok_or_else(|| {
            let shown: String = text.chars().take(32).flat_map(char::escape_default).collect();
            problem(format!("Invalid version \"{shown}\""))
        })?;
        if version > OURS {
            return Err(problem(format!("Invalid version {version}: this Controller is {OURS}")));
        }
        Ok(version)
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, fix] = self.parts;
        write!(f, "{major}.{minor}.{patch}")?;
        if fix > 0 { write!(f, ".{fix}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_stand_in_the_order_of_their_numbers() {
        let order =
            ["16.4.1", "17.1", "17.2.14", "18.2.6", "20.1.7", "20.1.7.2", "21.1.3", "22.1.3", "30.2.1"];
        let read = order.map(|text| Version::read(text).expect(text));
        assert!(read.is_sorted() && read.iter().all(|version| *version <= OURS));
        assert_eq!(Version::read("17.1"), Version::read("17.1.0"));
        assert_eq!(order.map(|text| Version::read(text).expect(text).to_string())[5], "20.1.7.2");
    }

    #[test]
    fn what_clients_send_by_themselves_is_taken() {
        for header in [None, Some(""), Some(" 18.2.6 "), Some("18.2.8"), Some("20.1.1"), Some("30.2.1")] {
            assert!(Version::asked(header).is_ok(), "{header:?}");
        }
        assert_eq!(Version::asked(None), Ok(UNSAID));
        assert_eq!(UNSAID.to_string(), "16.4.1");
    }

    #[test]
    fn a_newer_version_and_no_version_are_refused_with_the_words_that_clients_look_for() {
        for text in [
            "30.2.2",
            "31.1.1",
            "99.1",
            "30",
            "v30.2.1",
            "30..1",
            "30.2.1.0.0",
            "30.2.99999",
            "-1.2",
            "a\u{0}b",
        ] {
            let problem = Version::asked(Some(text)).expect_err(text);
            assert!(problem.reason.contains("Invalid version"), "{text}: {problem:?}");
            assert!(problem.fix.contains("30.2.1"), "{text}: {problem:?}");
            assert!(problem.reason.len() < 200 && !problem.reason.contains('\u{0}'), "{text}");
        }
    }
}
