//! Counters by cause. The causes are known at the start and each begins at zero, so that the first
//! increase of one is visible in a rate.

use prometheus_client::metrics::counter::Counter;

/// One counter for each of a fixed list of causes, and one for all others.
#[derive(Debug)]
pub struct CauseCounters {
    causes: &'static [&'static str],
    counters: Box<[Counter]>,
}

/// The label of a cause that is not in the list.
pub const OTHER: &str = "other";

impl CauseCounters {
    /// Counters at zero.
    #[must_use]
    pub fn new(causes: &'static [&'static str]) -> Self {
        Self { causes, counters: (0..=causes.len()).map(|_| Counter::default()).collect() }
    }

    /// Counts one event with this cause.
    pub fn count(&self, cause: &str) {
        let index = self.causes.iter().position(|known| *known == cause);
        if let Some(counter) = self.counters.get(index.unwrap_or(self.causes.len())) {
            counter.inc();
        }
    }

    /// All causes with their counters.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        self.causes.iter().copied().chain([OTHER]).zip(&self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_counted_separately_and_unknown_ones_together() {
        let counts = |counters: &CauseCounters| {
            counters.counters().map(|(cause, counter)| (cause, counter.get())).collect::<Vec<_>>()
        };
        let causes = CauseCounters::new(&["a", "b"]);
        for cause in ["b", "b", "c", "d", "a", "other"] {
            causes.count(cause);
        }
        assert_eq!(counts(&causes), [("a", 1), ("b", 2), (OTHER, 3)]);
        assert_eq!(counts(&CauseCounters::new(&["a"])), [("a", 0), (OTHER, 0)]);
    }
}
