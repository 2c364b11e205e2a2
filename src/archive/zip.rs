//! Zip files whose members are stored as they are (APPNOTE.TXT, method 0). The central directory says where the
//! members are; before each of them is a header of its own, which is compared with it.

mod directory;

pub use self::directory::{Located, ZipDirectory, locate};

use std::ops::Range;

use crate::archive::ArchiveFault;
use crate::archive::ArchiveFault::Damaged;

/// The bytes at the end of a zip file that hold the end of its central directory: the record itself, the longest
/// comment, and the two records of zip64 before it.
pub const TAIL: u64 = 22 + 65_535 + 20 + 56;

/// Bytes of the header before a member, without its name and its extra field.
const LOCAL_HEADER: usize = 30;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
/// Flag bit 3: the header has no checksum and no size.
const DESCRIBED_LATER: u16 = 1 << 3;
/// What an extra field of the header may have more than that in the central directory, bytes.
const SLACK: u64 = 64;

/// A member, as the central directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipMember {
    /// The position of its header.
    pub header: u64,
    /// Bytes of it.
    pub length: u64,
    pub crc: u32,
    /// Where the central directory begins: no member reaches into it.
    pub end: u64,
}

impl ZipMember {
    /// The bytes that hold the header, its name, and its data too if the extra field is of the usual length.
    #[must_use]
    pub fn with_header(&self, name: &str) -> Range<u64> {
        let more = LOCAL_HEADER as u64 + name.len() as u64 + SLACK;
        let end = self.header.saturating_add(more).saturating_add(self.length);
        self.header..end.min(self.end)
    }

    /// The bytes that hold the header and its name alone.
    #[must_use]
    pub fn header_of(&self, name: &str) -> Range<u64> {
        let end = self.header.saturating_add(LOCAL_HEADER as u64 + name.len() as u64);
        self.header..end.min(self.end)
    }

    /// The place of the data, by the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// When the header contradicts the central directory.
    pub fn data(&self, name: &str, bytes: &[u8]) -> Result<Range<u64>, ArchiveFault> {
        let header = bytes.get(..LOCAL_HEADER).ok_or(Damaged("ends within a member"))?;
        let two = |at: usize| {
            let bytes = header.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
            bytes.map(u16::from_le_bytes).unwrap_or_default()
        };
        let four = |at: usize| u32::from(two(at)) | u32::from(two(at + 2)) << 16;
        if four(0) != LOCAL_SIGNATURE {
            return Err(Damaged("has no member where its directory says"));
        }
        let name_length = usize::from(two(26));
        let own_name = bytes.get(LOCAL_HEADER..LOCAL_HEADER + name_length);
        if own_name != Some(name.as_bytes()) {
            return Err(Damaged("has another member where its directory says"));
        }
        let (flags, method, crc, size) = (two(6), two(8), four(14), four(22));
        if method != 0 {
            return Err(Damaged("describes a member in two ways"));
        }
        let is_said_here = flags & DESCRIBED_LATER == 0;
        let same_size = size == u32::MAX || u64::from(size) == self.length;
        if is_said_here && (crc != self.crc || !same_size) {
            return Err(Damaged("describes a member in two ways"));
        }
        let start = self.header + (LOCAL_HEADER + name_length + usize::from(two(28))) as u64;
        let end = start.checked_add(self.length).filter(|end| *end <= self.end);
        Ok(start..end.ok_or(Damaged("has a member that reaches beyond its end"))?)
    }
}

#[cfg(test)]
mod tests;
