//! Dates in `Expires`.

use forebay_core::persist::cookie_date::parse;
use forebay_core::units::UnixSeconds;
use proptest::prelude::*;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Year, month from 0, day from 1: by counting, unlike the code under test.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for month in 0..12 {
            let length = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
            if days < length {
                return (year, month, days + 1);
            }
            days -= length;
        }
        year += 1;
    }
}

/// The moment in the three forms of HTTP and in the one with dashes that many frameworks write.
fn forms(at: u64) -> Vec<String> {
    let (year, month, day) = civil(at / 86_400);
    let (weekday, month) = (DAYS[(at / 86_400 % 7) as usize], MONTHS[month]);
    let time = format!("{:02}:{:02}:{:02}", at / 3_600 % 24, at / 60 % 60, at % 60);
    let short = &weekday[..3];
    let mut forms = vec![
        format!("{short}, {day:02} {month} {year} {time} GMT"),
        format!("{short} {month} {day:2} {time} {year}"),
        format!("{short}, {day:02}-{month}-{year} {time} GMT"),
    ];
    if (1970..2070).contains(&year) {
        forms.push(format!("{weekday}, {day:02}-{month}-{:02} {time} GMT", year % 100));
    }
    forms
}

//= test PERS-APP-05
#[test]
fn dates_of_the_rfcs_and_their_limits() {
    for (text, at) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
        ("Fri, 01 Jan 1904 00:00:00 GMT", 0),
        ("Tue, 19-Jan-2038 03:14:08 UTC", 2_147_483_648),
    ] {
        assert_eq!(parse(text.as_bytes()), Some(UnixSeconds(at)), "{text}");
    }
    for text in [
        "",
        "0",
        "-1",
        "Sun, 06 Nov 1994",
        "Fri, 30 Feb 2024 00:00:00 GMT",
        "Thu, 29 Feb 2023 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1600 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, 06 Now 1994 08:49:37 GMT",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    //= test PERS-APP-05
    #[test]
    fn every_moment_is_read_from_every_form(at in 0_u64..32_503_680_000) {
        for text in forms(at) {
            prop_assert_eq!(parse(text.as_bytes()), Some(UnixSeconds(at)), "{}", text);
            prop_assert_eq!(parse(text.to_ascii_lowercase().as_bytes()), Some(UnixSeconds(at)), "{}", text);
        }
    }

    #[test]
    fn no_text_brings_it_down(text in prop::collection::vec(any::<u8>(), 0..80)) {
        parse(&text);
    }

    #[test]
    fn no_text_that_looks_like_a_date_brings_it_down(text in "[0-9A-Za-z:, -]{0,60}") {
        parse(text.as_bytes());
    }
}
