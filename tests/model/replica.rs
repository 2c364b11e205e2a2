//! A second store that follows the first one after a while, as the zones of a multisite do. Its objects have the same
//! bytes and other entity tags, as if they had been uploaded in parts.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::history::Version;
use crate::store::{Object, Store};

/// How far the replica is behind.
pub(crate) const LAG: Duration = Duration::from_millis(300);

/// The store that follows. It is up to date [`LAG`] after the last change.
pub(crate) struct Replica {
    store: Store,
    changes: Sender<Change>,
    /// The entity tags of its objects by those of the first store.
    tags: Mutex<HashMap<String, String>>,
}

/// A change of the first store: the copy of the new object, or `None` for one that is removed.
struct Change {
    due: Instant,
    key: String,
    copy: Option<Object>,
}

impl Replica {
    pub(crate) fn new(store: Store) -> Self {
        let (changes, arriving) = channel::<Change>();
        let own = store.clone();
        // It ends with the sender.
        thread::spawn(move || {
            for Change { due, key, copy } in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                match copy {
                    Some(copy) => drop(own.put("model", &key, copy)),
                    None => drop(own.delete("model", &key)),
                }
            }
        });
        Self { store, changes, tags: Mutex::default() }
    }

    /// Follows with a copy of this object, whose bytes are these.
    pub(crate) fn put(&self, key: &str, original: &Object, bytes: &Bytes) {
        let mut copy = Object::repeated(bytes.clone(), bytes.len() as u64);
        copy.last_modified = original.last_modified;
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.insert(original.quoted_etag(), copy.quoted_etag());
        drop(tags);
        self.change(key, Some(copy));
    }

    pub(crate) fn delete(&self, key: &str) {
        self.change(key, None);
    }

    fn change(&self, key: &str, copy: Option<Object>) {
        let change = Change { due: Instant::now() + LAG, key: key.to_owned(), copy };
        self.changes.send(change).expect("the replica follows");
    }

    /// The copy of a version.
    pub(crate) fn copy(&self, version: &Version) -> Arc<Version> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let etag = tags.get(&version.etag).expect("a copy").clone();
        let Version { number, body, modified, .. } = version;
        Arc::new(Version { number: *number, body: body.clone(), etag, modified: *modified })
    }

    pub(crate) fn clear_log(&self) {
        self.store.clear_log();
    }
}
