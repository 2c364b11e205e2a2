//! Purges by what they cover: how long it takes to find those of an object does not grow with their number.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::cache::purge::pending::{Purge, PurgeScope};

/// Values by the scope of a purge.
#[derive(Debug)]
pub(in crate::cache) struct Scopes<T> {
    /// By the key of an object.
    objects: HashMap<Vec<u8>, Vec<T>>,
    /// By the bytes that keys begin with.
    prefixes: BTreeMap<Vec<u8>, Vec<T>>,
}

impl<T> Default for Scopes<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), prefixes: BTreeMap::new() }
    }
}

impl<T> Scopes<T> {
    pub(in crate::cache) fn add(&mut self, purge: &Purge, value: T) {
        let values = match purge.scope {
            PurgeScope::Object => self.objects.entry(purge.key.clone()).or_default(),
            PurgeScope::Prefix => self.prefixes.entry(purge.key.clone()).or_default(),
        };
        values.push(value);
    }

    /// Removes the values of a purge of which this holds.
    pub(in crate::cache) fn remove(&mut self, purge: &Purge, holds: impl Fn(&T) -> bool) {
        let values = match purge.scope {
            PurgeScope::Object => self.objects.get_mut(&purge.key),
            PurgeScope::Prefix => self.prefixes.get_mut(&purge.key),
        };
        let Some(values) = values else { return };
        values.retain(|value| !holds(value));
        if values.is_empty() {
            match purge.scope {
                PurgeScope::Object => drop(self.objects.remove(&purge.key)),
                PurgeScope::Prefix => drop(self.prefixes.remove(&purge.key)),
            }
        }
    }

    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.prefixes.is_empty()
    }

    /// Whether this holds for a value whose scope contains the object; values are passed until it does.
    pub(in crate::cache) fn any(&self, object: &[u8], mut holds: impl FnMut(&T) -> bool) -> bool {
        if self.objects.get(object).is_some_and(|values| values.iter().any(&mut holds)) {
            return true;
        }
        // All prefixes of the object that are not yet found are prefixes of `rest`, and so not above it in
        // the order of bytes.
        let mut rest = object;
        while let Some((prefix, values)) =
            self.prefixes.range::<[u8], _>((Bound::Unbounded, Bound::Included(rest))).next_back()
        {
            let common = common_length(prefix, object);
            let length = if common < prefix.len() {
                common
            } else if values.iter().any(&mut holds) {
                return true;
            } else if let Some(shorter) = common.checked_sub(1) {
                shorter
            } else {
                return false;
            };
            rest = object.get(..length).unwrap_or_default();
        }
        false
    }
}

fn common_length(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_purges_of_an_object_are_those_that_contain_it(
            purges in proptest::collection::vec(("[ab]{0,4}", any::<bool>()), 0..12),
            objects in proptest::collection::vec("[abc]{0,5}", 1..20),
        ) {
            let purges: Vec<_> = purges.into_iter().map(|(key, is_object)| {
                let scope = if is_object { PurgeScope::Object } else { PurgeScope::Prefix };
                Purge { key: key.into_bytes(), scope, at: UNIX_EPOCH }
            }).collect();
            let mut scopes = Scopes::default();
            for (place, purge) in purges.iter().enumerate() {
                scopes.add(purge, place);
            }
            for object in &objects {
                let covers = |purge: &Purge| purge.covers(object.as_bytes(), UNIX_EPOCH);
                let expected: Vec<_> = (0..purges.len()).filter(|at| covers(&purges[*at])).collect();
                let mut found = Vec::new();
                scopes.any(object.as_bytes(), |place| { found.push(*place); false });
                found.sort_unstable();
                prop_assert_eq!(&found, &expected, "{}", object);
                prop_assert_eq!(scopes.any(object.as_bytes(), |_| true), !expected.is_empty());
            }
            for (place, purge) in purges.iter().enumerate() {
                prop_assert!(!scopes.is_empty());
                scopes.remove(purge, |other| *other == place);
            }
            prop_assert!(scopes.is_empty());
        }
    }
}
