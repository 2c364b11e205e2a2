//! HTTP-date (RFC 9110, section 5.6.7): parses all three formats.
//!
//! A date with the wrong day of the week, a leap second or a year before 1970 is invalid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, DATE, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Parses one value.
#[must_use]
pub fn parse(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// The date of a header; `None` when it is missing, repeated or not a date.
#[must_use]
pub fn of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    super::single(headers, name).and_then(parse)
}

/// The lifetime by `Expires`: `Expires` minus `Date` (RFC 9111, section 5.3), or minus `received`
/// without a `Date`. A value that is not a date, such as `0`, is in the past. `None` without `Expires`.
#[must_use]
pub fn lifetime(headers: &HeaderMap, received: Option<SystemTime>) -> Option<Duration> {
    if !headers.contains_key(EXPIRES) {
        return None;
    }
    let sent = of(headers, &DATE).or(received);
    let lifetime = of(headers, &EXPIRES).zip(sent);
    let lifetime = lifetime.and_then(|(expires, sent)| expires.duration_since(sent).ok());
    Some(lifetime.unwrap_or_default())
}

/// `Age`, seconds: the first value, if several caches in a row have left theirs (RFC 9111, section 5.1).
#[must_use]
pub fn age(headers: &HeaderMap) -> Option<u64> {
    headers.get(AGE)?.to_str().ok()?.split(',').next()?.trim().parse().ok()
}

/// Whole seconds since 1970, the resolution of HTTP-date; 0 for earlier times.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use http::header::LAST_MODIFIED;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::headers_of;

    #[test]
    fn the_three_formats_are_one_time() {
        // The examples of section 5.6.7.
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let time = parse(&HeaderValue::from_static(text));
            assert_eq!(time, Some(UNIX_EPOCH + Duration::from_secs(784_111_777)), "{text}");
        }
    }

    #[test]
    fn other_text_is_not_a_date() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text)), None, "{text}");
        }
    }

    #[test]
    fn a_repeated_date_is_ignored() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(of(&headers_of(&[date]), &LAST_MODIFIED).is_some());
        assert_eq!(of(&headers_of(&[date, date]), &LAST_MODIFIED), None);
        assert_eq!(of(&headers_of(&[]), &LAST_MODIFIED), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(0x20u8..0x7f, 0..40)) {
            let _ = parse(&HeaderValue::from_bytes(&bytes).expect("visible ASCII"));
        }

        #[test]
        fn a_formatted_range_parses_to_itself(seconds in 0u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = httpdate::fmt_http_date(time);
            prop_assert_eq!(parse(&HeaderValue::from_str(&text).expect("a date")), Some(time));
        }
    }
}
