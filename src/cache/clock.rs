//! The clock of the cache. It is set by the time of day once, when the process starts, and from then
//! on by the monotonic clock: setting the time of day neither ages the cache nor makes it younger, and
//! a purge is later than every request sent before it. While a machine is suspended, it stands still.
//!
//! Records on disk come from other processes, whose clocks may have been wrong, or this one's is. A
//! record that another process made after this process started is from the future: its age is unknown,
//! and whether a purge covers it. It is stale, and every purge covers it.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static CLOCK: LazyLock<Clock> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "the one reading of the time of day")]
    let time_of_day = SystemTime::now();
    Clock::started_at(time_of_day, Instant::now())
});

/// A clock that cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    /// The time of day at the start, in whole microseconds, as records on disk have it.
    started: SystemTime,
    anchor: Instant,
}

impl Clock {
    /// A clock that showed this time of day at this instant.
    fn started_at(time_of_day: SystemTime, anchor: Instant) -> Self {
        Self { started: whole_micros(time_of_day), anchor }
    }

    /// The time at an instant, in whole microseconds.
    fn at(&self, instant: Instant) -> SystemTime {
        whole_micros(self.started + instant.saturating_duration_since(self.anchor))
    }
}

/// The time of the cache: of requests, freshness, purges and uses.
#[must_use]
pub(super) fn now() -> SystemTime {
    CLOCK.at(Instant::now())
}

/// When the clock of this process was started. It also identifies the process in records on disk.
#[must_use]
pub(super) fn process_start() -> SystemTime {
    CLOCK.started
}

fn whole_micros(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_the_monotonic_clock_alone() {
        let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3600));
        let anchor = Instant::now();
        // However wrong the time of day is at the start, an hour takes an hour.
        for time_of_day in [UNIX_EPOCH, UNIX_EPOCH + 20_000 * day, UNIX_EPOCH + 30_000 * day] {
            let clock = Clock::started_at(time_of_day, anchor);
            assert_eq!(clock.at(anchor), time_of_day);
            assert_eq!(clock.at(anchor + hour), time_of_day + hour);
        }
        assert_eq!(Clock::started_at(UNIX_EPOCH - day, anchor).at(anchor), UNIX_EPOCH);
        let clock = Clock::started_at(UNIX_EPOCH + Duration::from_nanos(1_999), anchor);
        assert_eq!(clock.started, UNIX_EPOCH + Duration::from_micros(1));
    }

    #[test]
    fn the_time_is_never_before_the_start_of_the_process() {
        let first = now();
        assert!(process_start() <= first && first <= now());
    }
}
