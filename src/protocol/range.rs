//! Byte ranges: the `Range` of a request and the `Content-Range` of an answer, RFC 9110, section
//! 14.

use std::fmt;

use http::header::RANGE;
use http::{HeaderMap, HeaderValue};

use super::single;

/// One range of bytes as a client asks for it (section 14.1.2). Its text is the value of a `Range`
/// header, such as `bytes=0-99`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the byte `first` to the byte `last`, which is included, or to the end. `last` is not
    /// below `first`.
    FromTo { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Suffix(u64),
}

impl ByteRange {
    /// The first and the last byte of this range in an object of `len` bytes; `None` when it holds
    /// none of them, which is answered with 416.
    ///
    /// An empty object satisfies no range: `Content-Range` cannot say that nothing was sent.
    #[must_use]
    pub fn resolve(self, len: u64) -> Option<(u64, u64)> {
        let end = len.checked_sub(1)?;
        match self {
            Self::FromTo { first, last } => {
                let last = last.map_or(end, |last| last.min(end));
                (first <= last).then_some((first, last))
            }
            Self::Suffix(0) => None,
            Self::Suffix(count) => Some((len.saturating_sub(count), end)),
        }
    }

    /// Whether it asks for so many bytes at the end.
    #[must_use]
    pub fn is_suffix(self) -> bool {
        matches!(self, Self::Suffix(count) if count > 0)
    }

    /// The range as a `Range` header.
    #[must_use]
    pub fn to_header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.to_string()).ok()
    }

    /// Spaces are let through where Apache and Go let them through.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.trim_matches(OWS), last.trim_matches(OWS));
        if first.is_empty() {
            return number(last).map(Self::Suffix);
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        last.is_none_or(|last| first <= last).then_some(Self::FromTo { first, last })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo { first, last: Some(last) } => write!(f, "bytes={first}-{last}"),
            Self::FromTo { first, last: None } => write!(f, "bytes={first}-"),
            Self::Suffix(count) => write!(f, "bytes=-{count}"),
        }
    }
}

/// What the `Range` of a GET asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything: there is no `Range`, or one that is to be ignored.
    Whole,
    Single(ByteRange),
    /// Two ranges or more, in the order of the request.
    Many(Vec<ByteRange>),
}

/// Reads `Range` (section 14.2). Another unit, a malformed or inverted range, a number above
/// 2^64 - 1 and a second `Range` make it void, as the section permits: everything is served.
///
/// Only GET has ranges; for other methods do not ask.
#[must_use]
pub fn parse_range(headers: &HeaderMap) -> RangeRequest {
    let ranges = single(headers, &RANGE).and_then(|value| ranges(value.to_str().ok()?));
    let ranges = ranges.unwrap_or_default();
    match ranges[..] {
        [] => RangeRequest::Whole,
        [range] => RangeRequest::Single(range),
        _ => RangeRequest::Many(ranges),
    }
}

/// The listed ranges; empty elements do not count, one malformed element spoils all.
fn ranges(text: &str) -> Option<Vec<ByteRange>> {
    let elements = after_unit(text, '=')?.split(',').map(|element| element.trim_matches(OWS));
    elements.filter(|element| !element.is_empty()).map(ByteRange::parse).collect()
}

/// A `Content-Range` (section 14.4). Its text is the value of that header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// The bytes from `first` to `last`, included, of an object of `len` bytes, if that is known.
    Part { first: u64, last: u64, len: Option<u64> },
    /// The length of an object that satisfied no range (416).
    Unsatisfied { len: u64 },
}

impl ContentRange {
    /// Reads a header value; one that contradicts itself is none.
    #[must_use]
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let (range, len) = after_unit(value.to_str().ok()?, ' ')?.split_once('/')?;
        if range == "*" {
            return number(len).map(|len| Self::Unsatisfied { len });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let len = if len == "*" { None } else { Some(number(len)?) };
        let consistent = first <= last && len.is_none_or(|len| last < len);
        consistent.then_some(Self::Part { first, last, len })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { first, last, len: Some(len) } => write!(f, "bytes {first}-{last}/{len}"),
            Self::Part { first, last, len: None } => write!(f, "bytes {first}-{last}/*"),
            Self::Unsatisfied { len } => write!(f, "bytes */{len}"),
        }
    }
}

const OWS: [char; 2] = [' ', '\t'];

/// What follows the unit `bytes`, the only one there is, in any case.
fn after_unit(text: &str, separator: char) -> Option<&str> {
    let (unit, rest) = text.trim_matches(OWS).split_once(separator)?;
    unit.eq_ignore_ascii_case("bytes").then_some(rest)
}

/// Digits alone: `str::parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
