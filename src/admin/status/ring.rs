//! The last minutes of the process as a ring of samples. A sample holds what happened since the one before
//! it, so that a profile that a reload removes cannot make a rate negative for longer than one sample.

use std::collections::VecDeque;
use std::time::Duration;

use crate::metrics::histogram::{BUCKETS, quantile};

/// The time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Samples in the ring: ten minutes, less than 200 KiB.
pub(super) const SAMPLES: usize = 300;
/// Samples that the current rates are taken from: one minute.
pub(super) const WINDOW: usize = 30;

/// The counters since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Requests of clients that have ended, of every page.
    pub(super) requests: u64,
    /// Requests for objects.
    pub(super) objects: u64,
    /// Requests for objects that were served from the cache, fresh or stale.
    pub(super) hits: u64,
    /// Bytes of objects sent to clients.
    pub(super) sent: u64,
    /// Requests to stores.
    pub(super) asked: u64,
    /// Requests for objects by the time to the head of their responses.
    pub(super) ttfb: [u64; BUCKETS],
    /// Refused or failed requests by cause, in the order of the counters.
    pub(super) causes: Vec<u64>,
}

/// Numbers that rise and fall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gauges {
    /// Requests of clients in flight.
    pub(super) requests_in_flight: usize,
    /// Requests to stores in flight.
    pub(super) store_requests_in_flight: usize,
    pub(super) connections: usize,
    /// Of all tiers in memory.
    pub(super) memory_bytes: u64,
    pub(super) disk_bytes: u64,
}

/// What happened between two samples, and the gauges at its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// The time since the sample before.
    pub(super) seconds: f64,
    pub(super) passed: Totals,
    pub(super) gauges: Gauges,
}

/// The last samples, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Ring {
    samples: VecDeque<Sample>,
    /// The counters and the time of the last sample.
    last: Option<(Duration, Totals)>,
}

/// What the samples of one minute, or of fewer at the start, say together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Window {
    /// The time that the samples cover.
    pub(super) seconds: f64,
    pub(super) passed: Totals,
}

impl Ring {
    /// Adds a sample. `at` is the time since the start of the process. The first call only sets what later
    /// ones are compared with.
    pub(super) fn add(&mut self, at: Duration, totals: Totals, gauges: Gauges) {
        if let Some((before, last)) = &self.last {
            let seconds = at.saturating_sub(*before).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            if self.samples.len() >= SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample { seconds, passed: totals.since(last), gauges });
        }
        self.last = Some((at, totals));
    }

    /// All samples, the newest last.
    pub(super) fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The last minute.
    pub(super) fn window(&self) -> Window {
        let newest = self.samples.iter().rev().take(WINDOW);
        newest.fold(Window::default(), |window, sample| Window {
            seconds: window.seconds + sample.seconds,
            passed: window.passed.plus(&sample.passed),
        })
    }
}

impl Totals {
    fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(&self, other: &Self, of: fn(u64, u64) -> u64) -> Self {
        let mut ttfb = self.ttfb;
        for (own, others) in ttfb.iter_mut().zip(other.ttfb) {
            *own = of(*own, others);
        }
        let longer = self.causes.len().max(other.causes.len());
        let at = |causes: &[u64], index| causes.get(index).copied().unwrap_or_default();
        Self {
            requests: of(self.requests, other.requests),
            objects: of(self.objects, other.objects),
            hits: of(self.hits, other.hits),
            sent: of(self.sent, other.sent),
            asked: of(self.asked, other.asked),
            ttfb,
            causes: (0..longer)
                .map(|index| of(at(&self.causes, index), at(&other.causes, index)))
                .collect(),
        }
    }

    /// The part of the requests for objects that was served from the cache; `None` without requests.
    pub(super) fn hit_rate(&self) -> Option<f64> {
        (self.objects > 0).then(|| number(self.hits) / number(self.objects))
    }

    /// The milliseconds to the head of a response that this part (0 to 1) of the responses did not exceed.
    pub(super) fn ttfb_milliseconds(&self, part: f64) -> Option<f64> {
        quantile(part, &self.ttfb).map(|seconds| seconds * 1000.0)
    }

    /// Failures among the causes, where `is_failure` says it of each.
    pub(super) fn failures(&self, is_failure: impl Fn(usize) -> bool) -> u64 {
        let failures = self.causes.iter().enumerate().filter(|(index, _)| is_failure(*index));
        failures.map(|(_, count)| *count).sum()
    }
}

/// A count per second; 0 for no time.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { number(count) / seconds } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Whether a cause is a failure of the gateway, of a store or of an access key. The others are refusals of
/// requests, such as an object that does not exist.
pub(super) fn is_failure(cause: &str) -> bool {
    cause.starts_with("upstream_")
        || cause.starts_with("credentials_")
        || matches!(cause, "internal" | "connections_full")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64, objects: u64, hits: u64) -> Totals {
        Totals { requests, objects, hits, causes: vec![requests / 10, 0], ..Totals::default() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let mut ring = Ring::default();
        assert_eq!((ring.window(), ring.samples().len()), (Window::default(), 0));
        for second in (0..=200_u64).step_by(2) {
            // Ten a second at first, twenty a second in the last minute.
            let requests = 10 * second + 10 * second.saturating_sub(140);
            ring.add(at(second), totals(requests, requests, requests / 2), Gauges::default());
        }
        let window = ring.window();
        assert!((window.seconds - 60.0).abs() < 1e-9, "{window:?}");
        assert!((rate(window.passed.requests, window.seconds) - 20.0).abs() < 1e-9);
        assert_eq!(window.passed.hit_rate(), Some(0.5));
        assert_eq!(ring.samples().len(), 100);
    }

    #[test]
    fn the_ring_is_bounded() {
        let mut ring = Ring::default();
        for second in 0..3 * SAMPLES {
            let gauges = Gauges { connections: second, ..Gauges::default() };
            ring.add(at(second as u64), totals(second as u64, 0, 0), gauges);
        }
        assert_eq!(ring.samples().len(), SAMPLES);
        let newest = ring.samples().last().map(|sample| sample.gauges.connections);
        assert_eq!(newest, Some(3 * SAMPLES - 1));
        // There are less than fifty causes.
        let bytes = SAMPLES * (size_of::<Sample>() + 50 * size_of::<u64>());
        assert!(bytes < 200 << 10, "{bytes}");
    }

    #[test]
    fn counters_that_fall_and_a_clock_that_stands_make_no_rate() {
        let mut ring = Ring::default();
        ring.add(at(1), totals(100, 50, 50), Gauges::default());
        ring.add(at(1), totals(200, 50, 50), Gauges::default());
        assert_eq!(ring.samples().len(), 0, "no time has passed");
        // A reload removed a profile.
        ring.add(at(3), totals(40, 0, 0), Gauges::default());
        ring.add(at(5), totals(42, 2, 1), Gauges::default());
        let requests: Vec<u64> = ring.samples().map(|sample| sample.passed.requests).collect();
        assert_eq!(requests, [0, 2]);
        assert_eq!(ring.window().passed.hit_rate(), Some(0.5));
        assert_eq!(rate(5, 0.0).to_string(), "0");
    }

    #[test]
    fn failures_are_those_of_stores_keys_and_the_gateway() {
        for cause in ["upstream_timeout", "credentials_missing", "internal", "connections_full"] {
            assert!(is_failure(cause), "{cause}");
        }
        for cause in ["object_not_found", "client_gone", "user_saturated", "range_not_satisfiable"]
        {
            assert!(!is_failure(cause), "{cause}");
        }
        let totals = Totals { causes: vec![1, 2, 4], ..Totals::default() };
        assert_eq!(totals.failures(|index| index != 1), 5);
    }
}
