//! When a failing disk is no longer used, and when it is tried again.

use std::io;
use std::time::{Duration, Instant};

/// Failures in a row that turn the tier off.
const FAILURES: u32 = 3;
/// How long it stays off at first.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// How long it stays off at most; every failure soon after a success doubles the pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// An access to the disk: a disk that reads well may not write at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Access {
    Read,
    Write,
}

/// Counts failures.
#[derive(Debug, Default)]
pub(in crate::cache) struct Breaker {
    reads: u32,
    writes: u32,
    /// How long the last pause was, and when it began.
    last: Option<(Duration, Instant)>,
}

impl Breaker {
    /// Counts a failure. Returns the pause if the tier has to go off now.
    pub(in crate::cache) fn failed(
        &mut self,
        access: Access,
        error: &io::Error,
        now: Instant,
    ) -> Option<Duration> {
        let failures = self.failures(access);
        *failures += 1;
        (*failures >= FAILURES || is_lasting(error)).then(|| self.pause(now))
    }

    /// The pause after a further attempt has failed, or the first one ever.
    pub(in crate::cache) fn pause(&mut self, now: Instant) -> Duration {
        let pause = match self.last {
            // It has not worked for longer than it was off: the cause is the same.
            Some((pause, began)) if now.duration_since(began) < 2 * pause + FIRST_PAUSE => {
                (2 * pause).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        *self = Self { last: Some((pause, now)), ..Self::default() };
        pause
    }

    /// An access has succeeded.
    pub(in crate::cache) fn worked(&mut self, access: Access) {
        *self.failures(access) = 0;
    }

    fn failures(&mut self, access: Access) -> &mut u32 {
        match access {
            Access::Read => &mut self.reads,
            Access::Write => &mut self.writes,
        }
    }
}

/// Whether a second attempt at once would fail too.
fn is_lasting(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn eio() -> io::Error {
        io::Error::from_raw_os_error(libc::EIO)
    }

    #[test]
    fn a_few_failures_in_a_row_turn_it_off() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..2 {
            assert_eq!(breaker.failed(Access::Write, &eio(), now), None);
            assert_eq!(breaker.failed(Access::Write, &eio(), now), None);
            breaker.worked(Access::Write);
        }
        assert_eq!(breaker.failed(Access::Write, &eio(), now), None);
        assert_eq!(breaker.failed(Access::Write, &eio(), now), None);
        breaker.worked(Access::Read);
        assert_eq!(breaker.failed(Access::Write, &eio(), now), Some(MINUTE), "reads do not help");
    }

    #[test]
    fn what_lasts_turns_it_off_at_once() {
        for code in [libc::EROFS, libc::EACCES, libc::EPERM] {
            let error = io::Error::from_raw_os_error(code);
            let pause = Breaker::default().failed(Access::Write, &error, Instant::now());
            assert_eq!(pause, Some(MINUTE), "{error}");
        }
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_start_anew_after_a_good_time() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = breaker.pause(now);
            assert_eq!(pause, minutes * MINUTE);
            now += pause;
        }
        now += 62 * MINUTE;
        assert_eq!(breaker.pause(now), MINUTE);
    }
}
