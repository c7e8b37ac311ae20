//! What a server's `Set-Cookie` says of the end of a session.

use forebay_core::persist::app_cookie::AppCookie;
use forebay_core::persist::{self, Kind, Learned, Profile, ServerDown};
use forebay_core::units::{Minutes, UnixSeconds};

const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Tue, 19 Jan 2038 03:14:08 GMT";

fn ends(attributes: &str) -> bool {
    let kind = Kind::AppCookie(AppCookie { name: "sid".into(), timeout: Minutes(20) });
    let profile = Profile { kind, server_down: ServerDown::PickNewServer };
    let line = format!("sid=7; {attributes}");
    match persist::learn_from_response(&profile, line.as_bytes(), UnixSeconds(1_700_000_000)) {
        Learned::Ended(_) => true,
        Learned::Key { .. } => false,
        Learned::Nothing => panic!("{line} teaches nothing"),
    }
}

//= test PERS-APP-05
#[test]
fn an_age_that_is_no_number_is_ignored_and_the_date_counts() {
    for age in ["", "abc", "-", "-x", "1h", "0x0", "00s", "+0"] {
        assert!(ends(&format!("Max-Age={age}; Expires={PAST}")), "{age}");
        assert!(!ends(&format!("Max-Age={age}; Expires={FUTURE}")), "{age}");
        assert!(!ends(&format!("Max-Age={age}")), "{age}");
    }
}

//= test PERS-APP-05
#[test]
fn of_several_ages_or_dates_the_last_that_can_be_read_counts() {
    assert!(ends("Max-Age=60; Path=/; Max-Age=0"));
    assert!(!ends("Max-Age=0; Path=/; Max-Age=60"));
    assert!(ends("Max-Age=0; Max-Age=no"));
    assert!(ends(&format!("Expires={FUTURE}; expires={PAST}; Expires=never")));
    assert!(!ends(&format!("Expires={PAST}; Expires={FUTURE}")));
    assert!(!ends(&format!("Expires={PAST}; Max-Age=1")), "an age has precedence");
    assert!(ends(&format!("Max-Age=-1; Expires={FUTURE}")));
}

//= test PERS-APP-05
#[test]
fn blanks_around_names_and_values_say_nothing() {
    assert!(ends("Secure;max-age = 0 ;HttpOnly"));
    assert!(ends(&format!("EXPIRES\t=\t{PAST}")));
    assert!(!ends("XMax-Age=0; Max-Age-=0; Max-Age"));
}

//= test PERS-APP-05
#[test]
fn a_time_that_no_clock_shows_makes_the_whole_no_date() {
    assert!(ends("Expires=Sun, 06 Nov 1994 23:59:59 GMT"));
    for time in ["24:00:00", "08:60:00", "08:49:60", "99:00:00 08:49:37"] {
        assert!(!ends(&format!("Expires=Sun, 06 Nov {time} 1994")), "{time}");
        assert!(!ends(&format!("Expires=06 {time} Nov 94")), "{time}");
    }
}
