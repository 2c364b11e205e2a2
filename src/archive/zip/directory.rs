//! The central directory of a zip file, read from its end.

use std::io;

use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipLocator};

use crate::archive::ArchiveFault;
use crate::archive::ArchiveFault::{Damaged, Unsupported};
use crate::archive::zip::ZipMember;

/// Bytes of a record of the central directory, without its name.
const RECORD: u64 = 46;
/// Room for one record: a name, an extra field and a comment, each of at most 64 KiB.
const RECORD_BUFFER: usize = 46 + 3 * 65_536;

const NO_ZIP: ArchiveFault = Damaged("is no zip file, or is cut off: it has no central directory");
const DIRECTORY: ArchiveFault = Damaged("has a central directory that cannot be read");
const TWO_WAYS: ArchiveFault = Damaged("describes a member in two ways");
const BEYOND: ArchiveFault = Damaged("has a member that reaches beyond its end");
const TOO_LARGE: ArchiveFault = Unsupported(
    "has a larger directory than cache.archive_directories allows (a quarter of it for one archive)",
);
const ENCRYPTED: ArchiveFault = Unsupported("has encrypted members, which are not served");
const COMPRESSED: ArchiveFault = Unsupported(
    "has compressed members, which are not served: write it without compression (zip -0)",
);

/// The central directory: the members by their names. If two have the same, the later one counts, as for other
/// programs.
pub struct ZipDirectory {
    names: Box<[u8]>,
    members: Box<[MemberRecord]>,
    /// Where the directory begins.
    start: u64,
}

/// One member. Its name is a part of [`ZipDirectory::names`].
#[derive(Debug, Clone, Copy)]
struct MemberRecord {
    header: u64,
    length: u64,
    name: u32,
    crc: u32,
    name_length: u16,
    kind: MemberKind,
}

/// Whether a member can be served.
#[derive(Debug, Clone, Copy)]
enum MemberKind {
    Stored,
    Compressed,
    Encrypted,
    Contradictory,
}

/// What the end of a zip file says.
#[derive(Debug)]
pub enum Located {
    /// The bytes of the archive from this position on hold the central directory; not all of them are known.
    From(u64),
    Read(ZipDirectory),
}

/// The known bytes of an archive, from `start` to its end.
struct Tail<'b> {
    start: u64,
    bytes: &'b [u8],
}

impl ReaderAt for Tail<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let Some(known) = at.and_then(|at| self.bytes.get(at..)) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let length = known.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), known.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// Reads the central directory of an archive of which the bytes from `start` to its end are known. A directory of
/// more than `most` bytes, in the archive or in memory, is refused.
///
/// # Errors
/// When it is damaged, or too large.
pub fn locate(bytes: &[u8], start: u64, most: u64) -> Result<Located, ArchiveFault> {
    let mut buffer = vec![0; RECORD_BUFFER];
    let archive = ZipLocator::new()
        .locate_in_reader(Tail { start, bytes }, &mut buffer, start + bytes.len() as u64)
        .map_err(|_| NO_ZIP)?;
    let (first, end) = (archive.directory_offset(), archive.eocd_offset());
    let size = end.checked_sub(first).ok_or(DIRECTORY)?;
    if size > most {
        return Err(TOO_LARGE);
    }
    if archive.entries_hint().saturating_mul(RECORD) > size {
        return Err(DIRECTORY);
    }
    if first < start {
        return Ok(Located::From(first));
    }
    let directory = ZipDirectory::read(&archive, &mut buffer)?;
    if directory.weight() > most { Err(TOO_LARGE) } else { Ok(Located::Read(directory)) }
}

impl ZipDirectory {
    fn read(archive: &ZipArchive<Tail<'_>>, buffer: &mut [u8]) -> Result<Self, ArchiveFault> {
        let (mut names, mut members) = (Vec::new(), Vec::new());
        let mut records = archive.entries(buffer);
        while let Some(record) = records.next_entry().map_err(|_| DIRECTORY)? {
            let path = record.file_path();
            let bytes: &[u8] = path.as_ref();
            let name = u32::try_from(names.len()).map_err(|_| DIRECTORY)?;
            let name_length = u16::try_from(bytes.len()).map_err(|_| DIRECTORY)?;
            names.extend_from_slice(bytes);
            let (flags, length) = (record.flags(), record.uncompressed_size_hint());
            let kind = if flags.is_encrypted() || flags.has_strong_encryption() {
                MemberKind::Encrypted
            } else if record.compression_method() != CompressionMethod::STORE {
                MemberKind::Compressed
            } else if length != record.compressed_size_hint() {
                MemberKind::Contradictory
            } else {
                MemberKind::Stored
            };
            let (header, crc) = (record.local_header_offset(), record.crc32());
            members.push(MemberRecord { header, length, name, crc, name_length, kind });
        }
        // Without zip64 the number is stored in 16 bits.
        let (said, found) = (archive.entries_hint(), members.len() as u64);
        if said != found && (said > 0xffff || said != found & 0xffff) {
            return Err(DIRECTORY);
        }
        // Stable: of two with the same name the later one stays behind the other.
        members.sort_by(|one, other| name_in(&names, one).cmp(name_in(&names, other)));
        let start = archive.directory_offset();
        Ok(Self { names: names.into(), members: members.into(), start })
    }

    /// The member with this name; `None` if there is none.
    ///
    /// # Errors
    /// When it is of a kind that cannot be served, or its place is not in the archive.
    pub fn find(&self, name: &str) -> Result<Option<ZipMember>, ArchiveFault> {
        let name = name.as_bytes();
        let after = self.members.partition_point(|it| name_in(&self.names, it) <= name);
        let last = after.checked_sub(1).and_then(|at| self.members.get(at));
        let Some(found) = last.filter(|it| name_in(&self.names, it) == name) else {
            return Ok(None);
        };
        match found.kind {
            MemberKind::Stored => {}
            MemberKind::Compressed => return Err(COMPRESSED),
            MemberKind::Encrypted => return Err(ENCRYPTED),
            MemberKind::Contradictory => return Err(TWO_WAYS),
        }
        let MemberRecord { header, length, crc, .. } = *found;
        let end = header.checked_add(length).filter(|end| *end <= self.start);
        end.ok_or(BEYOND)?;
        Ok(Some(ZipMember { header, length, crc, end: self.start }))
    }

    /// Bytes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (self.names.len() + self.members.len() * size_of::<MemberRecord>()) as u64
    }
}

fn name_in<'n>(names: &'n [u8], member: &MemberRecord) -> &'n [u8] {
    let start = usize::try_from(member.name).unwrap_or(usize::MAX);
    names.get(start..start.saturating_add(usize::from(member.name_length))).unwrap_or_default()
}

impl std::fmt::Debug for ZipDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZipDirectory").field("members", &self.members.len()).finish_non_exhaustive()
    }
}
