//! Archives of small objects: zip files and PMTiles, whose members are served as objects. Bytes in, places of
//! members out; the ranges are read by the cache.

pub mod name;
pub mod pmtiles;
pub mod search;
pub mod zip;

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A zip file (PKWARE's APPNOTE.TXT, 6.3.10), with zip64; its members are stored, not compressed.
    Zip,
    /// PMTiles, version 3: <https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md>
    Pmtiles,
}

impl ArchiveKind {
    /// The first bytes to read, where the directory is found.
    #[must_use]
    pub fn first_read(self) -> FirstRead {
        match self {
            Self::Zip => FirstRead::Tail(zip::TAIL),
            Self::Pmtiles => FirstRead::Head(pmtiles::HEAD),
        }
    }
}

/// Where the first bytes to read are, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRead {
    Head(u64),
    Tail(u64),
}

/// Why no member of an archive can be served; the rest of a sentence that begins with the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFault {
    /// The archive contradicts its format or itself.
    Damaged(&'static str),
    /// The archive, or the member, uses a part of the format that is not supported.
    Unsupported(&'static str),
}

/// The store has an archive in a coding.
pub const ENCODED: ArchiveFault = ArchiveFault::Unsupported(
    "is stored with a Content-Encoding, so that its members have no place",
);

/// Each look at an archive finds another version of it.
pub const CHANGING: ArchiveFault =
    ArchiveFault::Damaged("changes in the store all the time, so that no member can be read");
