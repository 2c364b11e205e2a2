//! Whether an answer is correct: it shows one version that the store may have had, and every byte
//! is right.

use std::ops::Range;
use std::sync::Arc;

use crate::ask::{Ask, Expected};
use crate::client::{Answer, Ending, Head};
use crate::history::Version;
use crate::multipart;

/// The kind of a correct answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Whole,
    Head,
    Part,
    Parts,
    NotModified,
    Unsatisfiable,
    Missing,
    /// The client has left.
    Aborted,
    /// It ended visibly before its length.
    Cut,
    /// The store could not be asked.
    Failed,
}

/// Faults that are excused because the store caused them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excuse {
    /// The object changed or the store failed: the answer may end visibly before its length.
    pub(crate) cut: bool,
    /// The store failed: the answer may be 5xx, or the whole object in place of a part.
    pub(crate) failed: bool,
    /// The store has omitted the entity tag: the answer may omit it too, and no tag matches.
    pub(crate) untagged: bool,
}

impl Excuse {
    /// There is none.
    pub(crate) const NONE: Self = Self { cut: false, failed: false, untagged: false };
}

/// The versions the store may have had when it was asked; `None` is a missing object.
pub(crate) type Possible = [Option<Arc<Version>>];

/// Versions of fewer bytes may be equal, and one is then taken for the other, date and all.
const DISTINCT: usize = 9;

/// The part of an answer that was received.
struct Come<'a> {
    head: &'a Head,
    body: &'a [u8],
    /// To its end.
    whole: bool,
}

/// Returns the kind of a correct answer.
///
/// # Errors
/// The error in the answer.
pub(crate) fn judge(
    ask: &Ask,
    answer: &Answer,
    possible: &Possible,
    excuse: Excuse,
) -> Result<Kind, String> {
    let whole = answer.ending == Ending::Whole;
    if !whole && (!excuse.cut || answer.ending != Ending::Cut) {
        let length = answer.header("content-length");
        return Err(format!("{:?} after {} of {length:?}", answer.ending, answer.body.len()));
    }
    let kind =
        right(ask, &Come { head: &answer.head, body: &answer.body, whole }, possible, excuse);
    kind.map(|kind| if whole { kind } else { Kind::Cut })
}

/// Whether the beginning of an answer is correct, when the client disconnects.
///
/// # Errors
/// The error in the answer.
pub(crate) fn judge_beginning(
    ask: &Ask,
    head: &Head,
    beginning: &[u8],
    possible: &Possible,
    excuse: Excuse,
) -> Result<Kind, String> {
    let kind = right(ask, &Come { head, body: beginning, whole: false }, possible, excuse)?;
    Ok(match kind {
        Kind::Whole | Kind::Part | Kind::Parts => Kind::Aborted,
        kind => kind,
    })
}

fn right(ask: &Ask, come: &Come<'_>, possible: &Possible, excuse: Excuse) -> Result<Kind, String> {
    match come.head.status {
        404 if possible.iter().any(Option::is_none) => Ok(Kind::Missing),
        416 => unsatisfiable(ask, come, possible, excuse),
        200 | 206 | 304 => {
            let mut wrong = String::new();
            for version in versions_of(come.head, possible, excuse)? {
                match about(ask, come, &version, excuse) {
                    Ok(kind) => return Ok(kind),
                    Err(what) => wrong = what,
                }
            }
            Err(wrong)
        }
        500 | 502 | 503 | 504 if excuse.failed => Ok(Kind::Failed),
        status => Err(format!("{status}: {}", String::from_utf8_lossy(come.body))),
    }
}

/// The versions that an answer may show: one, unless several have the same bytes.
fn versions_of(
    head: &Head,
    possible: &Possible,
    excuse: Excuse,
) -> Result<Vec<Arc<Version>>, String> {
    let etag = head.header("etag");
    if etag.is_none() && !excuse.untagged {
        return Err("no ETag".to_owned());
    }
    let same = |version: &&Arc<Version>| etag.is_none_or(|etag| version.etag == etag);
    let versions: Vec<_> = possible.iter().flatten().filter(same).cloned().collect();
    if versions.is_empty() {
        let numbers: Vec<_> = possible.iter().map(|v| v.as_ref().map(|v| v.number)).collect();
        return Err(format!("the version {etag:?} is too old or none; right are {numbers:?}"));
    }
    Ok(versions)
}

fn unsatisfiable(
    ask: &Ask,
    come: &Come<'_>,
    possible: &Possible,
    excuse: Excuse,
) -> Result<Kind, String> {
    let named = come.head.header("content-range");
    // A 416 does not show whether its object has a tag.
    let fits = |version: &Arc<Version>| {
        let length = format!("bytes */{}", version.body.len());
        let unknown = named.is_none() && excuse.failed;
        (unknown || named == Some(length.as_str()))
            && [true, !excuse.untagged]
                .into_iter()
                .any(|tagged| ask.expected(version, tagged) == Expected::Unsatisfiable)
    };
    match possible.iter().flatten().any(fits) {
        true => Ok(Kind::Unsatisfiable),
        false => Err(format!("416 with {named:?}")),
    }
}

fn about(ask: &Ask, come: &Come<'_>, version: &Version, excuse: Excuse) -> Result<Kind, String> {
    // A 304 has the tag that the client named.
    let tagged = come.head.header("etag").is_some();
    let expected = ask.expected(version, tagged);
    let wrong = |what: &str| Err(format!("{what}; {expected:?} of version {}", version.number));
    let modified = httpdate::fmt_http_date(version.modified);
    let (status, named) = (come.head.status, come.head.header("last-modified"));
    let distinct = version.body.len() >= DISTINCT;
    if status != 304 && named.is_none_or(|named| distinct && named != modified) {
        return wrong("another Last-Modified");
    }
    match (status, &expected) {
        (304, Expected::NotModified) => Ok(Kind::NotModified),
        (200, Expected::NotModified) => wrong("200"),
        (200, Expected::Part(_)) if !excuse.failed => wrong("200"),
        (200, Expected::Unsatisfiable) if !excuse.failed && !ask.has_many_ranges() => wrong("200"),
        (200, _) => {
            let kind = if ask.method == "HEAD" { Kind::Head } else { Kind::Whole };
            come.compare(&version.body, kind == Kind::Head)
                .map(|()| kind)
                .or_else(|what| wrong(&what))
        }
        (206, Expected::Part(part)) => match one_part(come, version)? == *part {
            true => Ok(Kind::Part),
            false => wrong("another part"),
        },
        (206, Expected::Parts(wanted)) => {
            let served = parts(come, version)?;
            let right = match come.whole {
                true => covered(&served) == covered(wanted),
                false => served.iter().all(|part| covered(wanted).contains(part)),
            };
            if right { Ok(Kind::Parts) } else { wrong(&format!("parts {served:?}")) }
        }
        (status, _) => wrong(&status.to_string()),
    }
}

impl Come<'_> {
    /// Whether the announced length, and all bytes received, match.
    fn compare(&self, bytes: &[u8], no_body: bool) -> Result<(), String> {
        let length = bytes.len().to_string();
        let announced = self.head.header("content-length");
        if announced != Some(length.as_str()) {
            return Err(format!("Content-Length {announced:?} in place of {length}"));
        }
        if no_body {
            return Ok(());
        }
        same_bytes(self.body, bytes, self.whole)
    }
}

/// Compares the received bytes with the expected ones: with all of them, or with their beginning.
fn same_bytes(come: &[u8], right: &[u8], whole: bool) -> Result<(), String> {
    if come == right || !whole && right.starts_with(come) {
        return Ok(());
    }
    let first = come.iter().zip(right).position(|(come, right)| come != right);
    Err(format!("other bytes, {} of {}, the first wrong one at {first:?}", come.len(), right.len()))
}

/// The range of a 206 that has one part, its bytes compared.
fn one_part(come: &Come<'_>, version: &Version) -> Result<Range<u64>, String> {
    let text = come.head.header("content-range").ok_or("a part without range")?;
    let range = multipart::parse_range(text, version.body.len() as u64)?;
    come.compare(&version.body[indices(&range)], false)
        .map(|()| range)
        .map_err(|what| format!("{what} in {text} of version {}", version.number))
}

/// The ranges of a 206 to a request for several, their bytes compared.
fn parts(come: &Come<'_>, version: &Version) -> Result<Vec<Range<u64>>, String> {
    if come.head.header("content-range").is_some() {
        return Ok(vec![one_part(come, version)?]);
    }
    let content_type = come.head.header("content-type").unwrap_or_default();
    let length = version.body.len() as u64;
    let parts = match come.whole {
        true => multipart::parts(content_type, come.body, length)?,
        false => multipart::beginning(content_type, come.body, length)?,
    };
    let mut served = Vec::new();
    for (range, bytes) in parts {
        same_bytes(bytes, &version.body[indices(&range)], come.whole)
            .map_err(|what| format!("{what} in part {range:?} of version {}", version.number))?;
        served.push(range);
    }
    Ok(served)
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ask::{Asked, Condition};

    /// Bytes of a version, each of which identifies the version and its position.
    fn version(number: u64, length: usize) -> Arc<Version> {
        let first = 80 * u8::try_from(number).expect("a small number");
        let body: Bytes = (first..first + 79).cycle().take(length).collect();
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number);
        Arc::new(Version { number, body, etag: format!("\"{number}\""), modified })
    }

    fn answer(status: u16, version: &Version, own: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let modified = httpdate::fmt_http_date(version.modified);
        let length = body.len().to_string();
        let common = [
            ("ETag", version.etag.as_str()),
            ("Last-Modified", &modified),
            ("Content-Length", &length),
        ];
        let named = |name: &str| own.iter().any(|(other, _)| *other == name);
        let headers = common.iter().filter(|(name, _)| !named(name)).chain(own);
        let headers = headers.filter(|(_, value)| !value.is_empty());
        let headers = headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let head = Head { version: "HTTP/1.1".to_owned(), status, headers: headers.collect() };
        Answer { head, body, ending: Ending::Whole }
    }

    fn multipart(version: &Version, parts: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (range, bytes) in parts {
            let head =
                format!("\r\n--x\r\nContent-Type: a/b\r\nContent-Range: bytes {range}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
        }
        body.extend_from_slice(b"\r\n--x--\r\n");
        answer(206, version, &[("Content-Type", "multipart/byteranges; boundary=x")], body)
    }

    #[test]
    fn correct_answers_pass_and_others_fail() {
        let (old, new) = (version(0, 300), version(1, 300));
        let possible = [Some(Arc::clone(&old)), Some(Arc::clone(&new))];
        let gone = version(2, 300);
        let range = |text| vec![("Content-Range", text)];
        let mixed = [&new.body[..150], &old.body[150..]].concat();
        let shifted = [&new.body[1..], &new.body[..1]].concat();
        let whole = || Ask::get(Vec::new(), Condition::None);
        let part = || Ask::get(vec![Asked::Between(100, 199)], Condition::None);
        let right = new.body.to_vec();
        let right_part = new.body[100..200].to_vec();
        let place = || range("bytes 100-199/300");
        for (what, ask, answer, kind) in [
            ("the whole", whole(), answer(200, &new, &[], right.clone()), Some(Kind::Whole)),
            (
                "the older whole",
                whole(),
                answer(200, &old, &[], old.body.to_vec()),
                Some(Kind::Whole),
            ),
            ("a version of long ago", whole(), answer(200, &gone, &[], gone.body.to_vec()), None),
            ("two versions in one", whole(), answer(200, &new, &[], mixed), None),
            ("a body that is shifted", whole(), answer(200, &new, &[], shifted), None),
            ("a body that is short", whole(), answer(200, &new, &[], right[..299].to_vec()), None),
            (
                "a body that is long",
                whole(),
                answer(200, &new, &[], [&right[..], b"x"].concat()),
                None,
            ),
            ("another version's tag", whole(), answer(200, &old, &[], right.clone()), None),
            ("no tag", whole(), answer(200, &new, &[("ETag", "")], right.clone()), None),
            ("a failure", whole(), answer(502, &new, &[], Vec::new()), None),
            ("no object", whole(), answer(404, &new, &[], Vec::new()), None),
            ("a part", part(), answer(206, &new, &place(), right_part.clone()), Some(Kind::Part)),
            ("the whole for a part", part(), answer(200, &new, &[], right.clone()), None),
            (
                "a part for the whole",
                whole(),
                answer(206, &new, &place(), right_part.clone()),
                None,
            ),
            (
                "a part of the other",
                part(),
                answer(206, &new, &place(), old.body[100..200].to_vec()),
                None,
            ),
            (
                "a part from elsewhere",
                part(),
                answer(206, &new, &place(), right[101..201].to_vec()),
                None,
            ),
            (
                "another part",
                part(),
                answer(206, &new, &range("bytes 101-200/300"), right[101..201].to_vec()),
                None,
            ),
            (
                "another length",
                part(),
                answer(206, &new, &range("bytes 100-199/301"), right_part.clone()),
                None,
            ),
            ("no range", part(), answer(416, &new, &range("bytes */300"), Vec::new()), None),
        ] {
            let verdict = judge(&ask, &answer, &possible, Excuse::NONE);
            assert_eq!(verdict.clone().ok(), kind, "{what}: {verdict:?}");
        }
    }

    #[test]
    fn every_part_of_several_is_checked() {
        let (old, new) = (version(0, 300), version(1, 300));
        let possible = [Some(Arc::clone(&old)), Some(Arc::clone(&new))];
        let ask = Ask::get(vec![Asked::Between(0, 9), Asked::Last(10)], Condition::None);
        let cut = Excuse { cut: true, ..Excuse::NONE };
        let (first, last) = (&new.body[..10], &new.body[290..]);
        let (at_first, at_last) = ("0-9/300", "290-299/300");
        for (what, parts, right) in [
            ("both", vec![(at_first, first), (at_last, last)], true),
            ("one is missing", vec![(at_first, first)], false),
            ("one is of the other", vec![(at_first, first), (at_last, &old.body[290..])], false),
            ("one is shifted", vec![(at_first, &new.body[1..11]), (at_last, last)], false),
            ("one is elsewhere", vec![("1-10/300", &new.body[1..11]), (at_last, last)], false),
        ] {
            let mut answer = multipart(&new, &parts);
            let verdict = judge(&ask, &answer, &possible, Excuse::NONE);
            assert_eq!(verdict.is_ok(), right, "{what}: {verdict:?}");
            // A cut answer is wrong without an excuse; with one its bytes are still checked.
            let all = std::mem::take(&mut answer.body);
            for length in 0..all.len() {
                answer.body = all[..length].to_vec();
                answer.ending = Ending::Cut;
                assert!(judge(&ask, &answer, &possible, Excuse::NONE).is_err(), "{what} {length}");
                if right {
                    let verdict = judge(&ask, &answer, &possible, cut);
                    assert_eq!(verdict, Ok(Kind::Cut), "{what} {length}");
                }
            }
            if what == "one is of the other" || what == "one is shifted" {
                let verdict = judge(&ask, &answer, &possible, cut);
                assert!(verdict.is_err(), "{what}, cut: {verdict:?}");
            }
        }
    }

    #[test]
    fn an_excuse_covers_visible_failures_only() {
        let (old, new) = (version(0, 300), version(1, 300));
        let possible = [Some(Arc::clone(&old)), Some(Arc::clone(&new))];
        let ask = Ask::get(vec![Asked::From(100)], Condition::None);
        let range = ("Content-Range", "bytes 100-299/300");
        let part =
            |bytes: &[u8]| answer(206, &new, &[range, ("Content-Length", "200")], bytes.to_vec());
        let cut = |bytes: &[u8]| Answer { ending: Ending::Cut, ..part(bytes) };
        let mixed = [&new.body[100..200], &old.body[200..250]].concat();
        let untagged = answer(206, &new, &[range, ("ETag", "")], new.body[100..].to_vec());
        let none = Excuse::NONE;
        let short = Excuse { cut: true, ..none };
        let failed = Excuse { failed: true, ..none };
        let no_tag = Excuse { untagged: true, ..none };
        let until_close = Answer { ending: Ending::UntilClose, ..part(b"") };
        for (what, answer, excused_by) in [
            ("right", part(&new.body[100..]), &[none, short, failed, no_tag][..]),
            ("cut", cut(&new.body[100..250]), &[short]),
            ("cut at once", cut(b""), &[short]),
            ("failed", answer(503, &new, &[], Vec::new()), &[failed]),
            ("untagged", untagged, &[no_tag]),
            ("whole", answer(200, &new, &[], new.body.to_vec()), &[failed]),
            ("cut, of two versions", cut(&mixed), &[]),
            ("cut and shifted", cut(&new.body[101..250]), &[]),
            ("short, and not visibly", part(&new.body[100..250]), &[]),
            ("to the end of the connection", until_close, &[]),
        ] {
            for excuse in [none, short, failed, no_tag] {
                let verdict = judge(&ask, &answer, &possible, excuse);
                assert_eq!(
                    verdict.is_ok(),
                    excused_by.contains(&excuse),
                    "{what} {excuse:?}: {verdict:?}"
                );
            }
        }
    }
}
