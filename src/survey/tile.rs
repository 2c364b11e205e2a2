//! A cell of HEALPix in the nested scheme, and the tile of a survey that shows it.

use crate::survey::TileFormat;

/// The deepest order of HEALPix whose cell numbers fit in 64 bits with room for MOC's numbering.
pub const MAX_ORDER: u8 = 29;

/// Tiles in a folder `Dir` (HiPS 1.0, section 4.1).
pub(super) const TILES_IN_FOLDER: u64 = 10_000;

/// A cell that exists: its order is 0 to [`MAX_ORDER`], its index below `12 × 4^order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    order: u8,
    index: u64,
}

impl Tile {
    /// The cell of this order and index, if there is one.
    #[must_use]
    pub fn new(order: u8, index: u64) -> Option<Self> {
        (order <= MAX_ORDER && index < Self::count(order)).then_some(Self { order, index })
    }

    #[must_use]
    pub fn order(self) -> u8 {
        self.order
    }

    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many cells an order has; orders above [`MAX_ORDER`] count as it.
    #[must_use]
    pub fn count(order: u8) -> u64 {
        12 << (2 * order.min(MAX_ORDER))
    }

    /// Its four cells of the next order; none below [`MAX_ORDER`].
    pub fn children(self) -> impl Iterator<Item = Self> {
        (0..4).filter_map(move |n| Self::new(self.order + 1, 4 * self.index + n))
    }

    /// Its path below the root of a survey, such as `Norder5/Dir10000/Npix12287.png`.
    #[must_use]
    pub fn path(self, format: TileFormat) -> String {
        let Self { order, index } = self;
        let folder = index / TILES_IN_FOLDER * TILES_IN_FOLDER;
        format!("Norder{order}/Dir{folder}/Npix{index}.{}", format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_that_exist_are_tiles() {
        for (order, index, exists) in [
            (0, 11, true),
            (0, 12, false),
            (3, 767, true),
            (3, 768, false),
            (29, (12 << 58) - 1, true),
            (29, 12 << 58, false),
            (30, 0, false),
            (255, 0, false),
        ] {
            assert_eq!(Tile::new(order, index).is_some(), exists, "{order} {index}");
        }
    }

    #[test]
    fn children_end_at_the_deepest_order() {
        let children: Vec<_> = Tile::new(2, 5).unwrap().children().map(Tile::index).collect();
        assert_eq!(children, [20, 21, 22, 23]);
        assert_eq!(Tile::new(29, 5).unwrap().children().count(), 0);
    }
}
