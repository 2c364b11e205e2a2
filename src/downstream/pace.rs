//! The minimum rate at which a client reads: one that reads a few bytes now and then would hold the permit of a store,
//! or its places among the connections, for as long as it likes. `docs/decisions/http2.md` says whom it is for.

use std::time::{Duration, Instant};

/// The rate is judged after writes have waited for the client for this long in total.
const WINDOW: Duration = Duration::from_secs(30);

/// What the client has read while the gateway waited for it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// The stream has accepted bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A write waits for the client. Whether the client has read less than `min_rate` bytes per second;
    /// judged at the beginning of a wait only, because the end of a wait shows what the client has read.
    pub(super) fn is_too_slow(&mut self, min_rate: u64, now: Instant) -> bool {
        if self.waiting_since.is_some() {
            return false;
        }
        self.waiting_since = Some(now);
        if self.waited < WINDOW {
            return false;
        }
        let least = u128::from(min_rate) * self.waited.as_millis() / 1000;
        let is_too_slow = u128::from(self.bytes) < least;
        (self.bytes, self.waited) = (0, Duration::ZERO);
        is_too_slow
    }

    /// The wait is over.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Begins anew: the client may read as slowly as it likes.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client that reads `bytes` after each wait of `seconds` is found to be too slow.
    fn is_refused(bytes: usize, seconds: u64) -> bool {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        pace.wrote(200_000);
        (0..100).any(|_| {
            let is_too_slow = pace.is_too_slow(8192, now);
            now += Duration::from_secs(seconds);
            pace.resume(now);
            pace.wrote(bytes);
            is_too_slow
        })
    }

    #[test]
    fn a_client_that_drips_is_too_slow_and_one_that_reads_in_bursts_is_not() {
        assert!(is_refused(1000, 1));
        assert!(is_refused(40_000, 10));
        assert!(!is_refused(10_000, 1));
        assert!(!is_refused(1_000_000, 40), "bytes are read in bursts as large as the buffer");
    }

    #[test]
    fn time_in_which_nothing_waits_for_the_client_does_not_count() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            assert!(!pace.is_too_slow(8192, now));
            now += Duration::from_millis(100);
            pace.resume(now);
            pace.wrote(1000);
            // The store pauses.
            now += Duration::from_secs(10);
        }
    }
}
