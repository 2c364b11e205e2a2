//! The FITS form of a coverage map: a header, and one table of one column (MOC 2.0, section 4.3.1; MOC
//! 1.1, section 2.3).

use std::fmt;
use std::ops::Range;

use crate::survey::coverage::{Coverage, joined};
use crate::survey::{MAX_ORDER, Tile};

/// The largest file that is read, bytes. As many as a map takes in memory, at most.
pub const MAX_MAP_BYTES: usize = 16 << 20;

/// FITS files are whole blocks of this size, bytes (FITS 4.0, section 3.1).
const BLOCK: usize = 2880;
/// A card of a header, bytes.
const CARD: usize = 80;
/// Blocks of one header that are read.
const MAX_HEADER_BLOCKS: usize = 16;
/// Ranges in memory.
const MAX_RANGES: usize = MAX_MAP_BYTES / size_of::<Range<u64>>();

/// Why a file is not a coverage map that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidMap {
    TooLarge,
    /// It does not begin as FITS does, or a header has no end.
    NotFits,
    /// It is shorter or longer than its headers say: bytes it has, bytes it should have.
    Length(usize, usize),
    /// A keyword is missing, or its value is another one than this.
    Keyword(&'static str, &'static str),
    /// A cell or range of cells that does not exist at the order of the map; its number in the table.
    Cell(usize),
    /// A range that is not behind the one before it, or cells that overlap.
    Order,
}

impl fmt::Display for InvalidMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => {
                write!(
                    f,
                    "it is larger than {} MiB, or has more than {MAX_RANGES} cells or ranges",
                    MAX_MAP_BYTES >> 20
                )
            }
            Self::NotFits => f.write_str("it is not a FITS file"),
            Self::Length(is, should) => {
                write!(f, "it has {is} bytes, and its headers say {should}")
            }
            Self::Keyword(keyword, value) => write!(f, "its header should say {keyword} = {value}"),
            Self::Cell(row) => write!(f, "row {row} is not a cell of the order of the map"),
            Self::Order => f.write_str("its cells are not ascending, or overlap"),
        }
    }
}

impl std::error::Error for InvalidMap {}

/// How the cells are written.
enum Encoding {
    /// First cell and first cell behind, in turns.
    Range,
    /// `4 × 4^order + index`.
    Uniq,
}

pub(super) fn read(file: &[u8]) -> Result<Coverage, InvalidMap> {
    if file.len() > MAX_MAP_BYTES {
        return Err(InvalidMap::TooLarge);
    }
    let primary = Header::read(file, 0)?;
    primary.require("SIMPLE", "T")?;
    primary.require("NAXIS", "0")?;
    let table = Header::read(file, primary.end)?;
    table.require("XTENSION", "BINTABLE")?;
    table.require("BITPIX", "8")?;
    table.require("NAXIS", "2")?;
    table.require("PCOUNT", "0")?;
    table.require("GCOUNT", "1")?;
    table.require("TFIELDS", "1")?;
    // MOC 1.1 requires it, MOC 2.0 for maps of the sky: any other frame is not the standard's.
    table.require("COORDSYS", "C")?;
    if table.get("PIXTYPE").is_some() {
        table.require("PIXTYPE", "HEALPIX")?;
    }
    // A map of time, or of sky and time, has the same form.
    if table.get("MOCDIM").is_some() {
        table.require("MOCDIM", "SPACE")?;
    }
    let encoding = match table.get("ORDERING") {
        Some("RANGE") => Encoding::Range,
        Some("NUNIQ") => Encoding::Uniq,
        _ => return Err(InvalidMap::Keyword("ORDERING", "RANGE or NUNIQ")),
    };
    let order = table.get("MOCORD_S").or_else(|| table.get("MOCORDER"));
    let order = order.and_then(|order| order.parse().ok()).filter(|order| *order <= MAX_ORDER);
    let order = order.ok_or(InvalidMap::Keyword("MOCORD_S or MOCORDER", "0 to 29"))?;

    let width = match table.get("TFORM1") {
        Some("1K" | "K") => 8,
        Some("1J" | "J") => 4,
        _ => return Err(InvalidMap::Keyword("TFORM1", "1K or 1J")),
    };
    if table.number("NAXIS1")? != width {
        return Err(InvalidMap::Keyword("NAXIS1", "the size of one number"));
    }
    let rows = table.number("NAXIS2")?;
    let should = rows
        .checked_mul(width)
        .and_then(|data| data.checked_next_multiple_of(BLOCK))
        .and_then(|data| data.checked_add(table.end));
    match should {
        Some(should) if should == file.len() => {}
        should => return Err(InvalidMap::Length(file.len(), should.unwrap_or(usize::MAX))),
    }
    let data = file.get(table.end..).unwrap_or_default();
    let numbers = data
        .chunks_exact(width)
        .take(rows)
        .map(|bytes| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)));
    match encoding {
        Encoding::Range if rows / 2 > MAX_RANGES => Err(InvalidMap::TooLarge),
        Encoding::Range => ranges(numbers, order, width),
        Encoding::Uniq if rows > MAX_RANGES => Err(InvalidMap::TooLarge),
        Encoding::Uniq => uniq(numbers, order),
    }
}

/// Pairs of numbers. Numbers of four bytes are cells of order 13, the deepest that fits.
fn ranges(
    numbers: impl Iterator<Item = u64>,
    order: u8,
    width: usize,
) -> Result<Coverage, InvalidMap> {
    let depth = if width == 4 { 13 } else { MAX_ORDER };
    if order > depth {
        return Err(InvalidMap::Keyword("MOCORD_S", "0 to 13 with TFORM1 = 1J"));
    }
    let (mut numbers, mut ranges, mut behind) = (numbers, Vec::<Range<u64>>::new(), 0);
    // Bits that only cells deeper than the order of the map have.
    let within = (1_u64 << (2 * (depth - order))) - 1;
    while let Some(start) = numbers.next() {
        let Some(end) = numbers.next() else { return Err(InvalidMap::Order) };
        let row = 2 * ranges.len();
        if end > Tile::count(depth) || (start | end) & within != 0 {
            return Err(InvalidMap::Cell(row));
        }
        if start >= end || start < behind {
            return Err(InvalidMap::Order);
        }
        behind = end;
        let shift = 2 * (MAX_ORDER - depth);
        ranges.push(start << shift..end << shift);
    }
    Ok(Coverage { ranges: joined(ranges), order })
}

fn uniq(numbers: impl Iterator<Item = u64>, order: u8) -> Result<Coverage, InvalidMap> {
    let mut tiles = Vec::new();
    for (row, number) in numbers.enumerate() {
        let tile = of_uniq(number).filter(|tile| tile.order() <= order);
        tiles.push(tile.ok_or(InvalidMap::Cell(row))?);
    }
    Coverage::of_tiles(tiles, order).ok_or(InvalidMap::Order)
}

fn of_uniq(number: u64) -> Option<Tile> {
    let bits = number.checked_ilog2()?;
    let order = u8::try_from(bits.checked_sub(2)? / 2).ok()?;
    if order > MAX_ORDER {
        return None;
    }
    Tile::new(order, number - (4 << (2 * order)))
}

/// A header: cards of a keyword and its value.
struct Header<'a> {
    cards: Vec<(&'a str, &'a str)>,
    /// Where its blocks end in the file.
    end: usize,
}

impl<'a> Header<'a> {
    fn read(file: &'a [u8], start: usize) -> Result<Self, InvalidMap> {
        let bytes = file.get(start..).ok_or(InvalidMap::NotFits)?;
        let mut cards = Vec::new();
        for (number, card) in
            (1..).zip(bytes.chunks_exact(CARD).take(MAX_HEADER_BLOCKS * BLOCK / CARD))
        {
            if !card.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(InvalidMap::NotFits);
            }
            let card = std::str::from_utf8(card).map_err(|_| InvalidMap::NotFits)?;
            if card.trim_end() == "END" {
                let end = start + (number * CARD).next_multiple_of(BLOCK);
                return if end <= file.len() {
                    Ok(Self { cards, end })
                } else {
                    Err(InvalidMap::NotFits)
                };
            }
            if let Some((keyword, value)) = card.split_once("= ") {
                cards.push((keyword.trim_end(), plain(value)));
            }
        }
        Err(InvalidMap::NotFits)
    }

    /// The value of a keyword, without quotes. A keyword with two values has none.
    fn get(&self, keyword: &str) -> Option<&'a str> {
        let mut values = self.cards.iter().filter(|(known, _)| *known == keyword);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(*value)
    }

    fn require(&self, keyword: &'static str, value: &'static str) -> Result<(), InvalidMap> {
        let is_so = self.get(keyword) == Some(value);
        is_so.then_some(()).ok_or(InvalidMap::Keyword(keyword, value))
    }

    fn number(&self, keyword: &'static str) -> Result<usize, InvalidMap> {
        let number = self.get(keyword).and_then(|value| value.parse().ok());
        number.ok_or(InvalidMap::Keyword(keyword, "a number"))
    }
}

/// A value without its comment and, if it is text, its quotes and the blanks at its end.
fn plain(value: &str) -> &str {
    let value = value.trim_start();
    match value.strip_prefix('\'') {
        Some(text) => text.split_once('\'').map_or(text, |(text, _)| text).trim_end(),
        None => value.split_once('/').map_or(value, |(value, _)| value).trim_end(),
    }
}
