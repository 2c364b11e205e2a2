//! The model: the objects of the store in plain memory, with the history of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::history::{History, Version};
use crate::replica::Replica;
use crate::store::{Object, Store};

/// Bytes of a block of the gateway, its smallest.
pub(crate) const BLOCK: u64 = 64 * 1024;
/// Blocks of the largest object.
const MOST_BLOCKS: u64 = 40;
pub(crate) const OBJECTS: usize = 48;
/// Folders they are in, which can be purged as a whole.
const FOLDERS: usize = 6;
/// The length of the noise of which every version is a section, bytes.
const POOL: usize = 8 << 20;

/// All objects.
pub(crate) struct World {
    store: Store,
    replica: Option<Replica>,
    histories: Vec<Mutex<History>>,
    /// Noise. The object and its version number decide where a version begins, so that no two
    /// versions have the same bytes at the same position, and no version has the same bytes at two
    /// positions.
    pool: Bytes,
}

impl World {
    /// Puts the first version of every object into the store. `replica` is a store that follows this one.
    pub(crate) fn new(store: Store, replica: Option<Replica>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pool = vec![0; POOL];
        random.fill(&mut pool);
        let histories = (0..OBJECTS).map(|_| Mutex::default()).collect();
        let world = Self { store, replica, histories, pool: pool.into() };
        for object in 0..OBJECTS {
            world.overwrite(object, &mut random);
        }
        world
    }

    /// A random object; some are requested more often than others.
    pub(crate) fn pick(random: &mut fastrand::Rng) -> usize {
        let among = random.usize(..OBJECTS);
        random.usize(..=among)
    }

    /// Its key in the bucket `model`.
    pub(crate) fn key(object: usize) -> String {
        format!("{}{object}.fits", Self::folder(object))
    }

    pub(crate) fn folder(object: usize) -> String {
        format!("fits/{}/", object % FOLDERS)
    }

    /// The object that the store knows by this path.
    pub(crate) fn object_at(path: &str) -> Option<usize> {
        let object = path.strip_suffix(".fits")?.rsplit('/').next()?.parse().ok()?;
        (object < OBJECTS).then_some(object)
    }

    fn history(&self, object: usize) -> MutexGuard<'_, History> {
        self.histories[object].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another version of an object into the store, now and then of the same length.
    pub(crate) fn overwrite(&self, object: usize, random: &mut fastrand::Rng) {
        let mut history = self.history(object);
        let last = history.known(random).map(|(newest, _)| newest.body.len());
        let length = last.filter(|_| random.u32(..3) == 0);
        let length = length.unwrap_or_else(|| some_length(random));
        let number = history.changes();
        let start = random.usize(..POOL - length);
        let body = self.pool.slice(start..start + length);
        let mut stored = Object::new(body.clone());
        // Each version has its own second: without their tags, versions are distinguished by date.
        stored.last_modified += Duration::from_secs(number);
        let (etag, modified) = (stored.quoted_etag(), stored.last_modified);
        let began = Instant::now();
        if let Some(replica) = &self.replica {
            replica.put(&Self::key(object), &stored, &body);
        }
        self.store.put("model", &Self::key(object), stored);
        history.changed(began, Some(Arc::new(Version { number, body, etag, modified })));
    }

    /// Removes an object from the store.
    pub(crate) fn delete(&self, object: usize) {
        let mut history = self.history(object);
        let began = Instant::now();
        if let Some(replica) = &self.replica {
            replica.delete(&Self::key(object));
        }
        self.store.delete("model", &Self::key(object));
        history.changed(began, None);
    }

    /// Notes that an object was purged, or all of its folder.
    pub(crate) fn purged(
        &self,
        object: usize,
        whole_folder: bool,
        sent: Instant,
        answered: Instant,
    ) {
        let objects: Vec<usize> = match whole_folder {
            true => (object % FOLDERS..OBJECTS).step_by(FOLDERS).collect(),
            false => vec![object],
        };
        for object in objects {
            self.history(object).purged(sent, answered);
        }
    }

    /// The newest version, and one of any age: the versions that clients know.
    pub(crate) fn known(
        &self,
        object: usize,
        random: &mut fastrand::Rng,
    ) -> Option<(Arc<Version>, Arc<Version>)> {
        self.history(object).known(random)
    }

    /// The versions the store may have had when it was asked: see [`History::possible`].
    pub(crate) fn possible(
        &self,
        object: usize,
        oldest: Duration,
        lag: Duration,
        sent: Instant,
        received: Instant,
    ) -> Vec<Option<Arc<Version>>> {
        self.history(object).possible(oldest, lag, sent, received)
    }

    /// These versions, and the copies that the replica has of them.
    pub(crate) fn with_copies(
        &self,
        versions: Vec<Option<Arc<Version>>>,
    ) -> Vec<Option<Arc<Version>>> {
        let Some(replica) = &self.replica else { return versions };
        let copies: Vec<_> = versions.iter().flatten().map(|it| Some(replica.copy(it))).collect();
        versions.into_iter().chain(copies).collect()
    }

    /// The position of these bytes in the object's versions, for the error report.
    pub(crate) fn places_of(&self, object: usize, bytes: &[u8]) -> String {
        const ENOUGH: usize = 8;
        let Some(sample) = bytes.get(..ENOUGH) else { return "too few to locate".to_owned() };
        let found = memchr::memmem::find_iter(&self.pool, sample);
        let found: Vec<usize> = found.collect();
        let mut places = Vec::new();
        let others = (0..OBJECTS).filter(|other| *other != object);
        for other in std::iter::once(object).chain(others) {
            let history = self.history(other);
            for version in history.versions().filter(|version| !version.body.is_empty()) {
                let begins = version.body.as_ptr() as usize - self.pool.as_ptr() as usize;
                let inside = |at: &&usize| (begins..begins + version.body.len()).contains(at);
                places.extend(found.iter().filter(inside).map(|at| {
                    format!("byte {} of version {} of {other}", at - begins, version.number)
                }));
            }
        }
        places.truncate(4);
        format!("they are {places:?}")
    }

    /// Discards the log of the store, which is large.
    pub(crate) fn clear_log(&self) {
        self.store.clear_log();
        if let Some(replica) = &self.replica {
            replica.clear_log();
        }
    }
}

/// Lengths at the edges of blocks, and any.
fn some_length(random: &mut fastrand::Rng) -> usize {
    let most = match random.u32(..10) {
        0..3 => 2,
        3..7 => 8,
        _ => MOST_BLOCKS,
    };
    let length = match random.u32(..4) {
        0 => random.u64(..=most * BLOCK),
        _ => edge(random.u64(..=most), random),
    };
    usize::try_from(length).expect("a length in memory")
}

/// Where a block begins, or a byte before or after.
pub(crate) fn edge(block: u64, random: &mut fastrand::Rng) -> u64 {
    (block * BLOCK + random.u64(..3)).saturating_sub(1)
}
