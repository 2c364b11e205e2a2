//! Pending purges: an entry that a purge covers is never served, from the moment of the purge, however
//! many entries there are. A sweep removes the entries themselves later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use serde::Serialize;

use crate::cache::purge::scopes::Scopes;

/// The purges that have not been swept yet.
#[derive(Debug, Default)]
pub(in crate::cache) struct PendingPurges {
    /// Whether there are any, so that most lookups take no lock.
    any: AtomicBool,
    /// With the times of the purges.
    pending: RwLock<Scopes<SystemTime>>,
}

/// One purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The bytes of a cache key, or the bytes that the keys of many objects begin with.
    pub key: Vec<u8>,
    pub scope: PurgeScope,
    /// It covers responses whose requests were sent to the store up to this time.
    pub at: SystemTime,
}

/// Which objects a purge covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeScope {
    /// One object.
    Object,
    /// Every object whose key begins with the given bytes.
    Prefix,
}

/// What a purge has removed so far. The objects are not served any more in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Entries in memory: objects, heads, negative and hit-for-pass entries.
    pub memory: u64,
    /// Blocks in memory.
    pub blocks: u64,
    /// Records on disk; `None` while the disk is looked through, and without a disk tier.
    pub disk: Option<u64>,
    /// Whether the purge has looked through all tiers.
    pub complete: bool,
    /// Whether the memory is looked through later, together with other purges: nobody should wait for it.
    #[serde(skip)]
    pub deferred: bool,
}

impl Purge {
    /// Whether it covers the response to a request for this object sent at this time.
    #[must_use]
    pub fn covers(&self, key: &[u8], requested_at: SystemTime) -> bool {
        requested_at <= self.at
            && match self.scope {
                PurgeScope::Object => key == self.key,
                PurgeScope::Prefix => key.starts_with(&self.key),
            }
    }
}

impl PendingPurges {
    /// Adds a purge. From now on the entries that it covers are not served.
    pub(in crate::cache) fn add(&self, purge: &Purge) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.add(purge, purge.at);
        self.any.store(true, Ordering::Release);
    }

    /// Whether a pending purge covers the response to a request for this object sent at this time.
    #[must_use]
    pub(in crate::cache) fn covers(&self, key: &[u8], requested_at: SystemTime) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        pending.any(key, |at| requested_at <= *at)
    }

    /// Removes a purge, when no tier holds an entry that it covers any more.
    pub(in crate::cache) fn remove(&self, purge: &Purge) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.remove(purge, |at| *at == purge.at);
        if pending.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_purge_covers_what_was_requested_before_it_and_no_more() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let purges = PendingPurges::default();
        assert!(!purges.covers(b"a/b", at(1)));
        let below = Purge { key: b"a/".to_vec(), scope: PurgeScope::Prefix, at: at(10) };
        let one = Purge { key: b"c".to_vec(), scope: PurgeScope::Object, at: at(20) };
        purges.add(&below);
        purges.add(&one);
        for (key, requested_at, covered) in [
            (&b"a/"[..], 10, true),
            (b"a/b", 9, true),
            (b"a/b", 11, false),
            (b"a", 9, false),
            (b"b/a/", 9, false),
            (b"c", 20, true),
            (b"cc", 20, false),
        ] {
            assert_eq!(purges.covers(key, at(requested_at)), covered, "{}", key.escape_ascii());
        }
        purges.remove(&below);
        assert!(!purges.covers(b"a/b", at(9)));
        assert!(purges.covers(b"c", at(9)));
        purges.remove(&one);
        assert!(!purges.covers(b"c", at(9)));
    }
}
