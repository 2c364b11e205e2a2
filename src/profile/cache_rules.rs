//! What is kept of a profile's objects and for how long: one rule for all keys, others for patterns.

use std::time::Duration;

use wildmatch::WildMatch;

/// How the objects whose keys share a pattern are kept. The default keeps nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether anything is kept at all; off, every request goes to the store.
    pub store: bool,
    /// How long an object is fresh that does not say so itself by `Cache-Control` or `Expires`.
    pub ttl: Duration,
    /// How long a missing object stays missing; zero keeps no misses.
    pub negative_ttl: Duration,
    /// How long after that an object is still served while it is asked for again in the background.
    pub stale_while_revalidate: Duration,
    /// How long after its freshness an object is still served when the store fails.
    pub stale_if_error: Duration,
    /// The largest object that is kept whole, bytes; larger ones are kept in blocks.
    pub max_object: u64,
    /// Whether a client's `Cache-Control: no-cache` has the object asked for again.
    pub client_no_cache: bool,
}

/// The rules of one profile. The default keeps nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheRules {
    /// For keys that match no pattern.
    pub base: Rule,
    /// The first pattern that matches the key decides.
    pub patterns: Vec<(WildMatch, Rule)>,
}

impl CacheRules {
    /// The rule for this key.
    #[must_use]
    pub fn of(&self, key: &str) -> &Rule {
        self.listed(key).map_or(&self.base, |(_, rule)| rule)
    }

    /// The first pattern that matches this key, with its rule.
    #[must_use]
    pub fn listed(&self, key: &str) -> Option<&(WildMatch, Rule)> {
        self.patterns.iter().find(|(pattern, _)| pattern.matches(key))
    }
}
