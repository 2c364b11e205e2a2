//! Byte ranges: the `Range` of a request and the `Content-Range` of a response (RFC 9110, section
//! 14).

use std::fmt;

use http::header::RANGE;
use http::{HeaderMap, HeaderValue};

use super::single;

/// The last position that every store can name.
const MAX_POSITION: u64 = i64::MAX as u64;

/// One requested byte range (section 14.1.2). `Display` is the value of a `Range` header, such as
/// `bytes=0-99`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the byte `first` to the byte `last`, inclusive, or to the end of the object.
    /// `first <= last`.
    FromTo { first: u64, last: Option<u64> },
    /// The last bytes of the object, this number of them.
    Suffix(u64),
}

impl ByteRange {
    /// The first and the last byte of this range in an object of `len` bytes; `None` when the range is
    /// not satisfiable (416).
    ///
    /// No range of an empty object is satisfiable: `Content-Range` cannot express zero bytes.
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

    /// Whether this is a suffix range of at least one byte.
    #[must_use]
    pub fn is_suffix(self) -> bool {
        matches!(self, Self::Suffix(count) if count > 0)
    }

    /// The range as a `Range` header. Stores read positions as signed numbers of 64 bits: an end or a
    /// count beyond that is left open, which names the same bytes of any object.
    #[must_use]
    pub fn to_header(self) -> Option<HeaderValue> {
        let range = match self {
            Self::FromTo { first, last: Some(last) } if last > MAX_POSITION => {
                Self::FromTo { first, last: None }
            }
            Self::Suffix(count) if count > MAX_POSITION => Self::Suffix(MAX_POSITION),
            range => range,
        };
        HeaderValue::try_from(range.to_string()).ok()
    }

    /// Whether no object has a byte of this range, so that a store need only be asked for the length.
    #[must_use]
    pub fn is_beyond_any_object(self) -> bool {
        match self {
            Self::FromTo { first, .. } => first > MAX_POSITION,
            Self::Suffix(count) => count == 0,
        }
    }

    /// Accepts spaces where Apache and Go accept them.
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.trim_matches(OWS), last.trim_matches(OWS));
        if first.is_empty() {
            return clamped(last).map(Self::Suffix);
        }
        let first = clamped(first)?;
        let last = if last.is_empty() { None } else { Some(clamped(last)?) };
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

/// The ranges that a GET requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// The whole object: `Range` is missing or ignored.
    Whole,
    Single(ByteRange),
    /// Two ranges or more, in the order of the request.
    Many(Vec<ByteRange>),
}

/// Parses `Range` (section 14.2). As the section permits, the header is ignored when it has another
/// unit, a malformed or inverted range or a number above 2^64 - 1, or is repeated.
///
/// Call it for GET only: `Range` has no meaning for other methods.
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

/// The listed ranges, without empty elements; `None` if any element is malformed.
fn ranges(text: &str) -> Option<Vec<ByteRange>> {
    let elements = after_unit(text, '=')?.split(',').map(|element| element.trim_matches(OWS));
    elements.filter(|element| !element.is_empty()).map(ByteRange::parse).collect()
}

/// A `Content-Range` (section 14.4). `Display` is the value of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// The bytes from `first` to `last`, inclusive, of an object of `len` bytes; `None` if unknown.
    Part { first: u64, last: u64, len: Option<u64> },
    /// The length of the object in a 416.
    Unsatisfied { len: u64 },
}

impl ContentRange {
    /// Parses a header value; `None` if it is malformed or contradicts itself.
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

/// The text after the range unit `bytes`, which is case-insensitive.
fn after_unit(text: &str, separator: char) -> Option<&str> {
    let (unit, rest) = text.trim_matches(OWS).split_once(separator)?;
    unit.eq_ignore_ascii_case("bytes").then_some(rest)
}

/// Like [`number`]; a number that does not fit is the largest one.
fn clamped(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Digits only: `str::parse` would accept a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
