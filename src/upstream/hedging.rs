//! When a second endpoint is asked because the first byte of the first one is late, and how often.
//!
//! - Late is later than 95 of 100 answers of late were ([`LateEstimate`]): most requests are answered before.
//! - One request in [`SHARE`] may be hedged ([`HedgeBudget`]), so that a store that is slow as a whole does not
//!   get many more requests. A request that finds no budget waits as long again, and asks once more.
//!
//! Dean and Barroso, The Tail at Scale: <https://research.google/pubs/the-tail-at-scale/>.

use std::time::Duration;

/// One request in this number may be hedged: 5 %.
pub const SHARE: u32 = 20;

/// Hedges that may follow one another at once.
const BURST: u32 = 10;

/// Answers before the estimate is used.
const LEAST: u32 = 100;

/// Answers after which older ones count half.
const HALVED_AT: u32 = 2048;

/// The upper end of the first bucket.
const FIRST: Duration = Duration::from_micros(100);
/// Each bucket ends 19 % above the one before, which is the error of the estimate.
const BUCKETS_PER_DOUBLING: u32 = 4;
/// Up to 26 s, and one for all that is longer.
const BUCKETS: usize = 72;

/// How late the answers of an endpoint are, most of the time: a histogram in which older answers count less
/// and less. Its size is fixed.
#[derive(Debug)]
pub struct LateEstimate {
    counts: [u32; BUCKETS + 1],
    total: u32,
}

impl Default for LateEstimate {
    fn default() -> Self {
        Self { counts: [0; BUCKETS + 1], total: 0 }
    }
}

impl LateEstimate {
    /// Counts an answer whose first byte came after this time; or a request that was given up after this
    /// time, which is late in any case.
    pub fn note(&mut self, late: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(late)) {
            *count += 1;
            self.total += 1;
        }
        if self.total >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// The time before which 95 of 100 answers came, rounded up; `None` as long as too few are known.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        if self.total < LEAST {
            return None;
        }
        let wanted = self.total - self.total / 20;
        let mut sum = 0;
        let found = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        Some(upper_end(found))
    }
}

/// The bucket of this time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 72")]
fn bucket(late: Duration) -> usize {
    let doublings = (late.as_secs_f64() / FIRST.as_secs_f64()).max(1.0).log2();
    ((doublings * f64::from(BUCKETS_PER_DOUBLING)).ceil() as usize).min(BUCKETS)
}

fn upper_end(bucket: usize) -> Duration {
    let doublings = f64::from(u32::try_from(bucket).unwrap_or(0)) / f64::from(BUCKETS_PER_DOUBLING);
    FIRST.mul_f64(doublings.exp2())
}

/// A bucket of tokens: each request adds one part in [`SHARE`], each hedge takes a whole one.
#[derive(Debug, Default)]
pub struct HedgeBudget {
    /// In parts of a hedge.
    parts: u32,
}

impl HedgeBudget {
    /// A request that is no hedge.
    pub fn requested(&mut self) {
        self.parts = (self.parts + 1).min(BURST * SHARE);
    }

    /// Takes a hedge out of the budget, if there is one.
    pub fn take(&mut self) -> bool {
        let left = self.parts.checked_sub(SHARE);
        self.parts = left.unwrap_or(self.parts);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_estimate_is_at_least_the_quantile_and_at_most_a_fifth_above() {
        for (slow, expected) in [(0, 10 * MS), (4, 10 * MS), (6, 1000 * MS)] {
            let mut estimate = LateEstimate::default();
            for number in 0..1000 {
                estimate.note(if number % 100 < slow { 1000 * MS } else { 10 * MS });
            }
            let found = estimate.p95().expect("an estimate");
            assert!(found >= expected && found < expected.mul_f64(1.2), "{slow}: {found:?}");
        }
    }

    #[test]
    fn few_answers_are_no_estimate_and_old_ones_are_forgotten() {
        let mut estimate = LateEstimate::default();
        for _ in 1..LEAST {
            estimate.note(MS);
            assert_eq!(estimate.p95(), None);
        }
        for _ in 0..100_000 {
            estimate.note(MS);
        }
        assert!(estimate.p95() < Some(2 * MS));
        for _ in 0..4 * HALVED_AT {
            estimate.note(50 * MS);
        }
        assert!(estimate.p95() > Some(49 * MS));
        for _ in 0..4 * HALVED_AT {
            estimate.note(MS);
        }
        assert!(estimate.p95() < Some(2 * MS));
    }

    #[test]
    fn every_time_has_a_bucket() {
        let mut estimate = LateEstimate::default();
        for late in [Duration::ZERO, Duration::from_nanos(1), FIRST, 3600_u32 * 1000 * MS] {
            estimate.note(late);
        }
        assert_eq!(estimate.total, 4);
        assert!(upper_end(bucket(Duration::from_secs(25))) >= Duration::from_secs(25));
    }

    #[test]
    fn no_more_than_one_request_in_twenty_is_hedged() {
        let mut budget = HedgeBudget::default();
        assert!(!budget.take(), "none before the first requests");
        let mut hedges = 0;
        for _ in 0..10_000 {
            budget.requested();
            hedges += u32::from(budget.take());
        }
        assert_eq!(hedges, 10_000 / SHARE);
        for _ in 0..10_000 {
            budget.requested();
        }
        assert_eq!((0..1000).filter(|_| budget.take()).count(), BURST as usize);
    }

    proptest! {
        #[test]
        fn the_budget_never_exceeds_its_share(asks in prop::collection::vec(any::<bool>(), 0..2000)) {
            let (mut budget, mut requests, mut hedges) = (HedgeBudget::default(), 0, 0);
            for ask in asks {
                budget.requested();
                requests += 1;
                hedges += u32::from(ask && budget.take());
                prop_assert!(hedges * SHARE <= requests);
            }
        }

        #[test]
        fn the_estimate_bounds_nineteen_of_twenty(times in prop::collection::vec(1_u32..20_000, 100..400)) {
            let mut estimate = LateEstimate::default();
            for time in &times {
                estimate.note(MS * *time);
            }
            let limit = estimate.p95().expect("an estimate");
            let within = times.iter().filter(|time| MS * **time <= limit).count();
            prop_assert!(within * 20 >= times.len() * 19, "{limit:?}");
        }
    }
}
