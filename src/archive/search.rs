//! The way to one member of an archive of which nothing is known: which bytes to read, until its place is known.

use std::ops::Range;

use crate::archive::ArchiveFault::Damaged;
use crate::archive::pmtiles::{self, MapHeader, TileEntry, TileName};
use crate::archive::zip::{Located, ZipMember, locate};
use crate::archive::{ArchiveFault, ArchiveKind, FirstRead};

/// Directories of an archive lead to one another, or back.
pub const NESTED: ArchiveFault = Damaged("has directories that lead to others without an end");

/// The search for one member.
#[derive(Debug)]
pub struct MemberSearch<'n> {
    name: &'n str,
    /// Bytes of the archive.
    length: u64,
    /// The most bytes of a directory.
    most: u64,
    next: NextRead,
}

/// What the bytes that were asked for last are.
#[derive(Debug)]
enum NextRead {
    /// The end of a zip file from `start` on, of which the bytes after those are known.
    ZipEnd {
        start: u64,
        known: Vec<u8>,
    },
    /// The header before the member.
    ZipHeader(ZipMember),
    MapHead,
    /// A directory of a map, which has this number of others above it.
    MapDirectory {
        header: MapHeader,
        depth: usize,
    },
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub enum SearchStep {
    /// These bytes have to be read.
    Read(Range<u64>),
    Found(FoundMember),
    /// The archive has no such member.
    Missing,
}

/// A member that can be served.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundMember {
    /// Its bytes.
    pub place: Range<u64>,
    /// The checksum that the directory states, in a zip file.
    pub crc: Option<u32>,
    /// The media type and the `Content-Encoding`, where the archive states them.
    pub media_type: Option<&'static str>,
    pub coding: Option<&'static str>,
}

impl<'n> MemberSearch<'n> {
    /// Searches an archive of `length` bytes with directories of at most `most` bytes each. The bytes to read first
    /// are returned.
    #[must_use]
    pub fn new(kind: ArchiveKind, name: &'n str, length: u64, most: u64) -> (Self, Range<u64>) {
        let first = match kind.first_read() {
            FirstRead::Head(bytes) => 0..bytes.min(length),
            FirstRead::Tail(bytes) => length.saturating_sub(bytes)..length,
        };
        let next = match kind {
            ArchiveKind::Zip => NextRead::ZipEnd { start: first.start, known: Vec::new() },
            ArchiveKind::Pmtiles => NextRead::MapHead,
        };
        (Self { name, length, most, next }, first)
    }

    /// Goes on with the bytes that were asked for last.
    ///
    /// # Errors
    /// When the member cannot be served.
    pub fn next(self, bytes: &[u8]) -> Result<(Self, SearchStep), ArchiveFault> {
        let Self { name, length, most, next } = self;
        let (next, step) = match next {
            NextRead::ZipEnd { start, known } => {
                let known = [bytes, &known].concat();
                match locate(&known, start, most)? {
                    Located::From(from) if from < start => {
                        (NextRead::ZipEnd { start: from, known }, SearchStep::Read(from..start))
                    }
                    Located::From(_) => return Err(NESTED),
                    Located::Read(directory) => match directory.find(name)? {
                        Some(member) => {
                            let header = member.header_of(name);
                            (NextRead::ZipHeader(member), SearchStep::Read(header))
                        }
                        None => {
                            (NextRead::ZipEnd { start, known: Vec::new() }, SearchStep::Missing)
                        }
                    },
                }
            }
            NextRead::ZipHeader(member) => {
                let found = FoundMember {
                    place: member.data(name, bytes)?,
                    crc: Some(member.crc),
                    media_type: None,
                    coding: None,
                };
                (NextRead::ZipHeader(member), SearchStep::Found(found))
            }
            NextRead::MapHead => {
                let header = MapHeader::parse(bytes, length)?;
                let root = header.root();
                match part(bytes, &root).map(<[u8]>::to_vec) {
                    Some(bytes) => in_directory(name, most, header, 0, &bytes)?,
                    None => read_directory(most, header, 0, root)?,
                }
            }
            NextRead::MapDirectory { header, depth } => {
                in_directory(name, most, header, depth, bytes)?
            }
        };
        Ok((Self { name, length, most, next }, step))
    }
}

fn read_directory(
    most: u64,
    header: MapHeader,
    depth: usize,
    place: Range<u64>,
) -> Result<(NextRead, SearchStep), ArchiveFault> {
    if place.end - place.start > most {
        return Err(pmtiles::TOO_LARGE);
    }
    Ok((NextRead::MapDirectory { header, depth }, SearchStep::Read(place)))
}

fn in_directory(
    name: &str,
    most: u64,
    header: MapHeader,
    depth: usize,
    bytes: &[u8],
) -> Result<(NextRead, SearchStep), ArchiveFault> {
    let directory = header.directory(bytes, most)?;
    let tile = TileName::parse(name).filter(|tile| header.may_have(tile));
    let entry = tile.and_then(|tile| directory.find(tile.number()));
    match entry {
        None => Ok((NextRead::MapDirectory { header, depth }, SearchStep::Missing)),
        Some(entry) if entry.is_directory() => {
            if depth + 1 >= pmtiles::MAX_DEPTH {
                return Err(NESTED);
            }
            let place = header.leaf(&entry)?;
            read_directory(most, header, depth + 1, place)
        }
        Some(entry) => {
            let found = found_tile(&header, &entry)?;
            Ok((NextRead::MapDirectory { header, depth }, SearchStep::Found(found)))
        }
    }
}

fn found_tile(header: &MapHeader, entry: &TileEntry) -> Result<FoundMember, ArchiveFault> {
    Ok(FoundMember {
        place: header.tile(entry)?,
        crc: None,
        media_type: Some(header.tile_type.media_type()),
        coding: header.coding.name(),
    })
}

fn part<'b>(bytes: &'b [u8], range: &Range<u64>) -> Option<&'b [u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// The member of an archive whose bytes are all at hand, by the way that readers of ranges go.
#[cfg(test)]
pub(crate) fn search_in(
    kind: ArchiveKind,
    bytes: &[u8],
    name: &str,
    most: u64,
) -> Result<Option<FoundMember>, ArchiveFault> {
    let (mut search, mut range) = MemberSearch::new(kind, name, bytes.len() as u64, most);
    loop {
        let step;
        (search, step) = search.next(part(bytes, &range).unwrap_or_default())?;
        match step {
            SearchStep::Read(next) => range = next,
            SearchStep::Missing => return Ok(None),
            SearchStep::Found(found) => return Ok(Some(found)),
        }
    }
}
