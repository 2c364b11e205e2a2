//! What a GET or HEAD gets of a representation whose headers are known: RFC 9110, sections 13.2
//! (preconditions) and 14.2 (ranges).

use std::ops::Range;
use std::time::SystemTime;

use http::{HeaderMap, Method};

use super::conditional::{PreconditionOutcome, Validators, evaluate, if_range_holds};
use super::range::{RangeRequest, parse_range};

/// The most ranges of one request; the `Range` of a request with more is ignored.
pub const MAX_RANGES: usize = 64;

/// The status of the response, and what it contains of the representation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// 200.
    #[default]
    Whole,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 206.
    Part(Range<u64>),
    /// 206 with several ranges, ascending and not adjacent.
    Parts(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// Selects by the headers of the request and of the object, which has `length` bytes. `date` is the
/// time at which the store generated the response with these headers.
#[must_use]
pub fn select(
    method: &Method,
    client: &HeaderMap,
    conditional: bool,
    object: &HeaderMap,
    length: u64,
    date: SystemTime,
) -> Selection {
    let validators =
        if conditional { Validators::from_headers(object) } else { Validators::default() };
    if conditional {
        match evaluate(client, &validators) {
            PreconditionOutcome::Proceed => {}
            PreconditionOutcome::NotModified => return Selection::NotModified,
            PreconditionOutcome::PreconditionFailed => return Selection::PreconditionFailed,
        }
    }
    // Only GET has ranges (section 14.2).
    if *method != Method::GET {
        return Selection::Whole;
    }
    let ranges = match parse_range(client) {
        RangeRequest::Whole => return Selection::Whole,
        RangeRequest::Single(range) => vec![range],
        RangeRequest::Many(ranges) => ranges,
    };
    if conditional && !if_range_holds(client, &validators, Some(date)) || ranges.len() > MAX_RANGES
    {
        return Selection::Whole;
    }
    let satisfied = ranges.iter().filter_map(|range| range.resolve(length));
    let mut parts: Vec<Range<u64>> = satisfied.map(|(first, last)| first..last + 1).collect();
    if parts.is_empty() {
        // A suffix range of an empty object is the whole object: 200 with an empty body.
        let suffix = ranges.iter().any(|range| range.is_suffix());
        return if length == 0 && suffix { Selection::Whole } else { Selection::Unsatisfiable };
    }
    parts.sort_by_key(|part| part.start);
    // Overlapping and adjacent ranges are combined (section 15.3.7.2).
    parts.dedup_by(|next, before| {
        let joins = next.start <= before.end;
        if joins {
            before.end = before.end.max(next.end);
        }
        joins
    });
    match <[Range<u64>; 1]>::try_from(parts) {
        Ok([part]) => Selection::Part(part),
        Err(parts) => Selection::Parts(parts),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::protocol::headers_of;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn served(client: &[(&str, &str)], length: u64) -> Selection {
        let object = headers_of(&[("etag", "\"a\""), ("last-modified", DATE)]);
        let date = UNIX_EPOCH + Duration::from_secs(800_000_000);
        select(&Method::GET, &headers_of(client), true, &object, length, date)
    }

    #[test]
    fn ranges_are_limited_to_the_object_sorted_and_combined() {
        for (range, length, expected) in [
            ("bytes=0-9", 100, Selection::Part(0..10)),
            ("bytes=0-", 100, Selection::Part(0..100)),
            ("bytes=90-200", 100, Selection::Part(90..100)),
            ("bytes=-5", 100, Selection::Part(95..100)),
            ("bytes=-500", 100, Selection::Part(0..100)),
            ("bytes=100-", 100, Selection::Unsatisfiable),
            ("bytes=-0", 100, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Whole),
            ("bytes=-0", 0, Selection::Unsatisfiable),
            ("bytes=x", 100, Selection::Whole),
            ("bytes=0-1,5-6", 100, Selection::Parts(vec![0..2, 5..7])),
            ("bytes=5-6,0-1", 100, Selection::Parts(vec![0..2, 5..7])),
            ("bytes=0-5,3-9", 100, Selection::Part(0..10)),
            ("bytes=0-4,5-9", 100, Selection::Part(0..10)),
            ("bytes=0-1,200-", 100, Selection::Part(0..2)),
            ("bytes=200-,300-", 100, Selection::Unsatisfiable),
            ("bytes=0-0,-1", 100, Selection::Parts(vec![0..1, 99..100])),
        ] {
            assert_eq!(served(&[("range", range)], length), expected, "{range} of {length}");
        }
        let many =
            format!("bytes={}", (0..65).map(|i| format!("{0}-{0},", i * 3)).collect::<String>());
        assert_eq!(served(&[("range", &many)], 1000), Selection::Whole, "too many to be of use");
    }

    #[test]
    fn preconditions_take_precedence_over_ranges() {
        for (client, expected) in [
            (&[("if-none-match", "W/\"a\""), ("range", "bytes=0-1")][..], Selection::NotModified),
            (&[("if-match", "\"b\""), ("range", "bytes=0-1")], Selection::PreconditionFailed),
            (&[("if-modified-since", DATE)], Selection::NotModified),
            (&[("if-range", "\"a\""), ("range", "bytes=0-1")], Selection::Part(0..2)),
            (&[("if-range", "W/\"a\""), ("range", "bytes=0-1")], Selection::Whole),
            (&[("if-range", DATE), ("range", "bytes=0-1")], Selection::Part(0..2)),
            (&[("if-range", "\"b\""), ("range", "bytes=999-")], Selection::Whole),
        ] {
            assert_eq!(served(client, 100), expected, "{client:?}");
        }
    }

    #[test]
    fn head_has_no_ranges() {
        let client = headers_of(&[("range", "bytes=0-1")]);
        let head = select(&Method::HEAD, &client, true, &HeaderMap::new(), 9, UNIX_EPOCH);
        assert_eq!(head, Selection::Whole);
    }
}
