//! When a failing engine is left alone, and when it is tried again.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES: u32 = 3;
/// How long it stays open at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long it stays open at most; every opening soon after a closing doubles the pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Counts failures. While it is open, no request asks the engine.
#[derive(Debug, Default)]
pub(super) struct EngineBreaker {
    failures: u32,
    /// The end of the pause, while it is open.
    open_until: Option<Instant>,
    /// How long the last pause was, and when it ended.
    last: Option<(Duration, Instant)>,
}

impl EngineBreaker {
    /// Counts a failure of a request. Returns whether it opens the breaker.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let opens = self.failures >= FAILURES && self.open_until.is_none();
        if opens {
            self.open(now);
        }
        opens
    }

    /// A request has succeeded.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    /// Opens it, for longer than the last time if that was a moment ago.
    fn open(&mut self, now: Instant) {
        let pause = match self.last {
            Some((pause, ended)) if now.duration_since(ended) < 2 * pause + FIRST_PAUSE => {
                (2 * pause).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        self.failures = 0;
        self.open_until = Some(now + pause);
        self.last = Some((pause, now + pause));
    }

    /// A probe has succeeded. Returns whether the breaker is closed now: not within the pause.
    pub(super) fn close(&mut self, now: Instant) -> bool {
        if self.open_until.is_some_and(|until| now < until) {
            return false;
        }
        if self.open_until.take().is_some() {
            self.failures = 0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_failures_in_a_row_open_it_and_a_probe_after_the_pause_closes_it() {
        let (mut breaker, now) = (EngineBreaker::default(), Instant::now());
        assert!(!breaker.failed(now) && !breaker.failed(now));
        breaker.worked();
        assert!(!breaker.failed(now) && !breaker.failed(now));
        assert!(breaker.failed(now), "the third in a row");
        assert!(!breaker.failed(now), "it is open already");
        assert!(!breaker.close(now), "not within the pause");
        assert!(breaker.close(now + SECOND));
        assert!(breaker.close(now + SECOND), "it stays closed");
        assert!(!breaker.failed(now + SECOND) && !breaker.failed(now + SECOND));
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_start_anew_after_a_good_time() {
        let (mut breaker, mut now) = (EngineBreaker::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            breaker.open(now);
            assert!(!breaker.close(now + SECOND * seconds - SECOND / 2), "{seconds}");
            now += SECOND * seconds;
            assert!(breaker.close(now), "{seconds}");
        }
        now += 70 * SECOND;
        breaker.open(now);
        assert!(breaker.close(now + SECOND));
    }
}
