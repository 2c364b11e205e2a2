//! The rows with conditions beside the range, and those of HEAD.

use crate::origin::MODIFIED;
use crate::ranges::rows::BLOCK;
use crate::ranges::rows::Expected::{
    self, NotModified, Part, PreconditionFailed, Several, Unsatisfiable, Whole,
};

const BEFORE: &str = "Tue, 01 Jul 2025 11:59:59 GMT";
const AFTER: &str = "Tue, 01 Jul 2025 12:00:01 GMT";

/// Length, header fields, answer.
pub(crate) type Conditional = (u64, &'static [(&'static str, &'static str)], Expected);

/// `If-Range` (section 13.1.5), and the other conditions, which come first (section 13.2.2).
pub(crate) fn conditions() -> Vec<Conditional> {
    const ACROSS: (&str, &str) = ("Range", "bytes=65535-65536");
    const FIRST: (&str, &str) = ("Range", "bytes=0-3");
    const TWO: (&str, &str) = ("Range", "bytes=0-1,4-5");
    const BEYOND: (&str, &str) = ("Range", "bytes=99-");
    const BIG: u64 = 3 * BLOCK + 1;
    vec![
        (11, &[FIRST, ("If-Range", "ETAG")], Part(0, 3)),
        (11, &[FIRST, ("If-Range", "W/ETAG")], Whole),
        (11, &[FIRST, ("If-Range", "\"other\"")], Whole),
        (11, &[FIRST, ("If-Range", "ETAG, \"other\"")], Whole),
        (11, &[FIRST, ("If-Range", "*")], Whole),
        (11, &[FIRST, ("If-Range", "nonsense")], Whole),
        (11, &[FIRST, ("If-Range", MODIFIED)], Part(0, 3)),
        (11, &[FIRST, ("If-Range", "Tuesday, 01-Jul-25 12:00:00 GMT")], Part(0, 3)),
        (11, &[FIRST, ("If-Range", "Tue Jul  1 12:00:00 2025")], Part(0, 3)),
        (11, &[FIRST, ("If-Range", BEFORE)], Whole),
        (11, &[FIRST, ("If-Range", AFTER)], Whole),
        (11, &[TWO, ("If-Range", "ETAG")], Several(vec![(0, 1), (4, 5)])),
        (11, &[TWO, ("If-Range", "\"other\"")], Whole),
        (11, &[BEYOND, ("If-Range", "ETAG")], Unsatisfiable),
        (11, &[BEYOND, ("If-Range", "\"other\"")], Whole),
        (11, &[BEYOND, ("If-Range", BEFORE)], Whole),
        (11, &[("If-Range", "ETAG")], Whole),
        (11, &[("If-Range", "\"other\"")], Whole),
        (11, &[("Range", "bytes=x"), ("If-Range", "ETAG")], Whole),
        (11, &[FIRST, FIRST], Whole),
        (11, &[FIRST, ("Range", "bytes=5-6")], Whole),
        (BIG, &[ACROSS, ("If-Range", "ETAG")], Part(65_535, 65_536)),
        (BIG, &[ACROSS, ("If-Range", MODIFIED)], Part(65_535, 65_536)),
        (BIG, &[ACROSS, ("If-Range", "W/ETAG")], Whole),
        (BIG, &[ACROSS, ("If-Range", "\"other\"")], Whole),
        (BIG, &[ACROSS, ("If-Range", AFTER)], Whole),
        (BIG, &[ACROSS, ("If-None-Match", "ETAG")], NotModified),
        (BIG, &[ACROSS, ("If-None-Match", "\"other\"")], Part(65_535, 65_536)),
        (BIG, &[ACROSS, ("If-Match", "ETAG")], Part(65_535, 65_536)),
        (BIG, &[ACROSS, ("If-Match", "\"other\"")], PreconditionFailed),
        (BIG, &[ACROSS, ("If-Modified-Since", MODIFIED)], NotModified),
        (BIG, &[ACROSS, ("If-Unmodified-Since", BEFORE)], PreconditionFailed),
        (11, &[FIRST, ("If-None-Match", "W/ETAG")], NotModified),
        (11, &[FIRST, ("If-Modified-Since", BEFORE)], Part(0, 3)),
        (11, &[FIRST, ("If-Unmodified-Since", MODIFIED)], Part(0, 3)),
        (11, &[FIRST, ("If-Match", "*"), ("If-Range", "\"other\"")], Whole),
        (11, &[FIRST, ("If-None-Match", "ETAG"), ("If-Range", "\"other\"")], NotModified),
        (11, &[BEYOND, ("If-Match", "\"other\"")], PreconditionFailed),
        (11, &[BEYOND, ("If-None-Match", "ETAG")], NotModified),
        (11, &[BEYOND, ("If-None-Match", "\"other\"")], Unsatisfiable),
    ]
}

/// `Range` is for GET alone (section 14.2).
pub(crate) fn heads() -> Vec<Conditional> {
    vec![
        (11, &[("Range", "bytes=0-3")], Whole),
        (11, &[("Range", "bytes=0-1,4-5")], Whole),
        (11, &[("Range", "bytes=99-")], Whole),
        (11, &[("Range", "bytes=x")], Whole),
        (11, &[("Range", "bytes=0-3"), ("If-Range", "ETAG")], Whole),
        (11, &[("Range", "bytes=0-3"), ("If-Range", "\"other\"")], Whole),
        (11, &[("Range", "bytes=0-3"), ("If-None-Match", "ETAG")], NotModified),
        (0, &[("Range", "bytes=0-")], Whole),
        (4 * BLOCK, &[("Range", "bytes=65535-65536")], Whole),
        (4 * BLOCK, &[("Range", "bytes=-1")], Whole),
    ]
}
