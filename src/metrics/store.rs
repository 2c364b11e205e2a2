//! What is counted for one profile: the requests of clients for its objects, and those to its store.

use std::time::Duration;

use crate::metrics::counter::{Counter, Named};
use crate::metrics::histogram::Histogram;
use crate::metrics::requests::{ByStatus, Objects};
use crate::protocol::cache_status::CacheResult;

/// Why a store's answer was of no use, or there was none.
const UPSTREAM_CAUSES: &[&str] = &[
    "upstream_busy",
    "upstream_cut",
    "upstream_error",
    "upstream_forbidden",
    "upstream_protocol",
    "upstream_redirect",
    "upstream_reset",
    "upstream_saturated",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_unresolved",
];

/// The numbers of one profile, since it was first configured.
#[derive(Debug)]
pub struct StoreMetrics {
    pub requests: Objects,
    /// From the head of a request to the end of its answer: hits, and all others.
    pub duration: [Histogram; 2],
    /// From the head of a request to the head of its answer: hits, and all others.
    pub ttfb: [Histogram; 2],
    /// Bytes of bodies sent to clients.
    pub sent: Counter,
    /// Requests to the store, by the status of its last answer.
    pub asked: ByStatus,
    /// Attempts after the first.
    pub retries: Counter,
    /// From the first attempt to the head of the last answer.
    pub waited: Histogram,
    pub errors: Named,
    /// Bytes of bodies that came from the store.
    pub received: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            requests: Objects::default(),
            duration: Default::default(),
            ttfb: Default::default(),
            sent: Counter::default(),
            asked: ByStatus::default(),
            retries: Counter::default(),
            waited: Histogram::default(),
            errors: Named::new(UPSTREAM_CAUSES),
            received: Counter::default(),
        }
    }
}

/// A request of a client that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub status: Option<u16>,
    pub cache: CacheResult,
    pub duration: Duration,
    /// `None` where no answer began.
    pub ttfb: Option<Duration>,
    pub bytes: u64,
}

impl StoreMetrics {
    /// The labels of the two histograms of a kind.
    pub const WAYS: [&'static str; 2] = ["hit", "forward"];

    /// Counts a client's request.
    pub fn ended(&self, ended: &Ended) {
        self.requests.count(ended.cache, ended.status);
        let [hit, forward] = [0, 1];
        let way = match ended.cache {
            CacheResult::Hit | CacheResult::Stale => hit,
            _ => forward,
        };
        if let Some(durations) = self.duration.get(way) {
            durations.observe(ended.duration);
        }
        if let (Some(durations), Some(ttfb)) = (self.ttfb.get(way), ended.ttfb) {
            durations.observe(ttfb);
        }
        self.sent.add(ended.bytes);
    }

    /// Counts a request to the store.
    pub fn asked(&self, status: Option<u16>, attempts: u8, waited: Duration) {
        self.asked.count(status);
        self.retries.add(u64::from(attempts.saturating_sub(1)));
        self.waited.observe(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_where_it_belongs() {
        let metrics = StoreMetrics::default();
        let ended = |cache, ttfb| Ended {
            status: Some(200),
            cache,
            duration: Duration::from_millis(2),
            ttfb,
            bytes: 10,
        };
        metrics.ended(&ended(CacheResult::Stale, Some(Duration::ZERO)));
        metrics.ended(&ended(CacheResult::Partial, None));
        metrics.asked(Some(404), 3, Duration::ZERO);
        metrics.asked(None, 0, Duration::ZERO);
        let counts = |kind: &[Histogram; 2]| {
            kind.iter().map(|histogram| histogram.distribution().count).collect::<Vec<_>>()
        };
        assert_eq!(counts(&metrics.duration), [1, 1]);
        assert_eq!(counts(&metrics.ttfb), [1, 0]);
        assert_eq!((metrics.sent.get(), metrics.retries.get()), (20, 2));
        assert_eq!(metrics.waited.distribution().count, 2);
    }
}
