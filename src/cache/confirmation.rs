//! What a store's 304, or its answer to HEAD, says about a stored response: RFC 9111, section 4.3.4.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};

use crate::protocol::conditional::Validators;
use crate::protocol::entity_tag::EntityTag;
use crate::upstream::answer::content_length;

/// What a 304 says about a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// The response is still right, with the headers of the 304.
    Confirmed,
    /// Its body is still right. Its metadata may have changed.
    BodyOnly,
    /// The same, because the 304 does not name the version. Every 304 of this store will be like it.
    Nameless,
    /// Nothing: it names another version than the request.
    Contradicted,
}

/// The headers that confirm a stored response.
#[derive(Debug)]
pub(super) enum ConfirmedHeaders {
    /// Of a 304: they update those of the stored response.
    Some(HeaderMap),
    /// Of a HEAD: they replace them.
    All(HeaderMap),
}

/// Whether a 304 confirms the response with these headers.
///
/// `Content-Type` and `Content-Encoding` of a 304 are not believed if they differ: some stores add a
/// default type to every answer.
#[must_use]
pub(super) fn of_not_modified(stored: &HeaderMap, answer: &HeaderMap) -> Confirmation {
    let (old, new) = (Validators::from_headers(stored), Validators::from_headers(answer));
    match (old.etag, new.etag) {
        (Some(old), Some(new)) if !old.weak_eq(&new) => return Confirmation::Contradicted,
        // A date alone was sent, and another one came back.
        (None, _) if differs(old.last_modified, new.last_modified) => {
            return Confirmation::Contradicted;
        }
        _ => {}
    }
    let named_enough = if old.last_modified.is_some() {
        new.last_modified.is_some()
    } else {
        new.etag.is_some() || new.last_modified.is_some()
    };
    let other = |name: &HeaderName| {
        answer.get(name).is_some_and(|value| stored.get(name).is_none_or(|old| old != value))
    };
    if !named_enough {
        Confirmation::Nameless
    } else if differs(old.last_modified, new.last_modified)
        || other(&CONTENT_TYPE)
        || other(&CONTENT_ENCODING)
    {
        Confirmation::BodyOnly
    } else {
        Confirmation::Confirmed
    }
}

/// Whether both are there and not the same.
fn differs<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// Whether an answer to HEAD is about the stored body of this many bytes: by entity tag and length, and
/// without a strong tag also by `Last-Modified`. The metadata may have changed.
#[must_use]
pub(super) fn is_same_body(stored: &HeaderMap, length: u64, answer: &HeaderMap) -> bool {
    if content_length(answer).is_some_and(|new| new != length) {
        return false;
    }
    let (old, new) = (Validators::from_headers(stored), Validators::from_headers(answer));
    let same_date = old.last_modified.is_some() && old.last_modified == new.last_modified;
    match (old.etag, new.etag) {
        (Some(old), Some(new)) if old.weak || new.weak => old.weak_eq(&new) && same_date,
        (Some(old), Some(new)) => old.strong_eq(&new),
        (None, None) => same_date,
        _ => false,
    }
}

/// Whether a store can be asked about this response: it has a validator.
#[must_use]
pub(super) fn has_validator(stored: &HeaderMap) -> bool {
    let tag = stored.get(ETAG).and_then(|tag| EntityTag::parse_lenient(tag.as_bytes()));
    tag.is_some() || stored.contains_key(LAST_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{HeaderPairs, headers_of};

    const JULY: &str = "Tue, 01 Jul 2025 12:00:00 GMT";
    const AUGUST: &str = "Fri, 01 Aug 2025 12:00:00 GMT";

    #[test]
    fn a_304_confirms_what_it_names_and_nothing_else() {
        use Confirmation::{BodyOnly, Confirmed, Contradicted, Nameless};
        let both: HeaderPairs<'_> = &[("etag", "\"a\""), ("last-modified", JULY)];
        let cases: &[(HeaderPairs<'_>, HeaderPairs<'_>, Confirmation)] = &[
            (both, &[], Nameless),
            (both, &[("etag", "\"a\"")], Nameless),
            (both, both, Confirmed),
            (both, &[("etag", "W/\"a\""), ("last-modified", JULY)], Confirmed),
            (
                both,
                &[("etag", "a"), ("last-modified", "Tuesday, 01-Jul-25 12:00:00 GMT")],
                Confirmed,
            ),
            (both, &[("last-modified", JULY)], Confirmed),
            (both, &[("last-modified", AUGUST)], BodyOnly),
            (both, &[("etag", "\"a\""), ("last-modified", AUGUST)], BodyOnly),
            (both, &[("etag", "\"b\""), ("last-modified", JULY)], Contradicted),
            (both, &[("etag", "\"b\"")], Contradicted),
            (both, &[("last-modified", JULY), ("content-type", "text/html")], BodyOnly),
            (both, &[("last-modified", JULY), ("content-encoding", "gzip")], BodyOnly),
            (both, &[("last-modified", JULY), ("cache-control", "max-age=1")], Confirmed),
            (&[("etag", "\"a\"")], &[], Nameless),
            (&[("etag", "\"a\"")], &[("etag", "\"a\"")], Confirmed),
            (&[("last-modified", JULY)], &[], Nameless),
            (&[("last-modified", JULY)], &[("last-modified", JULY)], Confirmed),
            (&[("last-modified", JULY)], &[("last-modified", AUGUST)], Contradicted),
            (&[("last-modified", JULY)], &[("etag", "\"b\"")], Nameless),
        ];
        for (stored, answer, confirmation) in cases {
            let seen = of_not_modified(&headers_of(stored), &headers_of(answer));
            assert_eq!(seen, *confirmation, "{stored:?} {answer:?}");
        }
    }

    #[test]
    fn a_head_is_about_the_same_body_by_tag_length_and_date() {
        let both: HeaderPairs<'_> = &[("etag", "\"a\""), ("last-modified", JULY)];
        let cases: &[(HeaderPairs<'_>, HeaderPairs<'_>, bool)] = &[
            (both, &[("etag", "\"a\""), ("last-modified", AUGUST), ("content-length", "9")], true),
            (both, &[("etag", "\"a\"")], true),
            (both, &[("etag", "\"a\""), ("content-length", "8")], false),
            (both, &[("etag", "\"b\""), ("last-modified", JULY)], false),
            (both, &[("last-modified", JULY), ("content-length", "9")], false),
            (both, &[("etag", "W/\"a\""), ("last-modified", JULY)], true),
            (both, &[("etag", "W/\"a\""), ("last-modified", AUGUST)], false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("last-modified", JULY)], &[("last-modified", JULY)], true),
            (&[("last-modified", JULY)], &[("last-modified", AUGUST)], false),
            (&[], &[("content-length", "9")], false),
        ];
        for (stored, answer, same) in cases {
            let seen = is_same_body(&headers_of(stored), 9, &headers_of(answer));
            assert_eq!(seen, *same, "{stored:?} {answer:?}");
        }
    }
}
