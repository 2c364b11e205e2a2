//! Reading a record at once, without a thread of its own, where the kernel has all of it in memory: the
//! calls say so instead of waiting for the disk (openat2(2), `RESOLVE_CACHED`; preadv2(2), `RWF_NOWAIT`).

use std::fs::File;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::cache::disk::folder::{Folder, record_in};
use crate::cache::disk::name::FileName;
use crate::cache::disk::record::DiskRecord;
use crate::cache::key::CacheKey;

/// The largest file that is read at once, bytes: an object of 1 MiB with its head. To copy and check it
/// takes about as long as to send it.
pub(super) const LARGEST: u64 = (1 << 20) + (64 << 10);

/// Whether the kernel and the file system can do this.
#[derive(Debug)]
pub(super) struct ReadNow(AtomicBool);

impl Default for ReadNow {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl ReadNow {
    /// The record of this key, if all of its file is in memory and right. `None` says nothing about the
    /// record: the file has to be read.
    pub(super) fn read(
        &self,
        folder: &Folder,
        name: FileName,
        key: &CacheKey,
    ) -> Option<DiskRecord> {
        if !self.0.load(Ordering::Relaxed) {
            return None;
        }
        match read(folder, name) {
            Ok((buffer, length)) => record_in(buffer, length, key).ok(),
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM) => {
                self.0.store(false, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }
}

/// The bytes of a file, and its length.
fn read(folder: &Folder, name: FileName) -> Result<(Vec<u8>, u64), Errno> {
    // No link is followed, and no pipe waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = folder.path_of(name);
    let file = File::from(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?);
    let found = file.metadata().map_err(|_| Errno::AGAIN)?;
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if !found.is_file() || found.len() > LARGEST {
        return Err(Errno::AGAIN);
    }
    let mut buffer = vec![0; length];
    let read = preadv2(&file, &mut [IoSliceMut::new(&mut buffer)], 0, ReadWriteFlags::NOWAIT)?;
    if read == length { Ok((buffer, found.len())) } else { Err(Errno::AGAIN) }
}
