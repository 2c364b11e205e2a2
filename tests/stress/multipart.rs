//! `multipart/byteranges` (RFC 9110, section 14.6), parsed.

use std::ops::Range;

/// The position of a part, and its bytes.
type Part<'a> = (Range<u64>, &'a [u8]);

/// The parts of a body.
pub(crate) fn parts<'a>(
    content_type: &str,
    body: &'a [u8],
    length: u64,
) -> Result<Vec<Part<'a>>, String> {
    let mut parts = Vec::new();
    match read(content_type, body, length, &mut parts)? {
        Read::Whole => Ok(parts),
        Read::Cut(what) => Err(what.to_owned()),
    }
}

/// The parts of a body that may be cut anywhere; the last one may be incomplete.
pub(crate) fn beginning<'a>(
    content_type: &str,
    body: &'a [u8],
    length: u64,
) -> Result<Vec<Part<'a>>, String> {
    let mut parts = Vec::new();
    read(content_type, body, length, &mut parts)?;
    Ok(parts)
}

/// How far a body could be parsed.
enum Read {
    Whole,
    Cut(&'static str),
}

fn read<'a>(
    content_type: &str,
    body: &'a [u8],
    length: u64,
    parts: &mut Vec<Part<'a>>,
) -> Result<Read, String> {
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or_else(|| format!("no multipart: {content_type}"))?;
    let boundary = format!("\r\n--{boundary}");
    let mut rest = body;
    // The first boundary may begin the body.
    let mut expected = match body.starts_with(b"--") {
        true => &boundary.as_bytes()[2..],
        false => boundary.as_bytes(),
    };
    loop {
        let Some(after) = skip(rest, expected, "a boundary")? else {
            return Ok(Read::Cut("no boundary"));
        };
        if after == b"--\r\n" || after == b"--" {
            return Ok(Read::Whole);
        }
        if after == b"-" || after == b"--\r" {
            return Ok(Read::Cut("no end"));
        }
        let Some(after) = skip(after, b"\r\n", "the end of a boundary")? else {
            return Ok(Read::Cut("no end of a boundary"));
        };
        let Some(end) = find(after, b"\r\n\r\n") else {
            return Ok(Read::Cut("no end of a part's head"));
        };
        let head = std::str::from_utf8(&after[..end]).map_err(|error| error.to_string())?;
        let range = content_range(head, length)?;
        let size = usize::try_from(range.end - range.start).map_err(|error| error.to_string())?;
        let bytes = &after[end + 4..];
        let Some(whole) = bytes.get(..size) else {
            parts.push((range, bytes));
            return Ok(Read::Cut("a part that is cut"));
        };
        parts.push((range, whole));
        rest = &bytes[size..];
        expected = boundary.as_bytes();
    }
}

/// The bytes after `expected`; `None` if the bytes end before.
fn skip<'a>(bytes: &'a [u8], expected: &[u8], what: &str) -> Result<Option<&'a [u8]>, String> {
    match bytes.strip_prefix(expected) {
        Some(rest) => Ok(Some(rest)),
        None if expected.starts_with(bytes) => Ok(None),
        None => {
            Err(format!("no {what}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)])))
        }
    }
}

fn content_range(head: &str, length: u64) -> Result<Range<u64>, String> {
    let line = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Range: "));
    parse_range(line.ok_or_else(|| format!("a part without range: {head}"))?, length)
}

/// `bytes 0-9/100`, of an object of this length.
pub(crate) fn parse_range(text: &str, length: u64) -> Result<Range<u64>, String> {
    let parsed = || {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let right = total.parse() == Ok(length) && first <= last && last < length;
        right.then_some(first..last + 1)
    };
    parsed().ok_or_else(|| format!("not a range of {length} bytes: {text}"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
