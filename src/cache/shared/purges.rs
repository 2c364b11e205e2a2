//! The purges that the engine has recorded, as far as this replica knows them. Each has a number that the
//! engine gave it, so that no clock decides which values it covers.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::cache::purge::pending::PurgeScope;
use crate::engine::StreamId;

/// Purges that the engine records; values from before the oldest of them are not used.
pub(in crate::cache) const MAX_PURGES: usize = 10_000;

/// How many times at which purges were learned are remembered. Values of requests from before are taken
/// to know no purge.
const MAX_LEARNED: usize = 256;

/// The purges by their numbers.
#[derive(Debug, Default)]
pub(super) struct RecordedPurges {
    objects: HashMap<Vec<u8>, StreamId>,
    prefixes: HashMap<Vec<u8>, StreamId>,
    /// In their order, so that the oldest can be forgotten.
    order: VecDeque<(StreamId, PurgeScope, Vec<u8>)>,
    last: StreamId,
    /// Values that do not know this purge may be covered by a forgotten one.
    floor: StreamId,
    learned: VecDeque<(SystemTime, StreamId)>,
}

impl RecordedPurges {
    /// The last one that is known.
    pub(super) fn last(&self) -> StreamId {
        self.last
    }

    /// Adds a purge; those that are known already change nothing.
    pub(super) fn learn(&mut self, id: StreamId, scope: PurgeScope, key: Vec<u8>, now: SystemTime) {
        if id <= self.last {
            return;
        }
        let map = match scope {
            PurgeScope::Object => &mut self.objects,
            PurgeScope::Prefix => &mut self.prefixes,
        };
        map.insert(key.clone(), id);
        self.order.push_back((id, scope, key));
        self.last = id;
        self.learned.push_back((now, id));
        if self.learned.len() > MAX_LEARNED {
            self.learned.pop_front();
        }
        while self.order.len() > MAX_PURGES {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some((id, scope, key)) = self.order.pop_front() else { return };
        let map = match scope {
            PurgeScope::Object => &mut self.objects,
            PurgeScope::Prefix => &mut self.prefixes,
        };
        if map.get(&key) == Some(&id) {
            map.remove(&key);
        }
        self.floor = self.floor.max(id);
    }

    /// The engine may have forgotten purges from before this one.
    pub(super) fn distrust_before(&mut self, id: StreamId) {
        self.floor = self.floor.max(id);
    }

    /// Whether a purge covers a value about this object whose writer knew the purges up to `known` when
    /// it sent its request to the store.
    pub(super) fn covers(&self, object: &[u8], known: StreamId) -> bool {
        if known >= self.last {
            return false;
        }
        known < self.floor
            || self.objects.get(object).is_some_and(|id| *id > known)
            || self.prefixes.iter().any(|(prefix, id)| *id > known && object.starts_with(prefix))
    }

    /// The last purge that was known when this request was sent to the store.
    pub(super) fn known_at(&self, requested_at: SystemTime) -> StreamId {
        let before = self.learned.iter().rev().find(|(at, _)| *at < requested_at);
        before.map_or(StreamId::default(), |(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_purge_covers_what_did_not_know_it() {
        let mut purges = RecordedPurges::default();
        assert!(!purges.covers(b"a/b", StreamId::default()));
        purges.learn(StreamId(10, 0), PurgeScope::Prefix, b"a/".to_vec(), at(1));
        purges.learn(StreamId(10, 1), PurgeScope::Object, b"c".to_vec(), at(2));
        for (key, known, covered) in [
            (&b"a/b"[..], StreamId(9, 9), true),
            (b"a/b", StreamId(10, 0), false),
            (b"a", StreamId(0, 0), false),
            (b"c", StreamId(10, 0), true),
            (b"c", StreamId(10, 1), false),
            (b"cc", StreamId(0, 0), false),
        ] {
            assert_eq!(purges.covers(key, known), covered, "{} {known}", key.escape_ascii());
        }
    }

    #[test]
    fn a_request_knows_the_purges_that_were_learned_before_it() {
        let mut purges = RecordedPurges::default();
        for nth in 1..=MAX_LEARNED as u64 + 1 {
            purges.learn(StreamId(nth, 0), PurgeScope::Object, vec![1], at(nth * 10));
        }
        assert_eq!(purges.known_at(at(30)), StreamId(2, 0), "it was learned at that very moment");
        assert_eq!(purges.known_at(at(31)), StreamId(3, 0));
        assert_eq!(purges.known_at(at(15)), StreamId::default(), "that time is forgotten");
        assert_eq!(purges.known_at(at(1 << 30)), purges.last());
    }

    #[test]
    fn what_is_forgotten_covers_everything_from_before() {
        let mut purges = RecordedPurges::default();
        for nth in 1..=MAX_PURGES as u64 + 5 {
            purges.learn(StreamId(nth, 0), PurgeScope::Object, nth.to_le_bytes().to_vec(), at(nth));
        }
        assert_eq!(purges.objects.len(), MAX_PURGES);
        assert!(purges.covers(b"any", StreamId(4, 0)));
        assert!(!purges.covers(b"any", StreamId(5, 0)));
        purges.distrust_before(StreamId(9, 0));
        assert!(purges.covers(b"any", StreamId(8, 0)));
    }

    #[test]
    fn a_purge_that_is_known_changes_nothing() {
        let mut purges = RecordedPurges::default();
        purges.learn(StreamId(3, 0), PurgeScope::Object, b"a".to_vec(), at(1));
        purges.learn(StreamId(2, 0), PurgeScope::Object, b"b".to_vec(), at(2));
        assert_eq!(purges.last(), StreamId(3, 0));
        assert!(!purges.covers(b"b", StreamId::default()));
    }
}
