//! How far a long command has come.

use std::time::Duration;

/// Characters of the bar.
const WIDTH: usize = 24;

/// A command that has done `done` of `total` steps in this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandProgress {
    pub done: u64,
    /// May grow while the command runs.
    pub total: u64,
    pub elapsed: Duration,
}

impl CommandProgress {
    /// `320 of 1000, 32 %, 50/s, 0:13 left`
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate, shown without digits")]
    pub fn text(self) -> String {
        let Self { done, total, elapsed } = self;
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        let seconds = elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let left = match self.time_left() {
            Some(left) => format!(", {} left", clock(left)),
            None => String::new(),
        };
        format!("{done} of {total}, {percent} %, {rate:.0}/s{left}")
    }

    /// The text behind a bar, for a line of a terminal that is written again and again.
    #[must_use]
    pub fn bar(self) -> String {
        let width = u64::try_from(WIDTH).unwrap_or(u64::MAX);
        let full = self.done.saturating_mul(width).checked_div(self.total).unwrap_or(width);
        let full = usize::try_from(full).unwrap_or(WIDTH).min(WIDTH);
        format!("[{}{}] {}", "=".repeat(full), " ".repeat(WIDTH - full), self.text())
    }

    fn time_left(self) -> Option<Duration> {
        let Self { done, total, elapsed } = self;
        let left = total.checked_sub(done).filter(|left| *left > 0)?;
        let nanoseconds = elapsed.as_nanos().checked_mul(u128::from(left))?;
        let nanoseconds = nanoseconds.checked_div(u128::from(done))?;
        u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
    }
}

/// `1:02:03`, `2:03`
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_rate_and_the_time_left() {
        for (done, total, seconds, text) in [
            (0, 1000, 0, "0 of 1000, 0 %, 0/s"),
            (320, 1000, 10, "320 of 1000, 32 %, 32/s, 0:21 left"),
            (1, 10_000, 1, "1 of 10000, 0 %, 1/s, 2:46:39 left"),
            (1000, 1000, 10, "1000 of 1000, 100 %, 100/s"),
            (0, 0, 0, "0 of 0, 100 %, 0/s"),
            (
                u64::MAX,
                u64::MAX,
                1,
                "18446744073709551615 of 18446744073709551615, 1 %, 18446744073709551616/s",
            ),
        ] {
            let progress = CommandProgress { done, total, elapsed: Duration::from_secs(seconds) };
            assert_eq!(progress.text(), text);
        }
    }

    #[test]
    fn a_bar_is_as_long_from_beginning_to_end() {
        for done in 0..=7 {
            let progress = CommandProgress { done, total: 7, elapsed: Duration::from_secs(1) };
            let bar = progress.bar();
            assert_eq!(bar.find(']'), Some(WIDTH + 1), "{bar}");
        }
        let whole = CommandProgress { done: 7, total: 7, elapsed: Duration::from_secs(1) }.bar();
        assert!(whole.starts_with(&format!("[{}]", "=".repeat(WIDTH))), "{whole}");
    }
}
