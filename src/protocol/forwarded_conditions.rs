//! Which conditions of a client are forwarded to the store (RFC 9110, sections 13 and 14).
//!
//! Only conditions that Ceph RGW supports are forwarded: one strong entity tag and one range.
//! [`super::conditional`] evaluates the others, on the headers of the store's response.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderValue, Method};

use super::entity_tag::{EntityTag, EntityTags};
use super::range::{ByteRange, RangeRequest, parse_range};
use super::{http_date, single};

/// The conditional headers of a request to a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamConditions {
    /// One range, reformatted.
    pub range: Option<HeaderValue>,
    /// One strong entity tag.
    pub if_match: Option<HeaderValue>,
    /// One entity tag without its weak marker. The store uses the strong comparison, where RFC 9110
    /// requires the weak one; a strong tag of the store matches in both. The store's 304 may lack the
    /// `ETag`: it is this one.
    pub if_none_match: Option<HeaderValue>,
    /// The `Last-Modified` of a cached object without an entity tag. A client's date is not forwarded
    /// but compared with the response.
    pub if_modified_since: Option<HeaderValue>,
}

impl UpstreamConditions {
    /// Whether the store may answer these conditions with 304.
    #[must_use]
    pub fn revalidate(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }
}

/// The conditions to forward out of a client's headers. None for HEAD: its response has no body that
/// a condition could save, and has the headers to evaluate the conditions on.
#[must_use]
pub fn upstream_conditions(method: &Method, headers: &HeaderMap) -> UpstreamConditions {
    if method != Method::GET {
        return UpstreamConditions::default();
    }
    let tag = |name| EntityTags::of(headers, name).and_then(|tags| tags.single());
    let if_match = tag(&IF_MATCH).filter(|tag| !tag.weak);
    // Both take precedence over If-None-Match (section 13.2.2): a 304 of the store would hide a 412.
    let takes_precedence =
        headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE);
    let if_none_match = if takes_precedence { None } else { tag(&IF_NONE_MATCH) };
    let range = match parse_range(headers) {
        RangeRequest::Single(range) if if_range_may_hold(headers) => within_i64(range).to_header(),
        _ => None,
    };
    UpstreamConditions {
        range,
        if_match: if_match.and_then(|tag| tag.strong_header()),
        if_none_match: if_none_match.and_then(|tag| tag.strong_header()),
        if_modified_since: None,
    }
}

/// The same range within the numbers that stores accept: Ceph RGW refuses those above 2^63 - 1, which
/// lie beyond the end of any object.
fn within_i64(range: ByteRange) -> ByteRange {
    match range {
        ByteRange::FromTo { first, last: Some(last) } if i64::try_from(last).is_err() => {
            ByteRange::FromTo { first, last: None }
        }
        range => range,
    }
}

/// Whether `If-Range` is missing, or has a form that can hold.
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
    use crate::protocol::{HeaderPairs, headers_of};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// Range, If-Match and If-None-Match as forwarded, `-` for none.
    fn sent(method: &Method, request: HeaderPairs<'_>) -> [String; 3] {
        let sent = upstream_conditions(method, &headers_of(request));
        [sent.range, sent.if_match, sent.if_none_match].map(|value| {
            value.map_or("-".to_owned(), |value| value.to_str().expect("ASCII").to_owned())
        })
    }

    #[test]
    fn a_get_forwards_the_conditions_that_stores_support() {
        let cases: &[(HeaderPairs<'_>, [&str; 3])] = &[
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
    fn other_methods_forward_no_condition() {
        let request = [("range", "bytes=0-9"), ("if-none-match", "\"a\"")];
        for method in [Method::HEAD, Method::OPTIONS] {
            assert_eq!(sent(&method, &request), ["-", "-", "-"], "{method}");
        }
    }

    proptest! {
        #[test]
        fn at_most_one_tag_and_one_range_are_forwarded(
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
