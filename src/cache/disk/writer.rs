//! The thread that writes and removes files. Being the only one, it needs no locks on them.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cache::clock::process_start;
use crate::cache::disk::breaker::Access;
use crate::cache::disk::folder::{FileRead, Folder, Write, is_full, size_on_disk};
use crate::cache::disk::index::MAX_ENTRIES;
use crate::cache::disk::name::FileName;
use crate::cache::disk::queue::{Job, Taken};
use crate::cache::disk::record::DiskRecord;
use crate::cache::disk::record::head_bytes;
use crate::cache::disk::shared::{DiskShared, now, wait_for};
use crate::cache::disk::sweep;

/// A wait that a signal ends.
const LONG: Duration = Duration::from_secs(3600);
/// How long a new process waits for the folder before its disk tier goes off. A process that is upgraded
/// unlocks it within this time.
const HANDOVER: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);
/// How often it looks afterwards.
const LOCK_PAUSE: Duration = Duration::from_secs(1);
/// The smallest number of bytes that are evicted from a full disk before a second attempt.
const RELIEF: u64 = 1024 * 1024;

/// The next work of the thread.
enum Work {
    Job(Taken),
    /// More bytes are on disk than the capacity.
    Evict,
    /// The pause of the tier is over.
    Retry,
    End,
}

/// Starts the thread. If that fails, the tier stays off.
pub(super) fn start(shared: &Arc<DiskShared>, write: Write) {
    let owned = Arc::clone(shared);
    let thread = thread::Builder::new().name("disk-writer".to_owned()).spawn(move || {
        run(&owned, write);
        owned.lock().finished = true;
        owned.idle.notify_all();
    });
    if let Err(error) = thread {
        shared.unusable(&error);
        shared.lock().finished = true;
    }
}

/// Whether another process uses the folder.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

fn run(shared: &Arc<DiskShared>, write: Write) {
    let started = Instant::now();
    let write = Arc::new(write);
    let folder = loop {
        let write = Arc::clone(&write);
        let opened =
            Folder::open(&shared.path, Box::new(move |file, bytes, at| (*write)(file, bytes, at)));
        match opened {
            Ok(folder) => break folder,
            // An earlier process that hands over, or ends, unlocks it in a moment.
            Err(error) if is_locked(&error) && started.elapsed() < HANDOVER => {
                if shared.lock().closing {
                    return;
                }
                thread::sleep(LOCK_INTERVAL);
                continue;
            }
            Err(error) if is_locked(&error) => shared.in_use(&error, LOCK_PAUSE),
            Err(error) => shared.unusable(&error),
        }
        match next(shared) {
            Work::End => return,
            Work::Job(_) | Work::Evict | Work::Retry => {}
        }
    };
    let folder = shared.folder.get_or_init(|| folder);
    shared.turn_on();
    if let Err(error) = sweep::start(shared) {
        shared.unusable(&error);
    }
    loop {
        match next(shared) {
            Work::Job(taken) => {
                perform(shared, folder, &taken);
                if !shared.lock().queue.done(&taken) && remove(shared, folder, taken.name).is_err()
                {
                    shared.lock().orphans = true;
                }
                shared.idle.notify_all();
            }
            Work::Evict => {
                evict(shared, folder);
            }
            Work::Retry => match try_again(shared, folder) {
                Ok(()) => shared.turn_on(),
                Err(error) => shared.unusable(&error),
            },
            Work::End => return,
        }
    }
}

fn next(shared: &DiskShared) -> Work {
    let mut inner = shared.lock();
    loop {
        let longest = match &inner.off {
            Some(_) if inner.closing => return Work::End,
            Some(off) => {
                let left = off.until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Work::Retry;
                }
                left
            }
            None => {
                if let Some(taken) = inner.queue.take() {
                    return Work::Job(taken);
                }
                // Records that a sweep finds are still to be removed.
                let swept = !inner.sweeping && (inner.sweeps.is_empty() || !inner.scanned);
                if inner.closing && swept {
                    return Work::End;
                }
                if shared.index.bytes() > shared.capacity.all {
                    return Work::Evict;
                }
                LONG
            }
        };
        inner = wait_for(&shared.wake, inner, longest);
    }
}

fn perform(shared: &DiskShared, folder: &Folder, taken: &Taken) {
    let name = taken.name;
    let done = match &taken.job {
        Job::Write(record) => write(shared, folder, name, record),
        Job::Freshen(key, freshness) => match folder.freshen(name, key, freshness) {
            Ok(FileRead::Whole(())) => Ok(()),
            Ok(FileRead::Absent | FileRead::Larger) => remove(shared, folder, name),
            Ok(FileRead::Damaged(_)) => {
                shared.statistics.disk_damaged.inc();
                remove(shared, folder, name)
            }
            Err(error) => Err(error),
        },
        Job::Remove => remove(shared, folder, name),
    };
    match done {
        Ok(()) => shared.lock().breaker.worked(Access::Write),
        // A folder has the name of the file, which is no failure of the disk.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            shared.index.remove(name);
            shared.statistics.disk_dropped.inc();
        }
        Err(error) => {
            // The file is older than the record that could not be written.
            if remove(shared, folder, name).is_err() {
                shared.lock().orphans = true;
            }
            shared.failed(Access::Write, &error);
        }
    }
}

/// Removes a file. The index forgets it even if the disk fails.
fn remove(shared: &DiskShared, folder: &Folder, name: FileName) -> io::Result<()> {
    shared.index.remove(name);
    folder.remove(name)
}

fn write(
    shared: &DiskShared,
    folder: &Folder,
    name: FileName,
    record: &DiskRecord,
) -> io::Result<()> {
    let index = &shared.index;
    let head = head_bytes(record, process_start());
    let size = head.as_ref().map(|head| size_on_disk(head.len() as u64 + record.body.len()));
    let (Some(head), Some(size)) = (head, size.filter(|size| *size <= shared.capacity.all)) else {
        shared.statistics.disk_dropped.inc();
        return remove(shared, folder, name);
    };
    let old = index.size(name).unwrap_or(0);
    while (index.bytes().saturating_sub(old) + size > shared.capacity.all
        || index.entries() >= MAX_ENTRIES)
        && evict(shared, folder)
    {}
    let written = folder.write(name, &head, &record.body);
    let written = match written {
        Err(error) if is_full(&error) && index.entries() > 0 => {
            shared.statistics.disk_errors.inc();
            relieve(shared, folder, RELIEF.max(2 * size));
            folder.write(name, &head, &record.body)
        }
        written => written,
    };
    written.map(|()| index.insert(name, size, now()))
}

fn try_again(shared: &DiskShared, folder: &Folder) -> io::Result<()> {
    folder.restore()?;
    match folder.probe() {
        Err(error) if is_full(&error) => {
            relieve(shared, folder, RELIEF);
            folder.probe()
        }
        probed => probed,
    }
}

/// Evicts this many bytes, if there are as many.
fn relieve(shared: &DiskShared, folder: &Folder, bytes: u64) {
    let goal = shared.index.bytes().saturating_sub(bytes);
    while shared.index.bytes() > goal && evict(shared, folder) {}
}

/// Evicts the least used of a few records; false if there is none. Blocks are evicted as long as they
/// take more than their share, and only then.
fn evict(shared: &DiskShared, folder: &Folder) -> bool {
    let (index, random) = (&shared.index, fastrand::u64(..));
    let blocks = index.block_bytes() > shared.capacity.blocks;
    let name = index.least_used(random, blocks).or_else(|| index.least_used(random, !blocks));
    let Some(name) = name else { return false };
    shared.statistics.disk_evictions.inc();
    if let Err(error) = remove(shared, folder, name) {
        shared.lock().orphans = true;
        shared.failed(Access::Write, &error);
    }
    true
}
