//! The state that the threads of the disk tier and its readers share.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use tokio::sync::Semaphore;

use crate::cache::clock;
use crate::cache::disk::breaker::{Access, Breaker};
use crate::cache::disk::folder::Folder;
use crate::cache::disk::index::Index;
use crate::cache::disk::name::{FileName, ObjectMark};
use crate::cache::disk::queue::{Job, Queue};
use crate::cache::disk::read_now::ReadNow;
use crate::cache::disk::reader::Readers;
use crate::cache::disk::record::micros;
use crate::cache::key::CacheKey;
use crate::cache::statistics::Statistics;

/// Bytes of bodies that may be queued for writing. While it is full, further records are not stored.
pub const QUEUE_BYTES: u64 = 64 * 1024 * 1024;
/// Reads in progress hold at most this many pieces of bodies together, 64 MiB.
pub(super) const READ_PERMITS: u32 = 1024;
/// How many files to be removed are remembered before the index is complete, 16 bytes each. With
/// more, no file of an earlier process is used.
const MOST_HIDDEN: usize = 1 << 16;

/// The capacity of the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of whole blocks of the disk.
    pub all: u64,
    /// Bytes of `all` beyond which blocks of objects are evicted for other records. Up to it, others
    /// are evicted for them. Either may take free bytes.
    pub blocks: u64,
}

impl From<u64> for Capacity {
    /// No bytes are set aside for blocks.
    fn from(all: u64) -> Self {
        Self { all, blocks: 0 }
    }
}

/// A sweep: which records it removes.
pub(super) struct Removal {
    /// Only the blocks of this object.
    pub(super) only_blocks_of: Option<ObjectMark>,
    /// By key and request time.
    pub(super) holds: Box<Holds>,
}

type Holds = dyn Fn(&[u8], SystemTime) -> bool + Send;

impl Removal {
    /// Whether it may cover the record of this name: only then its file is read.
    pub(super) fn concerns(&self, name: FileName) -> bool {
        self.only_blocks_of.is_none_or(|object| name.is_block_of(object))
    }

    pub(super) fn covers(&self, key: &CacheKey, requested_at: SystemTime) -> bool {
        (self.only_blocks_of.is_none() || key.is_block())
            && (self.holds)(key.as_bytes(), requested_at)
    }
}

pub(super) struct DiskShared {
    pub(super) path: PathBuf,
    pub(super) capacity: Capacity,
    pub(super) statistics: Arc<Statistics>,
    /// Set when the folder was opened.
    pub(super) folder: OnceLock<Folder>,
    pub(super) index: Index,
    pub(super) read_now: ReadNow,
    /// Permits to read, one for each piece of a body.
    pub(super) reads: Arc<Semaphore>,
    pub(super) readers: Readers,
    inner: Mutex<Inner>,
    /// Work for the writer.
    pub(super) wake: Condvar,
    /// Work for the sweeper.
    pub(super) sweep: Condvar,
    /// The writer has done a job.
    pub(super) idle: Condvar,
}

pub(super) struct Inner {
    pub(super) queue: Queue,
    pub(super) breaker: Breaker,
    /// Set while the tier is off.
    pub(super) off: Option<Off>,
    /// Whether the index knows every file.
    pub(super) scanned: bool,
    /// Files that are to be removed, until the index knows every file.
    pub(super) hidden: HashSet<FileName>,
    /// Whether there may be files that are to be removed and are not in the index.
    pub(super) orphans: bool,
    pub(super) sweeps: Vec<Removal>,
    /// Whether a sweep is in progress.
    pub(super) sweeping: bool,
    pub(super) closing: bool,
    /// Whether the writer has ended.
    pub(super) finished: bool,
}

pub(super) struct Off {
    pub(super) reason: String,
    /// When it is tried again.
    pub(super) until: Instant,
}

impl fmt::Debug for DiskShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskTier").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The time of a use, as the index has it.
pub(super) fn now() -> u64 {
    micros(clock::now())
}

/// Waits for a signal, at most this long.
pub(super) fn wait_for<'a>(
    signal: &Condvar,
    inner: MutexGuard<'a, Inner>,
    longest: Duration,
) -> MutexGuard<'a, Inner> {
    signal.wait_timeout(inner, longest).unwrap_or_else(PoisonError::into_inner).0
}

impl DiskShared {
    pub(super) fn new(path: &Path, capacity: Capacity, statistics: Arc<Statistics>) -> Self {
        Self {
            path: path.to_owned(),
            capacity,
            statistics,
            folder: OnceLock::new(),
            index: Index::default(),
            read_now: ReadNow::default(),
            reads: Arc::new(Semaphore::new(READ_PERMITS as usize)),
            readers: Readers::default(),
            inner: Mutex::new(Inner {
                queue: Queue::new(QUEUE_BYTES),
                breaker: Breaker::default(),
                off: None,
                scanned: false,
                hidden: HashSet::new(),
                orphans: false,
                sweeps: Vec::new(),
                sweeping: false,
                closing: false,
                finished: false,
            }),
            wake: Condvar::new(),
            sweep: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a record, if there is one, and replaces any job for it.
    pub(super) fn remove_record(&self, inner: &mut Inner, name: FileName) {
        let is_known = self.index.size(name).is_some() || inner.queue.find(name).is_some();
        if is_known || !inner.scanned {
            self.unlink(inner, name);
        }
    }

    /// Removes a file. If the job cannot be queued, the index forgets the file, and a sweep finds it
    /// later.
    pub(super) fn unlink(&self, inner: &mut Inner, name: FileName) {
        let is_served = !inner.closing || inner.sweeping;
        if inner.off.is_none() && is_served && inner.queue.push(name, Job::Remove) {
            self.wake.notify_one();
        } else {
            self.hide(inner, name);
            self.sweep.notify_one();
        }
    }

    /// Removes a file from the index that cannot be removed from disk now.
    fn hide(&self, inner: &mut Inner, name: FileName) {
        self.index.remove(name);
        if !inner.scanned && inner.hidden.len() < MOST_HIDDEN {
            inner.hidden.insert(name);
        } else {
            inner.orphans = true;
        }
    }

    /// Removes a damaged file, unless a new one is queued for it.
    pub(super) fn forget(&self, name: FileName) {
        let mut inner = self.lock();
        if !matches!(inner.queue.find(name), Some(Job::Write(_))) {
            self.remove_record(&mut inner, name);
        }
    }

    /// Counts a failure of the disk, and turns the tier off after too many.
    pub(super) fn failed(&self, access: Access, error: &io::Error) {
        self.statistics.disk_errors.inc();
        let mut inner = self.lock();
        if inner.off.is_some() {
            return;
        }
        let now = Instant::now();
        if let Some(pause) = inner.breaker.failed(access, error, now) {
            let tried = match access {
                Access::Read => "reading",
                Access::Write => "writing",
            };
            self.turn_off(&mut inner, format!("{tried} failed: {error}"), now, pause);
        }
    }

    /// The folder cannot be used.
    pub(super) fn unusable(&self, error: &io::Error) {
        let mut inner = self.lock();
        let now = Instant::now();
        let pause = inner.breaker.pause(now);
        match &mut inner.off {
            Some(off) => off.until = now + pause,
            None => self.turn_off(&mut inner, error.to_string(), now, pause),
        }
    }

    /// Another process uses the folder. It is tried again after this pause.
    pub(super) fn in_use(&self, error: &io::Error, pause: Duration) {
        let mut inner = self.lock();
        let now = Instant::now();
        match &mut inner.off {
            Some(off) => off.until = now + pause,
            None => self.turn_off(&mut inner, error.to_string(), now, pause),
        }
    }

    /// From here on nothing is read or written. The index forgets the files of queued jobs too, so
    /// that no older version is served.
    fn turn_off(&self, inner: &mut Inner, reason: String, now: Instant, pause: Duration) {
        warn!(
            "The disk cache {} is off, the service goes on without it: {reason}. It is tried again \
             in {} s.",
            self.path.display(),
            pause.as_secs()
        );
        for name in inner.queue.clear() {
            self.hide(inner, name);
        }
        inner.off = Some(Off { reason, until: now + pause });
        self.idle.notify_all();
    }

    /// The disk works (again).
    pub(super) fn turn_on(&self) {
        let mut inner = self.lock();
        if inner.off.take().is_some() {
            info!("The disk cache {} works again.", self.path.display());
        }
        self.sweep.notify_one();
    }
}
