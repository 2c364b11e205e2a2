//! The disk tier: cached objects survive restarts. One file for each record, every byte of which is
//! checked when it is read. A damaged file or a failing disk is a miss, never an error.
//! `docs/decisions/disk-tier.md` has the reasons.
//!
//! What the kernel has in memory is read at once (`read_now.rs`), anything else by a few threads
//! (`reader.rs`). One thread writes and removes the files that
//! are queued in a `queue.rs`; another one finds the files at the start, and sweeps.

mod breaker;
mod folder;
mod index;
mod name;
mod peek;
mod queue;
mod read_now;
mod reader;
pub(in crate::cache) mod record;
mod shared;
mod sweep;
mod writer;

pub use self::peek::Peeked;
pub use self::record::DiskRecord;
pub use self::shared::{Capacity, QUEUE_BYTES};

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use log::debug;
use tokio::sync::oneshot;

use crate::cache::disk::breaker::Access;
use crate::cache::disk::folder::{FileRead, Write, plain_write};
use crate::cache::disk::name::{FileName, ObjectMark};
use crate::cache::disk::queue::Job;
use crate::cache::disk::reader::ReadJob;
use crate::cache::disk::record::Damage;
use crate::cache::disk::shared::{DiskShared, READ_PERMITS, Removal, now, wait_for};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::{Budget, Held};
use crate::cache::statistics::Statistics;

/// How long a reader waits for the disk before it asks the store.
const READ_TIME: Duration = Duration::from_secs(2);
/// How long [`DiskTier::close`] waits for the queue.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// Bytes of bodies that may wait to be written without being counted in the budget: with a small
/// budget, blocks that follow each other would otherwise have to wait for the disk.
const UNCOUNTED_BYTES: u64 = 8 * 1024 * 1024;
/// A read counts as at least this many pieces, so that there are at most 64 reads at once.
const LEAST_PERMITS: u32 = 16;

/// The budget has no room for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// Whether the tier is in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskState {
    /// It is in service, and still finds the files of an earlier process.
    Scanning,
    On,
    /// It neither reads nor writes, and tries again after a while.
    Off(String),
}

impl fmt::Display for DiskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scanning => f.write_str("scanning"),
            Self::On => f.write_str("on"),
            Self::Off(reason) => write!(f, "off: {reason}"),
        }
    }
}

/// Records in a folder. Its threads end when it is dropped.
#[derive(Debug)]
pub struct DiskTier {
    shared: Arc<DiskShared>,
}

impl DiskTier {
    /// Starts the tier on this folder and returns at once. The folder is made if it does not exist,
    /// for this user alone. The disk is accessed in the background only, even to find that the folder
    /// is unusable.
    #[must_use]
    pub fn open(path: &Path, capacity: impl Into<Capacity>, statistics: Arc<Statistics>) -> Self {
        Self::open_with(path, capacity, statistics, plain_write())
    }

    fn open_with(
        path: &Path,
        capacity: impl Into<Capacity>,
        statistics: Arc<Statistics>,
        write: Write,
    ) -> Self {
        let shared = Arc::new(DiskShared::new(path, capacity.into(), statistics));
        writer::start(&shared, write);
        Self { shared }
    }

    /// The record of this key, as [`DiskTier::read`], in memory that no budget counts.
    pub async fn get(&self, key: &CacheKey) -> Option<DiskRecord> {
        self.read(key, |_| Ok(None)).await
    }

    /// The record of this key, if there is one and its checksums match. `room` takes room for this
    /// many bytes, before they are read; a queued record has its own. Must be called within a Tokio
    /// runtime; the disk is given two seconds.
    pub async fn read(
        &self,
        key: &CacheKey,
        room: impl FnOnce(u64) -> Result<Option<Arc<Held>>, NoRoom>,
    ) -> Option<DiskRecord> {
        let shared = &self.shared;
        let name = FileName::of(key);
        let (newer, scanned) = {
            let inner = shared.lock();
            if inner.off.is_some() {
                return None;
            }
            if inner.hidden.contains(&name) {
                return None;
            }
            let newer = match inner.queue.find(name) {
                Some(Job::Write(record)) => {
                    return (record.key == *key).then(|| DiskRecord::clone(record));
                }
                Some(Job::Remove) => return None,
                Some(Job::Freshen(_, freshness)) => Some(*freshness),
                None => None,
            };
            (newer, inner.scanned)
        };
        let size = match shared.index.touch(name, now()) {
            Some(size) => size,
            None if scanned => return None,
            None => self.size_of_unknown(name).await?,
        };
        if size > record::LARGEST {
            shared.statistics.disk_damaged.inc();
            shared.forget(name);
            return None;
        }
        let held = room(size).ok()?;
        if size <= read_now::LARGEST
            && let Some(folder) = shared.folder.get()
            && let Some(record) = shared.read_now.read(folder, name, key)
        {
            let freshness = newer.unwrap_or(record.freshness);
            return Some(DiskRecord { freshness, held, ..record });
        }
        let pieces = size.div_ceil(record::PIECE as u64);
        let permits = u32::try_from(pieces).unwrap_or(READ_PERMITS);
        let permits = permits.clamp(LEAST_PERMITS, READ_PERMITS);
        let permit = Arc::clone(&shared.reads);
        let permit = if key.is_block() {
            // Many blocks are read at once, and a request to the store for each would cost it more.
            let permit = permit.acquire_many_owned(permits);
            tokio::time::timeout(READ_TIME, permit).await.ok().and_then(Result::ok)
        } else {
            permit.try_acquire_many_owned(permits).ok()
        };
        let Some(permit) = permit else {
            shared.statistics.disk_busy.inc();
            return None;
        };
        let (reply, read) = oneshot::channel();
        let buffer = Vec::with_capacity(usize::try_from(size).ok()?);
        reader::push(shared, ReadJob { name, key: key.clone(), buffer, held, permit, reply });
        match tokio::time::timeout(READ_TIME, read).await {
            Ok(read) => {
                let record = read.ok()??;
                Some(DiskRecord { freshness: newer.unwrap_or(record.freshness), ..record })
            }
            Err(_) => {
                shared.failed(Access::Read, &io::ErrorKind::TimedOut.into());
                None
            }
        }
    }

    /// Bytes that a file takes that the index does not know yet.
    async fn size_of_unknown(&self, name: FileName) -> Option<u64> {
        let reader = Arc::clone(&self.shared);
        let sized = tokio::task::spawn_blocking(move || reader.folder.get()?.size(name));
        tokio::time::timeout(READ_TIME, sized).await.ok()?.ok()?
    }

    /// Whether records that wait to be written hold bytes of a budget.
    #[must_use]
    pub fn holds_memory(&self) -> bool {
        self.shared.lock().queue.bytes() > UNCOUNTED_BYTES
    }

    /// Frees this many bytes of this budget, as far as only records hold them that wait to be written.
    /// Those are not stored. Returns whether any were freed.
    pub fn shed(&self, bytes: u64, budget: &Arc<Budget>) -> bool {
        let shed = self.shared.lock().queue.shed(bytes, budget);
        self.shared.statistics.disk_dropped.inc_by(shed);
        shed > 0
    }

    /// Whether there is a record of this key, as far as is known without reading it.
    #[must_use]
    pub fn has(&self, key: &CacheKey) -> bool {
        let name = FileName::of(key);
        let inner = self.shared.lock();
        let queued = match inner.queue.find(name) {
            Some(Job::Remove) => Some(false),
            Some(Job::Write(_)) => Some(true),
            Some(Job::Freshen(..)) | None => None,
        };
        let known = || self.shared.index.size(name).is_some();
        inner.off.is_none() && !inner.hidden.contains(&name) && queued.unwrap_or_else(known)
    }

    /// Whether a block of this many bytes would be stored now: half of the queue is left to other
    /// records, so that reading a large object does not displace tiles.
    #[must_use]
    pub fn takes_block(&self, bytes: u64) -> bool {
        self.takes(bytes) && self.shared.lock().queue.bytes() <= QUEUE_BYTES / 2
    }

    /// Whether a record with a body of this size would be stored at all.
    #[must_use]
    pub fn takes(&self, bytes: u64) -> bool {
        let inner = self.shared.lock();
        bytes <= QUEUE_BYTES.min(self.shared.capacity.all) && inner.off.is_none() && !inner.closing
    }

    /// Stores a record, in place of any other of its key. It is written in the background. If the
    /// queue is full, neither it nor the older one is stored. Returns whether it is queued.
    pub fn put(&self, mut record: DiskRecord) -> bool {
        let name = FileName::of(&record.key);
        let mut inner = self.shared.lock();
        if inner.queue.bytes() + record.body.len() <= UNCOUNTED_BYTES {
            record.held = None;
        }
        if inner.off.is_none()
            && !inner.closing
            && inner.queue.push(name, Job::Write(Arc::new(record)))
        {
            inner.hidden.remove(&name);
            drop(inner);
            self.shared.wake.notify_one();
            true
        } else {
            self.shared.statistics.disk_dropped.inc();
            self.shared.remove_record(&mut inner, name);
            false
        }
    }

    /// Gives the record of this key another freshness, after a store confirmed it. Its body is not
    /// written again.
    pub fn freshen(&self, key: &CacheKey, freshness: Freshness) {
        let name = FileName::of(key);
        let mut inner = self.shared.lock();
        let is_known = self.shared.index.size(name).is_some() || inner.queue.find(name).is_some();
        // A record that is not updated keeps its old freshness, and is revalidated once more.
        if inner.off.is_none()
            && (is_known || !inner.scanned)
            && inner.queue.freshen(name, key, freshness)
        {
            drop(inner);
            self.shared.wake.notify_one();
        }
    }

    /// Removes the record of this key: it is not found from now on.
    pub fn remove(&self, key: &CacheKey) {
        let name = FileName::of(key);
        self.shared.remove_record(&mut self.shared.lock(), name);
    }

    /// Removes every record for whose key and request time this holds. All files are looked through
    /// in the background, so a record may still be found until then: compare its request time.
    /// `covered` is dropped at the end.
    pub fn remove_where(&self, covered: impl Fn(&[u8], SystemTime) -> bool + Send + 'static) {
        self.sweep(Removal { only_blocks_of: None, holds: Box::new(covered) });
    }

    /// Like [`DiskTier::remove_where`], for the blocks of one object, whose key has these bytes: no
    /// other file is read.
    pub fn remove_blocks_where(
        &self,
        object: &[u8],
        covered: impl Fn(&[u8], SystemTime) -> bool + Send + 'static,
    ) {
        let only_blocks_of = Some(ObjectMark::of(object));
        self.sweep(Removal { only_blocks_of, holds: Box::new(covered) });
    }

    fn sweep(&self, removal: Removal) {
        let mut inner = self.shared.lock();
        inner.queue.remove_where(|record| removal.covers(&record.key, record.requested_at));
        let no_block = inner.queue.is_empty() && self.shared.index.block_bytes() == 0;
        if removal.only_blocks_of.is_some() && inner.scanned && no_block {
            return;
        }
        if self.shared.folder.get().is_none() && removal.only_blocks_of.is_none() {
            // No file can be looked through, so no file is used any more if the folder can be opened.
            inner.orphans = true;
            return;
        }
        inner.sweeps.push(removal);
        drop(inner);
        self.shared.wake.notify_one();
        self.shared.sweep.notify_one();
    }

    /// Bytes on disk, in whole blocks of the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.index.bytes()
    }

    /// The capacity, bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.capacity.all
    }

    /// The bytes on disk of blocks of objects.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        self.shared.index.block_bytes()
    }

    /// The number of records on disk.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.shared.index.entries()
    }

    /// Whether the tier is in service.
    #[must_use]
    pub fn state(&self) -> DiskState {
        let inner = self.shared.lock();
        match &inner.off {
            Some(off) => DiskState::Off(off.reason.clone()),
            None if inner.scanned => DiskState::On,
            None => DiskState::Scanning,
        }
    }

    /// Waits until the queue is written, for five seconds at most, and unlocks the folder. Nothing is
    /// written afterwards.
    pub fn close(&self) {
        let shared = &self.shared;
        let deadline = Instant::now() + CLOSE_TIME;
        let mut inner = shared.lock();
        inner.closing = true;
        shared.wake.notify_one();
        shared.sweep.notify_one();
        while !inner.finished {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                debug!("disk cache: closed with {} records unwritten", inner.queue.len());
                return;
            }
            inner = wait_for(&shared.idle, inner, left);
        }
        if let Some(folder) = shared.folder.get() {
            folder.unlock();
        }
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.closing = true;
        inner.queue.clear();
        drop(inner);
        self.shared.readers.close();
        self.shared.wake.notify_one();
        self.shared.sweep.notify_one();
    }
}

impl DiskShared {
    /// Reads a record into a buffer; one that is missing or damaged is noted, and removed.
    fn read(&self, name: FileName, key: &CacheKey, buffer: Vec<u8>) -> Option<DiskRecord> {
        let folder = self.folder.get()?;
        match folder.read(name, key, buffer) {
            Ok(FileRead::Whole(record)) => {
                self.lock().breaker.worked(Access::Read);
                return Some(record);
            }
            // An earlier release wrote it.
            Ok(FileRead::Damaged(Damage::Version)) => self.forget(name),
            Ok(FileRead::Damaged(damage)) => {
                debug!("disk cache: {}: {damage}", name.path().display());
                self.statistics.disk_damaged.inc();
                self.forget(name);
            }
            Ok(FileRead::Absent) if self.index.size(name).is_some() => self.forget(name),
            Ok(FileRead::Absent | FileRead::Larger) => {}
            Err(error) => self.failed(Access::Read, &error),
        }
        None
    }
}

#[cfg(test)]
mod tests;
