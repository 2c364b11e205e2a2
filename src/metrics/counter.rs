//! Numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds so many.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each of some names that are known beforehand, and one for any other.
#[derive(Debug)]
pub struct Named {
    names: &'static [&'static str],
    counters: Box<[Counter]>,
}

/// What is not among the names.
pub const OTHER: &str = "other";

impl Named {
    /// Counters at zero.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, counters: (0..=names.len()).map(|_| Counter::default()).collect() }
    }

    /// Counts one of this name.
    pub fn count(&self, name: &str) {
        let place = self.names.iter().position(|known| *known == name);
        if let Some(counter) = self.counters.get(place.unwrap_or(self.names.len())) {
            counter.count();
        }
    }

    /// All names with their numbers: from the start, so that the first of a kind is seen as a rise.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = self.names.iter().copied().chain([OTHER]);
        let numbers = self.counters.iter().map(Counter::get);
        names.zip(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_apart_and_unknown_ones_together() {
        let named = Named::new(&["a", "b"]);
        for name in ["b", "b", "c", "d", "a", "other"] {
            named.count(name);
        }
        assert_eq!(named.numbers().collect::<Vec<_>>(), [("a", 1), ("b", 2), (OTHER, 3)]);
        assert_eq!(Named::new(&["a"]).numbers().collect::<Vec<_>>(), [("a", 0), (OTHER, 0)]);
    }
}
