//! `multipart/byteranges` (RFC 9110, section 14.6), taken apart.

use std::ops::Range;

/// Where a part belongs, and its bytes.
type Part<'a> = (Range<u64>, &'a [u8]);

/// The parts of a body.
pub(crate) fn parts<'a>(
    content_type: &str,
    body: &'a [u8],
    length: u64,
) -> Result<Vec<Part<'a>>, String> {
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .ok_or_else(|| format!("no multipart: {content_type}"))?;
    let boundary = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body;
    // The first boundary may begin the body.
    if !rest.starts_with(boundary.as_bytes()) {
        rest = rest.strip_prefix(&boundary.as_bytes()[2..]).ok_or("no first boundary")?;
    } else {
        rest = &rest[boundary.len()..];
    }
    loop {
        if rest == b"--\r\n" || rest == b"--" {
            return Ok(parts);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("no end of a boundary")?;
        let end = find(rest, b"\r\n\r\n").ok_or("no end of a part's head")?;
        let head = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
        let range = content_range(head, length)?;
        rest = &rest[end + 4..];
        let size = usize::try_from(range.end - range.start).map_err(|error| error.to_string())?;
        let bytes = rest.get(..size).ok_or("a part that is cut")?;
        rest = rest[size..].strip_prefix(boundary.as_bytes()).ok_or("no boundary after a part")?;
        parts.push((range, bytes));
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
