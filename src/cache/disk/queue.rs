//! What is still to be done on disk, one thing for each file: a later one takes the place of an
//! earlier one. Whoever reads looks here first, since it is newer than the file.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cache::disk::DiskRecord;
use crate::cache::disk::name::FileName;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;

/// More files do not wait.
const MAX_JOBS: usize = 65_536;
/// Bytes of a record besides its body, roughly.
const OVERHEAD: u64 = 2048;

/// What is to be done with a file.
#[derive(Debug, Clone)]
pub enum Job {
    Write(Arc<DiskRecord>),
    Refresh(CacheKey, Freshness),
    Remove,
}

impl Job {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write(record) => OVERHEAD + record.body.len() as u64,
            Self::Refresh(..) | Self::Remove => 0,
        }
    }
}

/// A job that was taken from the queue and stands in it until it is done.
#[derive(Debug)]
pub struct Taken {
    pub name: FileName,
    pub job: Job,
    turn: u64,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    turn: u64,
    /// Whether it is in the order; it is not while it is being done.
    in_order: bool,
}

/// The jobs, in the order of the first for each file.
#[derive(Debug)]
pub struct Queue {
    jobs: HashMap<FileName, Waiting>,
    order: VecDeque<FileName>,
    /// Bytes of bodies held.
    bytes: u64,
    max_bytes: u64,
    turn: u64,
}

impl Queue {
    /// An empty queue that holds at most so many bytes of bodies.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { jobs: HashMap::new(), order: VecDeque::new(), bytes: 0, max_bytes, turn: 0 }
    }

    /// Adds a job, in place of any other for this file; `false` if there is no room, and nothing
    /// changed.
    #[must_use]
    pub fn push(&mut self, name: FileName, job: Job) -> bool {
        let old = self.jobs.get(&name);
        let bytes = self.bytes - old.map_or(0, |old| old.job.bytes()) + job.bytes();
        let is_full = old.is_none() && self.jobs.len() >= MAX_JOBS;
        // One that grows the queue must fit; one that shrinks it always does.
        if is_full || (bytes > self.max_bytes && bytes > self.bytes) {
            return false;
        }
        if old.is_none_or(|old| !old.in_order) {
            self.order.push_back(name);
        }
        self.bytes = bytes;
        self.turn += 1;
        self.jobs.insert(name, Waiting { job, turn: self.turn, in_order: true });
        true
    }

    /// Another freshness for what is to be written, or is written already.
    #[must_use]
    pub fn refresh(&mut self, name: FileName, key: &CacheKey, freshness: Freshness) -> bool {
        let job = match self.find(name) {
            Some(Job::Write(record)) => {
                Job::Write(Arc::new(DiskRecord { freshness, ..DiskRecord::clone(record) }))
            }
            Some(Job::Remove) => return true,
            Some(Job::Refresh(..)) | None => Job::Refresh(key.clone(), freshness),
        };
        self.push(name, job)
    }

    /// Records that wait to be written are removed instead where this holds.
    pub fn remove_where(&mut self, doomed: impl Fn(&DiskRecord) -> bool) {
        let names: Vec<FileName> = self
            .jobs
            .iter()
            .filter_map(|(name, waiting)| match &waiting.job {
                Job::Write(record) if doomed(record) => Some(*name),
                _ => None,
            })
            .collect();
        for name in names {
            // There is room: it takes the place of something larger.
            let _ = self.push(name, Job::Remove);
        }
    }

    /// What is to be done with this file.
    #[must_use]
    pub fn find(&self, name: FileName) -> Option<&Job> {
        self.jobs.get(&name).map(|waiting| &waiting.job)
    }

    /// The next job; it stays in the queue until it is [`done`](Self::done).
    pub fn take(&mut self) -> Option<Taken> {
        let name = self.order.pop_front()?;
        let waiting = self.jobs.get_mut(&name)?;
        waiting.in_order = false;
        Some(Taken { name, job: waiting.job.clone(), turn: waiting.turn })
    }

    /// A job was done; what came for its file meanwhile stays. `false` if the queue was cleared
    /// since: what was done may not be the newest.
    #[must_use]
    pub fn done(&mut self, taken: &Taken) -> bool {
        let Some(waiting) = self.jobs.get(&taken.name) else { return false };
        if waiting.turn == taken.turn {
            self.jobs.remove(&taken.name);
            self.bytes -= taken.job.bytes();
        }
        true
    }

    /// Forgets all that waits; the names it was for.
    pub fn clear(&mut self) -> Vec<FileName> {
        let names = self.jobs.keys().copied().collect();
        *self = Self { turn: self.turn, ..Self::new(self.max_bytes) };
        names
    }

    /// The number of jobs, those under way among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes of bodies that wait.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests;
