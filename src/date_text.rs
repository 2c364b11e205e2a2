//! Points in time and numbers as text. Of times the two forms every request needs: RFC 3339 for the
//! log and ISO 8601's basic form for signatures. Digit by digit, without the machinery of `format!`.

use std::time::SystemTime;

use time::OffsetDateTime;

/// RFC 3339 in UTC with microseconds: `2013-05-24T00:00:00.000042Z`.
#[must_use]
pub fn rfc3339(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let mut text = String::with_capacity(27);
    push_date(&mut text, now, "-");
    text.push('T');
    push_time(&mut text, now, ":");
    text.push('.');
    push_digits(&mut text, now.microsecond(), 6);
    text.push('Z');
    text
}

/// The form of `x-amz-date`: `20130524T000000Z`.
#[must_use]
pub fn amz_date_time(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let mut text = String::with_capacity(16);
    push_date(&mut text, now, "");
    text.push('T');
    push_time(&mut text, now, "");
    text.push('Z');
    text
}

fn push_date(text: &mut String, now: OffsetDateTime, separator: &str) {
    push_digits(text, now.year().unsigned_abs(), 4);
    text.push_str(separator);
    push_digits(text, u32::from(u8::from(now.month())), 2);
    text.push_str(separator);
    push_digits(text, u32::from(now.day()), 2);
}

fn push_time(text: &mut String, now: OffsetDateTime, separator: &str) {
    push_digits(text, u32::from(now.hour()), 2);
    text.push_str(separator);
    push_digits(text, u32::from(now.minute()), 2);
    text.push_str(separator);
    push_digits(text, u32::from(now.second()), 2);
}

/// The last `width` decimal digits of a number.
fn push_digits(text: &mut String, number: u32, width: u32) {
    let mut unit = 10_u32.pow(width);
    while unit > 1 {
        let rest = number % unit;
        unit /= 10;
        text.push(digit(rest / unit));
    }
}

/// A number in decimal.
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
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn known_times_have_their_known_texts() {
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
