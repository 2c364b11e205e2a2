//! Stores that do not keep to `If-Match`, and objects whose version changes again and again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::cache::blocks::version::Version;
use crate::cache::key::CacheKey;

/// How long a store is asked without `If-Match`.
const WITHOUT_IF_MATCH: Duration = Duration::from_secs(600);
/// A version that was replaced this many times within [`CHANGING`] was not: the replicas of the object
/// differ.
pub(super) const CHANGES: usize = 3;
/// The time in which changes of an object are counted.
pub(super) const CHANGING: Duration = Duration::from_secs(60);
/// The largest number of changes that are remembered, of all objects.
const REMEMBERED: usize = 256;

/// What the cache has learned about stores and objects, by their answers.
#[derive(Debug, Default)]
pub(in crate::cache) struct Unreliable {
    /// Until when a profile's store is asked without `If-Match`.
    stores: Mutex<HashMap<String, SystemTime>>,
    /// Versions for which a store has answered 412, the latest at the end.
    refused: Mutex<VecDeque<(CacheKey, [u8; Version::BYTES])>>,
    /// Changes of objects, the latest at the end.
    changes: Mutex<VecDeque<(CacheKey, [u8; Version::BYTES], SystemTime)>>,
}

impl Unreliable {
    /// Whether the store of this profile keeps to `If-Match`, as far as is known.
    pub(super) fn keeps_to_if_match(&self, profile: &str, now: SystemTime) -> bool {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.get(profile).is_none_or(|until| *until <= now)
    }

    /// Notes that the store of this profile has refused `If-Match` with the right entity tag. Returns
    /// whether that is news.
    #[must_use]
    pub(super) fn note_if_match_refused(&self, profile: &str, now: SystemTime) -> bool {
        let until = now.checked_add(WITHOUT_IF_MATCH).unwrap_or(now);
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.insert(profile.to_owned(), until).is_none()
    }

    /// Notes that the store has answered 412 to `If-Match` with the tag of this version.
    pub(super) fn note_refused(&self, key: &CacheKey, version: &Version) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() == REMEMBERED {
            refused.pop_front();
        }
        refused.push_back((key.clone(), *version.mark()));
    }

    /// Whether the store has answered 412 for this version, which it has now. Asked once.
    #[must_use]
    pub(super) fn was_refused(&self, key: &CacheKey, version: &Version) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = refused.len();
        refused.retain(|(other, mark)| other != key || mark != version.mark());
        refused.len() < before
    }

    /// Notes that the store has another version of an object than this one. Returns whether it has come
    /// and gone several times: the object is not worth caching.
    #[must_use]
    pub(super) fn note_change(&self, key: &CacheKey, version: &Version, now: SystemTime) -> bool {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age < CHANGING);
        changes.retain(|(_, _, at)| is_recent(at));
        let last = changes.iter().rev().find(|(other, ..)| other == key);
        if last.is_some_and(|(_, mark, _)| mark == version.mark()) {
            // Another reader of the same version has noticed the same change.
            return false;
        }
        if changes.len() == REMEMBERED {
            changes.pop_front();
        }
        changes.push_back((key.clone(), *version.mark(), now));
        let same = changes.iter().filter(|(other, mark, _)| other == key && mark == version.mark());
        let many = same.count() >= CHANGES;
        if many {
            changes.retain(|(other, ..)| other != key);
        }
        many
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::protocol::headers_of;

    #[test]
    fn a_store_is_asked_without_if_match_for_a_while_and_reported_once() {
        let (seen, now) = (Unreliable::default(), UNIX_EPOCH);
        assert!(seen.keeps_to_if_match("sky", now));
        assert!(seen.note_if_match_refused("sky", now));
        assert!(!seen.note_if_match_refused("sky", now));
        assert!(!seen.keeps_to_if_match("sky", now) && seen.keeps_to_if_match("sea", now));
        assert!(seen.keeps_to_if_match("sky", now + WITHOUT_IF_MATCH));
    }

    #[test]
    fn many_changes_in_a_short_time_are_noticed() {
        let (seen, now) = (Unreliable::default(), UNIX_EPOCH);
        let [one, other] = [&b"one"[..], b"other"].map(CacheKey::from_bytes);
        let [old, new] = ["\"old\"", "\"new\""]
            .map(|tag| Version::of(&headers_of(&[("etag", tag)]), 1).expect("a strong tag"));
        let changes = |version: &Version, at| seen.note_change(&one, version, at);
        assert!(!changes(&old, now) && !changes(&old, now) && !changes(&old, now), "one change");
        assert!(!changes(&new, now) && !changes(&old, now) && !changes(&new, now));
        assert!(!changes(&old, now + CHANGING), "the others were long ago");
        let later = now + CHANGING;
        assert!(!changes(&new, later) && !changes(&old, later) && !changes(&new, later));
        assert!(changes(&old, later), "for the third time");
        assert!(!changes(&old, later), "it counts anew");
        assert!(!seen.note_change(&other, &old, later), "another object");
        for _ in 0..2 * REMEMBERED {
            let _changed = seen.note_change(&other, &new, now);
            let _changed = seen.note_change(&other, &old, now);
        }
        assert!(seen.changes.lock().expect("no panic").len() <= REMEMBERED);
    }
}
