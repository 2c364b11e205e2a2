//! The part of an object that a `Range` selects (RFC 9110 14), as the load run's store evaluates
//! it: an independent implementation, so that it does not repeat a mistake of the gateway.

/// The part to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: there is no `Range`, or none that the store understands, such as several at once.
    Whole,
    /// This number of bytes, at least one, from `first` on.
    Bytes { first: u64, length: u64 },
    /// No byte of the object is selected: 416.
    Beyond,
}

/// The part that this `Range` selects of an object of this length in bytes.
pub(crate) fn asked(range: Option<&str>, length: u64) -> Part {
    range.and_then(|range| one(range, length)).unwrap_or(Part::Whole)
}

fn one(range: &str, length: u64) -> Option<Part> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let wanted = last.parse::<u64>().ok()?.min(length);
        return Some(part(length - wanted, wanted));
    }
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)? };
    if end <= first && !last.is_empty() {
        return None;
    }
    Some(part(first, end.min(length).saturating_sub(first)))
}

fn part(first: u64, length: u64) -> Part {
    if length == 0 { Part::Beyond } else { Part::Bytes { first, length } }
}

#[cfg(test)]
mod tests {
    use super::{Part, asked};

    #[test]
    fn a_range_asks_for_its_bytes() {
        for (range, first, length) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=10-19", 10, 10),
            ("bytes=90-1000", 90, 10),
            ("bytes=99-", 99, 1),
            ("bytes=0-", 0, 100),
            ("bytes=-1", 99, 1),
            ("bytes=-1000", 0, 100),
        ] {
            assert_eq!(asked(Some(range), 100), Part::Bytes { first, length }, "{range}");
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_not_satisfiable() {
        for (range, length) in [
            ("bytes=100-", 100),
            ("bytes=100-200", 100),
            ("bytes=-0", 100),
            ("bytes=0-", 0),
            ("bytes=-5", 0),
        ] {
            assert_eq!(asked(Some(range), length), Part::Beyond, "{range} of {length}");
        }
    }

    #[test]
    fn an_invalid_range_asks_for_everything() {
        for range in
            ["", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=a-"]
        {
            assert_eq!(asked(Some(range), 100), Part::Whole, "{range}");
        }
        assert_eq!(asked(None, 100), Part::Whole);
    }
}
