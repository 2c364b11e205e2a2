//! A directory of PMTiles: runs of tiles, and directories below it, by the number of their first tile.

use crate::archive::ArchiveFault;
use crate::archive::ArchiveFault::{Damaged, Unsupported};

const DIRECTORY: ArchiveFault = Damaged("has a directory that cannot be read");
/// A directory is larger than is allowed.
pub const TOO_LARGE: ArchiveFault = Unsupported(
    "has a larger directory than cache.archive_directories allows (a quarter of it for one directory)",
);

/// A run of tiles with the same bytes, or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TileEntry {
    /// The number of the first tile.
    pub(super) first: u64,
    /// From the start of its section, bytes.
    pub(super) offset: u64,
    pub(super) length: u32,
    /// How many tiles have these bytes; 0: it is a directory.
    pub(super) run: u32,
}

impl TileEntry {
    /// Whether it is a directory, in which the tile may be.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.run == 0
    }
}

/// The entries, in ascending order.
#[derive(Debug)]
pub struct TileDirectory(Box<[TileEntry]>);

impl TileDirectory {
    /// Reads a directory that is not compressed and takes at most `most` bytes of memory (spec, section 4.2).
    ///
    /// # Errors
    /// When it is damaged, or too large.
    pub(super) fn parse(mut bytes: &[u8], most: u64) -> Result<Self, ArchiveFault> {
        let count = usize::try_from(varint(&mut bytes)?).map_err(|_| DIRECTORY)?;
        // Each entry has four numbers.
        if count > bytes.len() / 4 {
            return Err(DIRECTORY);
        }
        if (count * size_of::<TileEntry>()) as u64 > most {
            return Err(TOO_LARGE);
        }
        let mut entries = vec![TileEntry::default(); count];
        let mut first = 0_u64;
        for (place, entry) in entries.iter_mut().enumerate() {
            let step = varint(&mut bytes)?;
            if step == 0 && place > 0 {
                return Err(DIRECTORY);
            }
            first = first.checked_add(step).ok_or(DIRECTORY)?;
            entry.first = first;
        }
        let four_bytes = |number: u64| u32::try_from(number).map_err(|_| DIRECTORY);
        for entry in &mut entries {
            entry.run = four_bytes(varint(&mut bytes)?)?;
        }
        for entry in &mut entries {
            entry.length = four_bytes(varint(&mut bytes)?)?;
            if entry.length == 0 {
                return Err(DIRECTORY);
            }
        }
        // 0: behind the bytes of the entry before.
        let mut next = None;
        for entry in &mut entries {
            let offset = match varint(&mut bytes)? {
                0 => next.ok_or(DIRECTORY)?,
                more => more - 1,
            };
            entry.offset = offset;
            next = Some(offset.checked_add(u64::from(entry.length)).ok_or(DIRECTORY)?);
        }
        Ok(Self(entries.into()))
    }

    /// The entry that has the tile with this number, or the directory in which it may be.
    #[must_use]
    pub fn find(&self, tile: u64) -> Option<TileEntry> {
        let after = self.0.partition_point(|entry| entry.first <= tile);
        let entry = *self.0.get(after.checked_sub(1)?)?;
        let is_in = entry.is_directory() || tile - entry.first < u64::from(entry.run);
        is_in.then_some(entry)
    }

    /// Bytes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        size_of_val(&*self.0) as u64
    }
}

/// The next number: seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Result<u64, ArchiveFault> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(DIRECTORY)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(DIRECTORY);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DIRECTORY)
}
