//! The queue of the disk tier, with one job for each file: a later job replaces an earlier one.
//! Readers look here first, because a queued record is newer than the file.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cache::disk::name::FileName;
use crate::cache::disk::record::DiskRecord;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Budget;

/// The largest number of jobs.
const MAX_JOBS: usize = 65_536;
/// Bytes of a record besides its body, estimated.
const OVERHEAD: u64 = 2048;

/// How many jobs are looked at to free memory.
const MOST_SHED: usize = 1024;

/// A change of a file.
#[derive(Debug, Clone)]
pub(in crate::cache) enum Job {
    Write(Arc<DiskRecord>),
    Freshen(CacheKey, Freshness),
    Remove,
}

impl Job {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write(record) => OVERHEAD + record.body.len(),
            Self::Freshen(..) | Self::Remove => 0,
        }
    }
}

/// A job that was taken from the queue. It stays in the queue until it is done.
#[derive(Debug)]
pub(in crate::cache) struct Taken {
    pub name: FileName,
    pub job: Job,
    turn: u64,
}

#[derive(Debug)]
struct QueuedJob {
    job: Job,
    turn: u64,
    /// Whether it is in the order; it is not while it is being done.
    in_order: bool,
}

/// The jobs, in the order of the first for each file.
#[derive(Debug)]
pub(in crate::cache) struct Queue {
    jobs: HashMap<FileName, QueuedJob>,
    order: VecDeque<FileName>,
    /// Bytes of bodies held.
    bytes: u64,
    max_bytes: u64,
    turn: u64,
}

impl Queue {
    /// An empty queue for at most this many bytes of bodies.
    #[must_use]
    pub(in crate::cache) fn new(max_bytes: u64) -> Self {
        Self { jobs: HashMap::new(), order: VecDeque::new(), bytes: 0, max_bytes, turn: 0 }
    }

    /// Adds a job, in place of any other for this file; `false` if there is no room, and nothing
    /// changed.
    #[must_use]
    pub(in crate::cache) fn push(&mut self, name: FileName, job: Job) -> bool {
        let old = self.jobs.get(&name);
        let bytes = self.bytes - old.map_or(0, |old| old.job.bytes()) + job.bytes();
        let is_full = old.is_none() && self.jobs.len() >= MAX_JOBS;
        // A job that makes the queue larger must fit; one that makes it smaller always does.
        if is_full || (bytes > self.max_bytes && bytes > self.bytes) {
            return false;
        }
        if old.is_none_or(|old| !old.in_order) {
            self.order.push_back(name);
        }
        self.bytes = bytes;
        self.turn += 1;
        self.jobs.insert(name, QueuedJob { job, turn: self.turn, in_order: true });
        true
    }

    /// Gives a record another freshness, whether it is queued or on disk.
    #[must_use]
    pub(in crate::cache) fn freshen(
        &mut self,
        name: FileName,
        key: &CacheKey,
        freshness: Freshness,
    ) -> bool {
        let job = match self.find(name) {
            Some(Job::Write(record)) => {
                Job::Write(Arc::new(DiskRecord { freshness, ..DiskRecord::clone(record) }))
            }
            Some(Job::Remove) => return true,
            Some(Job::Freshen(..)) | None => Job::Freshen(key.clone(), freshness),
        };
        self.push(name, job)
    }

    /// Removes queued records for which this holds; their files are removed instead.
    pub(in crate::cache) fn remove_where(&mut self, covered: impl Fn(&DiskRecord) -> bool) {
        let names: Vec<FileName> = self
            .jobs
            .iter()
            .filter_map(|(name, waiting)| match &waiting.job {
                Job::Write(record) if covered(record) => Some(*name),
                _ => None,
            })
            .collect();
        for name in names {
            // There is room, because it replaces something larger.
            let _ = self.push(name, Job::Remove);
        }
    }

    /// Removes records until this many bytes of this budget are free, if there are as many: records
    /// whose memory is held by the queue alone. Returns the number of records; their files are removed
    /// instead.
    pub(in crate::cache) fn shed(&mut self, bytes: u64, budget: &Arc<Budget>) -> u64 {
        let mut freed = 0;
        let mut names = Vec::new();
        for name in self.order.iter().take(MOST_SHED) {
            let Some(Job::Write(record)) = self.find(*name) else { continue };
            let Some(held) = record.held.as_ref().filter(|held| held.is_of(budget)) else {
                continue;
            };
            if freed >= bytes {
                break;
            }
            if Arc::strong_count(held) == 1 {
                freed += held.bytes();
                names.push(*name);
            }
        }
        for name in &names {
            // There is room, because it replaces something larger.
            let _ = self.push(*name, Job::Remove);
        }
        names.len() as u64
    }

    /// The job for this file.
    #[must_use]
    pub(in crate::cache) fn find(&self, name: FileName) -> Option<&Job> {
        self.jobs.get(&name).map(|waiting| &waiting.job)
    }

    /// The next job; it stays in the queue until it is [`done`](Self::done).
    pub(in crate::cache) fn take(&mut self) -> Option<Taken> {
        let name = self.order.pop_front()?;
        let waiting = self.jobs.get_mut(&name)?;
        waiting.in_order = false;
        Some(Taken { name, job: waiting.job.clone(), turn: waiting.turn })
    }

    /// Notes that a job was done; a newer job for its file stays. `false` if the queue was cleared
    /// meanwhile: the file may not be the newest.
    #[must_use]
    pub(in crate::cache) fn done(&mut self, taken: &Taken) -> bool {
        let Some(waiting) = self.jobs.get(&taken.name) else { return false };
        if waiting.turn == taken.turn {
            self.jobs.remove(&taken.name);
            self.bytes -= taken.job.bytes();
        }
        true
    }

    /// Clears the queue. Returns the names of its files.
    pub(in crate::cache) fn clear(&mut self) -> Vec<FileName> {
        let names = self.jobs.keys().copied().collect();
        *self = Self { turn: self.turn, ..Self::new(self.max_bytes) };
        names
    }

    /// The number of jobs, including those in progress.
    #[must_use]
    pub(in crate::cache) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes of queued bodies.
    #[must_use]
    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all jobs are done.
    #[must_use]
    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests;
