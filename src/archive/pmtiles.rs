//! PMTiles, version 3: tiles of a map in one file. A header and a root directory at the beginning, directories
//! below it, and the tiles, by numbers along a Hilbert curve.
//! <https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md>

mod coding;
mod directory;
mod tile;

pub use self::coding::{DecodeFault, TileCoding};
pub use self::directory::{TOO_LARGE, TileDirectory, TileEntry};
pub use self::tile::TileName;

use std::ops::Range;

use crate::archive::ArchiveFault;
use crate::archive::ArchiveFault::{Damaged, Unsupported};

/// The bytes at the beginning that hold the header and the root directory (spec, section 3).
pub const HEAD: u64 = 16_384;
/// Directories below the root, at most (spec, section 4).
pub const MAX_DEPTH: usize = 4;
/// The most bytes of a tile that is decoded for a client, before and after.
pub const MAX_CODED_TILE: u64 = 1 << 20;
pub const MAX_DECODED_TILE: u64 = 8 << 20;

const HEADER: usize = 127;

/// The type of all tiles of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileType {
    Unknown,
    Mvt,
    Png,
    Jpeg,
    Webp,
    Avif,
    Mlt,
}

/// The header of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapHeader {
    root: Range<u64>,
    leaves: Range<u64>,
    tiles: Range<u64>,
    directory_coding: TileCoding,
    pub coding: TileCoding,
    pub tile_type: TileType,
}

impl MapHeader {
    /// Whether a tile of this name may be in it: an extension has to be that of its tiles.
    #[must_use]
    pub fn may_have(&self, tile: &TileName<'_>) -> bool {
        tile.extension.is_none_or(|extension| self.tile_type.has_extension(extension))
    }

    /// Reads the header of an archive of `length` bytes from its first ones.
    ///
    /// # Errors
    /// When it is no PMTiles, or contradicts itself.
    pub fn parse(bytes: &[u8], length: u64) -> Result<Self, ArchiveFault> {
        const NO_PMTILES: ArchiveFault = Damaged("is no PMTiles");
        let header = bytes.get(..HEADER).ok_or(NO_PMTILES)?;
        let byte = |at: usize| header.get(at).copied().unwrap_or_default();
        if !header.starts_with(b"PMTiles") {
            return Err(NO_PMTILES);
        }
        if byte(7) != 3 {
            return Err(Unsupported("is PMTiles of another version than 3"));
        }
        let number = |at: usize| {
            let bytes = header.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            bytes.map(u64::from_le_bytes).unwrap_or_default()
        };
        let section = |at: usize| {
            let start = number(at);
            let end = start.checked_add(number(at + 8)).filter(|end| *end <= length);
            end.map(|end| start..end).ok_or(Damaged("has a section that reaches beyond its end"))
        };
        let coding = |at: usize| match byte(at) {
            1 => Ok(TileCoding::None),
            2 => Ok(TileCoding::Gzip),
            3 => Ok(TileCoding::Brotli),
            4 => Ok(TileCoding::Zstd),
            _ => Err(Unsupported("does not say how it is compressed")),
        };
        let tile_type = match byte(99) {
            1 => TileType::Mvt,
            2 => TileType::Png,
            3 => TileType::Jpeg,
            4 => TileType::Webp,
            5 => TileType::Avif,
            6 => TileType::Mlt,
            _ => TileType::Unknown,
        };
        Ok(Self {
            root: section(8)?,
            leaves: section(40)?,
            tiles: section(56)?,
            directory_coding: coding(97)?,
            coding: coding(98)?,
            tile_type,
        })
    }

    /// The bytes of the root directory.
    #[must_use]
    pub fn root(&self) -> Range<u64> {
        self.root.clone()
    }

    /// The bytes of a directory below the root.
    ///
    /// # Errors
    /// When they are not among those of the directories.
    pub fn leaf(&self, entry: &TileEntry) -> Result<Range<u64>, ArchiveFault> {
        within(&self.leaves, entry)
            .ok_or(Damaged("has a directory that reaches beyond its section"))
    }

    /// The bytes of a tile.
    ///
    /// # Errors
    /// When they are not among those of the tiles.
    pub fn tile(&self, entry: &TileEntry) -> Result<Range<u64>, ArchiveFault> {
        within(&self.tiles, entry).ok_or(Damaged("has a tile that reaches beyond its section"))
    }

    /// Reads a directory that takes at most `most` bytes of memory.
    ///
    /// # Errors
    /// When it is damaged, or too large.
    pub fn directory(&self, bytes: &[u8], most: u64) -> Result<TileDirectory, ArchiveFault> {
        let decoded = self.directory_coding.decode(bytes, most);
        TileDirectory::parse(&decoded.map_err(DecodeFault::of_a_directory)?, most)
    }
}

/// A place that is given from the start of a section.
fn within(section: &Range<u64>, entry: &TileEntry) -> Option<Range<u64>> {
    let start = section.start.checked_add(entry.offset)?;
    let end = start.checked_add(u64::from(entry.length)).filter(|end| *end <= section.end)?;
    Some(start..end)
}

impl TileType {
    /// The media type (spec, section 3.2).
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Unknown => "application/octet-stream",
            Self::Mvt => "application/vnd.mapbox-vector-tile",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Mlt => "application/vnd.maplibre-vector-tile",
        }
    }

    /// Whether a URL may end with this extension.
    #[must_use]
    fn has_extension(self, extension: &str) -> bool {
        let extensions: &[&str] = match self {
            Self::Unknown => &[],
            Self::Mvt => &["mvt", "pbf"],
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Webp => &["webp"],
            Self::Avif => &["avif"],
            Self::Mlt => &["mlt"],
        };
        extensions.contains(&extension)
    }
}

#[cfg(test)]
mod tests;
