//! Which conditions of a client a store may be asked.
//!
//! A store is asked only what Ceph RGW understands: one strong entity tag and one range. The rest
//! is left to [`super::conditional`], on the headers of the answer.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue, Method};

use super::entity_tag::{EntityTag, EntityTags};
use super::range::{ByteRange, RangeRequest, parse_range};
use super::{http_date, single};

/// The conditional headers of a request to a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamConditions {
    /// One range, written anew.
    pub range: Option<HeaderValue>,
    /// One strong entity tag.
    pub if_match: Option<HeaderValue>,
    /// One entity tag, its weak marker dropped: the store compares strongly where a weak
    /// comparison is due, and a strong tag of the store matches either way. Its 304 may lack the
    /// `ETag`, which is this one.
    pub if_none_match: Option<HeaderValue>,
    /// A date the store itself gave, of an object without an entity tag. A client's date is compared
    /// with the answer instead.
    pub if_modified_since: Option<HeaderValue>,
}

impl UpstreamConditions {
    /// Whether a store that is asked so may answer 304.
    #[must_use]
    pub fn revalidate(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }
}

/// Picks what a store may be asked out of a client's headers. HEAD sends nothing on: its answer
/// has no body to save, and the headers that decide.
#[must_use]
pub fn upstream_conditions(method: &Method, headers: &HeaderMap) -> UpstreamConditions {
    if method != Method::GET {
        return UpstreamConditions::default();
    }
    let tag = |name| EntityTags::of(headers, name).and_then(|tags| tags.single());
    let if_match = tag(&IF_MATCH).filter(|tag| !tag.weak);
    // Both come before If-None-Match (section 13.2.2): a 304 of the store would hide their 412.
    let comes_first = headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE);
    let if_none_match = if comes_first { None } else { tag(&IF_NONE_MATCH) };
    let range = match parse_range(headers) {
        RangeRequest::Single(range) if if_range_may_hold(headers) => readable(range).to_header(),
        _ => None,
    };
    UpstreamConditions {
        range,
        if_match: if_match.and_then(|tag| tag.strong_header()),
        if_none_match: if_none_match.and_then(|tag| tag.strong_header()),
        if_modified_since: None,
    }
}

/// The same range in numbers that stores read: Ceph RGW refuses those above 2^63 - 1, and no object
/// reaches so far.
fn readable(range: ByteRange) -> ByteRange {
    match range {
        ByteRange::FromTo { first, last: Some(last) } if i64::try_from(last).is_err() => {
            ByteRange::FromTo { first, last: None }
        }
        range => range,
    }
}

/// Whether `If-Range` is absent, or of a form that can hold.
fn if_range_may_hold(headers: &HeaderMap) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    single(headers, &IF_RANGE).is_some_and(|value| match EntityTag::parse(value.as_bytes()) {
        Some(tag) => !tag.weak,
        None => http_date::parse(value).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::headers_of;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// Range, If-Match and If-None-Match as sent on, `-` for none.
    fn sent(method: &Method, request: Pairs<'_>) -> [String; 3] {
        let sent = upstream_conditions(method, &headers_of(request));
        [sent.range, sent.if_match, sent.if_none_match].map(|value| {
            value.map_or("-".to_owned(), |value| value.to_str().expect("ASCII").to_owned())
        })
    }

    #[test]
    fn a_get_sends_on_what_the_store_understands() {
        let cases: &[(Pairs<'_>, [&str; 3])] = &[
            (&[], ["-", "-", "-"]),
            (&[("range", "bytes=0-9")], ["bytes=0-9", "-", "-"]),
            (&[("range", " Bytes= 0 - 9 ,")], ["bytes=0-9", "-", "-"]),
            (&[("range", "bytes=-5")], ["bytes=-5", "-", "-"]),
            (&[("range", "bytes=5-")], ["bytes=5-", "-", "-"]),
            (&[("range", "bytes=5-18446744073709551615")], ["bytes=5-", "-", "-"]),
            (&[("range", "bytes=0-1,3-4")], ["-", "-", "-"]),
            (&[("range", "bytes=9-0")], ["-", "-", "-"]),
            (&[("range", "bytes=0-1"), ("range", "bytes=0-1")], ["-", "-", "-"]),
            (&[("if-none-match", "\"a\"")], ["-", "-", "\"a\""]),
            (&[("if-none-match", "W/\"a\"")], ["-", "-", "\"a\""]),
            (&[("if-none-match", "a")], ["-", "-", "\"a\""]),
            (&[("if-none-match", "\"a\", \"b\"")], ["-", "-", "-"]),
            (&[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")], ["-", "-", "-"]),
            (&[("if-none-match", "*")], ["-", "-", "-"]),
            (&[("if-none-match", "\"a")], ["-", "-", "-"]),
            (&[("if-match", "\"a\"")], ["-", "\"a\"", "-"]),
            (&[("if-match", "W/\"a\"")], ["-", "-", "-"]),
            (&[("if-match", "*")], ["-", "-", "-"]),
            (&[("if-match", "\"a\",\"b\"")], ["-", "-", "-"]),
            (&[("if-match", "\"a\""), ("if-none-match", "\"b\"")], ["-", "\"a\"", "-"]),
            (&[("if-match", "*"), ("if-none-match", "\"b\"")], ["-", "-", "-"]),
            (&[("if-unmodified-since", DATE), ("if-none-match", "\"b\"")], ["-", "-", "-"]),
            (&[("if-modified-since", DATE), ("if-none-match", "\"b\"")], ["-", "-", "\"b\""]),
            (&[("if-modified-since", DATE)], ["-", "-", "-"]),
            (&[("range", "bytes=0-"), ("if-none-match", "\"b\"")], ["bytes=0-", "-", "\"b\""]),
            (&[("range", "bytes=0-"), ("if-range", "\"a\"")], ["bytes=0-", "-", "-"]),
            (&[("range", "bytes=0-"), ("if-range", DATE)], ["bytes=0-", "-", "-"]),
            (&[("range", "bytes=0-"), ("if-range", "W/\"a\"")], ["-", "-", "-"]),
            (&[("range", "bytes=0-"), ("if-range", "a")], ["-", "-", "-"]),
            (&[("range", "bytes=0-"), ("if-range", "")], ["-", "-", "-"]),
            (
                &[("range", "bytes=0-"), ("if-range", "\"a\""), ("if-range", "\"a\"")],
                ["-", "-", "-"],
            ),
            (&[("if-range", "\"a\"")], ["-", "-", "-"]),
        ];
        for (request, expected) in cases {
            assert_eq!(sent(&Method::GET, request), *expected, "{request:?}");
        }
    }

    #[test]
    fn other_methods_send_nothing_on() {
        let request = [("range", "bytes=0-9"), ("if-none-match", "\"a\"")];
        for method in [Method::HEAD, Method::OPTIONS] {
            assert_eq!(sent(&method, &request), ["-", "-", "-"], "{method}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_one_tag_and_one_range_go_on(
            tags in "[W/\"a*, é]{0,16}",
            range in "bytes=[0-9, -]{0,12}",
            if_range in "[W/\"a]{0,6}",
        ) {
            let request = headers_of(&[
                ("if-none-match", &tags), ("range", &range), ("if-range", &if_range),
            ]);
            let sent = upstream_conditions(&Method::GET, &request);
            if let Some(tag) = sent.if_none_match {
                prop_assert!(EntityTag::parse(tag.as_bytes()).is_some_and(|tag| !tag.weak));
            }
            if let Some(range) = sent.range {
                let mut headers = HeaderMap::new();
                headers.insert(http::header::RANGE, range);
                prop_assert!(matches!(parse_range(&headers), RangeRequest::Single(_)));
            }
        }
    }
}
