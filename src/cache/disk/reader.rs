//! The threads that read records: few, because each has a heap of its own. The memory for a record is
//! taken by the task that asks for it, before the read.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use log::debug;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::cache::disk::name::FileName;
use crate::cache::disk::record::DiskRecord;
use crate::cache::disk::shared::DiskShared;
use crate::cache::key::CacheKey;
use crate::cache::memory::budget::Held;

/// The most threads. They are started as they are needed, and stay.
const MOST_THREADS: usize = 16;

/// A record to read.
pub(super) struct ReadJob {
    pub(super) name: FileName,
    pub(super) key: CacheKey,
    /// Empty, with room for the whole file.
    pub(super) buffer: Vec<u8>,
    /// Its share of the budget; it stays with the record.
    pub(super) held: Option<Arc<Held>>,
    /// One of the reads that may be in progress.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) reply: oneshot::Sender<Option<DiskRecord>>,
}

/// The records to read, and the threads that read them.
#[derive(Default)]
pub(super) struct Readers {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<ReadJob>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the threads. Records that are asked for are not read any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.work.notify_all();
        drop(jobs);
    }

    /// The next job, or `None` at the end.
    fn next(&self) -> Option<ReadJob> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Has a record read.
pub(super) fn push(shared: &Arc<DiskShared>, job: ReadJob) {
    let mut state = shared.readers.lock();
    if state.closed {
        return;
    }
    state.jobs.push_back(job);
    let is_needed = state.jobs.len() > state.idle && state.threads < MOST_THREADS;
    if !is_needed {
        drop(state);
        shared.readers.work.notify_one();
        return;
    }
    state.threads += 1;
    drop(state);
    let owned = Arc::clone(shared);
    let started = thread::Builder::new().name("disk-reader".to_owned()).spawn(move || {
        while let Some(job) = owned.readers.next() {
            perform(&owned, job);
        }
    });
    if let Err(error) = started {
        debug!("disk cache: no thread to read: {error}");
        shared.readers.lock().threads -= 1;
    }
}

fn perform(shared: &DiskShared, job: ReadJob) {
    let ReadJob { name, key, buffer, held, permit, reply } = job;
    // The task may have given up.
    if reply.is_closed() {
        return;
    }
    let record = shared.read(name, &key, buffer);
    drop(permit);
    let _gave_up = reply.send(record.map(|record| DiskRecord { held, ..record }));
}
