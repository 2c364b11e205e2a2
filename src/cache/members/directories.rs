//! The directories of archives, each for one version of one archive, within a number of bytes.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{Cache as Map, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::archive::ArchiveFault;
use crate::archive::pmtiles::{MapHeader, TileDirectory};
use crate::archive::zip::ZipDirectory;
use crate::cache::blocks::reader::OpenError;
use crate::cache::blocks::version::Version;
use crate::cache::key::CacheKey;
use crate::cache::purge::pending::Purge;

/// One directory takes at most this part of the memory for all.
const LARGEST_PART: u64 = 4;
/// Directories that are read at the same time: their bytes are in memory twice.
const AT_ONCE: usize = 4;
/// Bytes of an entry besides those of the directory and its key.
const OVERHEAD: u64 = 256;
/// The estimated weight of an entry, bytes.
const TYPICAL: u64 = 64 << 10;

/// The largest directory where all take at most `memory` bytes.
pub(super) fn largest(memory: u64) -> u64 {
    memory / LARGEST_PART
}

/// A directory, or why there is none: the same version is damaged in the same way next time.
#[derive(Debug, Clone)]
pub(super) enum Directory {
    Zip(Arc<ZipDirectory>),
    /// The header, and the directory at the root.
    Map(Arc<(MapHeader, TileDirectory)>),
    /// A directory below the root.
    Tiles(Arc<TileDirectory>),
    Fault(ArchiveFault),
}

/// A directory of one version of an archive, by its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DirectoryKey {
    pub(super) archive: CacheKey,
    pub(super) version: [u8; 16],
    /// 0 for the one that is read first.
    pub(super) place: u64,
}

impl DirectoryKey {
    pub(super) fn new(archive: &CacheKey, version: &Version, place: u64) -> Self {
        Self { archive: archive.clone(), version: *version.mark(), place }
    }
}

#[derive(Clone)]
struct WeighDirectory;

impl Weighter<DirectoryKey, Directory> for WeighDirectory {
    fn weight(&self, key: &DirectoryKey, directory: &Directory) -> u64 {
        let bytes = match directory {
            Directory::Zip(directory) => directory.weight(),
            Directory::Map(map) => map.1.weight(),
            Directory::Tiles(directory) => directory.weight(),
            Directory::Fault(_) => 0,
        };
        bytes + key.archive.as_bytes().len() as u64 + OVERHEAD
    }
}

/// Directories in memory.
pub(super) struct ArchiveDirectories {
    known: Map<DirectoryKey, Directory, WeighDirectory, RandomState>,
    memory: u64,
    reading: Semaphore,
    /// Purges so far.
    purges: AtomicU64,
}

impl ArchiveDirectories {
    /// Directories of `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        let options = OptionsBuilder::new()
            .weight_capacity(memory)
            .estimated_items_capacity(
                usize::try_from(memory / TYPICAL).unwrap_or(usize::MAX).max(1),
            )
            // A larger number would make a shard smaller than the largest directory.
            .shards(1)
            .build();
        let known = match options {
            Ok(options) => Map::with_options(
                options,
                WeighDirectory,
                RandomState::new(),
                DefaultLifecycle::default(),
            ),
            Err(_) => Map::with(
                1,
                memory,
                WeighDirectory,
                RandomState::new(),
                DefaultLifecycle::default(),
            ),
        };
        Self { known, memory, reading: Semaphore::new(AT_ONCE), purges: AtomicU64::new(0) }
    }

    /// The largest directory, bytes.
    pub(super) fn most(&self) -> u64 {
        largest(self.memory)
    }

    /// The directory with this key, which `read` reads if it is not known. It is read once at a time.
    pub(super) async fn get(
        &self,
        key: &DirectoryKey,
        read: impl Future<Output = Result<Directory, OpenError>>,
    ) -> Result<Directory, OpenError> {
        if let Some(known) = self.known.get(key) {
            return Ok(known);
        }
        let purges = self.purges.load(Ordering::SeqCst);
        let limited = async {
            // It is never closed.
            let _turn = self.reading.acquire().await.ok();
            read.await
        };
        let read = Box::pin(self.known.get_or_insert_async(key, limited)).await;
        // It may be of before a purge, and known since after it.
        if self.purges.load(Ordering::SeqCst) != purges {
            self.known.remove(key);
        }
        read
    }

    /// The directory with this key, if it is known.
    pub(super) fn known(&self, key: &DirectoryKey) -> Option<Directory> {
        self.known.peek(key)
    }

    /// Forgets the directories of all archives that a purge covers, and why some have none.
    pub(super) fn forget(&self, purge: &Purge) {
        self.purges.fetch_add(1, Ordering::SeqCst);
        self.known.retain(|key, _| !purge.covers(key.archive.as_bytes(), purge.at));
    }
}

impl std::fmt::Debug for ArchiveDirectories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveDirectories").field("memory", &self.memory).finish_non_exhaustive()
    }
}
