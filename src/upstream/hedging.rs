//! When a second endpoint is asked because the first byte of the first one is late, and how often.
//!
//! - Late is later than 95 of 100 answers of late were ([`LateEstimate`]): most requests are answered before.
//! - One request in [`SHARE`] may be hedged ([`HedgeBudget`]), so that a store that is slow as a whole does not
//!   get many more requests. That is just the share of requests that are later than 95 of 100, so the budget is
//!   nearly spent most of the time. Therefore a part of it is for those that are later still: a request that
//!   finds nothing waits as long again and asks for more of the rest ([`HedgeWait`]).
//! - Requests alone fill the budget. A request that waits while hardly any other comes would never be hedged once it is
//!   spent, so there is one hedge a second besides, for a request that has asked for all of it.
//!
//! Dean and Barroso, The Tail at Scale: <https://research.google/pubs/the-tail-at-scale/>.

use std::time::{Duration, Instant};

/// One request in this number may be hedged: 5 %.
pub const SHARE: u32 = 20;

/// Hedges that may follow one another at once.
const BURST: u32 = 10;
/// Of these, this number is not for requests that are just late; half of it not for those that are twice as late, and
/// so on.
const RESERVE: u32 = 4;

/// The time in which there is one hedge beyond the budget.
const BEYOND: Duration = Duration::from_secs(1);

/// The shortest time before a hedge: what is answered sooner is not worth one.
const SHORTEST: Duration = Duration::from_millis(1);

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
    /// When a hedge was sent last that no requests had paid for.
    beyond: Option<Instant>,
}

impl HedgeBudget {
    /// A request that is no hedge.
    pub fn requested(&mut self) {
        self.parts = (self.parts + 1).min(BURST * SHARE);
    }

    /// Takes a hedge out of the budget, if this number of others is left then. If none need be left, there may be one
    /// beyond the budget.
    fn take(&mut self, reserve: u32, now: Instant) -> bool {
        let left = self.parts.checked_sub(SHARE).filter(|left| *left >= reserve * SHARE);
        if let Some(left) = left {
            self.parts = left;
            return true;
        }
        let is_due = |last: Instant| now.saturating_duration_since(last) >= BEYOND;
        let is_beyond = reserve == 0 && self.beyond.is_none_or(is_due);
        if is_beyond {
            self.beyond = Some(now);
        }
        is_beyond
    }
}

/// A request that is not answered yet: when it asks for a hedge, and how urgently.
#[derive(Debug)]
pub struct HedgeWait {
    until: Duration,
    /// How often it has found no budget.
    refused: u32,
}

impl HedgeWait {
    /// Of a request to an endpoint of which 95 of 100 answers come before this time.
    #[must_use]
    pub fn new(p95: Duration) -> Self {
        Self { until: p95.max(SHORTEST), refused: 0 }
    }

    /// How long after its start the request asks for a hedge: when it is late, twice as late, and so on; once it asks for
    /// all of the budget, at least once a second.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.until
    }

    /// The hedges that are not for a request that is so late.
    fn reserve(&self) -> u32 {
        RESERVE.checked_shr(self.refused).unwrap_or(0)
    }

    /// Takes a hedge, if there is one for a request that is so late.
    #[must_use]
    pub fn take(&self, budget: &mut HedgeBudget, now: Instant) -> bool {
        budget.take(self.reserve(), now)
    }

    /// There was none: it waits as long again. Returns whether that is the first time.
    pub fn wait_on(&mut self) -> bool {
        let longest = if self.reserve() == 0 { BEYOND } else { Duration::MAX };
        self.until = self.until.saturating_add(self.until.min(longest));
        self.refused = self.refused.saturating_add(1);
        self.refused == 1
    }
}

/// What came of a hedge: whether its answer was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeResult {
    Won,
    Lost,
}

impl HedgeResult {
    /// The word of log and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests;
