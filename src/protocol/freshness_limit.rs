//! A `Cache-Control` that lets clients use an answer for a limited time only, whatever the store allows
//! (RFC 9111, section 5.2.2).

use http::HeaderValue;

/// Directives that restrict or describe a response and say nothing about how long it is fresh.
const KEPT: [&str; 5] =
    ["public", "private", "no-transform", "must-revalidate", "proxy-revalidate"];

/// The value of `Cache-Control` for an answer that clients may use for at most `limit` seconds from now;
/// `age` is its `Age`, seconds, which counts against `max-age`. `None` if the present values forbid clients
/// to use it without asking. Directives that would let them use it longer are left out: `s-maxage`,
/// `immutable`, `stale-while-revalidate`, `stale-if-error`.
#[must_use]
pub fn limited<'a>(
    present: impl Iterator<Item = &'a HeaderValue>,
    age: u64,
    limit: u64,
) -> Option<HeaderValue> {
    let mut kept: Vec<&str> = Vec::new();
    let mut lifetime: Option<u64> = None;
    let texts = present.filter_map(|value| value.to_str().ok());
    for directive in texts.flat_map(|text| text.split(',')) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("no-store") || is("no-cache") {
            return None;
        }
        if is("max-age") && lifetime.is_none() {
            // One that cannot be read is 0 (RFC 9111, section 4.2.1).
            lifetime = Some(argument.trim().trim_matches('"').parse().unwrap_or(0));
        }
        kept.extend(KEPT.into_iter().find(|known| is(known)));
    }
    let left = lifetime.map_or(limit, |lifetime| lifetime.saturating_sub(age).min(limit));
    kept.dedup();
    let mut value = String::with_capacity(32);
    for directive in kept {
        value.push_str(directive);
        value.push_str(", ");
    }
    value.push_str(&format!("max-age={}", age.saturating_add(left)));
    HeaderValue::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_use_an_answer_no_longer_than_the_limit_and_than_the_store_allows() {
        for (present, age, expected) in [
            (&[][..], 0, Some("max-age=60")),
            (&[], 500, Some("max-age=560")),
            (&["public, max-age=86400"], 0, Some("public, max-age=60")),
            (&["public, max-age=86400, immutable, s-maxage=9"], 40, Some("public, max-age=100")),
            (&["max-age=30"], 10, Some("max-age=30")),
            (&["max-age=30"], 40, Some("max-age=40")),
            (&["Max-Age=\"30\"", "Private"], 0, Some("private, max-age=30")),
            (&["private=\"a, b\", max-age=900"], 0, Some("private, max-age=60")),
            (&["max-age=soon"], 7, Some("max-age=7")),
            (&["max-age=1, max-age=50"], 0, Some("max-age=1")),
            (
                &["stale-while-revalidate=9000, must-revalidate"],
                0,
                Some("must-revalidate, max-age=60"),
            ),
            (&["no-store"], 0, None),
            (&["max-age=9", "no-cache"], 0, None),
        ] {
            let present: Vec<_> =
                present.iter().map(|text| HeaderValue::from_static(text)).collect();
            let value = limited(present.iter(), age, 60);
            assert_eq!(value, expected.map(HeaderValue::from_static), "{present:?} {age}");
        }
    }
}
