//! Whether an answer is what a row expects.

use crate::client::{Answer, Ending};
use crate::origin::MODIFIED;
use crate::ranges::multipart;
use crate::ranges::rows::Expected;

const TYPE: &str = "image/png";

/// How several ranges are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfSeveral {
    /// They are served.
    Served,
    /// They are ignored.
    Ignored,
}

/// An object as it is at the store.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) etag: String,
    pub(crate) body: Vec<u8>,
}

/// The error in the answer, if there is one.
pub(crate) fn judge(
    answer: &Answer,
    method: &str,
    object: &Object,
    expected: &Expected,
    several: OfSeveral,
) -> Result<(), String> {
    let Expected::Several(parts) = expected else {
        return of_one(answer, method, object, expected);
    };
    let served = || match parts[..] {
        [] => of_one(answer, method, object, &Expected::Unsatisfiable),
        [(first, last)] => of_one(answer, method, object, &Expected::Part(first, last)),
        _ => multipart(answer, object, parts),
    };
    let ignored = || of_one(answer, method, object, &Expected::Whole);
    match several {
        OfSeveral::Served => served(),
        OfSeveral::Ignored => ignored(),
    }
}

/// The form of an answer without parts.
fn of_one(
    answer: &Answer,
    method: &str,
    object: &Object,
    expected: &Expected,
) -> Result<(), String> {
    let length = object.body.len();
    let whole = 0..length;
    let (status, range, content_range) = match *expected {
        Expected::Whole => (200, Some(whole), None),
        Expected::Part(first, last) => {
            let (start, end) = (position(first)?, position(last)? + 1);
            (206, Some(start..end), Some(format!("bytes {first}-{last}/{length}")))
        }
        Expected::Unsatisfiable => (416, None, Some(format!("bytes */{length}"))),
        Expected::NotModified => (304, None, None),
        Expected::PreconditionFailed => (412, None, None),
        Expected::Several(_) => return Err("several ranges have no one answer".to_owned()),
    };
    framed(answer, method, status)?;
    same("Content-Range", answer.header("content-range"), content_range.as_deref())?;
    if matches!(status, 200 | 206 | 304) {
        of_this_version(answer, object)?;
    }
    // A store without an error document leaves these without a body on the way through the proxy.
    if matches!(status, 412 | 416) && answer.header("content-length") != Some("0") {
        same("Content-Type", answer.header("content-type"), Some("application/json"))?;
        if method != "HEAD" && answer.json()["request_id"] != answer.request_id() {
            return Err(format!("a body without its id: {}", answer.text()));
        }
    }
    let Some(range) = range else { return Ok(()) };
    same("Content-Type", answer.header("content-type"), Some(TYPE))?;
    same("Accept-Ranges", answer.header("accept-ranges"), Some("bytes"))?;
    let expected = object.body.get(range).ok_or("the row goes beyond its object")?;
    let length = expected.len().to_string();
    same("Content-Length", answer.header("content-length"), Some(&length))?;
    if method == "HEAD" { Ok(()) } else { same_bytes(&answer.body, expected) }
}

fn multipart(answer: &Answer, object: &Object, expected: &[(u64, u64)]) -> Result<(), String> {
    framed(answer, "GET", 206)?;
    of_this_version(answer, object)?;
    same("Accept-Ranges", answer.header("accept-ranges"), Some("bytes"))?;
    // Each part has its own, and the whole must not have one (section 15.3.7.2).
    same("Content-Range", answer.header("content-range"), None)?;
    let length = answer.body.len().to_string();
    same("Content-Length", answer.header("content-length"), Some(&length))?;
    let kind = answer.header("content-type").unwrap_or_default();
    let parts = multipart::parts(kind, &answer.body)?;
    if parts.len() != expected.len() {
        return Err(format!("{} parts, not {}", parts.len(), expected.len()));
    }
    for (part, (first, last)) in parts.iter().zip(expected) {
        let range = format!("bytes {first}-{last}/{}", object.body.len());
        same("Content-Range", Some(part.header("content-range")?), Some(&range))?;
        same("Content-Type", Some(part.header("content-type")?), Some(TYPE))?;
        let bytes = object.body.get(position(*first)?..=position(*last)?);
        let bytes = bytes.ok_or("the row goes beyond its object")?;
        same_bytes(part.body, bytes).map_err(|why| format!("{range}: {why}"))?;
    }
    Ok(())
}

fn framed(answer: &Answer, method: &str, status: u16) -> Result<(), String> {
    if answer.status() != status {
        return Err(format!("status {}, not {status}", answer.status()));
    }
    if answer.ending != Ending::Whole {
        return Err(format!("ended {:?} after {} bytes", answer.ending, answer.body.len()));
    }
    let length = answer.header("content-length").map(str::parse::<usize>);
    match length {
        Some(Ok(length)) if method != "HEAD" && status != 304 && length != answer.body.len() => {
            Err(format!("Content-Length {length} of {} bytes", answer.body.len()))
        }
        Some(Err(_)) => Err("a Content-Length that is no number".to_owned()),
        _ => Ok(()),
    }
}

fn of_this_version(answer: &Answer, object: &Object) -> Result<(), String> {
    same("ETag", answer.header("etag"), Some(&object.etag))?;
    match answer.header("last-modified") {
        // Beside an entity tag it adds nothing (section 15.4.5).
        None if answer.status() == 304 => Ok(()),
        modified => same("Last-Modified", modified, Some(MODIFIED)),
    }
}

fn same(what: &str, found: Option<&str>, expected: Option<&str>) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} {found:?}, not {expected:?}")) }
}

fn same_bytes(found: &[u8], expected: &[u8]) -> Result<(), String> {
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    match differs {
        Some(place) => Err(format!("another byte at {place}")),
        None if found.len() == expected.len() => Ok(()),
        None => Err(format!("{} bytes, not {}", found.len(), expected.len())),
    }
}

fn position(byte: u64) -> Result<usize, String> {
    usize::try_from(byte).map_err(|error| error.to_string())
}
