//! The `Date` of answers, formatted once a second.

use std::cell::{Cell, RefCell};

/// Length of `Sun, 06 Nov 1994 08:49:37 GMT`.
const LEN: usize = 29;

/// The current second as an HTTP date.
pub struct DateCache {
    second: Cell<u64>,
    text: RefCell<[u8; LEN]>,
}

impl Default for DateCache {
    fn default() -> Self {
        DateCache { second: Cell::new(0), text: RefCell::new(format(0)) }
    }
}

impl DateCache {
    /// The date of `second` (seconds since 1970).
    pub fn at(&self, second: u64) -> [u8; LEN] {
        if self.second.get() != second {
            self.second.set(second);
            *self.text.borrow_mut() = format(second);
        }
        *self.text.borrow()
    }
}

/// IMF-fixdate (RFC 9110 5.6.7).
fn format(second: u64) -> [u8; LEN] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let days = second / 86_400;
    let of_day = second % 86_400;
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two(&mut text, 5, day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    two(&mut text, 12, year / 100);
    two(&mut text, 14, year % 100);
    two(&mut text, 17, of_day / 3600);
    two(&mut text, 20, of_day / 60 % 60);
    two(&mut text, 23, of_day % 60);
    text
}

fn two(text: &mut [u8; LEN], at: usize, value: u64) {
    text[at] = b'0' + (value / 10 % 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

/// Year, month and day of a day since 1970: counted from March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&format(second)).expect("text"), text);
        }
    }
}
