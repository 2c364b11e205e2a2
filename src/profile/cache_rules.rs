//! Which objects of a profile are cached and for how long: one rule for all keys, others for patterns.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::profile::globs::Globs;

/// What a viewer of HiPS surveys requests first: `properties`, the coverage map, and the orders 0 to 3, of which
/// the last has the preview `Allsky`.
pub const SURVEY_PINS: [&str; 12] = [
    "properties",
    "*/properties",
    "Moc.fits",
    "*/Moc.fits",
    "Norder0/*",
    "*/Norder0/*",
    "Norder1/*",
    "*/Norder1/*",
    "Norder2/*",
    "*/Norder2/*",
    "Norder3/*",
    "*/Norder3/*",
];

/// The cache rule for the keys that match a pattern. The default caches nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether responses are cached; if not, every request bypasses the cache.
    pub store: bool,
    /// Freshness lifetime of objects without `Cache-Control` or `Expires`.
    pub ttl: Duration,
    /// Freshness lifetime of negative entries (404); zero caches none.
    pub negative_ttl: Duration,
    /// How long after its freshness an object is served stale while it is revalidated in the background
    /// (RFC 5861).
    pub stale_while_revalidate: Duration,
    /// How long after its freshness an object is served stale when the store fails (RFC 5861).
    pub stale_if_error: Duration,
    /// The largest object that is cached whole, bytes; larger ones are cached in blocks.
    pub max_object: u64,
    /// Whether a client's `Cache-Control: no-cache` forces revalidation.
    pub client_no_cache: bool,
}

/// The rules of one profile. The default caches nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheRules {
    /// The rule for keys that match no pattern.
    pub base: Rule,
    /// Patterns of keys, in order: the first that matches the key applies.
    patterns: Globs,
    /// The rule of each pattern.
    by_pattern: Vec<Rule>,
    /// The keys of objects that stay in memory before all others.
    pins: Globs,
}

impl CacheRules {
    /// Rules by pattern, each with the rule at the same place; `base` for keys that match none.
    #[must_use]
    pub fn new(base: Rule, patterns: Globs, by_pattern: Vec<Rule>) -> Self {
        Self { base, patterns, by_pattern, pins: Globs::default() }
    }

    /// The same rules, where objects with these keys are pinned in memory.
    #[must_use]
    pub fn with_pins(self, pins: Globs) -> Self {
        Self { pins, ..self }
    }

    /// Whether the object with this key is pinned in memory.
    #[must_use]
    pub fn pins(&self, key: &str) -> bool {
        self.pins.matches(key)
    }

    /// Whether objects are pinned in memory.
    #[must_use]
    pub fn has_pins(&self) -> bool {
        self.pins.iter().next().is_some()
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        std::iter::once(&self.base).chain(&self.by_pattern)
    }

    /// The rule for this key.
    #[must_use]
    pub fn of(&self, key: &str) -> &Rule {
        self.listed(key).map_or(&self.base, |(_, rule)| rule)
    }

    /// The first pattern that matches this key, with its rule.
    #[must_use]
    pub fn listed(&self, key: &str) -> Option<(&WildMatch, &Rule)> {
        let place = self.patterns.first_match(key)?;
        Some((self.patterns.get(place)?, self.by_pattern.get(place)?))
    }
}
