//! The objects of the store and the history of each.

use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::history::{History, Version};
use crate::store::{Object, Store};

/// Three times as many bytes as the gateway has memory for, roughly.
const OBJECTS: usize = 400;
/// Folders they are in, which can be purged as a whole.
const FOLDERS: usize = 8;
/// The length of a line of an object, bytes; each line names its object, version and number.
const LINE: usize = 32;

/// Longer than any answer takes or may be old.
const REMEMBERED: Duration = Duration::from_secs(60);

/// All objects.
pub(crate) struct Sky {
    store: Store,
    histories: Vec<Mutex<History>>,
}

impl Sky {
    /// Puts the first version of every object into the store.
    pub(crate) fn new(store: Store, seed: u64) -> Self {
        let histories = (0..OBJECTS).map(|_| Mutex::default()).collect();
        let sky = Self { store, histories };
        let mut random = fastrand::Rng::with_seed(seed);
        for object in 0..OBJECTS {
            sky.overwrite(object, &mut random);
        }
        sky
    }

    /// A random object; some are requested far more often than others.
    pub(crate) fn pick(random: &mut fastrand::Rng) -> usize {
        let among = random.usize(..OBJECTS);
        let among = random.usize(..=among);
        random.usize(..=among)
    }

    /// Its key in the bucket `sky`.
    pub(crate) fn key(object: usize) -> String {
        format!("{}{object}.png", Self::folder(object))
    }

    pub(crate) fn folder(object: usize) -> String {
        format!("tiles/{}/", object % FOLDERS)
    }

    fn history(&self, object: usize) -> MutexGuard<'_, History> {
        self.histories[object].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another version of an object into the store.
    pub(crate) fn overwrite(&self, object: usize, random: &mut fastrand::Rng) {
        let mut history = self.history(object);
        if let Some(before) = Instant::now().checked_sub(REMEMBERED) {
            history.forget(before);
        }
        let number = history.changes();
        let size = match random.u32(..100) {
            // Empty versions would all have the same entity tag.
            _ if number == 0 && object.is_multiple_of(50) => 0,
            0..60 => random.usize(1..20_000),
            _ => random.usize(20_000..100_000),
        };
        let body = Bytes::from(content(object, number, size));
        let mut stored = Object::new(body.clone());
        // Each version has its own second, so that dates distinguish them.
        stored.last_modified += Duration::from_secs(number);
        let version =
            Version { number, body, etag: stored.quoted_etag(), modified: stored.last_modified };
        let began = Instant::now();
        self.store.put("sky", &Self::key(object), stored);
        history.changed(began, Some(Arc::new(version)));
    }

    /// Removes an object from the store.
    pub(crate) fn delete(&self, object: usize) {
        let mut history = self.history(object);
        let began = Instant::now();
        self.store.delete("sky", &Self::key(object));
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
        sent: Instant,
        received: Instant,
    ) -> Vec<Option<Arc<Version>>> {
        self.history(object).possible(oldest, Duration::ZERO, sent, received)
    }
}

/// Lines that name their position.
fn content(object: usize, version: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + LINE);
    for line in 0..size.div_ceil(LINE) {
        let _ = writeln!(bytes, "{object:>5} {version:>8} {line:>16}");
    }
    bytes.truncate(size);
    bytes
}
