//! Purges: what is asked for before a purge and lies below it is gone at once, however much that is.
//! The entries themselves are swept out later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

/// The purges that have not been swept yet.
#[derive(Debug, Default)]
pub struct Purges {
    /// Whether there are any, so that most lookups take no lock.
    any: AtomicBool,
    pending: RwLock<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// By key, each with the times it was purged at.
    objects: HashMap<Vec<u8>, Vec<SystemTime>>,
    prefixes: Vec<Purge>,
}

/// One purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The bytes of a cache key, or with which those of many begin.
    pub key: Vec<u8>,
    pub reach: PurgeScope,
    /// What was asked for until then is gone.
    pub at: SystemTime,
}

/// What a purge is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeScope {
    /// One object.
    Object,
    /// Everything whose key begins with the given bytes.
    Prefix,
}

impl Purge {
    /// Whether it removes the entry of this key, asked for at this time.
    #[must_use]
    pub fn covers(&self, key: &[u8], asked: SystemTime) -> bool {
        asked <= self.at
            && match self.reach {
                PurgeScope::Object => key == self.key,
                PurgeScope::Prefix => key.starts_with(&self.key),
            }
    }
}

impl Purges {
    /// From now on what it covers is gone.
    pub fn add(&self, purge: Purge) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        match purge.reach {
            PurgeScope::Object => pending.objects.entry(purge.key).or_default().push(purge.at),
            PurgeScope::Prefix => pending.prefixes.push(purge),
        }
        self.any.store(true, Ordering::Release);
    }

    /// Whether an entry is gone.
    #[must_use]
    pub fn cover(&self, key: &[u8], asked: SystemTime) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        pending.objects.get(key).is_some_and(|purged| purged.iter().any(|at| asked <= *at))
            || pending.prefixes.iter().any(|purge| purge.covers(key, asked))
    }

    /// Forgets a purge: nothing of what it covers is kept any more.
    pub fn swept(&self, purge: &Purge) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        match purge.reach {
            PurgeScope::Object => {
                if let Some(purged) = pending.objects.get_mut(&purge.key) {
                    purged.retain(|at| *at != purge.at);
                    if purged.is_empty() {
                        pending.objects.remove(&purge.key);
                    }
                }
            }
            PurgeScope::Prefix => pending.prefixes.retain(|other| other != purge),
        }
        if pending.objects.is_empty() && pending.prefixes.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_purge_covers_what_was_asked_for_before_it_and_no_more() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let purges = Purges::default();
        assert!(!purges.cover(b"a/b", at(1)));
        let below = Purge { key: b"a/".to_vec(), reach: PurgeScope::Prefix, at: at(10) };
        let one = Purge { key: b"c".to_vec(), reach: PurgeScope::Object, at: at(20) };
        purges.add(below.clone());
        purges.add(one.clone());
        for (key, asked, covered) in [
            (&b"a/"[..], 10, true),
            (b"a/b", 9, true),
            (b"a/b", 11, false),
            (b"a", 9, false),
            (b"b/a/", 9, false),
            (b"c", 20, true),
            (b"cc", 20, false),
        ] {
            assert_eq!(purges.cover(key, at(asked)), covered, "{}", key.escape_ascii());
        }
        purges.swept(&below);
        assert!(!purges.cover(b"a/b", at(9)));
        assert!(purges.cover(b"c", at(9)));
        purges.swept(&one);
        assert!(!purges.cover(b"c", at(9)));
    }
}
