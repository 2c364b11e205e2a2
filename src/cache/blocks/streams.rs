//! The clients that read an object in order, request by request, and how many blocks to read ahead
//! for each. Values in, values out.

use std::ops::Range;

/// The largest number of sequential readers of one object.
const READERS: usize = 8;
/// A request continues another one if it begins this close to its end: a block divided by this, and
/// not more than a quarter of the bytes that its reader has read.
const NEARNESS: u64 = 16;
const NEARNESS_OF_READ: u64 = 4;
/// Bytes that are always close.
const ALWAYS_NEAR: u64 = 4096;
/// A client has proved to read in order after this many requests that continue others, or a block.
const PROVEN: u32 = 2;

/// The sequential readers of one object, the latest at the end.
#[derive(Debug, Default)]
pub struct Streams {
    readers: Vec<SequentialReader>,
}

#[derive(Debug, Default)]
struct SequentialReader {
    /// Where its last range ended.
    at: u64,
    /// Bytes it has read in order up to there.
    read: u64,
    /// Its requests that continued another one.
    steps: u32,
}

impl Streams {
    /// Notes a request for `range` of an object with blocks of `size` bytes. Returns how many bytes to
    /// read ahead: as many as its reader has read in order before, at most `most`. A header read in two
    /// steps triggers no read-ahead.
    pub fn note(&mut self, range: &Range<u64>, size: u64, most: u64) -> u64 {
        let goes_on = |reader: &SequentialReader| {
            let near = (size / NEARNESS).min((reader.read / NEARNESS_OF_READ).max(ALWAYS_NEAR));
            reader.at.abs_diff(range.start) <= near && range.end > reader.at
        };
        let place = self.readers.iter().position(goes_on);
        let mut reader = match place {
            Some(place) => {
                let reader = self.readers.remove(place);
                SequentialReader { steps: reader.steps.saturating_add(1), ..reader }
            }
            None => SequentialReader::default(),
        };
        let is_proven = reader.steps >= PROVEN || reader.read >= size;
        let ahead = if is_proven { reader.read.min(most) } else { 0 };
        reader.read = reader.read.saturating_add(range.end.saturating_sub(range.start));
        reader.at = range.end;
        if self.readers.len() == READERS {
            self.readers.remove(0);
        }
        self.readers.push(reader);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const SIZE: u64 = 1024 * KIB;

    #[test]
    fn a_reader_is_served_as_far_ahead_as_it_has_come() {
        let mut streams = Streams::default();
        let step = SIZE / 2;
        for (nth, ahead) in [0, 0, 1, 1, 2, 2, 3, 3, 3, 3].into_iter().enumerate() {
            let at = 5 * SIZE + nth as u64 * step;
            let noted = streams.note(&(at..at + step), SIZE, 3 * SIZE);
            assert_eq!(noted / SIZE, ahead, "step {nth}");
        }
        let at = 10 * SIZE;
        assert_eq!(streams.note(&(at..at + 1), SIZE, 0), 0, "read-ahead is off");
    }

    #[test]
    fn a_header_read_in_steps_is_not_read_ahead() {
        let mut streams = Streams::default();
        for range in [0..127, 127..10_516, 10_553..17_364, 0..127, 127..10_516] {
            assert_eq!(streams.note(&range, SIZE, 8 * SIZE) / SIZE, 0, "{range:?}");
        }
    }

    #[test]
    fn jumping_about_is_no_reading_ahead() {
        let mut streams = Streams::default();
        for place in [3, 1, 9, 20, 7, 40, 8] {
            assert_eq!(streams.note(&(place * SIZE..place * SIZE + 10), SIZE, 8), 0);
        }
        let again = 8 * SIZE..8 * SIZE + 10;
        assert_eq!(streams.note(&again, SIZE, 8), 0, "the same range again gets nowhere");
    }

    #[test]
    fn a_small_gap_or_overlap_is_still_the_same_reader() {
        for (start, ahead) in [
            (SIZE, 1),
            (SIZE + 64 * KIB, 1),
            (SIZE - 64 * KIB, 1),
            (SIZE + 65 * KIB, 0),
            (SIZE - 65 * KIB, 0),
        ] {
            let mut streams = Streams::default();
            streams.note(&(0..SIZE), SIZE, 8 * SIZE);
            let noted = streams.note(&(start..start + SIZE), SIZE, 8 * SIZE);
            assert_eq!(noted / SIZE, ahead, "{start}");
        }
    }

    #[test]
    fn several_readers_do_not_disturb_each_other_and_the_oldest_is_forgotten() {
        let mut streams = Streams::default();
        let begin = |reader: u64| reader * 100 * SIZE;
        for reader in 0..9 {
            streams.note(&(begin(reader)..begin(reader) + SIZE), SIZE, 8);
        }
        let next = |reader| begin(reader) + SIZE..begin(reader) + 2 * SIZE;
        assert_eq!(streams.note(&next(0), SIZE, 8), 0, "forgotten");
        assert_eq!(streams.note(&next(8), SIZE, 8 * SIZE), SIZE);
        assert_eq!(streams.note(&next(4), SIZE, 8 * SIZE), SIZE);
    }
}
