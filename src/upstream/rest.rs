//! The rest of a body that broke off: which bytes of which version of an object are still to come, and how
//! often the store is asked for them.
//!
//! The rest is requested by `Range` and `If-Match`, and taken only from an answer about the same bytes of the
//! same version: the strong entity tag, the length of the object and the range agree (RFC 9110, sections
//! 8.8.1 and 15.3.7.3). Without a strong tag or a length nothing distinguishes two versions for certain.

use http::header::{CONTENT_RANGE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::protocol::entity_tag::EntityTag;
use crate::protocol::range::{ByteRange, ContentRange};
use crate::upstream::answer::content_length;

/// How often the rest is requested before [`PROGRESS`] more bytes have come.
const TRIES: u8 = 3;
/// Bytes after which the tries begin anew, so that a long transfer survives more breaks than a short one.
const PROGRESS: u64 = 8 << 20;

/// The rest of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRest {
    etag: HeaderValue,
    /// The next byte, and the end of the bytes, counted from the start of the object.
    next: u64,
    end: u64,
    /// Bytes of the object.
    whole: u64,
    tries: u8,
    progress: u64,
}

impl BodyRest {
    /// All of the body that the head of an answer to GET promises; `None` where its rest could not be
    /// requested.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let etag = strong(headers)?;
        let length = content_length(headers)?;
        let (next, whole) = match status {
            StatusCode::OK => (0, length),
            StatusCode::PARTIAL_CONTENT => match part(headers)? {
                (first, last, whole) if last - first + 1 == length => (first, whole),
                _ => return None,
            },
            _ => return None,
        };
        let end = next.checked_add(length)?;
        Some(Self { etag, next, end, whole, tries: TRIES, progress: 0 })
    }

    /// Counts bytes that have come.
    pub fn arrived(&mut self, bytes: u64) {
        self.next = self.next.saturating_add(bytes).min(self.end);
        self.progress = self.progress.saturating_add(bytes);
        if self.progress >= PROGRESS {
            self.progress = 0;
            self.tries = TRIES;
        }
    }

    /// Bytes still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.end - self.next
    }

    /// Whether the store may be asked for it.
    #[must_use]
    pub fn may_try(&self) -> bool {
        self.tries > 0 && self.left() > 0
    }

    /// Counts a request for it; false if there may be none.
    pub fn count_try(&mut self) -> bool {
        let may = self.may_try();
        self.tries -= u8::from(may);
        may
    }

    /// Its bytes, as `Range` names them.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        ByteRange::FromTo { first: self.next, last: Some(self.end.saturating_sub(1)) }
    }

    /// The strong entity tag, quoted, as `If-Match` names it.
    #[must_use]
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Whether this answer brings exactly these bytes of the same version.
    #[must_use]
    pub fn is_answered_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status == StatusCode::PARTIAL_CONTENT
            && strong(headers).is_some_and(|etag| etag == self.etag)
            && part(headers) == Some((self.next, self.end.saturating_sub(1), self.whole))
            && content_length(headers) == Some(self.left())
    }
}

/// First byte, last byte and length of the object in `Content-Range`.
fn part(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    match ContentRange::parse(headers.get(CONTENT_RANGE)?)? {
        ContentRange::Part { first, last, len: Some(whole) } => Some((first, last, whole)),
        _ => None,
    }
}

fn strong(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut tags = headers.get_all(ETAG).iter();
    let tag = EntityTag::parse_lenient(tags.next()?.as_bytes())?;
    if tag.weak || tags.next().is_some() { None } else { tag.strong_header() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::headers_of;

    const WHOLE: [(&str, &str); 2] = [("etag", "\"a\""), ("content-length", "10")];

    fn rest(arrived: u64) -> BodyRest {
        let mut rest = BodyRest::of(StatusCode::OK, &headers_of(&WHOLE)).expect("a rest");
        rest.arrived(arrived);
        rest
    }

    #[test]
    fn the_rest_is_known_by_a_strong_tag_and_a_length() {
        let range = ("content-range", "bytes 5-14/20");
        let tag = WHOLE[0];
        for (status, headers, expected) in [
            (200, &WHOLE[..], Some((0, 9))),
            (206, &[tag, WHOLE[1], range], Some((5, 14))),
            (206, &[tag, ("content-length", "9"), range], None),
            (206, &[tag, WHOLE[1], ("content-range", "bytes 5-14/*")], None),
            (206, &WHOLE, None),
            (200, &[("etag", "W/\"a\""), WHOLE[1]], None),
            (200, &[tag, tag, WHOLE[1]], None),
            (200, &[tag], None),
            (200, &[WHOLE[1]], None),
            (404, &WHOLE, None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let rest = BodyRest::of(status, &headers_of(headers));
            let range = rest.map(|rest| rest.range());
            let expected =
                expected.map(|(first, last)| ByteRange::FromTo { first, last: Some(last) });
            assert_eq!(range, expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn only_the_same_bytes_of_the_same_version_continue_a_body() {
        let tag = WHOLE[0];
        let (length, range) = (("content-length", "6"), ("content-range", "bytes 4-9/10"));
        for (status, headers, fits) in [
            (206, [tag, length, range], true),
            (200, [tag, length, range], false),
            (206, [("etag", "\"b\""), length, range], false),
            (206, [("etag", "W/\"a\""), length, range], false),
            (206, [tag, ("content-length", "5"), range], false),
            (206, [tag, length, ("content-range", "bytes 3-8/10")], false),
            (206, [tag, length, ("content-range", "bytes 4-9/11")], false),
            (206, [tag, length, ("content-range", "bytes 4-9/*")], false),
            (206, [tag, length, tag], false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let answers = rest(4).is_answered_by(status, &headers_of(&headers));
            assert_eq!(answers, fits, "{status} {headers:?}");
        }
    }

    #[test]
    fn the_tries_are_limited_and_begin_anew_with_progress() {
        let mut rest = rest(4);
        assert_eq!(rest.left(), 6);
        for _ in 0..TRIES {
            assert!(rest.count_try());
            rest.arrived(1);
        }
        assert!(!rest.count_try());
        let long = [("etag", "\"a\""), ("content-length", "99999999999")];
        let mut rest = BodyRest::of(StatusCode::OK, &headers_of(&long)).expect("a rest");
        while rest.count_try() {}
        rest.arrived(PROGRESS);
        assert!(rest.may_try());
    }

    #[test]
    fn a_body_that_has_come_has_no_rest() {
        let mut rest = rest(10);
        assert_eq!(rest.left(), 0);
        assert!(!rest.count_try());
    }
}
