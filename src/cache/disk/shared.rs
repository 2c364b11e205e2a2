//! What the threads of the disk tier, and those who ask it, have in common.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use tokio::sync::Semaphore;

use crate::cache::disk::breaker::{Access, Breaker};
use crate::cache::disk::folder::Folder;
use crate::cache::disk::index::Index;
use crate::cache::disk::name::Name;
use crate::cache::disk::queue::{Job, Queue};
use crate::cache::disk::record::micros;
use crate::cache::disk::{Capacity, QUEUE_BYTES, READ_PERMITS};
use crate::cache::key::CacheKey;
use crate::cache::statistics::Statistics;

/// How many files are remembered as to be removed before all of them are known. With more, nothing
/// is kept of what there was: 16 bytes each.
const MOST_HIDDEN: usize = 1 << 16;

/// Which records a sweep removes.
pub(super) struct Doomed {
    /// None but blocks of objects.
    pub(super) only_blocks: bool,
    /// By key and time of asking.
    pub(super) holds: Box<Holds>,
}

type Holds = dyn Fn(&[u8], SystemTime) -> bool + Send;

impl Doomed {
    pub(super) fn covers(&self, key: &CacheKey, asked: SystemTime) -> bool {
        (!self.only_blocks || key.is_block()) && (self.holds)(key.as_bytes(), asked)
    }
}

pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) capacity: Capacity,
    pub(super) statistics: Arc<Statistics>,
    /// Set when it was opened.
    pub(super) folder: OnceLock<Folder>,
    pub(super) index: Index,
    /// Permits to read, one for each piece of a body.
    pub(super) reads: Arc<Semaphore>,
    inner: Mutex<Inner>,
    /// Work for the writer.
    pub(super) wake: Condvar,
    /// Work for the sweeper.
    pub(super) sweep: Condvar,
    /// The writer did some.
    pub(super) idle: Condvar,
}

pub(super) struct Inner {
    pub(super) queue: Queue,
    pub(super) breaker: Breaker,
    /// Set while the tier is off.
    pub(super) off: Option<Off>,
    /// Whether the index knows every file.
    pub(super) scanned: bool,
    /// Files that are to be removed, as long as the index does not know every file.
    pub(super) hidden: HashSet<Name>,
    /// Whether there may be files that are to be removed and are not in the index.
    pub(super) orphans: bool,
    pub(super) sweeps: Vec<Doomed>,
    /// Whether a sweep is under way.
    pub(super) sweeping: bool,
    pub(super) closing: bool,
    /// Whether the writer ended.
    pub(super) finished: bool,
}

pub(super) struct Off {
    pub(super) reason: String,
    /// When it is tried again.
    pub(super) until: Instant,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskTier").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Now, as the index notes uses.
#[expect(clippy::disallowed_methods, reason = "a use is compared with times of files")]
pub(super) fn now() -> u64 {
    micros(SystemTime::now())
}

/// Waits for a signal, and no longer than this.
pub(super) fn wait_for<'a>(
    signal: &Condvar,
    inner: MutexGuard<'a, Inner>,
    longest: Duration,
) -> MutexGuard<'a, Inner> {
    signal.wait_timeout(inner, longest).unwrap_or_else(PoisonError::into_inner).0
}

impl Shared {
    pub(super) fn new(path: &Path, capacity: Capacity, statistics: Arc<Statistics>) -> Self {
        Self {
            path: path.to_owned(),
            capacity,
            statistics,
            folder: OnceLock::new(),
            index: Index::default(),
            reads: Arc::new(Semaphore::new(READ_PERMITS as usize)),
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

    /// Has a record removed, if there is one, whatever waits to be done with it.
    pub(super) fn doom(&self, inner: &mut Inner, name: Name) {
        let is_known = self.index.size(name).is_some() || inner.queue.find(name).is_some();
        if is_known || !inner.scanned {
            self.unlink(inner, name);
        }
    }

    /// Has a file removed. If that cannot wait its turn, the index forgets the file, and a sweep
    /// finds it later.
    pub(super) fn unlink(&self, inner: &mut Inner, name: Name) {
        let is_served = !inner.closing || inner.sweeping;
        if inner.off.is_none() && is_served && inner.queue.push(name, Job::Remove) {
            self.wake.notify_one();
        } else {
            self.hide(inner, name);
            self.sweep.notify_one();
        }
    }

    /// Has the index forget a file that cannot be removed now.
    fn hide(&self, inner: &mut Inner, name: Name) {
        self.index.remove(name);
        if !inner.scanned && inner.hidden.len() < MOST_HIDDEN {
            inner.hidden.insert(name);
        } else {
            inner.orphans = true;
        }
    }

    /// Has a file removed that was found bad, unless it is about to be written anew.
    pub(super) fn forget(&self, name: Name) {
        let mut inner = self.lock();
        if !matches!(inner.queue.find(name), Some(Job::Write(_))) {
            self.doom(&mut inner, name);
        }
    }

    /// Counts a failure of the disk, and turns the tier off if it is one too many.
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

    /// The folder cannot be used, or still not.
    pub(super) fn unusable(&self, error: &io::Error) {
        let mut inner = self.lock();
        let now = Instant::now();
        let pause = inner.breaker.pause(now);
        match &mut inner.off {
            Some(off) => off.until = now + pause,
            None => self.turn_off(&mut inner, error.to_string(), now, pause),
        }
    }

    /// From here on nothing is read or written. What waited is forgotten by the index too, so that
    /// no older version comes back.
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
