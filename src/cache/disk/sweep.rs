//! The thread that looks through all files: at the start for what is there, later for what is to
//! be removed.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use log::{debug, info};

use crate::cache::disk::breaker::Access;
use crate::cache::disk::folder::{FileRead, Folder};
use crate::cache::disk::queue::Job;
use crate::cache::disk::shared::{DiskShared, Doomed, wait_for};
use crate::cache::key::CacheKey;

/// A wait that is ended by a signal.
const LONG: Duration = Duration::from_secs(3600);
/// While so many jobs wait, a sweep adds no more.
const PATIENCE: usize = 1024;

/// Starts the thread.
pub(super) fn start(shared: &Arc<DiskShared>) -> io::Result<()> {
    let owned = Arc::clone(shared);
    let thread = thread::Builder::new().name("disk-sweeper".to_owned());
    thread.spawn(move || run(&owned)).map(|_| ())
}

fn run(shared: &DiskShared) {
    let Some(folder) = shared.folder.get() else { return };
    scan(shared, folder);
    loop {
        let mut inner = shared.lock();
        while !inner.closing && (inner.off.is_some() || !inner.orphans) && inner.sweeps.is_empty() {
            inner = wait_for(&shared.sweep, inner, LONG);
        }
        // What was purged is removed first: the next process would serve it.
        if inner.closing && (inner.sweeps.is_empty() || !inner.scanned) {
            return;
        }
        let doomed = std::mem::take(&mut inner.sweeps);
        inner.sweeping = !doomed.is_empty();
        let orphans = inner.off.is_none() && !inner.closing && std::mem::take(&mut inner.orphans);
        drop(inner);
        for number in 0..=u8::MAX {
            if orphans {
                remove_orphans(shared, folder, number);
            }
            if !doomed.is_empty() {
                remove_doomed(shared, folder, number, &doomed);
            }
        }
        shared.lock().sweeping = false;
        shared.wake.notify_one();
    }
}

/// Finds what is there.
fn scan(shared: &DiskShared, folder: &Folder) {
    for number in 0..=u8::MAX {
        let found = folder.list(number, |name, size, used| shared.index.discover(name, size, used));
        if let Err(error) = found {
            debug!("disk cache: looking for files: {error}");
            shared.failed(Access::Read, &error);
        }
        if shared.lock().closing {
            return;
        }
    }
    let mut inner = shared.lock();
    inner.scanned = true;
    if inner.orphans {
        // Something was to be removed and could not: it may have been found since.
        shared.index.clear();
    }
    for name in std::mem::take(&mut inner.hidden) {
        shared.unlink(&mut inner, name);
    }
    drop(inner);
    info!(
        "The disk cache {} holds {} objects, {} bytes.",
        shared.path.display(),
        shared.index.entries(),
        shared.index.bytes()
    );
    shared.wake.notify_one();
}

/// Removes files that the index does not know.
fn remove_orphans(shared: &DiskShared, folder: &Folder, number: u8) {
    let mut names = Vec::new();
    let listed = folder.list(number, |name, _, _| names.push(name));
    for name in names {
        if !wait_for_room(shared) {
            return;
        }
        let mut inner = shared.lock();
        // In this order: a file is in the index before it leaves the queue.
        if inner.queue.find(name).is_none() && shared.index.size(name).is_none() {
            shared.unlink(&mut inner, name);
        }
    }
    if let Err(error) = listed {
        shared.failed(Access::Read, &error);
    }
}

/// Removes records for which any of these holds.
fn remove_doomed(shared: &DiskShared, folder: &Folder, number: u8, doomed: &[Doomed]) {
    let only_blocks = doomed.iter().all(|doomed| doomed.only_blocks);
    for name in shared.index.names(number) {
        if only_blocks && !name.is_block() {
            continue;
        }
        wait_for_room(shared);
        // What cannot be read may be doomed.
        let is_doomed = match folder.head(name) {
            Ok(FileRead::Whole(head)) => is_any(doomed, &head.key, head.requested_at),
            Ok(FileRead::Absent | FileRead::Damaged(_)) | Err(_) => true,
        };
        let mut inner = shared.lock();
        let newer = match inner.queue.find(name) {
            Some(Job::Write(record)) => !is_any(doomed, &record.key, record.requested_at),
            _ => false,
        };
        if is_doomed && !newer {
            shared.unlink(&mut inner, name);
        }
    }
}

fn is_any(doomed: &[Doomed], key: &CacheKey, requested_at: SystemTime) -> bool {
    doomed.iter().any(|doomed| doomed.covers(key, requested_at))
}

/// Waits until the writer has caught up; `false` if the tier closes.
fn wait_for_room(shared: &DiskShared) -> bool {
    let mut inner = shared.lock();
    while (!inner.closing || inner.sweeping) && inner.queue.len() > PATIENCE {
        inner = wait_for(&shared.idle, inner, Duration::from_secs(1));
    }
    !inner.closing
}
