//! The head of a stored object, in the form in which HTTP/1.1 sends it: a few hundred bytes, where a map
//! of headers takes thousands. A hit that is sent whole copies these bytes; others parse them.

use std::iter;
use std::ops::Range;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;
use pingora::http::ResponseHeader;

use crate::cache::weight::allocated;

const SEPARATOR: &[u8] = b": ";
const END: &[u8] = b"\r\n";
/// Heads of objects have fewer headers, mostly.
const USUAL: usize = 12;

/// The lines of the head of a response with status 200, and of what the store sent about its lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    lines: Bytes,
    lifetime: Bytes,
}

impl StoredHead {
    /// The lines of this head, without `Age`, and of these headers of the store.
    #[must_use]
    pub fn of(head: &ResponseHeader, lifetime: &HeaderMap) -> Self {
        let mut lines = Vec::with_capacity(lines_length(&head.headers));
        if head.headers.contains_key(AGE) {
            let mut head = head.clone();
            head.remove_header(&AGE);
            head.header_to_h1_wire(&mut lines);
        } else {
            head.header_to_h1_wire(&mut lines);
        }
        let mut lifetime_lines = Vec::with_capacity(lines_length(lifetime));
        for (name, value) in lifetime {
            for part in [name.as_str().as_bytes(), SEPARATOR, value.as_bytes(), END] {
                lifetime_lines.extend_from_slice(part);
            }
        }
        // Without free capacity, which nobody would count.
        let exact = |lines: Vec<u8>| Bytes::from(lines.into_boxed_slice());
        Self { lines: exact(lines), lifetime: exact(lifetime_lines) }
    }

    /// The lines of the head as HTTP/1.1 sends them, without the status line and `Age`.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The head. Its values share the memory of the lines.
    #[must_use]
    pub fn to_response(&self) -> ResponseHeader {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.headers = parse(&self.lines, |_| true);
        ResponseHeader::from(parts)
    }

    /// The headers of these names.
    #[must_use]
    pub fn only(&self, names: &[HeaderName]) -> HeaderMap {
        parse(&self.lines, |name| is_among(names, name))
    }

    /// Writes the lines, without those of these names.
    pub fn write_without(&self, names: &[HeaderName], into: &mut Vec<u8>) {
        for line in lines_in(&self.lines) {
            if !is_among(names, self.lines.get(line.name).unwrap_or_default()) {
                into.extend_from_slice(self.lines.get(line.all).unwrap_or_default());
            }
        }
    }

    /// `Cache-Control` and `Expires` as the store sent them.
    #[must_use]
    pub fn lifetime(&self) -> HeaderMap {
        parse(&self.lifetime, |_| true)
    }

    /// The memory that the lines take, bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        allocated(self.lines.len() as u64) + allocated(self.lifetime.len() as u64)
    }

    /// The weight that the stored form of these headers will have, bytes.
    #[must_use]
    pub fn weight_of(head: &ResponseHeader, lifetime: &HeaderMap) -> u64 {
        let weight = |headers| allocated(lines_length(headers) as u64);
        weight(&head.headers) + weight(lifetime)
    }
}

/// The bytes of the lines of these headers.
fn lines_length(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + SEPARATOR.len() + value.len() + END.len()
    };
    headers.iter().map(line).sum()
}

/// Where a line and its parts are.
struct Line {
    /// With its end.
    all: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

/// The lines of a head. No value contains the end of a line, and no name the separator.
fn lines_in(lines: &[u8]) -> impl Iterator<Item = Line> {
    let mut start = 0;
    iter::from_fn(move || {
        let rest = lines.get(start..)?;
        let end = start + memchr(b'\n', rest)? + 1;
        let name = start..start + memchr(b':', rest)?;
        let value = name.end + SEPARATOR.len()..end - END.len();
        let all = start..end;
        start = end;
        Some(Line { all, name, value })
    })
}

fn is_among(names: &[HeaderName], name: &[u8]) -> bool {
    names.iter().any(|of| of.as_str().as_bytes().eq_ignore_ascii_case(name))
}

/// The headers in these lines whose names are wanted. All of them were headers before, so none is lost.
fn parse(lines: &Bytes, is_wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(if lines.is_empty() { 0 } else { USUAL });
    for line in lines_in(lines) {
        let name = lines.get(line.name).unwrap_or_default();
        if !is_wanted(name) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(lines.slice(line.value));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(list: &[(String, Vec<u8>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        headers
    }

    proptest! {
        #[test]
        fn headers_are_read_back_as_they_were(
            head in proptest::collection::vec(("(etag|content-type|x-[a-z]{1,3})", "[ -~\\xa0-\\xff]{0,20}"), 0..20),
            lifetime in proptest::collection::vec(("(cache-control|expires)", "[ -~]{0,20}"), 0..3),
        ) {
            let bytes = |list: Vec<(String, String)>| -> Vec<(String, Vec<u8>)> {
                list.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
            };
            let (head, lifetime) = (headers(&bytes(head)), headers(&bytes(lifetime)));
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.headers = head.clone();
            let response = ResponseHeader::from(parts);
            let stored = StoredHead::of(&response, &lifetime);
            prop_assert_eq!(&stored.to_response().headers, &head);
            prop_assert_eq!(&stored.lifetime(), &lifetime);
            let mut wire = Vec::new();
            response.header_to_h1_wire(&mut wire);
            prop_assert_eq!(stored.lines(), &wire[..]);
            prop_assert_eq!(stored.weight(), StoredHead::weight_of(&response, &lifetime));
            let names = [http::header::ETAG, http::header::CONTENT_TYPE];
            for name in &names {
                prop_assert!(stored.only(&names).get_all(name).iter().eq(head.get_all(name)));
            }
            let (mut parts, ()) = http::Response::new(()).into_parts();
            for (name, value) in head.iter().filter(|(name, _)| !names.contains(name)) {
                parts.headers.append(name, value.clone());
            }
            let (mut without, mut wire) = (Vec::new(), Vec::new());
            stored.write_without(&names, &mut without);
            ResponseHeader::from(parts).header_to_h1_wire(&mut wire);
            prop_assert_eq!(without, wire);
        }
    }

    #[test]
    fn age_is_left_out() {
        let mut head = ResponseHeader::build_no_case(200, None).expect("a head");
        for (name, value) in [("etag", "\"a\""), ("age", "3"), ("x-a", "b: c"), ("x-empty", "")] {
            head.append_header(name, value).expect("a header");
        }
        let stored = StoredHead::of(&head, &HeaderMap::new());
        let again = stored.to_response();
        assert_eq!(again.headers.len(), 3);
        assert_eq!(again.headers["x-a"], "b: c");
        assert_eq!(again.headers["x-empty"], "");
        assert_eq!(again.status, 200);
    }
}
