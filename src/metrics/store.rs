//! The metrics of one profile: requests of clients for its objects, and requests to its store.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;

use crate::metrics::causes::CauseCounters;
use crate::metrics::histogram::Histogram;
use crate::metrics::requests::{ObjectRequests, StatusCounters};
use crate::protocol::cache_status::CacheResult;

/// Causes of failed requests to stores.
pub(crate) const UPSTREAM_CAUSES: &[&str] = &[
    "upstream_busy",
    "upstream_cut",
    "upstream_error",
    "upstream_forbidden",
    "upstream_protocol",
    "upstream_proxy",
    "upstream_redirect",
    "upstream_reset",
    "upstream_saturated",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_unresolved",
];

/// The metrics of one profile, since it was first configured.
#[derive(Debug)]
pub struct StoreMetrics {
    pub requests: ObjectRequests,
    /// From the head of a request to the end of its response: hits, and all others.
    pub duration: [Histogram; 2],
    /// From the head of a request to the head of its response: hits, and all others.
    pub ttfb: [Histogram; 2],
    /// Bytes of bodies sent to clients.
    pub sent: Counter,
    /// Requests to the store, by the status of its last answer.
    pub asked: StatusCounters,
    /// Attempts after the first.
    pub retries: Counter,
    /// Requests for the rest of a body that broke off.
    pub continuations: Counter,
    /// Requests whose first byte was late.
    pub hedges: Hedges,
    /// From the first attempt to the head of the last answer.
    pub waited: Histogram,
    pub errors: CauseCounters,
    /// Bytes of bodies received from the store.
    pub received: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            requests: ObjectRequests::default(),
            duration: Default::default(),
            ttfb: Default::default(),
            sent: Counter::default(),
            asked: StatusCounters::default(),
            retries: Counter::default(),
            continuations: Counter::default(),
            hedges: Hedges::default(),
            waited: Histogram::default(),
            errors: CauseCounters::new(UPSTREAM_CAUSES),
            received: Counter::default(),
        }
    }
}

/// Requests to the store whose first byte was later than usual, where requests are hedged.
#[derive(Debug, Default)]
pub struct Hedges {
    /// The second endpoint had the answer first.
    pub won: Counter,
    /// The first one had.
    pub lost: Counter,
    /// No second endpoint was asked at first: the budget was spent, or none was well.
    pub not_sent: Counter,
}

/// A request of a client that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedRequest {
    /// `None` if no response began.
    pub status: Option<u16>,
    pub cache: CacheResult,
    pub duration: Duration,
    /// `None` if no response began.
    pub ttfb: Option<Duration>,
    pub bytes: u64,
    /// The trace that recorded it, and the time.
    pub trace: Option<(u128, SystemTime)>,
}

impl StoreMetrics {
    /// The labels of the two histograms of client requests.
    pub const WAYS: [&'static str; 2] = ["hit", "forward"];

    /// Whether a request of a client has ended.
    #[must_use]
    pub fn has_ended_any(&self) -> bool {
        self.duration.iter().any(|histogram| !histogram.counts().is_empty())
    }

    /// Counts a request of a client.
    pub fn ended(&self, ended: &EndedRequest) {
        self.requests.count(ended.cache, ended.status);
        let [hit, forward] = &self.duration;
        let [hit_ttfb, forward_ttfb] = &self.ttfb;
        let (duration, ttfb) = match ended.cache {
            CacheResult::Hit | CacheResult::Stale => (hit, hit_ttfb),
            _ => (forward, forward_ttfb),
        };
        duration.observe_traced(ended.duration, ended.trace);
        if let Some(elapsed) = ended.ttfb {
            ttfb.observe_traced(elapsed, ended.trace);
        }
        self.sent.inc_by(ended.bytes);
    }

    /// Counts a request to the store. `waited`: `None` if the client left before the store answered or
    /// failed, since that time would be the client's.
    pub fn asked(&self, status: Option<u16>, attempts: u8, waited: Option<Duration>) {
        self.asked.count(status);
        self.retries.inc_by(u64::from(attempts.saturating_sub(1)));
        if let Some(waited) = waited {
            self.waited.observe(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_where_it_belongs() {
        let metrics = StoreMetrics::default();
        let ended = |cache, ttfb| EndedRequest {
            status: Some(200),
            cache,
            duration: Duration::from_millis(2),
            ttfb,
            bytes: 10,
            trace: None,
        };
        assert!(!metrics.has_ended_any());
        metrics.ended(&ended(CacheResult::Stale, Some(Duration::ZERO)));
        assert!(metrics.has_ended_any());
        metrics.ended(&ended(CacheResult::Partial, None));
        metrics.asked(Some(404), 3, Some(Duration::ZERO));
        metrics.asked(None, 0, Some(Duration::ZERO));
        metrics.asked(None, 1, None);
        let has = |histogram: &Histogram, count: u64| {
            histogram.counts().buckets.iter().sum::<u64>() == count
        };
        assert!(metrics.duration.iter().all(|histogram| has(histogram, 1)));
        let [hit, forward] = &metrics.ttfb;
        assert!(has(hit, 1) && has(forward, 0));
        assert_eq!((metrics.sent.get(), metrics.retries.get()), (20, 2));
        assert!(has(&metrics.waited, 2));
    }
}
