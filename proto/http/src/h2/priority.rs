//! Priorities of RFC 9218: a field, a frame, and who goes first.

/// How urgent a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7; 3 unless said otherwise.
    pub urgency: u8,
    /// The client can use parts of it: it shares with others of its urgency.
    pub incremental: bool,
}

impl Priority {
    /// What counts where a client says nothing at all. RFC 9218 would send one response after the other; a client
    /// that knows no priorities may have endless ones among them, so they share.
    //= H2-PRIO-03
    pub(crate) const UNSAID: Priority = Priority { urgency: 3, incremental: true };

    /// Reads the value of a `priority` field or frame; what it does not say, or says wrong, is as RFC 9218 has it.
    //= H2-PRIO-02
    pub fn read(value: &[u8]) -> Priority {
        let mut priority = Priority { urgency: 3, incremental: false };
        for member in value.split(|&b| b == b',') {
            // Parameters behind a member mean nothing to us.
            let item = crate::bytes::trim(member.split(|&b| b == b';').next().unwrap_or(&[]));
            match item {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test H2-PRIO-02
    #[test]
    fn a_priority_is_what_it_says_and_the_default_where_it_says_nothing_we_know() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i", 3, true),
            ("i=?1,u=5", 5, true),
            ("i=?0, u=1", 1, false),
            ("u=8", 3, false),
            ("u=-1, i=1", 3, false),
            ("u=2;x=y, foo=bar, i;z", 2, true),
            ("u=1, u=4", 4, false),
            ("U=1", 3, false),
        ] {
            let read = Priority::read(value.as_bytes());
            assert_eq!(read, Priority { urgency, incremental }, "{value}");
        }
    }
}
