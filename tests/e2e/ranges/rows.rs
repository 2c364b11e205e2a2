//! The table: requests for objects of given lengths, and the expected answers.
//!
//! Positions are those of the first and the last byte, as in the header fields.

use crate::ranges::conditions::{conditions, heads};

/// The size of a block in the states that have blocks, bytes.
pub(crate) const BLOCK: u64 = 64 * 1024;

/// One request, and its answer.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) method: &'static str,
    /// Bytes of the object.
    pub(crate) length: u64,
    /// `ETAG` in a value stands for the tag of the object.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 200.
    Whole,
    /// 206 to one range.
    Part(u64, u64),
    /// To several ranges: the ranges that remain when they are cut to the object, sorted and
    /// joined. None is 416, one is 206, more are a `multipart/byteranges`. A server may ignore them
    /// (section 14.2), as the gateway does with an object that is not cached.
    Several(Vec<(u64, u64)>),
    /// 416.
    Unsatisfiable,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

use Expected::{Part, Several, Unsatisfiable, Whole};

/// The rows for all gateways, and those for a gateway that decides without the store.
pub(crate) fn rows(decides: bool) -> Vec<Row> {
    let mut ranges = [examples(), of_go(), malformed(), edges(), at_blocks(), numerous()].concat();
    if decides {
        ranges.extend(beyond_stores());
    }
    let get = |(length, range, expected): Asked| row("GET", length, &[("Range", &range)], expected);
    let mut rows: Vec<Row> = ranges.into_iter().map(get).collect();
    for (length, headers, expected) in conditions() {
        rows.push(row("GET", length, headers, expected));
    }
    for (length, headers, expected) in heads() {
        rows.push(row("HEAD", length, headers, expected));
    }
    rows
}

fn row(
    method: &'static str,
    length: u64,
    headers: &[(&'static str, &str)],
    expected: Expected,
) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Row { method, length, headers, expected }
}

/// The length of the object, `Range` and the expected answer.
type Asked = (u64, String, Expected);

fn asked<const N: usize>(rows: [(u64, &str, Expected); N]) -> Vec<Asked> {
    rows.map(|(length, range, expected)| (length, range.to_owned(), expected)).to_vec()
}

/// RFC 9110: the examples of sections 14.1.2, 14.4, 15.3.7 and 15.5.17.
fn examples() -> Vec<Asked> {
    asked([
        (10_000, "bytes=0-499", Part(0, 499)),
        (10_000, "bytes=500-999", Part(500, 999)),
        (10_000, "bytes=-500", Part(9500, 9999)),
        (10_000, "bytes=9500-", Part(9500, 9999)),
        (10_000, "bytes=0-0,-1", Several(vec![(0, 0), (9999, 9999)])),
        (
            10_000,
            "bytes= 0-999, 4500-5499, -1000",
            Several(vec![(0, 999), (4500, 5499), (9000, 9999)]),
        ),
        (10_000, "bytes=500-600,601-999", Several(vec![(500, 999)])),
        (10_000, "bytes=500-700,601-999", Several(vec![(500, 999)])),
        (1234, "bytes=42-1233", Part(42, 1233)),
        (1234, "bytes=0-499", Part(0, 499)),
        (1234, "bytes=500-999", Part(500, 999)),
        (1234, "bytes=500-", Part(500, 1233)),
        (1234, "bytes=-500", Part(734, 1233)),
        (1234, "bytes=1234-", Unsatisfiable),
        (47_022, "bytes=21010-47021", Part(21_010, 47_021)),
        (47_022, "bytes=47022-", Unsatisfiable),
        (8000, "bytes=500-999,7000-7999", Several(vec![(500, 999), (7000, 7999)])),
        (25, "exampleunit=1.2-4.3", Whole),
        (25, "none", Whole),
    ])
}

/// The test cases of Go's net/http, for files of 8 to 11 bytes. Ranges that Go refuses as malformed
/// are in [`malformed`]. Go sends the parts in the order requested, and the whole object if they
/// are larger.
fn of_go() -> Vec<Asked> {
    asked([
        (11, "bytes=0-4", Part(0, 4)),
        (11, "bytes=2-", Part(2, 10)),
        (11, "bytes=-5", Part(6, 10)),
        (11, "bytes=3-7", Part(3, 7)),
        (11, "bytes=0-0,-2", Several(vec![(0, 0), (9, 10)])),
        (11, "bytes=0-1,5-8", Several(vec![(0, 1), (5, 8)])),
        (11, "bytes=0-1,5-", Several(vec![(0, 1), (5, 10)])),
        (11, "bytes=5-1000", Part(5, 10)),
        (11, "bytes=0-,1-,2-,3-,4-", Several(vec![(0, 10)])),
        (11, "bytes=0-9", Part(0, 9)),
        (11, "bytes=0-10", Part(0, 10)),
        (11, "bytes=0-11", Part(0, 10)),
        (11, "bytes=10-11", Part(10, 10)),
        (11, "bytes=10-", Part(10, 10)),
        (11, "bytes=11-", Unsatisfiable),
        (11, "bytes=11-12", Unsatisfiable),
        (11, "bytes=12-12", Unsatisfiable),
        (11, "bytes=11-100", Unsatisfiable),
        (11, "bytes=12-100", Unsatisfiable),
        (11, "bytes=100-", Unsatisfiable),
        (11, "bytes=100-1000", Unsatisfiable),
        (8, "bytes=10-20", Unsatisfiable),
        (10, "bytes=0-9", Part(0, 9)),
        (10, "Bytes=0-9", Part(0, 9)),
        (10, "BYTES=0-9", Part(0, 9)),
        (10, "bYtEs=0-9", Part(0, 9)),
        (10, "bytes=0-", Part(0, 9)),
        (10, "bytes=5-", Part(5, 9)),
        (10, "bytes=0-20", Part(0, 9)),
        (10, "bytes=15-,0-5", Several(vec![(0, 5)])),
        (10, "bytes=1-2,5-", Several(vec![(1, 2), (5, 9)])),
        (11, "bytes=-2 , 7-", Several(vec![(7, 10)])),
        (11, "bytes=0-0 ,2-2, 7-", Several(vec![(0, 0), (2, 2), (7, 10)])),
        (10, "bytes=-5", Part(5, 9)),
        (10, "bytes=-15", Part(0, 9)),
        (0, "bytes=1-", Unsatisfiable),
        (11, "bytes=   1 -2   ,  4- 5, 7 - 8 , ,,", Several(vec![(1, 2), (4, 5), (7, 8)])),
    ])
}

/// Invalid ranges are ignored (section 14.2); one invalid range invalidates the whole list.
fn malformed() -> Vec<Asked> {
    [
        "",
        "foo",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=7",
        "bytes= 7 ",
        "bytes=5-4",
        "bytes=0-2,5-4",
        "bytes=2-5,4-3",
        "bytes=--5,4--3",
        "bytes=--5",
        "bytes=A-",
        "bytes=A- ",
        "bytes=A-Z",
        "bytes= -Z",
        "bytes=5-Z",
        "bytes=Ran-dom, garbage",
        "bytes=0x01-0x02",
        "bytes=         ",
        "bytes= , , ,   ",
        "bytes=+1-3",
        "bytes=1-+3",
        "bytes=1.0-3",
        "bytes=0-1-2",
        "bytes=0-1;3-4",
        "bytes=0-1,x",
        "bytes=0-1,lines=3-4",
        "bytes =0-1",
        "bytes:0-1",
        "bytes 0-1/10",
        "lines=0-1",
        "0-1",
    ]
    .map(|range| (10, range.to_owned(), Whole))
    .to_vec()
}

/// Edge cases: ends of objects, largest numbers, ends of lists.
fn edges() -> Vec<Asked> {
    asked([
        (0, "bytes=0-", Unsatisfiable),
        (0, "bytes=0-0", Unsatisfiable),
        (0, "bytes=-0", Unsatisfiable),
        // The whole object is empty, and `Content-Range` cannot express that.
        (0, "bytes=-5", Whole),
        (0, "bytes=", Whole),
        (1, "bytes=0-0", Part(0, 0)),
        (1, "bytes=0-", Part(0, 0)),
        (1, "bytes=-1", Part(0, 0)),
        (1, "bytes=-2", Part(0, 0)),
        (1, "bytes=1-", Unsatisfiable),
        (10, "bytes=-0", Unsatisfiable),
        (10, "bytes=-10", Part(0, 9)),
        (10, "bytes=-11", Part(0, 9)),
        (10, "bytes=9-9", Part(9, 9)),
        (10, "bytes=9-10", Part(9, 9)),
        (10, "bytes=10-10", Unsatisfiable),
        (10, "bytes=00-01", Part(0, 1)),
        (10, "bytes=0-9223372036854775807", Part(0, 9)),
        (10, "bytes=9223372036854775807-", Unsatisfiable),
        (10, "bytes=-9223372036854775807", Part(0, 9)),
        (10, "bytes=2-18446744073709551616", Part(2, 9)),
        (10, "bytes=18446744073709551616-", Unsatisfiable),
        (10, "bytes=-18446744073709551616", Part(0, 9)),
        (10, "bytes=,0-1,", Part(0, 1)),
        (10, "bytes=8-9,0-1", Several(vec![(0, 1), (8, 9)])),
        (10, "bytes=0-1,3-4,2-2", Several(vec![(0, 4)])),
        (10, "bytes=0-8,2-3", Several(vec![(0, 8)])),
        (10, "bytes=0-1,0-1", Several(vec![(0, 1)])),
        (10, "bytes=0-1,3-3,5-99,-1", Several(vec![(0, 1), (3, 3), (5, 9)])),
        (10, "bytes=0-1,99-", Several(vec![(0, 1)])),
        (10, "bytes=0-1,-0", Several(vec![(0, 1)])),
        (10, "bytes=10-,20-30,-0", Several(vec![])),
    ])
}

/// Positions too large for a store's integers: stores ignore the range, or refuse it.
fn beyond_stores() -> Vec<Asked> {
    asked([
        (10, "bytes=0-18446744073709551615", Part(0, 9)),
        (10, "bytes=18446744073709551615-", Unsatisfiable),
        (10, "bytes=18446744073709551615-18446744073709551615", Unsatisfiable),
        (10, "bytes=-18446744073709551615", Part(0, 9)),
        (10, "bytes=9-18446744073709551615,0-0", Several(vec![(0, 0), (9, 9)])),
        (4 * BLOCK, "bytes=65535-18446744073709551615", Part(65_535, 4 * BLOCK - 1)),
        (4 * BLOCK, "bytes=-18446744073709551615", Part(0, 4 * BLOCK - 1)),
    ])
}

/// Objects of several blocks: one that ends at a block boundary, one that is a byte longer.
fn at_blocks() -> Vec<Asked> {
    const B: u64 = BLOCK;
    const EVEN: u64 = 4 * B;
    const ODD: u64 = 3 * B + 1;
    let one = |length, first, last| (length, format!("bytes={first}-{last}"), Part(first, last));
    let open = |length, first| (length, format!("bytes={first}-"), Part(first, length - 1));
    let suffix = |length, n| (length, format!("bytes=-{n}"), Part(length - n, length - 1));
    let several = |length, ranges: &[(u64, u64)], left: &[(u64, u64)]| {
        let list: Vec<_> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
        (length, format!("bytes={}", list.join(",")), Several(left.to_vec()))
    };
    let cut =
        |length, first, last| (length, format!("bytes={first}-{last}"), Part(first, length - 1));
    let none = |length, first| (length, format!("bytes={first}-"), Unsatisfiable);
    vec![
        one(EVEN, 0, 0),
        one(EVEN, B - 1, B - 1),
        one(EVEN, B, B),
        one(EVEN, B - 1, B),
        one(EVEN, 0, B - 1),
        one(EVEN, 0, B),
        one(EVEN, B, 2 * B - 1),
        one(EVEN, B - 1, 2 * B),
        one(EVEN, B, 3 * B - 1),
        one(EVEN, 1, EVEN - 2),
        one(EVEN, 0, EVEN - 1),
        one(EVEN, EVEN - 1, EVEN - 1),
        open(EVEN, 0),
        open(EVEN, 1),
        open(EVEN, B),
        open(EVEN, 3 * B - 1),
        open(EVEN, 3 * B),
        open(EVEN, EVEN - 1),
        none(EVEN, EVEN),
        none(EVEN, EVEN + B),
        suffix(EVEN, 1),
        suffix(EVEN, B - 1),
        suffix(EVEN, B),
        suffix(EVEN, B + 1),
        suffix(EVEN, EVEN),
        (EVEN, format!("bytes=-{}", EVEN + 1), Part(0, EVEN - 1)),
        cut(EVEN, 3 * B, EVEN),
        cut(EVEN, 3 * B - 1, EVEN + 2 * B),
        one(ODD, 3 * B, 3 * B),
        one(ODD, 3 * B - 1, 3 * B),
        one(ODD, 2 * B, 3 * B - 1),
        open(ODD, 0),
        open(ODD, 2 * B + 1),
        open(ODD, 3 * B),
        none(ODD, ODD),
        none(ODD, 4 * B),
        suffix(ODD, 1),
        suffix(ODD, 2),
        suffix(ODD, B),
        suffix(ODD, B + 1),
        suffix(ODD, B + 2),
        suffix(ODD, ODD),
        cut(ODD, 3 * B, 4 * B - 1),
        cut(ODD, 3 * B, 4 * B),
        several(EVEN, &[(1, 2), (5, 6)], &[(1, 2), (5, 6)]),
        several(EVEN, &[(0, 0), (3 * B, 3 * B)], &[(0, 0), (3 * B, 3 * B)]),
        several(EVEN, &[(B - 2, B - 1), (B, B + 1)], &[(B - 2, B + 1)]),
        several(EVEN, &[(B - 2, B - 2), (B, B)], &[(B - 2, B - 2), (B, B)]),
        several(EVEN, &[(2 * B, 3 * B), (0, B - 1)], &[(0, B - 1), (2 * B, 3 * B)]),
        several(EVEN, &[(0, 2 * B), (B, 3 * B - 1)], &[(0, 3 * B - 1)]),
        several(EVEN, &[(0, B - 1), (B, 2 * B - 1), (2 * B, EVEN)], &[(0, EVEN - 1)]),
        several(
            ODD,
            &[(3 * B, 3 * B), (2 * B, 2 * B), (B, B), (0, 0)],
            &[(0, 0), (B, B), (2 * B, 2 * B), (3 * B, 3 * B)],
        ),
        several(ODD, &[(ODD, ODD + 1), (0, B)], &[(0, B)]),
        several(ODD, &[(ODD, ODD), (4 * B, 5 * B)], &[]),
        (EVEN, "bytes=x".to_owned(), Whole),
        (ODD, "bytes=65536-65535".to_owned(), Whole),
    ]
}

/// Up to 64 ranges are accepted, however few bytes they select.
fn numerous() -> Vec<Asked> {
    let list = |count: u64, each: fn(u64) -> (u64, u64)| -> (String, Vec<(u64, u64)>) {
        let ranges: Vec<_> = (0..count).map(each).collect();
        let texts: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        (format!("bytes={}", texts.join(",")), ranges)
    };
    let apart = |n| (n * 100, n * 100 + 9);
    let (most, parts) = list(64, apart);
    let (too_many, _) = list(65, apart);
    let (far_too_many, _) = list(500, apart);
    let (same, _) = list(64, |_| (0, 0));
    let (same_too_often, _) = list(65, |_| (0, 0));
    let (touching, _) = list(64, |n| (n, n));
    vec![
        (10_000, most, Several(parts)),
        (10_000, too_many, Whole),
        (10_000, far_too_many, Whole),
        (10_000, same, Several(vec![(0, 0)])),
        (10_000, same_too_often, Whole),
        (10_000, touching, Several(vec![(0, 63)])),
    ]
}
