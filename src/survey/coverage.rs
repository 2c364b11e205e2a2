//! A coverage map (MOC): the part of the sky that a survey has tiles for.

mod fits;

use std::ops::Range;

use crate::survey::{MAX_ORDER, Tile};

pub use self::fits::{InvalidMap, MAX_MAP_BYTES};

/// How far a fraction of the sky in the properties may differ from the map, as a part of the larger: it is
/// written with three to ten digits.
const FRACTION_ERROR: f64 = 0.01;

/// Part of the sky, in ICRS; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Cells of [`MAX_ORDER`]: ascending, not empty, with gaps between them.
    ranges: Vec<Range<u64>>,
    order: u8,
}

impl Coverage {
    /// Reads a map of the sky in FITS, in either of its two encodings: RANGE and NUNIQ.
    ///
    /// # Errors
    /// The first fault. A file that is damaged within its numbers may be read with another coverage, as
    /// long as they are ascending cells of its order: samples have to show that it is the right one.
    pub fn read(file: &[u8]) -> Result<Self, InvalidMap> {
        fits::read(file)
    }

    /// The union of cells whose order is at most `order`. `None` if one is deeper, or two overlap.
    #[must_use]
    pub fn of_tiles(tiles: impl IntoIterator<Item = Tile>, order: u8) -> Option<Self> {
        let mut ranges = Vec::new();
        for tile in tiles {
            if tile.order() > order {
                return None;
            }
            ranges.push(cells(tile));
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let overlaps = ranges.windows(2).any(|pair| matches!(pair, [a, b] if b.start < a.end));
        (!overlaps).then(|| Self { ranges: joined(ranges), order: order.min(MAX_ORDER) })
    }

    /// The whole sky, of order 0.
    #[must_use]
    pub fn whole_sky() -> Self {
        let all = 0..Tile::count(MAX_ORDER);
        Self { ranges: vec![all], order: 0 }
    }

    /// The order of the map: it says nothing about parts of cells of this order.
    #[must_use]
    pub fn order(&self) -> u8 {
        self.order
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether any part of the tile is covered.
    #[must_use]
    pub fn touches(&self, tile: Tile) -> bool {
        let cells = cells(tile);
        // The first range that ends behind the start of the tile.
        let next = self.ranges.partition_point(|range| range.end <= cells.start);
        self.ranges.get(next).is_some_and(|range| range.start < cells.end)
    }

    /// The tiles of an order that are covered at least in part: ascending ranges with gaps between them.
    pub fn tiles(&self, order: u8) -> impl Iterator<Item = Range<u64>> + Clone {
        let shift = 2 * (MAX_ORDER - order.min(MAX_ORDER));
        let mut ranges = self
            .ranges
            .iter()
            .map(move |range| range.start >> shift..((range.end - 1) >> shift) + 1)
            .peekable();
        std::iter::from_fn(move || {
            let mut range = ranges.next()?;
            while let Some(next) = ranges.next_if(|next| next.start <= range.end) {
                range.end = range.end.max(next.end);
            }
            Some(range)
        })
    }

    /// The tiles of an order of which nothing is covered: as [`Coverage::tiles`].
    pub fn gaps(&self, order: u8) -> impl Iterator<Item = Range<u64>> + Clone {
        let end = Tile::count(order);
        let mut start = 0;
        let covered = self.tiles(order).chain(std::iter::once(end..end));
        covered
            .map(move |range| {
                let gap = start..range.start;
                start = range.end;
                gap
            })
            .filter(|gap| !gap.is_empty())
    }

    /// How many tiles of an order are covered at least in part.
    #[must_use]
    pub fn count(&self, order: u8) -> u64 {
        self.tiles(order).map(|range| range.end - range.start).sum()
    }

    /// The covered part of the sky, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a fraction, shown with some digits")]
    pub fn fraction(&self) -> f64 {
        let covered: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        covered as f64 / Tile::count(MAX_ORDER) as f64
    }

    /// Whether `said`, as properties give it, is the covered part of the sky, but for its digits. What is no
    /// number, or infinite, is none.
    #[must_use]
    pub fn has_fraction(&self, said: f64) -> bool {
        let covered = self.fraction();
        let difference = (said - covered).abs();
        said.is_finite() && (difference <= FRACTION_ERROR * said.max(covered) || difference < 1e-6)
    }

    /// The memory it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ranges.len() * size_of::<Range<u64>>()
    }
}

/// The cells of [`MAX_ORDER`] in a tile.
fn cells(tile: Tile) -> Range<u64> {
    let shift = 2 * (MAX_ORDER - tile.order());
    tile.index() << shift..(tile.index() + 1) << shift
}

/// Ascending ranges that do not overlap, with those joined that touch.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined.shrink_to_fit();
    joined
}

#[cfg(test)]
mod tests;
