//! Whether an answer is right: about one version that it may be about, and every byte of it.

use std::ops::Range;
use std::sync::Arc;

use crate::ask::{Ask, Expected};
use crate::client::{Answer, Ending, Head};
use crate::multipart;
use crate::sky::Version;

/// What an answer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Whole,
    Head,
    Part,
    Parts,
    NotModified,
    Unsatisfiable,
    Missing,
    Aborted,
}

/// What the store may have had when it was asked; `None` is no object.
pub(crate) type Possible = [Option<Arc<Version>>];

/// What kind of right answer this is.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge(ask: &Ask, answer: &Answer, possible: &Possible) -> Result<Kind, String> {
    if answer.ending != Ending::Whole {
        return Err(format!("{:?}", answer.ending));
    }
    match answer.status() {
        404 if possible.contains_none() => Ok(Kind::Missing),
        416 => unsatisfiable(ask, answer, possible),
        200 | 206 | 304 => {
            let version = version_of(&answer.head, possible)?;
            about(ask, answer, &version)
        }
        status => Err(format!("{status}: {}", String::from_utf8_lossy(&answer.body))),
    }
}

/// Whether the beginning of an answer is right.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge_beginning(
    head: &Head,
    beginning: &[u8],
    possible: &Possible,
) -> Result<Kind, String> {
    match head.status {
        404 if possible.contains_none() => Ok(Kind::Missing),
        200 if version_of(head, possible)?.body.starts_with(beginning) => Ok(Kind::Aborted),
        status => Err(format!("{status}: {}", String::from_utf8_lossy(beginning))),
    }
}

trait Missing {
    fn contains_none(&self) -> bool;
}

impl Missing for Possible {
    fn contains_none(&self) -> bool {
        self.iter().any(Option::is_none)
    }
}

/// The version that an answer is about.
fn version_of(head: &Head, possible: &Possible) -> Result<Arc<Version>, String> {
    let etag = head.header("etag").ok_or("no ETag")?;
    let version = possible.iter().flatten().find(|version| version.etag == etag);
    version.cloned().ok_or_else(|| {
        let numbers: Vec<_> = possible.iter().map(|v| v.as_ref().map(|v| v.number)).collect();
        format!("the version {etag} is too old or none; right are {numbers:?}")
    })
}

fn unsatisfiable(ask: &Ask, answer: &Answer, possible: &Possible) -> Result<Kind, String> {
    let fits = |version: &&Arc<Version>| {
        let length = format!("bytes */{}", version.body.len());
        answer.header("content-range") == Some(length.as_str())
            && ask.expected(version) == Expected::Unsatisfiable
    };
    match possible.iter().flatten().any(|version| fits(&version)) {
        true => Ok(Kind::Unsatisfiable),
        false => Err(format!("416 with {:?}", answer.header("content-range"))),
    }
}

fn about(ask: &Ask, answer: &Answer, version: &Version) -> Result<Kind, String> {
    let expected = ask.expected(version);
    let wrong = |what: &str| Err(format!("{what}; {expected:?} of version {}", version.number));
    let modified = httpdate::fmt_http_date(version.modified);
    if answer.status() != 304 && answer.header("last-modified") != Some(modified.as_str()) {
        return wrong("another Last-Modified");
    }
    match (answer.status(), &expected) {
        (304, Expected::NotModified) => Ok(Kind::NotModified),
        (200, Expected::Unsatisfiable) if !ask.has_many_ranges() => wrong("200"),
        (200, Expected::Whole | Expected::Parts(_) | Expected::Unsatisfiable) => {
            let length = version.body.len().to_string();
            if answer.header("content-length") != Some(length.as_str()) {
                return wrong("another Content-Length");
            }
            match ask.method {
                "HEAD" => Ok(Kind::Head),
                _ if answer.body == version.body => Ok(Kind::Whole),
                _ => wrong("other bytes"),
            }
        }
        (206, Expected::Part(part)) => {
            if one_part(answer, version)? != *part {
                return wrong("another part");
            }
            Ok(Kind::Part)
        }
        (206, Expected::Parts(wanted)) => {
            let length = version.body.len() as u64;
            let mut served = Vec::new();
            if answer.header("content-range").is_some() {
                served.push(one_part(answer, version)?);
            } else {
                let content_type = answer.header("content-type").unwrap_or_default();
                for (range, bytes) in multipart::parts(content_type, &answer.body, length)? {
                    if *bytes != version.body[indices(&range)] {
                        return wrong("other bytes in a part");
                    }
                    served.push(range);
                }
            }
            match covered(&served) == covered(wanted) {
                true => Ok(Kind::Parts),
                false => wrong(&format!("parts {served:?}")),
            }
        }
        (status, _) => wrong(&status.to_string()),
    }
}

/// The range of a 206 that has one part, its bytes compared.
fn one_part(answer: &Answer, version: &Version) -> Result<Range<u64>, String> {
    let text = answer.header("content-range").ok_or("a part without range")?;
    let range = multipart::parse_range(text, version.body.len() as u64)?;
    match answer.body == version.body[indices(&range)] {
        true => Ok(range),
        false => Err(format!("other bytes in {text} of version {}", version.number)),
    }
}

fn indices(range: &Range<u64>) -> Range<usize> {
    let index = |at: u64| usize::try_from(at).expect("a place in memory");
    index(range.start)..index(range.end)
}

/// The bytes that these ranges have together: sorted, and joined where they touch.
fn covered(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
