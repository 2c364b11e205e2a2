//! Bytes of one version of an archive.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::archive::ArchiveFault;
use crate::cache::Cache;
use crate::cache::blocks::arrival::BlockError;
use crate::cache::blocks::arriving_body::BodySlot;
use crate::cache::blocks::reader::{BlockReader, OpenError};
use crate::cache::members::of_fault;
use crate::cache::object::ObjectBody;
use crate::cache::request::CacheRequest;
use crate::protocol::cache_status::BlockCounts;
use crate::response::refusal::Refusal;

/// How much of an archive is fetched from a member on that is not in the cache, bytes: clients of surveys and maps
/// go on with its neighbours.
const AROUND: u64 = 512 << 10;

const BEYOND: ArchiveFault = ArchiveFault::Damaged("has a member that reaches beyond its end");

impl Cache {
    /// These bytes of an archive, all in memory at once.
    pub(super) async fn read_archive(
        &self,
        request: &Arc<CacheRequest>,
        archive: &ObjectBody,
        range: Range<u64>,
        arriving: Option<BodySlot>,
    ) -> Result<Bytes, OpenError> {
        check(archive, &range)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let ObjectBody::Blocks(blocks) = archive else {
            return Ok(read_whole(archive, &range).await?);
        };
        let ranges = [range.clone()];
        let mut reading = self.open(request, blocks, &ranges, arriving).await?;
        Ok(collect(&mut reading, &range).await?)
    }

    /// The same, and where they came from. If they have to be fetched, their neighbours are fetched with them.
    pub(super) async fn read_around(
        &self,
        request: &Arc<CacheRequest>,
        archive: &ObjectBody,
        range: Range<u64>,
    ) -> Result<(Bytes, BlockCounts), OpenError> {
        check(archive, &range)?;
        let ObjectBody::Blocks(blocks) = archive else {
            return Ok((read_whole(archive, &range).await?, BlockCounts::default()));
        };
        let fetches = self.fetches.blocks();
        let reads_ahead = self.tiers.blocks().reads_ahead();
        let more = match reads_ahead && !fetches.has_range(request, blocks, &range) {
            true => range.start.saturating_add(AROUND).min(blocks.layout.length),
            false => range.end,
        };
        let end = more.max(range.end);
        let read = Range { start: range.start, end };
        let ranges = std::slice::from_ref(&read);
        let mut reading = self.open(request, blocks, ranges, None).await?;
        let counts = reading.expected();
        let bytes = collect(&mut reading, &range).await?;
        if range.end < end {
            let _runs_on = tokio::spawn(async move {
                let mut position = range.end;
                while let Ok(Some(bytes)) = reading.read(position, end).await {
                    position += bytes.len() as u64;
                }
            });
        }
        Ok((bytes, counts))
    }
}

fn check(archive: &ObjectBody, range: &Range<u64>) -> Result<(), OpenError> {
    let is_there = range.start <= range.end && range.end <= archive.length();
    if is_there { Ok(()) } else { Err(of_fault(BEYOND)) }
}

/// Bytes of an archive that is whole in memory, or arriving whole.
async fn read_whole(archive: &ObjectBody, range: &Range<u64>) -> Result<Bytes, BlockError> {
    if matches!(archive, ObjectBody::Passing(_) | ObjectBody::Member(_)) {
        return Err(BlockError::Refused(Refusal::ArchiveNotCached));
    }
    let mut joined = Joined::new(range);
    while let Some(position) = joined.position() {
        let read = archive.read(position, range.end).await.map_err(|_| BlockError::Truncated)?;
        joined.push(read.ok_or(BlockError::Truncated)?);
    }
    Ok(joined.end())
}

async fn collect(reading: &mut BlockReader, range: &Range<u64>) -> Result<Bytes, BlockError> {
    let mut joined = Joined::new(range);
    while let Some(position) = joined.position() {
        let read = reading.read(position, range.end).await?;
        joined.push(read.ok_or(BlockError::Truncated)?);
    }
    Ok(joined.end())
}

/// Pieces that become one: without a copy if there is only one.
struct Joined {
    range: Range<u64>,
    first: Bytes,
    all: BytesMut,
}

impl Joined {
    fn new(range: &Range<u64>) -> Self {
        Self { range: range.clone(), first: Bytes::new(), all: BytesMut::new() }
    }

    /// The position of the next byte; `None` at the end.
    fn position(&self) -> Option<u64> {
        let position = self.range.start + self.first.len().max(self.all.len()) as u64;
        (position < self.range.end).then_some(position)
    }

    fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            let length = self.range.end - self.range.start;
            self.all.reserve(usize::try_from(length).unwrap_or_default());
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&piece);
    }

    fn end(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
