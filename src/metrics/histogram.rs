//! Histograms of durations: counting one takes no lock, and the status page can read the counts, which
//! the histogram of prometheus-client does not show.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the buckets in seconds: from a hit in memory (a tenth of a millisecond) to a large file
/// over a slow connection.
const BOUNDS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 15.0, 60.0,
];

/// The number of buckets; the last one has no upper bound.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations by bucket, since the histogram was made.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
    /// The last recorded trace of each bucket; made for the first one.
    exemplars: OnceLock<Box<ExemplarSlots>>,
}

type ExemplarSlots = [Mutex<Option<TracedDuration>>; BUCKETS];

/// A duration whose request is recorded in a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TracedDuration {
    pub trace_id: u128,
    pub seconds: f64,
    /// When the request ended.
    pub at: SystemTime,
}

/// The counts of a histogram at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HistogramCounts {
    /// Each bucket without those below it.
    pub buckets: [u64; BUCKETS],
    /// The sum of the durations.
    seconds: f64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.observe_traced(duration, None);
    }

    /// Counts one duration, and keeps the trace of its request, if it is recorded: its id, and the time.
    pub fn observe_traced(&self, duration: Duration, trace: Option<(u128, SystemTime)>) {
        let seconds = duration.as_secs_f64();
        let index = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        let Some((trace_id, at)) = trace else { return };
        let slot = self.exemplars.get_or_init(Box::default).get(index);
        // Another one is as good: nobody waits.
        if let Some(Ok(mut slot)) = slot.map(Mutex::try_lock) {
            *slot = Some(TracedDuration { trace_id, seconds, at });
        }
    }

    /// The last recorded trace of each bucket that has one.
    #[must_use]
    pub fn exemplars(&self) -> Vec<(usize, TracedDuration)> {
        let slots = self.exemplars.get().into_iter().flat_map(|slots| slots.iter());
        let traced = |slot: &Mutex<Option<TracedDuration>>| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner)
        };
        slots.map(traced).enumerate().filter_map(|(index, it)| Some((index, it?))).collect()
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> HistogramCounts {
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        HistogramCounts {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
            seconds: Duration::from_nanos(nanoseconds).as_secs_f64(),
        }
    }
}

impl HistogramCounts {
    /// Whether no duration has been counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| *count == 0)
    }
}

impl EncodeMetric for HistogramCounts {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.buckets).collect();
        let count = self.buckets.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for HistogramCounts {
    const TYPE: MetricType = MetricType::Histogram;
}

/// The duration in seconds that this part (0 to 1) of the durations does not exceed, as
/// `histogram_quantile` of Prometheus computes it: within a bucket the durations are taken to be spread
/// evenly. `None` without durations. The last bucket counts as its lower bound.
#[must_use]
pub fn quantile(part: f64, buckets: &[u64; BUCKETS]) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = part * as_f64(total);
    let (mut lower, mut below) = (0.0, 0.0);
    for (upper, count) in BOUNDS.iter().zip(buckets) {
        let count = as_f64(*count);
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
        lower = *upper;
    }
    Some(lower)
}

/// A count as a number for a rate: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    /// The lines of a histogram in a scrape, without its name.
    fn lines(histogram: &Histogram) -> Vec<String> {
        #[derive(Debug)]
        struct Only(HistogramCounts);
        impl prometheus_client::collector::Collector for Only {
            fn encode(
                &self,
                mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>,
            ) -> Result<(), Error> {
                self.0.encode(encoder.encode_descriptor("a", "help", None, self.0.metric_type())?)
            }
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Only(histogram.counts())));
        let mut page = String::new();
        text::encode(&mut page, &registry).expect("text");
        page.lines().filter_map(|line| Some(line.strip_prefix("a_")?.to_owned())).collect()
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_reaches_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
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
    fn each_bucket_keeps_its_last_recorded_trace() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1));
        assert!(histogram.exemplars().is_empty());
        let at = SystemTime::UNIX_EPOCH;
        for (micros, trace_id) in [(50, 1), (60, 2), (70_000_000, 3)] {
            histogram.observe_traced(Duration::from_micros(micros), Some((trace_id, at)));
        }
        let kept: Vec<_> =
            histogram.exemplars().into_iter().map(|(index, it)| (index, it.trace_id)).collect();
        assert_eq!(kept, [(0, 2), (BUCKETS - 1, 3)]);
        assert_eq!(histogram.counts().buckets.iter().sum::<u64>(), 4);
    }

    #[test]
    fn a_quantile_lies_within_the_bucket_of_its_rank() {
        let of = |counts: &[(usize, u64)]| {
            let mut buckets = [0; BUCKETS];
            for (index, count) in counts {
                buckets[*index] = *count;
            }
            buckets
        };
        assert_eq!(quantile(0.5, &of(&[])), None);
        let near = |part, counts: &[(usize, u64)], expected: f64| {
            let found = quantile(part, &of(counts)).expect("durations");
            assert!((found - expected).abs() < 1e-9, "{part} of {counts:?}: {found}");
        };
        near(0.5, &[(0, 10)], 0.00005);
        near(0.5, &[(3, 10), (9, 10)], 0.001);
        near(0.99, &[(3, 99), (9, 1)], 0.001);
        near(1.0, &[(3, 99), (9, 1)], 0.1);
        near(0.99, &[(3, 50), (17, 50)], 60.0);
    }
}
