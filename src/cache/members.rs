//! Members of archives, by ranges of the archive that the cache reads as for any client. The directory of an
//! archive belongs to one version of it, and so do all reads for one member: another version is looked up anew.
//!
//! A small member of a zip file is compared with its checksum before the response begins, a larger one that is
//! sent whole before its last bytes are sent.

mod directories;
mod find;
mod look_up;
mod read;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::archive::{ArchiveFault, CHANGING};
use crate::cache::blocks::arrival::BlockError;
use crate::cache::blocks::reader::counter::BlockCounter;
use crate::cache::blocks::reader::{BlockReader, OpenError};
use crate::cache::body::StoredBody;
use crate::cache::lookup::{Lookup, LookupResult};
use crate::cache::member::{Member, MemberPlace, MemberRequest, WRONG_SUM, WholeCheck};
use crate::cache::members::directories::ArchiveDirectories;
use crate::cache::object::{Object, ObjectBody};
use crate::cache::purge::pending::Purge;
use crate::cache::request::CacheRequest;
use crate::cache::stored_head::StoredHead;
use crate::cache::{Cache, MAX_LOOKS};
use crate::config::CacheConfig;
use crate::protocol::cache_status::BlockCounts;
use crate::response::object_head::ObjectHeads;
use crate::response::refusal::Refusal;

/// The largest member that is read before its response begins, bytes.
const SMALL: u64 = 1 << 20;

/// What is known of archives.
#[derive(Debug)]
pub(super) struct Members {
    directories: ArchiveDirectories,
    heads: Arc<ObjectHeads>,
}

/// A member that can be sent.
#[derive(Debug)]
pub struct OpenedMember {
    /// What its bytes are read from ...
    pub source: ObjectBody,
    /// ... by this reader if the source is in blocks ...
    pub reading: Option<BlockReader>,
    /// ... and from this position on.
    pub start: u64,
    pub check: Option<WholeCheck>,
    /// Where its blocks came from so far, and a counter of those to come.
    pub expected: BlockCounts,
    pub counter: Option<Arc<BlockCounter>>,
}

impl Members {
    /// Directories of at most `memory` bytes.
    pub(super) fn new(memory: u64, heads: Arc<ObjectHeads>) -> Self {
        Self { directories: ArchiveDirectories::new(memory), heads }
    }

    /// Forgets what is known of archives that a purge covers.
    pub(super) fn purge(&self, purge: &Purge) {
        self.directories.forget(purge);
    }
}

impl Cache {
    /// The largest directory of an archive that is read, bytes.
    #[must_use]
    pub fn largest_directory(config: &CacheConfig) -> u64 {
        directories::largest(config.archive_directories)
    }

    /// Finds a member of the archive that is requested, or has the archive fetched.
    pub async fn find_member(&self, request: &Arc<CacheRequest>, wanted: &MemberRequest) -> Lookup {
        let mut lookup = self.find(request).await;
        for _ in 0..MAX_LOOKS {
            let LookupResult::Object { source, freshness, arriving } = lookup.what else {
                if matches!(lookup.what, LookupResult::Bypass) {
                    lookup.what = LookupResult::Refused(Refusal::ArchiveNotCached);
                }
                return lookup;
            };
            match Box::pin(self.locate(request, &source, arriving, wanted)).await {
                Ok(found) => {
                    let what = LookupResult::cached(found, freshness);
                    return Lookup { what, ..lookup };
                }
                Err(OpenError { error: BlockError::Refused(refusal), .. }) => {
                    return Lookup { what: LookupResult::Refused(refusal), ..lookup };
                }
                Err(_) => lookup = self.find(request).await,
            }
        }
        let what = LookupResult::Refused(CHANGING.into());
        Lookup { what, ..lookup }
    }

    /// Opens these byte ranges of a member, in ascending order and without overlap.
    ///
    /// # Errors
    /// When the archive is damaged or has changed, or the store fails: the response has not begun.
    pub async fn open_member(
        &self,
        request: &Arc<CacheRequest>,
        member: &Arc<Member>,
        parts: &[Range<u64>],
    ) -> Result<OpenedMember, OpenError> {
        // The memory of the copy, which is as long in use as the response.
        let room = match member.length <= SMALL {
            true => self.tiers.reserve(&request.key.beside(), member.length),
            false => None,
        };
        let archive = &member.archive;
        let Some(room) = room else {
            return Box::pin(self.open_large_member(request, member, parts)).await;
        };
        let (bytes, counts) = match &member.place {
            MemberPlace::Tile(place) => {
                Box::pin(self.read_around(request, archive, place.clone())).await?
            }
            MemberPlace::Zip { member: zip, name } => {
                let read = zip.with_header(name);
                let (bytes, counts) =
                    Box::pin(self.read_around(request, archive, read.clone())).await?;
                let data = zip.data(name, &bytes).map_err(of_fault)?;
                let bytes = match part(&bytes, read.start, &data) {
                    Some(bytes) => bytes,
                    // The extra field is longer than usual.
                    None => Box::pin(self.read_archive(request, archive, data, None)).await?,
                };
                if crc32fast::hash(&bytes) != zip.crc {
                    return Err(of_fault(WRONG_SUM));
                }
                (bytes, counts)
            }
        };
        let object = Object {
            head: StoredHead::of(&member.head, &member.lifetime),
            body: StoredBody::from_bytes(bytes),
            held: room.into_held(),
        };
        Ok(OpenedMember {
            source: ObjectBody::Stored(Arc::new(object)),
            reading: None,
            start: 0,
            check: None,
            expected: counts,
            counter: None,
        })
    }

    /// Opens a member whose bytes pass.
    async fn open_large_member(
        &self,
        request: &Arc<CacheRequest>,
        member: &Member,
        parts: &[Range<u64>],
    ) -> Result<OpenedMember, OpenError> {
        let archive = &member.archive;
        let (data, crc) = match &member.place {
            MemberPlace::Tile(place) => (place.clone(), None),
            MemberPlace::Zip { member: zip, name } => {
                let header = self.read_archive(request, archive, zip.header_of(name), None).await?;
                (zip.data(name, &header).map_err(of_fault)?, Some(zip.crc))
            }
        };
        let in_archive = |part: &Range<u64>| data.start + part.start..data.start + part.end;
        let ranges: Vec<_> = parts.iter().map(in_archive).collect();
        let reading = match archive {
            ObjectBody::Blocks(blocks) => Some(self.open(request, blocks, &ranges, None).await?),
            _ => None,
        };
        Ok(OpenedMember {
            source: archive.clone(),
            start: data.start,
            check: crc.map(|crc| WholeCheck::new(crc, member.length)),
            expected: reading.as_ref().map(BlockReader::expected).unwrap_or_default(),
            counter: reading.as_ref().map(|reading| Arc::clone(reading.counter())),
            reading,
        })
    }
}

/// Why a response cannot begin.
fn of_fault(fault: ArchiveFault) -> OpenError {
    BlockError::Refused(fault.into()).into()
}

/// The bytes of `wanted`, if these bytes from `start` on have them all.
fn part(bytes: &Bytes, start: u64, wanted: &Range<u64>) -> Option<Bytes> {
    let first = usize::try_from(wanted.start.checked_sub(start)?).ok()?;
    let end = usize::try_from(wanted.end.checked_sub(start)?).ok()?;
    (first <= end && end <= bytes.len()).then(|| bytes.slice(first..end))
}
