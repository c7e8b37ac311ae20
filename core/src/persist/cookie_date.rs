//! Dates of `Expires`, as clients read them (RFC 6265, section 5.1.1).
//!
//! The rule takes IMF-fixdate, RFC 850 and asctime dates, and what frameworks make of them: parts in any order,
//! separated by whatever is no letter, digit or colon; two digits of a year; any name of a time zone, which is ignored.
//! The parsers that others offer need the standard library's clock or refuse such dates.

use crate::units::UnixSeconds;

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const DAY_S: u64 = 86_400;

/// The moment that `text` means; moments before 1970 are given as 1970. `None` if it is no date.
//= PERS-APP-05
pub fn parse(text: &[u8]) -> Option<UnixSeconds> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_part =
        |b: &u8| matches!(b, b'0'..=b'9' | b':' | b'a'..=b'z' | b'A'..=b'Z' | ..=8 | 10..=31 | 127..);
    for part in text.split(|b| !is_part(b)).filter(|part| !part.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of(part)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some((found, _)) = number(part, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(part)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some((found, _)) = number(part, 2, 4)
        {
            year = Some(match found {
                70..=99 => found + 1900,
                0..=69 => found + 2000,
                _ => found,
            });
        }
    }
    let (time, day, month, year) = (time?, day?, month?, year?);
    let (hour, minute, second) = time;
    if hour > 23 || minute > 59 || second > 59 || year < 1601 || day == 0 || day > days_in(month, year) {
        return None;
    }
    if year < 1970 {
        return Some(UnixSeconds(0));
    }
    let leap_days = |before: u64| before / 4 - before / 100 + before / 400;
    let whole_years = 365 * (year - 1970) + leap_days(year - 1) - leap_days(1969);
    let whole_months: u64 = (0..month).map(|m| days_in(m, year)).sum();
    Some(UnixSeconds((whole_years + whole_months + day - 1) * DAY_S + (hour * 60 + minute) * 60 + second))
}

/// `hours:minutes:seconds`, of any size: a part of this form is the time, and one that no clock shows makes the whole
/// no date.
fn time_of(part: &[u8]) -> Option<(u64, u64, u64)> {
    let mut fields = part.splitn(3, |b| *b == b':');
    let whole = |field: &[u8]| number(field, 1, 2).filter(|(_, digits)| *digits == field.len());
    let (hour, _) = whole(fields.next()?)?;
    let (minute, _) = whole(fields.next()?)?;
    // Behind the seconds anything may stand that is no digit.
    let (second, _) = number(fields.next()?, 1, 2)?;
    Some((hour, minute, second))
}

fn month_of(part: &[u8]) -> Option<usize> {
    let name = part.get(..3)?;
    MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month))
}

/// The number of `least` to `most` digits at the beginning, and how many they are; no further digit may follow.
fn number(part: &[u8], least: usize, most: usize) -> Option<(u64, usize)> {
    let digits = part.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(least..=most).contains(&digits) {
        return None;
    }
    let value = part.iter().take(digits).fold(0, |sum, b| sum * 10 + u64::from(b - b'0'));
    Some((value, digits))
}

/// Days of a month, which counts from 0.
fn days_in(month: usize, year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 if is_leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
