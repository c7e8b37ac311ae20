//! The names of engines that share their tables, as they stand in certificates.

/// The most characters of a group's name: with the rest, every name of a member stays far below what a certificate's may have.
pub const GROUP_NAME_MAX: usize = 40;
/// The most members of a group, and one more than the highest slot.
pub const SLOTS: u8 = 64;

/// What every name of a member ends with: a domain that is set aside for use in private (`internal`), and never resolved here.
const DOMAIN: &str = "forebay.internal";

/// The name of the member of a group that has a slot: the one DNS name of its certificate.
///
/// It holds for a group that [`group_problem`] finds nothing wrong with.
//= PKI-NAME-01
pub fn member_name(group: &str, slot: u8) -> String {
    format!("se-{slot}.{group}.{DOMAIN}")
}

/// The name of one that only reads, in the certificate by which it comes: another one than an engine's, so that who has it can
/// be no engine.
///
/// It holds for a group that [`group_problem`] finds nothing wrong with.
//= SYNC-MIRROR-01
pub fn reader_name(group: &str, slot: u8) -> String {
    format!("reader-{slot}.{group}.{DOMAIN}")
}

/// The group and slot of such a name; `None` if it is another one, or written in another way.
pub fn member_of(name: &str) -> Option<(&str, u8)> {
    let (slot, rest) = name.strip_prefix("se-")?.split_once('.')?;
    let group = rest.strip_suffix(DOMAIN)?.strip_suffix('.')?;
    let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
    // Signs and leading zeros are digits to the parser and another name to a certificate's judge.
    let is_one = group_problem(group).is_none() && member_name(group, slot) == name;
    is_one.then_some((group, slot))
}

/// What is wrong with the name of a group, if anything is.
//= PKI-NAME-01
pub fn group_problem(group: &str) -> Option<&'static str> {
    let is_sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if group.is_empty() || group.len() > GROUP_NAME_MAX {
        Some("a group's name has 1 to 40 characters")
    } else if !group.bytes().all(is_sign) {
        Some(
            "a group's name is made of a to z, 0 to 9 and the hyphen: it stands in certificates as a part of a DNS name",
        )
    } else if group.starts_with('-') || group.ends_with('-') {
        Some(
            "a group's name neither begins nor ends with a hyphen: it stands in certificates as a part of a DNS name",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test PKI-NAME-01
    #[test]
    fn the_name_of_a_member_tells_its_group_and_slot_and_no_other_name_does() {
        assert_eq!(member_name("web-1", 63), "se-63.web-1.forebay.internal");
        for (group, slot) in [("a", 0), ("web-1", 63), ("0123456789012345678901234567890123456789", 7)] {
            assert_eq!(group_problem(group), None, "{group}");
            assert_eq!(member_of(&member_name(group, slot)), Some((group, slot)));
        }
        for other in [
            "se-64.web.forebay.internal",
            "se-07.web.forebay.internal",
            "se-+7.web.forebay.internal",
            "se-7.forebay.internal",
            "se-7..forebay.internal",
            "se-7.web.other.internal",
            "se-7.webforebay.internal",
            "se-7.a.b.forebay.internal",
            "SE-7.web.forebay.internal",
            "www.example.com",
            "",
        ] {
            assert_eq!(member_of(other), None, "{other}");
        }
        let long = "a".repeat(41);
        for wrong in ["", "Web", "a.b", "-a", "a-", "a b", "ä", long.as_str()] {
            assert!(group_problem(wrong).is_some(), "{wrong}");
        }
    }
}
