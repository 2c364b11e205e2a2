//! The folder of the disk tier: the only place that opens, writes, renames and removes its files.
//!
//! ```text
//! lock        held by the one process that uses the folder
//! writing     the file being written; renamed when it is whole
//! 00/ .. ff/  records, by the first byte of their names
//! ```

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use bytes::Bytes;
use log::warn;

use crate::cache::body::StoredBody;
use crate::cache::clock::process_start;
use crate::cache::disk::name::{FileName, folder_name};
use crate::cache::disk::record::DiskRecord;
use crate::cache::disk::record::{self, Damage, RecordHead};
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;

const LOCK: &str = "lock";
const WRITING: &str = "writing";
/// Bytes read at first: enough for nearly every head, and for many small records.
const FIRST_READ: u64 = 4096;
/// Files take whole blocks of the disk.
const BLOCK: u64 = 4096;

/// How bytes are written to a file; tests put failing disks in its place.
pub(in crate::cache) type Write = Box<dyn Fn(&File, &[u8], u64) -> io::Result<()> + Send + Sync>;

/// The result of reading a file.
#[derive(Debug)]
pub(in crate::cache) enum FileRead<T> {
    Whole(T),
    Absent,
    /// There is a larger file than expected: it was replaced a moment ago.
    Larger,
    Damaged(Damage),
}

/// The folder, locked for this process.
pub(in crate::cache) struct Folder {
    path: PathBuf,
    lock: File,
    write: Write,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.path).finish()
    }
}

/// Writes all bytes in one call.
#[must_use]
pub(in crate::cache) fn plain_write() -> Write {
    Box::new(|file, bytes, at| file.write_all_at(bytes, at))
}

/// Whether the disk is full.
#[must_use]
pub(in crate::cache) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes a file of this length takes on disk.
#[must_use]
pub(in crate::cache) fn size_on_disk(length: u64) -> u64 {
    length.next_multiple_of(BLOCK)
}

/// Logs a warning if another user may write to the folder: cached objects could then be replaced. The
/// group is allowed to, because Kubernetes gives volumes to a group (`fsGroup`).
fn warn_if_shared(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.mode() & 0o002 != 0 {
        warn!(
            "cache.disk.path: other users can write to {}: run chmod o-w on it, or name a folder \
             below it, which the gateway makes for itself alone",
            path.display()
        );
    }
    Ok(())
}

impl Folder {
    /// Opens the folder, which is made with all its contents for this user alone, and locks it. The
    /// unfinished file of a process that died is removed.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or another process uses it.
    pub(in crate::cache) fn open(path: &Path, write: Write) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        warn_if_shared(path)?;
        let lock = new_file().create(true).truncate(false).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it")
            }
            TryLockError::Error(error) => error,
        })?;
        let folder = Self { path: path.to_owned(), lock, write };
        folder.restore()?;
        match folder.probe() {
            // Existing records can still be read, and evicted.
            Err(error) if is_full(&error) => {}
            probed => probed?,
        }
        Ok(folder)
    }

    /// Makes the missing folders.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn restore(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        (0..=u8::MAX).try_for_each(|number| self.make(number))
    }

    /// Makes one of the 256 folders, or finds it: it must be a folder, not a link.
    fn make(&self, number: u8) -> io::Result<()> {
        let path = self.path.join(folder_name(number));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_folder = fs::symlink_metadata(&path)?.is_dir();
                if is_folder { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
            }
            made => made,
        }
    }

    /// Tries to write a block.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn probe(&self) -> io::Result<()> {
        let block = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
        let written = self.create().and_then(|file| (self.write)(&file, &block, 0));
        let removed = fs::remove_file(self.path.join(WRITING));
        written.and(removed)
    }

    /// The file to write to. There is one, because one thread writes; an existing one was left by a
    /// process that died.
    fn create(&self) -> io::Result<File> {
        let path = self.path.join(WRITING);
        match new_file().create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path)?;
                new_file().create_new(true).open(&path)
            }
            opened => opened,
        }
    }

    /// Writes a record, in place of any other of this name: whole, or not at all. Without fsync:
    /// after a loss of power the checksums show which records are whole.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn write(
        &self,
        name: FileName,
        head: &[u8],
        body: &StoredBody,
    ) -> io::Result<()> {
        let writing = self.path.join(WRITING);
        let written = self.create().and_then(|file| {
            (self.write)(&file, head, 0)?;
            let mut at = head.len() as u64;
            for piece in body.pieces() {
                (self.write)(&file, piece, at)?;
                at += piece.len() as u64;
            }
            Ok(())
        });
        let to = self.path_of(name);
        let renamed = written.and_then(|()| match fs::rename(&writing, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(name.folder())?;
                fs::rename(&writing, &to)
            }
            renamed => renamed,
        });
        if renamed.is_err() {
            let _ = fs::remove_file(&writing);
        }
        renamed
    }

    /// Reads the record of this key into a buffer, and checks every byte of it. The buffer is the memory
    /// of the record; a file that is larger than its capacity is not read. The freshness may be written
    /// at this moment, so damaged bytes are read once more.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn read(
        &self,
        name: FileName,
        key: &CacheKey,
        mut buffer: Vec<u8>,
    ) -> io::Result<FileRead<DiskRecord>> {
        let (file, length) = match self.open_file(name, false)? {
            FileRead::Whole(opened) => opened,
            FileRead::Absent => return Ok(FileRead::Absent),
            FileRead::Larger => return Ok(FileRead::Larger),
            FileRead::Damaged(damage) => return Ok(FileRead::Damaged(damage)),
        };
        if length > buffer.capacity() as u64 {
            return Ok(FileRead::Larger);
        }
        let mut head = Err(Damage::Length);
        for _ in 0..2 {
            buffer.clear();
            read_into(&file, &mut buffer, length)?;
            head = checked_head(&buffer, length);
            if head.is_ok() {
                break;
            }
        }
        Ok(match head.and_then(|head| record_of(head, buffer, key)) {
            Ok(record) => FileRead::Whole(record),
            Err(damage) => FileRead::Damaged(damage),
        })
    }

    /// The path of a file.
    #[must_use]
    pub(super) fn path_of(&self, name: FileName) -> PathBuf {
        self.path.join(name.path())
    }

    /// Reads the head of the record with this name.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn head(&self, name: FileName) -> io::Result<FileRead<RecordHead>> {
        Ok(match self.open_head(name, false)? {
            FileRead::Whole((_, head, _)) => FileRead::Whole(head),
            FileRead::Absent => FileRead::Absent,
            FileRead::Larger => FileRead::Larger,
            FileRead::Damaged(damage) => FileRead::Damaged(damage),
        })
    }

    /// Gives a record another freshness, in its place: a torn write does not match its checksum.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn freshen(
        &self,
        name: FileName,
        key: &CacheKey,
        to: &Freshness,
    ) -> io::Result<FileRead<()>> {
        let (file, head, _) = match self.open_head(name, true)? {
            FileRead::Whole(opened) => opened,
            FileRead::Absent => return Ok(FileRead::Absent),
            FileRead::Larger => return Ok(FileRead::Larger),
            FileRead::Damaged(damage) => return Ok(FileRead::Damaged(damage)),
        };
        if head.key != *key {
            return Ok(FileRead::Damaged(Damage::Foreign));
        }
        (self.write)(&file, &head.other_freshness(to, process_start()), record::FRESHNESS_AT)?;
        Ok(FileRead::Whole(()))
    }

    /// Opens a file and reads its head, and the first bytes of its body with it. Its freshness may be
    /// written at this moment, so a damaged head is read once more.
    fn open_head(
        &self,
        name: FileName,
        write: bool,
    ) -> io::Result<FileRead<(File, RecordHead, Vec<u8>)>> {
        match self.open_head_once(name, write)? {
            FileRead::Damaged(_) => self.open_head_once(name, write),
            found => Ok(found),
        }
    }

    fn open_head_once(
        &self,
        name: FileName,
        write: bool,
    ) -> io::Result<FileRead<(File, RecordHead, Vec<u8>)>> {
        let (mut file, whole) = match self.open_file(name, write)? {
            FileRead::Whole(opened) => opened,
            FileRead::Absent => return Ok(FileRead::Absent),
            FileRead::Larger => return Ok(FileRead::Larger),
            FileRead::Damaged(damage) => return Ok(FileRead::Damaged(damage)),
        };
        let mut start = Vec::with_capacity(usize::try_from(FIRST_READ).unwrap_or_default());
        (&mut file).take(FIRST_READ).read_to_end(&mut start)?;
        let length = match record::head_length(&start) {
            Ok(length) => length,
            Err(damage) => return Ok(FileRead::Damaged(damage)),
        };
        let missing = length.saturating_sub(start.len());
        (&mut file).take(missing as u64).read_to_end(&mut start)?;
        let head = match RecordHead::parse(&start, process_start()) {
            Ok(head) => head,
            Err(damage) => return Ok(FileRead::Damaged(damage)),
        };
        if whole != length as u64 + head.body {
            return Ok(FileRead::Damaged(Damage::Length));
        }
        Ok(FileRead::Whole((file, head, start.split_off(length))))
    }

    /// Opens a file. Returns it with its length, bytes.
    fn open_file(&self, name: FileName, write: bool) -> io::Result<FileRead<(File, u64)>> {
        // No link is followed, and no pipe waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(write).custom_flags(flags);
        let file = match options.open(self.path_of(name)) {
            Ok(file) => file,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT) => Ok(FileRead::Absent),
                    Some(libc::ELOOP | libc::ENXIO | libc::EISDIR) => {
                        Ok(FileRead::Damaged(Damage::Foreign))
                    }
                    _ => Err(error),
                };
            }
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(FileRead::Damaged(Damage::Foreign));
        }
        Ok(FileRead::Whole((file, metadata.len())))
    }

    /// Bytes that a file takes on disk; `None` if there is none.
    #[must_use]
    pub(in crate::cache) fn size(&self, name: FileName) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.path_of(name)).ok()?;
        metadata.is_file().then(|| size_on_disk(metadata.len()))
    }

    /// Removes a file. It is no error if there is none, or if a folder has its name.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn remove(&self, name: FileName) -> io::Result<()> {
        match fs::remove_file(self.path_of(name)) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::IsADirectory
                ) =>
            {
                Ok(())
            }
            removed => removed,
        }
    }

    /// Every file of one of the 256 folders: its name, the bytes it takes, and its last use in
    /// microseconds since the Unix epoch, as far as the file system records it.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(in crate::cache) fn list(
        &self,
        number: u8,
        mut each: impl FnMut(FileName, u64, u64),
    ) -> io::Result<()> {
        for file in fs::read_dir(self.path.join(folder_name(number)))? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str().and_then(|name| FileName::parse(number, name)) else {
                continue;
            };
            // It has been removed since, or is not a record.
            let Some(metadata) = file.metadata().ok().filter(|found| !found.is_dir()) else {
                continue;
            };
            let seconds = metadata.atime().max(metadata.mtime());
            let used = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
            each(name, size_on_disk(metadata.len()), used);
        }
        Ok(())
    }

    /// Unlocks the folder for other processes.
    pub(in crate::cache) fn unlock(&self) {
        let _ = self.lock.unlock();
    }
}

/// Reads `length` bytes of a file into the free capacity of a buffer, if possible in one call.
fn read_into(file: &File, buffer: &mut Vec<u8>, length: u64) -> io::Result<()> {
    while (buffer.len() as u64) < length {
        let at = buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The record of this key in the bytes of a file of this length. Every byte is checked.
///
/// # Errors
/// It is damaged, or belongs to another key.
pub(super) fn record_in(bytes: Vec<u8>, length: u64, key: &CacheKey) -> Result<DiskRecord, Damage> {
    record_of(checked_head(&bytes, length)?, bytes, key)
}

/// The record with this head, whose body begins at this place in these bytes.
fn record_of(
    (head, start): (RecordHead, usize),
    bytes: Vec<u8>,
    key: &CacheKey,
) -> Result<DiskRecord, Damage> {
    if head.key != *key {
        return Err(Damage::Foreign);
    }
    let body = StoredBody::from_bytes(Bytes::from(bytes).slice(start..));
    let RecordHead { key, requested_at, settings, freshness, headers, .. } = head;
    Ok(DiskRecord { key, requested_at, settings, freshness, headers, body, held: None })
}

/// The head of the record in these bytes of a file of this length, and where its body begins. Every
/// byte is checked.
fn checked_head(bytes: &[u8], length: u64) -> Result<(RecordHead, usize), Damage> {
    let start = record::head_length(bytes)?;
    let head = RecordHead::parse(bytes, process_start())?;
    let body = bytes.get(start..).ok_or(Damage::Length)?;
    if body.len() as u64 != head.body || length != bytes.len() as u64 {
        return Err(Damage::Length);
    }
    if head.fits(0, body) { Ok((head, start)) } else { Err(Damage::Checksum) }
}

/// Opens a file for this user alone, without following a link.
fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}
