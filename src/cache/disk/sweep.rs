//! The thread that looks through all files: at the start to find records, later to remove some.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use log::{debug, info};

use crate::cache::disk::breaker::Access;
use crate::cache::disk::folder::{FileRead, Folder};
use crate::cache::disk::name::FileName;
use crate::cache::disk::queue::Job;
use crate::cache::disk::shared::{DiskShared, Removal, now, wait_for};
use crate::cache::key::CacheKey;

/// A wait that a signal ends.
const LONG: Duration = Duration::from_secs(3600);
/// A sweep adds no job while this many are queued.
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
        // Purged records are removed first, or the next process would serve them.
        if inner.closing && (inner.sweeps.is_empty() || !inner.scanned) {
            return;
        }
        let removals = std::mem::take(&mut inner.sweeps);
        inner.sweeping = !removals.is_empty();
        let orphans = inner.off.is_none() && !inner.closing && std::mem::take(&mut inner.orphans);
        drop(inner);
        for number in 0..=u8::MAX {
            if orphans {
                remove_orphans(shared, folder, number);
            }
            if !removals.is_empty() {
                remove_covered(shared, folder, number, &removals);
            }
        }
        shared.lock().sweeping = false;
        shared.wake.notify_one();
    }
}

/// Finds the records in the folder.
fn scan(shared: &DiskShared, folder: &Folder) {
    for number in 0..=u8::MAX {
        let found = folder.list(number, |name, size, used| {
            // A file from the future would be the last to be evicted.
            shared.index.discover(name, size, used.min(now()));
        });
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
        // A record was to be removed and could not be: it may have been found since.
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
fn remove_covered(shared: &DiskShared, folder: &Folder, number: u8, removals: &[Removal]) {
    let concerned = |name: FileName| removals.iter().any(|removal| removal.concerns(name));
    for name in shared.index.names_where(number, concerned) {
        wait_for_room(shared);
        // A file that cannot be read may be one of them.
        let is_covered = match folder.head(name) {
            Ok(FileRead::Whole(head)) => is_any(removals, &head.key, head.requested_at),
            Ok(FileRead::Absent | FileRead::Larger | FileRead::Damaged(_)) | Err(_) => true,
        };
        let mut inner = shared.lock();
        let newer = match inner.queue.find(name) {
            Some(Job::Write(record)) => !is_any(removals, &record.key, record.requested_at),
            _ => false,
        };
        if is_covered && !newer {
            shared.unlink(&mut inner, name);
        }
    }
}

fn is_any(removals: &[Removal], key: &CacheKey, requested_at: SystemTime) -> bool {
    removals.iter().any(|removal| removal.covers(key, requested_at))
}

/// Waits until the writer has caught up; `false` if the tier closes.
fn wait_for_room(shared: &DiskShared) -> bool {
    let mut inner = shared.lock();
    while (!inner.closing || inner.sweeping) && inner.queue.len() > PATIENCE {
        inner = wait_for(&shared.idle, inner, Duration::from_secs(1));
    }
    !inner.closing
}
