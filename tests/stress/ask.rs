//! The clients' requests: one request of many kinds, and the expected answer for each version.

use std::ops::Range;

use crate::history::Version;

/// One request for an object.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    ranges: Vec<Asked>,
    condition: Condition,
    /// The client disconnects after this number of bytes of the body.
    pub(crate) abort_after: Option<usize>,
}

/// One range.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

/// The conditions of a request.
#[derive(Debug)]
pub(crate) enum Condition {
    None,
    NoneMatch(Vec<String>),
    ModifiedSince(std::time::SystemTime),
    IfRangeTag(String),
    IfRangeDate(std::time::SystemTime),
}

/// The expected answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Whole,
    Part(Range<u64>),
    /// All of these, or the whole: not every store knows more than one range.
    Parts(Vec<Range<u64>>),
    NotModified,
    Unsatisfiable,
}

impl Asked {
    fn text(self) -> String {
        match self {
            Self::From(first) => format!("{first}-"),
            Self::Between(first, last) => format!("{first}-{last}"),
            Self::Last(length) => format!("-{length}"),
        }
    }

    /// The bytes of an object of this length; `None` if it has none of them.
    fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::Between(first, last) => first..length.min(last + 1),
            Self::Last(wanted) => length.saturating_sub(wanted)..length,
        };
        (range.start < range.end).then_some(range)
    }

    fn random(length: u64, random: &mut fastrand::Rng) -> Self {
        // Now and then beyond the end.
        let first = random.u64(..length + length / 20 + 1);
        match random.u32(..3) {
            0 => Self::From(first),
            1 => Self::Last(1 + random.u64(..length + 10)),
            _ => Self::Between(first, first + random.u64(..20_000)),
        }
    }
}

impl Ask {
    /// A GET of these ranges, or of all if there are none.
    pub(crate) fn get(ranges: Vec<Asked>, condition: Condition) -> Self {
        let headers = Vec::new();
        let mut ask = Self { method: "GET", headers, ranges, condition, abort_after: None };
        ask.write_headers();
        ask
    }

    /// A HEAD.
    pub(crate) fn head(condition: Condition) -> Self {
        Self { method: "HEAD", ..Self::get(Vec::new(), condition) }
    }

    /// A request by a client that knows the newest version, and one that may be older.
    pub(crate) fn random(newest: &Version, older: &Version, random: &mut fastrand::Rng) -> Self {
        let mut ask = Self {
            method: "GET",
            headers: Vec::new(),
            ranges: Vec::new(),
            condition: Condition::None,
            abort_after: None,
        };
        let length = newest.body.len() as u64;
        match random.u32(..100) {
            0..38 => {}
            38..46 => ask.method = "HEAD",
            46..58 => ask.ranges = vec![Asked::random(length, random)],
            58..66 => {
                let count = random.usize(2..5);
                ask.ranges = (0..count).map(|_| Asked::random(length, random)).collect();
            }
            66..76 => {
                let mut tags = vec![older.etag.clone()];
                if random.bool() {
                    tags.insert(0, "\"another\"".to_owned());
                }
                if random.u32(..4) == 0 {
                    ask.method = "HEAD";
                }
                ask.condition = Condition::NoneMatch(tags);
            }
            76..84 => ask.condition = Condition::ModifiedSince(older.modified),
            84..92 => {
                ask.ranges = vec![Asked::random(length, random)];
                ask.condition = match random.bool() {
                    true => Condition::IfRangeTag(older.etag.clone()),
                    false => Condition::IfRangeDate(older.modified),
                };
            }
            _ => ask.abort_after = Some(random.usize(..newest.body.len() + 1)),
        }
        ask.write_headers();
        ask
    }

    fn write_headers(&mut self) {
        if !self.ranges.is_empty() {
            let ranges: Vec<_> = self.ranges.iter().map(|range| range.text()).collect();
            self.headers.push(("Range", format!("bytes={}", ranges.join(","))));
        }
        let condition = match &self.condition {
            Condition::None => return,
            Condition::NoneMatch(tags) => ("If-None-Match", tags.join(", ")),
            Condition::ModifiedSince(date) => ("If-Modified-Since", httpdate::fmt_http_date(*date)),
            Condition::IfRangeTag(tag) => ("If-Range", tag.clone()),
            Condition::IfRangeDate(date) => ("If-Range", httpdate::fmt_http_date(*date)),
        };
        self.headers.push(condition);
    }

    /// Whether a store may ignore its ranges.
    pub(crate) fn has_many_ranges(&self) -> bool {
        self.ranges.len() > 1
    }

    /// The expected answer if it is about this version, with its entity tag or without.
    pub(crate) fn expected(&self, version: &Version, tagged: bool) -> Expected {
        let is_tag = |tag: &String| tagged && *tag == version.etag;
        match &self.condition {
            Condition::NoneMatch(tags) if tags.iter().any(is_tag) => return Expected::NotModified,
            Condition::ModifiedSince(date) if version.modified <= *date => {
                return Expected::NotModified;
            }
            Condition::IfRangeTag(tag) if !is_tag(tag) => return Expected::Whole,
            Condition::IfRangeDate(date) if *date != version.modified => return Expected::Whole,
            _ => {}
        }
        let length = version.body.len() as u64;
        let satisfied: Vec<_> = self.ranges.iter().filter_map(|range| range.of(length)).collect();
        match (&self.ranges[..], &satisfied[..]) {
            ([], _) => Expected::Whole,
            // The last bytes of nothing are all of it (RFC 9110, section 14.1.2).
            (asked, [])
                if asked.iter().any(|one| matches!(one, Asked::Last(1..))) && length == 0 =>
            {
                Expected::Whole
            }
            (_, []) => Expected::Unsatisfiable,
            ([_], [part]) => Expected::Part(part.clone()),
            _ => Expected::Parts(satisfied),
        }
    }
}
