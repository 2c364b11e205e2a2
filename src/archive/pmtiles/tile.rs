//! The name of a tile in a URL, `z/x/y` with or without an extension, and its number.

/// The largest zoom whose numbers fit into 64 bits.
const MAX_ZOOM: u32 = 31;

/// A tile, and the extension in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileName<'n> {
    pub zoom: u32,
    pub x: u32,
    pub y: u32,
    pub extension: Option<&'n str>,
}

impl<'n> TileName<'n> {
    /// Reads `z/x/y` and `z/x/y.png`: decimal numbers without leading zeros. `None` if it is no tile.
    #[must_use]
    pub fn parse(name: &'n str) -> Option<Self> {
        let (zoom, rest) = name.split_once('/')?;
        let (x, rest) = rest.split_once('/')?;
        let (y, extension) = match rest.split_once('.') {
            Some((y, extension)) => (y, Some(extension)),
            None => (rest, None),
        };
        let (zoom, x, y) = (number(zoom)?, number(x)?, number(y)?);
        let is_tile = zoom <= MAX_ZOOM && x < 1 << zoom && y < 1 << zoom;
        is_tile.then_some(Self { zoom, x, y, extension })
    }

    /// The name of the tile itself: an extension is no part of it.
    #[must_use]
    pub fn without_extension(&self) -> String {
        format!("{}/{}/{}", self.zoom, self.x, self.y)
    }

    /// The number of the tile: along a Hilbert curve through its zoom, after all tiles of the zooms before (spec,
    /// section 4.1).
    #[must_use]
    pub fn number(&self) -> u64 {
        let before = ((1_u64 << (2 * self.zoom)) - 1) / 3;
        let (mut x, mut y) = (u64::from(self.x), u64::from(self.y));
        let mut along = 0;
        for level in (0..self.zoom).rev() {
            let half = 1_u64 << level;
            let (right, upper) = (x & half != 0, y & half != 0);
            let quarter = match (right, upper) {
                (false, false) => 0,
                (false, true) => 1,
                (true, true) => 2,
                (true, false) => 3,
            };
            along += half * half * quarter;
            x &= half - 1;
            y &= half - 1;
            if !upper {
                if right {
                    (x, y) = (half - 1 - x, half - 1 - y);
                }
                (x, y) = (y, x);
            }
        }
        before + along
    }
}

fn number(text: &str) -> Option<u32> {
    let is_plain = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain && digits { text.parse().ok() } else { None }
}
