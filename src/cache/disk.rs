//! The disk tier: what was fetched survives restarts. One file for each record, checked byte for
//! byte when it is read; whatever is wrong with a file or with the disk is a miss, never an error.
//! `docs/decisions/disk-tier.md` says why it is built so.
//!
//! Reads run on the runtime's threads for blocking work. One thread writes and removes, what waits
//! for it in a [`queue`]; another one finds what is there at the start, and sweeps.

pub mod breaker;
pub mod folder;
pub mod index;
pub mod name;
pub mod peek;
pub mod queue;
pub mod record;
mod shared;
mod sweep;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use bytes::Bytes;
use http::HeaderMap;
use log::debug;

use crate::cache::disk::breaker::Access;
use crate::cache::disk::folder::{Found, Write, plain_write};
use crate::cache::disk::name::Name;
use crate::cache::disk::queue::Job;
use crate::cache::disk::shared::{Doomed, Shared, now, wait_for};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::statistics::Statistics;

/// Bytes of bodies that may wait to be written. What comes when they are reached is not kept.
pub const QUEUE_BYTES: u64 = 64 * 1024 * 1024;

/// How long a reader waits for the disk before it asks the store.
const READ_TIME: Duration = Duration::from_secs(2);
/// How long [`DiskTier::close`] waits for what is queued.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// Reads under way hold at most so many pieces of bodies together, 64 MiB ...
pub(crate) const READ_PERMITS: u32 = 1024;
/// ... and each counts as at least so many, so that there are at most 64 of them.
const LEAST_PERMITS: u32 = 16;

/// What is kept on disk of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: CacheKey,
    /// When the store was asked; rounded down to microseconds on disk, as the freshness is.
    pub asked: SystemTime,
    pub freshness: Freshness,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Whether the tier serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It serves, and still looks through what a process before this one left.
    Scanning,
    On,
    /// It neither reads nor writes, and tries again after a while.
    Off(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scanning => f.write_str("scanning"),
            Self::On => f.write_str("on"),
            Self::Off(reason) => write!(f, "off: {reason}"),
        }
    }
}

/// How much there may be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of whole blocks of the disk.
    pub all: u64,
    /// Bytes of `all` beyond which the blocks of objects make way for others. Up to it, others make
    /// way for them; what nobody needs, either may take.
    pub blocks: u64,
}

impl From<u64> for Capacity {
    /// Nothing is set aside for blocks.
    fn from(all: u64) -> Self {
        Self { all, blocks: 0 }
    }
}

/// Records in a folder. Its threads end when it is dropped.
#[derive(Debug)]
pub struct DiskTier {
    shared: Arc<Shared>,
}

impl DiskTier {
    /// Starts the tier on this folder, which is made for this user alone if there is none, and
    /// returns at once: all that concerns the disk happens in the background, an unusable folder
    /// included.
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
        let shared = Arc::new(Shared::new(path, capacity.into(), statistics));
        writer::start(&shared, write);
        Self { shared }
    }

    /// The record of this key, if there is one and every byte of it is right. Must be called
    /// within a Tokio runtime; the disk is given two seconds.
    pub async fn get(&self, key: &CacheKey) -> Option<Record> {
        let shared = &self.shared;
        let name = Name::of(key);
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
                    return (record.key == *key).then(|| Record::clone(record));
                }
                Some(Job::Remove) => return None,
                Some(Job::Refresh(_, freshness)) => Some(*freshness),
                None => None,
            };
            (newer, inner.scanned)
        };
        let size = shared.index.touch(name, now());
        if size.is_none() && scanned {
            return None;
        }
        let pieces = size.unwrap_or_default().div_ceil(record::PIECE as u64);
        let permits = u32::try_from(pieces).unwrap_or(READ_PERMITS);
        let permits = permits.clamp(LEAST_PERMITS, READ_PERMITS);
        let permit = Arc::clone(&shared.reads);
        let permit = if key.is_block() {
            // Many are wanted at once, and to ask the store for each would cost it more.
            let permit = permit.acquire_many_owned(permits);
            tokio::time::timeout(READ_TIME, permit).await.ok().and_then(Result::ok)
        } else {
            permit.try_acquire_many_owned(permits).ok()
        };
        let Some(permit) = permit else {
            shared.statistics.disk_busy.inc();
            return None;
        };
        let (reader, wanted) = (Arc::clone(shared), key.clone());
        let read = tokio::task::spawn_blocking(move || {
            let record = reader.read(name, &wanted);
            drop(permit);
            record
        });
        match tokio::time::timeout(READ_TIME, read).await {
            Ok(read) => {
                let record = read.ok()??;
                Some(Record { freshness: newer.unwrap_or(record.freshness), ..record })
            }
            Err(_) => {
                shared.failed(Access::Read, &io::ErrorKind::TimedOut.into());
                None
            }
        }
    }

    /// Whether there is a record of this key, as far as is known.
    #[must_use]
    pub fn has(&self, key: &CacheKey) -> bool {
        let name = Name::of(key);
        let inner = self.shared.lock();
        let queued = match inner.queue.find(name) {
            Some(Job::Remove) => Some(false),
            Some(Job::Write(_)) => Some(true),
            Some(Job::Refresh(..)) | None => None,
        };
        let known = || self.shared.index.size(name).is_some();
        inner.off.is_none() && !inner.hidden.contains(&name) && queued.unwrap_or_else(known)
    }

    /// Whether a block of so many bytes would be kept now: half of what may wait to be written is left
    /// to others, so that who reads a large object keeps no tile off the disk.
    #[must_use]
    pub fn takes_block(&self, bytes: u64) -> bool {
        self.takes(bytes) && self.shared.lock().queue.bytes() <= QUEUE_BYTES / 2
    }

    /// Whether a record with a body of so many bytes would be kept at all.
    #[must_use]
    pub fn takes(&self, bytes: u64) -> bool {
        let inner = self.shared.lock();
        bytes <= QUEUE_BYTES.min(self.shared.capacity.all) && inner.off.is_none() && !inner.closing
    }

    /// Keeps a record, in place of any other of its key. It is written in the background; if too
    /// much waits for that, neither it nor the older one is kept.
    pub fn put(&self, record: Record) {
        let name = Name::of(&record.key);
        let mut inner = self.shared.lock();
        if inner.off.is_none()
            && !inner.closing
            && inner.queue.push(name, Job::Write(Arc::new(record)))
        {
            inner.hidden.remove(&name);
            drop(inner);
            self.shared.wake.notify_one();
        } else {
            self.shared.statistics.disk_dropped.inc();
            self.shared.doom(&mut inner, name);
        }
    }

    /// Gives the record of this key another freshness, after a store confirmed it: its body is
    /// not written again.
    pub fn refresh(&self, key: &CacheKey, freshness: Freshness) {
        let name = Name::of(key);
        let mut inner = self.shared.lock();
        let is_known = self.shared.index.size(name).is_some() || inner.queue.find(name).is_some();
        // What is not written keeps its old freshness, and is asked for again.
        if inner.off.is_none()
            && (is_known || !inner.scanned)
            && inner.queue.refresh(name, key, freshness)
        {
            drop(inner);
            self.shared.wake.notify_one();
        }
    }

    /// Removes the record of this key: it is not found from now on.
    pub fn remove(&self, key: &CacheKey) {
        let name = Name::of(key);
        self.shared.doom(&mut self.shared.lock(), name);
    }

    /// Removes every record for whose key and time of asking this holds. All files are looked
    /// through in the background, so what is doomed may be found until then: compare a record's
    /// time of asking. `doomed` is dropped when that is over.
    pub fn remove_where(&self, doomed: impl Fn(&[u8], SystemTime) -> bool + Send + 'static) {
        self.sweep(Doomed { only_blocks: false, holds: Box::new(doomed) });
    }

    /// As [`DiskTier::remove_where`] for the blocks of objects alone: no other file is looked at.
    pub fn remove_blocks_where(&self, doomed: impl Fn(&[u8], SystemTime) -> bool + Send + 'static) {
        self.sweep(Doomed { only_blocks: true, holds: Box::new(doomed) });
    }

    fn sweep(&self, doomed: Doomed) {
        let mut inner = self.shared.lock();
        inner.queue.remove_where(|record| doomed.covers(&record.key, record.asked));
        let no_block = inner.queue.is_empty() && self.shared.index.block_bytes() == 0;
        if doomed.only_blocks && inner.scanned && no_block {
            return;
        }
        if self.shared.folder.get().is_none() && !doomed.only_blocks {
            // Nothing can be looked through: nothing of what there was is kept, should it open.
            inner.orphans = true;
            return;
        }
        inner.sweeps.push(doomed);
        drop(inner);
        self.shared.wake.notify_one();
        self.shared.sweep.notify_one();
    }

    /// Bytes on disk, in whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.index.bytes()
    }

    /// Bytes it may have on disk.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.capacity.all
    }

    /// Of those the bytes of blocks of objects.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        self.shared.index.block_bytes()
    }

    /// Records on disk.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.shared.index.entries()
    }

    /// Whether the tier serves.
    #[must_use]
    pub fn state(&self) -> State {
        let inner = self.shared.lock();
        match &inner.off {
            Some(off) => State::Off(off.reason.clone()),
            None if inner.scanned => State::On,
            None => State::Scanning,
        }
    }

    /// Waits until what is queued is written, for five seconds at most, and gives the folder free.
    /// Nothing is written afterwards.
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
        self.shared.wake.notify_one();
        self.shared.sweep.notify_one();
    }
}

impl Shared {
    /// Reads a record; anything but a whole one is noted, and removed.
    fn read(&self, name: Name, key: &CacheKey) -> Option<Record> {
        let folder = self.folder.get()?;
        match folder.read(name, key) {
            Ok(Found::Whole(record)) => {
                self.lock().breaker.worked(Access::Read);
                return Some(record);
            }
            Ok(Found::Damaged(damage)) => {
                debug!("disk cache: {}: {damage}", name.path().display());
                self.statistics.disk_damaged.inc();
                self.forget(name);
            }
            Ok(Found::Absent) if self.index.size(name).is_some() => self.forget(name),
            Ok(Found::Absent) => {}
            Err(error) => self.failed(Access::Read, &error),
        }
        None
    }
}

#[cfg(test)]
mod tests;
