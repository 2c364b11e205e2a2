//! The metrics of one profile: requests of clients for its objects, and requests to its store.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::causes::CauseCounters;
use crate::metrics::requests::{ObjectRequests, StatusCounters};
use crate::protocol::cache_status::CacheResult;

/// Upper bounds of the buckets of durations in seconds: from a hit in memory (a tenth of a millisecond)
/// to a large file over a slow connection.
const BOUNDS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 15.0, 60.0,
];

/// Causes of failed requests to stores.
pub(crate) const UPSTREAM_CAUSES: &[&str] = &[
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
    /// From the first attempt to the head of the last answer.
    pub waited: Histogram,
    pub errors: CauseCounters,
    /// Bytes of bodies received from the store.
    pub received: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BOUNDS);
        Self {
            requests: ObjectRequests::default(),
            duration: [histogram(), histogram()],
            ttfb: [histogram(), histogram()],
            sent: Counter::default(),
            asked: StatusCounters::default(),
            retries: Counter::default(),
            waited: histogram(),
            errors: CauseCounters::new(UPSTREAM_CAUSES),
            received: Counter::default(),
        }
    }
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
}

impl StoreMetrics {
    /// The labels of the two histograms of client requests.
    pub const WAYS: [&'static str; 2] = ["hit", "forward"];

    /// Counts a request of a client.
    pub fn ended(&self, ended: &EndedRequest) {
        self.requests.count(ended.cache, ended.status);
        let [hit, forward] = &self.duration;
        let [hit_ttfb, forward_ttfb] = &self.ttfb;
        let (duration, ttfb) = match ended.cache {
            CacheResult::Hit | CacheResult::Stale => (hit, hit_ttfb),
            _ => (forward, forward_ttfb),
        };
        duration.observe(ended.duration.as_secs_f64());
        if let Some(elapsed) = ended.ttfb {
            ttfb.observe(elapsed.as_secs_f64());
        }
        self.sent.inc_by(ended.bytes);
    }

    /// Counts a request to the store. `waited`: `None` if the client left before the store answered or
    /// failed, since that time would be the client's.
    pub fn asked(&self, status: Option<u16>, attempts: u8, waited: Option<Duration>) {
        self.asked.count(status);
        self.retries.inc_by(u64::from(attempts.saturating_sub(1)));
        if let Some(waited) = waited {
            self.waited.observe(waited.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// The lines of a histogram in a scrape, without its name.
    fn lines(histogram: &Histogram) -> Vec<String> {
        let mut registry = Registry::default();
        registry.register("a", "help", histogram.clone());
        let mut page = String::new();
        text::encode(&mut page, &registry).expect("text");
        page.lines().filter_map(|line| Some(line.strip_prefix("a_")?.to_owned())).collect()
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_reaches_it() {
        let histogram = Histogram::new(BOUNDS);
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros).as_secs_f64());
        }
        let lines = lines(&histogram);
        for line in [
            "bucket{le=\"0.0001\"} 2",
            "bucket{le=\"0.00025\"} 3",
            "bucket{le=\"15.0\"} 3",
            "bucket{le=\"60.0\"} 4",
            "bucket{le=\"+Inf\"} 5",
            "count 5",
        ] {
            assert!(lines.iter().any(|seen| seen == line), "{line} in {lines:?}");
        }
        let sum = lines.iter().find_map(|line| line.strip_prefix("sum ")?.parse::<f64>().ok());
        assert!((sum.expect("a sum") - 120.000_202).abs() < 1e-9, "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("bucket")).count(), 18);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_request_is_counted_where_it_belongs() {
        let metrics = StoreMetrics::default();
        let ended = |cache, ttfb| EndedRequest {
            status: Some(200),
            cache,
            duration: Duration::from_millis(2),
            ttfb,
            bytes: 10,
        };
        metrics.ended(&ended(CacheResult::Stale, Some(Duration::ZERO)));
        metrics.ended(&ended(CacheResult::Partial, None));
        metrics.asked(Some(404), 3, Some(Duration::ZERO));
        metrics.asked(None, 0, Some(Duration::ZERO));
        metrics.asked(None, 1, None);
        let has = |histogram, count: u64| lines(histogram).contains(&format!("count {count}"));
        assert!(metrics.duration.iter().all(|histogram| has(histogram, 1)));
        let [hit, forward] = &metrics.ttfb;
        assert!(has(hit, 1) && has(forward, 0));
        assert_eq!((metrics.sent.get(), metrics.retries.get()), (20, 2));
        assert!(has(&metrics.waited, 2));
    }
}
