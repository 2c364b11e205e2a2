//! Times and numbers as text: RFC 3339 for the log, the basic format of ISO 8601 for signatures.
//! Written digit by digit without `format!`, because every request needs both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// RFC 3339 in UTC with microseconds: `2013-05-24T00:00:00.000042Z`.
#[must_use]
pub fn rfc3339(now: SystemTime) -> String {
    let mut text = String::with_capacity(27);
    push_rfc3339(&mut text, now);
    text
}

/// Appends the same text.
pub fn push_rfc3339(text: &mut String, now: SystemTime) {
    let now = Civil::of(now);
    now.push_date(text, "-");
    text.push('T');
    now.push_time(text, ":");
    text.push('.');
    push_digits(text, now.microsecond, 100_000);
    text.push('Z');
}

/// The form of `x-amz-date`: `20130524T000000Z`.
#[must_use]
pub fn amz_date_time(now: SystemTime) -> String {
    let now = Civil::of(now);
    let mut text = String::with_capacity(16);
    now.push_date(&mut text, "");
    text.push('T');
    now.push_time(&mut text, "");
    text.push('Z');
    text
}

/// The time in a text of RFC 3339, such as `2013-05-24T00:00:00Z`; fractions of a second are dropped. `None`
/// for another text and for times before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let separated = separators
        .iter()
        .all(|(at, mark)| text.get(*at..at + 1).is_some_and(|it| it.eq_ignore_ascii_case(mark)));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_date = (1970..).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !separated || !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = if zone.eq_ignore_ascii_case("z") { 0 } else { offset(zone)? };
    // As in `Civil::of`, the other way round.
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let days =
        365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1;
    let local = (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second;
    let utc = local.checked_add_signed(-offset)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(utc))
}

/// Seconds of an offset such as `+01:30`.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = zone.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes))
        .then_some(sign * (hours * 60 + minutes) * 60)
}

/// A calendar date and time of day in UTC. Times before 1970 count as 1970.
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    /// Second of the day.
    second: u32,
    microsecond: u32,
}

impl Civil {
    /// Counts days since 1 March of the year 0, so that the leap day is the last day of a year: the
    /// calendar then repeats every 400 years, and the lengths of months every five months
    /// (<https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`).
    fn of(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let days = since.as_secs() / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        let small = |number: u64| u32::try_from(number).unwrap_or_default();
        Self {
            year: small(year),
            month: small(month),
            day: small(day),
            second: small(since.as_secs() % 86_400),
            microsecond: since.subsec_micros(),
        }
    }

    fn push_date(&self, text: &mut String, separator: &str) {
        push_digits(text, self.year, 1000);
        text.push_str(separator);
        push_digits(text, self.month, 10);
        text.push_str(separator);
        push_digits(text, self.day, 10);
    }

    fn push_time(&self, text: &mut String, separator: &str) {
        push_digits(text, self.second / 3600, 10);
        text.push_str(separator);
        push_digits(text, self.second / 60 % 60, 10);
        text.push_str(separator);
        push_digits(text, self.second % 60, 10);
    }
}

/// Appends the decimal digits of a number from the place of `unit`, a power of ten, down.
fn push_digits(text: &mut String, number: u32, mut unit: u32) {
    while unit > 0 {
        text.push(digit(number / unit % 10));
        unit /= 10;
    }
}

/// Appends a number in decimal.
pub fn push_decimal(text: &mut String, number: u64) {
    let mut unit = 1;
    while number / unit > 9 {
        unit *= 10;
    }
    while unit > 0 {
        text.push(digit(u32::try_from(number / unit % 10).unwrap_or_default()));
        unit /= 10;
    }
}

fn digit(number: u32) -> char {
    char::from_digit(number, 10).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_of_rfc_3339_are_read_back() {
        for seconds in [0, 68_169_599, 68_169_600, 951_782_400, 1_369_353_600, 4_107_542_400] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time), "{seconds}");
        }
        let time = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        for (text, read) in [
            ("2013-05-24T00:00:00Z", Some(time)),
            ("2013-05-24t00:00:00.123456789z", Some(time)),
            ("2013-05-24T02:00:00+02:00", Some(time)),
            ("2013-05-23T18:30:00-05:30", Some(time)),
            ("2013-05-24T00:00:00", None),
            ("2013-05-24 00:00:00Z", None),
            ("2013-13-24T00:00:00Z", None),
            ("2013-05-24T00:00:00Zx", None),
            ("1369353600", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), read, "{text}");
        }
    }

    #[test]
    fn known_times_have_known_texts() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_369_353_600_000_042);
        assert_eq!(rfc3339(time), "2013-05-24T00:00:00.000042Z");
        assert_eq!(amz_date_time(time), "20130524T000000Z");
        assert_eq!(amz_date_time(SystemTime::UNIX_EPOCH), "19700101T000000Z");
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_standard_library(number: u64) {
            for number in [number, number % 1000, 0] {
                let mut text = String::new();
                push_decimal(&mut text, number);
                prop_assert_eq!(text, number.to_string());
            }
        }

        #[test]
        fn both_forms_name_the_second_that_http_names(seconds in 0u64..250_000_000_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let text = rfc3339(time);
            let basic = text.replace(['-', ':'], "").replace(".000000", "");
            prop_assert_eq!(amz_date_time(time), basic);
            let http = httpdate::fmt_http_date(time);
            prop_assert_eq!(http.get(12..16), text.get(..4), "year");
            prop_assert_eq!(http.get(5..7), text.get(8..10), "day");
            prop_assert_eq!(http.get(17..25), text.get(11..19), "time");
        }
    }
}
