//! A line of the log that clients could cause as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts what happened between two lines.
#[derive(Debug)]
pub(super) struct RareLine {
    /// The least time between two lines.
    interval: Duration,
    since: Mutex<Unlogged>,
}

#[derive(Debug, Default)]
struct Unlogged {
    last: Option<Instant>,
    times: u64,
}

impl RareLine {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, since: Mutex::default() }
    }

    /// It has happened now. How often since the last line, if the log is to have one again.
    pub(super) fn note(&self, now: Instant) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.times += 1;
        let is_due =
            since.last.is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        is_due.then(|| std::mem::replace(&mut *since, Unlogged { last: Some(now), times: 0 }).times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_per_interval_and_it_counts_all() {
        let line = RareLine::new(Duration::from_secs(60));
        let began = Instant::now();
        let noted =
            [0, 0, 59, 60, 61, 500].map(|seconds| line.note(began + Duration::from_secs(seconds)));
        assert_eq!(noted, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
