//! Test vectors of RFC 9110 and Go's net/http, and properties of all ranges.

use proptest::prelude::*;

use super::RangeRequest::{Many, Single, Whole};
use super::*;
use crate::protocol::headers_of;

fn parsed(text: &str) -> RangeRequest {
    parse_range(&headers_of(&[("range", text)]))
}

/// The ranges served of an object: `None` for the whole object, empty for 416.
fn served(text: &str, len: u64) -> Option<Vec<(u64, u64)>> {
    let ranges = match parsed(text) {
        Whole => return None,
        Single(range) => vec![range],
        Many(ranges) => ranges,
    };
    Some(ranges.iter().filter_map(|range| range.resolve(len)).collect())
}

fn from_to(first: u64, last: u64) -> ByteRange {
    ByteRange::FromTo { first, last: Some(last) }
}

fn from(first: u64) -> ByteRange {
    ByteRange::FromTo { first, last: None }
}

#[test]
fn examples_of_rfc_9110_section_14_1_2() {
    for (text, expected) in [
        ("bytes=0-499", vec![(0, 499)]),
        ("bytes=500-999", vec![(500, 999)]),
        ("bytes=-500", vec![(9500, 9999)]),
        ("bytes=9500-", vec![(9500, 9999)]),
        ("bytes=0-0,-1", vec![(0, 0), (9999, 9999)]),
        ("bytes= 0-999, 4500-5499, -1000", vec![(0, 999), (4500, 5499), (9000, 9999)]),
        ("bytes=500-600,601-999", vec![(500, 600), (601, 999)]),
        ("bytes=500-700,601-999", vec![(500, 700), (601, 999)]),
    ] {
        assert_eq!(served(text, 10000), Some(expected), "{text}");
    }
}

#[test]
fn what_go_net_http_refuses_or_serves() {
    // The cases of ParseRangeTests and ServeFileRangeTests in Go's net/http, written with first and
    // last byte. Go answers 416 to a malformed header; RFC 9110 permits to ignore it.
    for text in [
        "",
        "foo",
        "bytes=",
        "bytes=7",
        "bytes= 7 ",
        "bytes=5-4",
        "bytes=0-2,5-4",
        "bytes=2-5,4-3",
        "bytes=--5,4--3",
        "bytes=A-",
        "bytes=A- ",
        "bytes=A-Z",
        "bytes= -Z",
        "bytes=5-Z",
        "bytes=Ran-dom, garbage",
        "bytes=0x01-0x02",
        "bytes=         ",
        "bytes= , , ,   ",
    ] {
        assert_eq!(parsed(text), Whole, "{text}");
    }
    let whole = |len: u64| vec![(0, len - 1)];
    for (text, len, expected) in [
        ("bytes=0-9", 10, whole(10)),
        ("bytes=0-", 10, whole(10)),
        ("bytes=5-", 10, vec![(5, 9)]),
        ("bytes=0-20", 10, whole(10)),
        ("bytes=15-,0-5", 10, vec![(0, 5)]),
        ("bytes=1-2,5-", 10, vec![(1, 2), (5, 9)]),
        ("bytes=-2 , 7-", 11, vec![(9, 10), (7, 10)]),
        ("bytes=0-0 ,2-2, 7-", 11, vec![(0, 0), (2, 2), (7, 10)]),
        ("bytes=-5", 10, vec![(5, 9)]),
        ("bytes=-15", 10, whole(10)),
        ("bytes=   1 -2   ,  4- 5, 7 - 8 , ,,", 11, vec![(1, 2), (4, 5), (7, 8)]),
        ("bytes=10-", 11, vec![(10, 10)]),
        ("bytes=10-11", 11, vec![(10, 10)]),
        ("bytes=0-11", 11, whole(11)),
        ("bytes=11-", 11, vec![]),
        ("bytes=11-12", 11, vec![]),
        ("bytes=12-12", 11, vec![]),
        ("bytes=100-1000", 11, vec![]),
        ("bytes=1-", 0, vec![]),
    ] {
        assert_eq!(served(text, len), Some(expected), "{text} of {len}");
    }
}

#[test]
fn syntax_at_its_edges() {
    const MAX: u64 = u64::MAX;
    for (text, expected) in [
        ("BYTES=0-1", Single(from_to(0, 1))),
        (" bytes=0-1 ", Single(from_to(0, 1))),
        ("bytes=00-01", Single(from_to(0, 1))),
        ("bytes=,0-1,", Single(from_to(0, 1))),
        ("bytes=0-1,0-1", Many(vec![from_to(0, 1), from_to(0, 1)])),
        ("bytes=-0", Single(ByteRange::Suffix(0))),
        ("bytes=18446744073709551615-", Single(from(MAX))),
        ("bytes=18446744073709551616-", Single(from(MAX))),
        ("bytes=0-18446744073709551616", Single(from_to(0, MAX))),
        ("bytes=-99999999999999999999", Single(ByteRange::Suffix(MAX))),
        ("bytes=-", Whole),
        ("bytes=+0-1", Whole),
        ("bytes=0-+1", Whole),
        ("bytes=0-1-2", Whole),
        ("bytes=0-1;2-3", Whole),
        ("bytes=0\u{2010}1", Whole),
        ("bytes =0-1", Whole),
        ("bytes 0-1", Whole),
        ("bytes:0-1", Whole),
        ("lines=0-1", Whole),
        ("none", Whole),
        ("bytes=0-1, lines=2-3", Whole),
        ("bytes=0-1, x", Whole),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn a_repeated_range_header_is_ignored() {
    let one = ("range", "bytes=0-1");
    assert_eq!(parse_range(&headers_of(&[one])), Single(from_to(0, 1)));
    assert_eq!(parse_range(&headers_of(&[one, one])), Whole);
    assert_eq!(parse_range(&headers_of(&[one, ("range", "")])), Whole);
    assert_eq!(parse_range(&headers_of(&[])), Whole);
}

#[test]
fn empty_ranges_and_ranges_of_empty_objects_are_not_satisfiable() {
    for (range, len) in [
        (ByteRange::Suffix(0), 10),
        (ByteRange::Suffix(1), 0),
        (from(0), 0),
        (from_to(0, 0), 0),
        (from(u64::MAX), u64::MAX),
    ] {
        assert_eq!(range.resolve(len), None, "{range} of {len}");
    }
    assert_eq!(from(0).resolve(u64::MAX), Some((0, u64::MAX - 1)));
    assert_eq!(ByteRange::Suffix(u64::MAX).resolve(1), Some((0, 0)));
}

#[test]
fn content_ranges() {
    use ContentRange::{Part, Unsatisfied};
    for (text, expected) in [
        // Section 14.4.
        ("bytes 42-1233/1234", Part { first: 42, last: 1233, len: Some(1234) }),
        ("bytes 42-1233/*", Part { first: 42, last: 1233, len: None }),
        ("bytes */1234", Unsatisfied { len: 1234 }),
        ("bytes 0-0/1", Part { first: 0, last: 0, len: Some(1) }),
        ("bytes */0", Unsatisfied { len: 0 }),
    ] {
        let value = HeaderValue::from_static(text);
        assert_eq!(ContentRange::parse(&value), Some(expected), "{text}");
        assert_eq!(expected.to_string(), text);
    }
    let upper = HeaderValue::from_static("Bytes 0-0/1");
    assert!(ContentRange::parse(&upper).is_some());
    for text in [
        "",
        "bytes",
        "bytes ",
        "bytes */*",
        "bytes 0-0",
        "bytes 0-/1",
        "bytes -0/1",
        "bytes 1-0/2",
        "bytes 0-1/1",
        "bytes 0-0/x",
        "bytes 0-0/",
        "bytes=0-0/1",
        "bytes  0-0/1",
        "lines 0-0/1",
        "bytes 0-0/1/2",
        "bytes 0-0/18446744073709551616",
        "bytes +0-0/1",
        "bytes */-1",
    ] {
        assert_eq!(ContentRange::parse(&HeaderValue::from_static(text)), None, "{text}");
    }
}

fn any_range() -> impl Strategy<Value = ByteRange> {
    prop_oneof![
        any::<u64>().prop_map(from),
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| from_to(a.min(b), a.max(b))),
        (0u64..20, 0u64..20).prop_map(|(a, b)| from_to(a.min(b), a.max(b))),
        any::<u64>().prop_map(ByteRange::Suffix),
        (0u64..20).prop_map(ByteRange::Suffix),
    ]
}

proptest! {
    #[test]
    fn a_resolved_range_lies_within_the_object(
        range in any_range(),
        len in prop_oneof![0u64..20, any::<u64>()],
    ) {
        match range.resolve(len) {
            Some((first, last)) => prop_assert!(first <= last && last < len),
            None => {
                let beyond = match range {
                    ByteRange::FromTo { first, .. } => first >= len,
                    ByteRange::Suffix(count) => count == 0 || len == 0,
                };
                prop_assert!(beyond);
            }
        }
    }

    #[test]
    fn a_formatted_range_names_the_same_bytes(range in any_range(), len in 0..=i64::MAX as u64) {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.to_header().expect("digits and punctuation"));
        let Single(parsed) = parse_range(&headers) else { panic!("{headers:?}") };
        prop_assert_eq!(parsed.resolve(len), range.resolve(len));
    }

    #[test]
    fn a_formatted_content_range_parses_to_itself(range in any_range(), len in 1u64..) {
        if let Some((first, last)) = range.resolve(len) {
            let described = ContentRange::Part { first, last, len: Some(len) };
            let value = HeaderValue::try_from(described.to_string()).expect("ASCII");
            prop_assert_eq!(ContentRange::parse(&value), Some(described));
        }
    }

    #[test]
    fn parsing_never_panics(text in "(bytes[= ])?[0-9,*/ =-]{0,24}") {
        let _ = parsed(&text);
        let _ = ContentRange::parse(&HeaderValue::from_str(&text).expect("ASCII"));
    }

    #[test]
    fn parsing_bytes_never_panics(bytes in proptest::collection::vec(0x80u8..=0xff, 0..8)) {
        let value = HeaderValue::from_bytes(&[b"bytes=", &bytes[..]].concat()).expect("obs-text");
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, value);
        prop_assert_eq!(parse_range(&headers), Whole);
    }
}
