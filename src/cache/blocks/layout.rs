//! The positions of an object's blocks, and the blocks that a range touches: arithmetic alone.

use std::ops::Range;

use crate::protocol::range::ByteRange;

/// The length of an object and the size of its blocks; the last block may be shorter. Some blocks may be
/// replaced by their pages: then a page takes the place of a block, and has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a block; not zero.
    pub size: u64,
    /// Bytes of the object.
    pub length: u64,
    paged: Paged,
}

/// Adjacent blocks that are replaced by their pages; by default none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Paged {
    /// The borders of these blocks, bytes.
    start: u64,
    end: u64,
}

impl Layout {
    /// Blocks of `size` bytes.
    #[must_use]
    pub fn new(size: u64, length: u64) -> Self {
        Self { size: size.max(1), length, paged: Paged::default() }
    }

    /// The same with pages in place of these blocks, if blocks of this size have parts.
    #[must_use]
    pub(super) fn with_pages(self, blocks: Range<u64>) -> Self {
        if self.size < SMALLEST_WITH_PARTS || blocks.is_empty() {
            return self;
        }
        let border = |index: u64| index.saturating_mul(self.size);
        Self { paged: Paged { start: border(blocks.start), end: border(blocks.end) }, ..self }
    }

    /// The block in which the byte at `position` lies.
    #[must_use]
    pub fn index(&self, position: u64) -> u64 {
        let Paged { start, end } = self.paged;
        let before = position.min(start) / self.size;
        let paged = position.clamp(start, end) - start;
        before + paged / PAGE + position.max(end).saturating_sub(end) / self.size
    }

    /// The bytes of a block; empty if there is no such block.
    #[must_use]
    pub fn bytes(&self, index: u64) -> Range<u64> {
        let (start, size) = self.place(index);
        let start = start.min(self.length);
        start..start.saturating_add(size).min(self.length)
    }

    /// The bytes of a block, or of the page in its place, unless it is the last one.
    #[must_use]
    pub(super) fn size_of(&self, index: u64) -> u64 {
        self.place(index).1
    }

    /// The first byte of a block, and its size.
    fn place(&self, index: u64) -> (u64, u64) {
        let Paged { start, end } = self.paged;
        let (before, pages) = (start / self.size, (end - start).div_ceil(PAGE));
        if index < before {
            (index * self.size, self.size)
        } else if index - before < pages {
            (start + (index - before) * PAGE, PAGE)
        } else {
            (end.saturating_add((index - before - pages).saturating_mul(self.size)), self.size)
        }
    }

    /// The blocks that hold these bytes.
    #[must_use]
    pub fn touched(&self, bytes: &Range<u64>) -> Range<u64> {
        let end = bytes.end.min(self.length);
        if bytes.start >= end {
            return 0..0;
        }
        self.index(bytes.start)..self.index(end - 1) + 1
    }

    /// The number of blocks.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.touched(&(0..self.length)).end
    }
}

/// Bytes of the smallest part of a block that is cached by itself.
const UNIT: u64 = 4 << 10;
/// Bytes of a larger part of a block, for reads of some hundred KiB, and for the beginning of a response
/// whose client may leave at any byte.
pub(super) const PAGE: u64 = 64 << 10;
/// A range up to this many bytes is fetched in units, a longer one up to the other number in pages: so
/// what is fetched is hardly more than what is wanted.
const IN_UNITS: u64 = 256 << 10;
const IN_PAGES: u64 = 4 << 20;
/// Smaller blocks, bytes, have no parts.
const SMALLEST_WITH_PARTS: u64 = 256 << 10;

/// The size of the blocks in which a range of `wanted` bytes is fetched and cached: parts of blocks of
/// `size` bytes if it is small.
#[must_use]
pub(in crate::cache) fn grain(size: u64, wanted: u64) -> u64 {
    match wanted {
        _ if size < SMALLEST_WITH_PARTS => size,
        _ if wanted <= IN_UNITS => UNIT,
        _ if wanted <= IN_PAGES => PAGE,
        _ => size,
    }
}

/// The sizes of the blocks that may hold a block of `grain` bytes, the block itself left out.
pub(in crate::cache) fn coarser(size: u64, grain: u64) -> impl Iterator<Item = u64> {
    [PAGE, size].into_iter().filter(move |other| grain < *other && *other <= size)
}

/// The blocks of `size` bytes that a response from `start` on begins with, if its client has named no
/// end: half a block at least, and no more than one and a half. They are fetched and cached in pages,
/// because many such clients leave soon. They depend on the start alone, so that a repeated request
/// finds the pages of the first one.
#[must_use]
pub(super) fn beginning(start: u64, size: u64) -> Range<u64> {
    let size = size.max(1);
    start / size..start.saturating_add(size / 2).div_ceil(size)
}

/// The first range to request from the store, for a client that requests this range of an object that
/// is not cached: widened to the borders of blocks of `size` bytes, or of the parts of blocks in which
/// it is cached. It stays open if the client names no end. A suffix is requested as it is: its start is
/// not known.
#[must_use]
pub(in crate::cache) fn widened(range: ByteRange, size: u64) -> ByteRange {
    let ByteRange::FromTo { first, last } = range else { return range };
    let size = match last {
        Some(last) => grain(size, last.saturating_sub(first).saturating_add(1)),
        None if size < SMALLEST_WITH_PARTS => size,
        None => PAGE,
    };
    let size = size.max(1);
    let end = |last: u64| (last / size).saturating_add(1).saturating_mul(size);
    ByteRange::FromTo { first: first / size * size, last: last.map(|last| end(last) - 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn blocks_cover_an_object_without_gap_or_overlap() {
        for length in [0, 1, 9, 10, 11, 20, 95] {
            let layout = Layout::new(10, length);
            let mut position = 0;
            for index in 0..layout.count() {
                let bytes = layout.bytes(index);
                assert_eq!(bytes.start, position, "block {index} of {length}");
                assert!(bytes.end > position && bytes.end - position <= 10);
                position = bytes.end;
            }
            assert_eq!(position, length);
            assert!(layout.bytes(layout.count()).is_empty());
        }
    }

    #[test]
    fn a_range_touches_the_blocks_its_bytes_lie_in() {
        let layout = Layout::new(10, 35);
        for (bytes, blocks) in [
            (0..1, 0..1),
            (0..10, 0..1),
            (9..11, 0..2),
            (10..11, 1..2),
            (0..35, 0..4),
            (34..99, 3..4),
            (35..99, 0..0),
            (5..5, 0..0),
        ] {
            assert_eq!(layout.touched(&bytes), blocks, "{bytes:?}");
        }
    }

    #[test]
    fn a_first_range_is_widened_to_whole_blocks() {
        let from_to = |first, last| ByteRange::FromTo { first, last };
        for (asked, widened_to) in [
            (from_to(0, Some(0)), from_to(0, Some(9))),
            (from_to(9, Some(10)), from_to(0, Some(19))),
            (from_to(25, Some(95)), from_to(20, Some(99))),
            (from_to(10, None), from_to(10, None)),
            (from_to(25, None), from_to(20, None)),
            (ByteRange::Suffix(7), ByteRange::Suffix(7)),
        ] {
            assert_eq!(widened(asked, 10), widened_to, "{asked:?}");
        }
        let end = from_to(u64::MAX, Some(u64::MAX));
        assert!(matches!(widened(end, 10), ByteRange::FromTo { .. }), "no overflow");
    }

    #[test]
    fn a_response_without_an_end_begins_with_the_pages_of_one_or_two_blocks() {
        for (start, blocks) in [
            (0, 0..1),
            (1, 0..1),
            (MIB / 2, 0..1),
            (MIB / 2 + 1, 0..2),
            (MIB - 1, 0..2),
            (MIB, 1..2),
            (5 * MIB + MIB / 4, 5..6),
        ] {
            assert_eq!(beginning(start, MIB), blocks, "{start}");
        }
        assert_eq!(
            widened(ByteRange::FromTo { first: 3 * MIB + 70_000, last: None }, MIB),
            ByteRange::FromTo { first: 3 * MIB + PAGE, last: None }
        );
    }

    #[test]
    fn pages_take_the_place_of_blocks() {
        let layout = Layout::new(MIB, 9 * MIB + 7).with_pages(2..4);
        assert_eq!(layout.count(), 2 + 32 + 6);
        for (index, bytes) in [
            (1, MIB..2 * MIB),
            (2, 2 * MIB..2 * MIB + PAGE),
            (33, 4 * MIB - PAGE..4 * MIB),
            (34, 4 * MIB..5 * MIB),
            (39, 9 * MIB..9 * MIB + 7),
            (40, 9 * MIB + 7..9 * MIB + 7),
        ] {
            assert_eq!(layout.bytes(index), bytes, "{index}");
        }
        assert_eq!((layout.size_of(33), layout.size_of(34)), (PAGE, MIB));
        let small = Layout::new(PAGE, 9 * PAGE);
        assert_eq!(small.with_pages(0..2), small, "small blocks have no pages");
    }

    proptest! {
        #[test]
        fn every_byte_lies_in_the_block_of_its_number(
            length in 1..40 * MIB,
            size in prop_oneof![Just(MIB), Just(256 << 10), Just(16 * MIB)],
            start in 0..40 * MIB,
            position in 0..40 * MIB,
        ) {
            let layout = Layout::new(size, length).with_pages(beginning(start, size));
            let position = position.min(length - 1);
            let index = layout.index(position);
            let bytes = layout.bytes(index);
            prop_assert!(bytes.contains(&position), "{position}: {index}, {bytes:?}");
            prop_assert!(bytes.end - bytes.start <= layout.size_of(index));
            prop_assert_eq!(layout.index(bytes.end - 1), index);
            if bytes.end < length {
                prop_assert_eq!(layout.bytes(index + 1).start, bytes.end);
                prop_assert_eq!(layout.index(bytes.end), index + 1);
            }
        }

        #[test]
        fn what_is_asked_for_begins_with_a_block_and_holds_what_is_wanted(
            first in any::<u64>(),
            more in proptest::option::of(any::<u64>()),
            size in 1_u64..100_000,
        ) {
            let last = more.map(|more| first.saturating_add(more));
            let asked = ByteRange::FromTo { first, last };
            let ByteRange::FromTo { first: start, last: end } = widened(asked, size) else {
                return Err(TestCaseError::fail("a suffix"));
            };
            prop_assert!(start <= first && first - start < size);
            prop_assert!(start % size == 0);
            prop_assert_eq!(end.is_some(), last.is_some());
            if let (Some(end), Some(last)) = (end, last) {
                prop_assert!(end >= last || end == u64::MAX - 1);
            }
        }
    }
}
