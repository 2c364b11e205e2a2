//! The time limit of a whole check, beside those of single steps in `upstream/deadline.rs`.

use std::time::{Duration, Instant};

/// All steps of a profile or object together, in the worst case.
const TOTAL: Duration = Duration::from_secs(15);

/// When a check must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// A deadline for a check that starts now.
    pub(super) fn start() -> Self {
        Self(Instant::now() + TOTAL)
    }

    /// Half of the rest of the time for all steps.
    pub(super) fn half(self) -> Duration {
        self.at_most(TOTAL) / 2
    }

    /// The time of a step: its own limit, or the rest of the time for all steps.
    pub(super) fn at_most(self, limit: Duration) -> Duration {
        limit.min(self.0.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_gets_its_limit_or_what_is_left() {
        let fresh = Deadline::start();
        assert_eq!(fresh.at_most(Duration::from_secs(1)), Duration::from_secs(1));
        assert!(fresh.at_most(Duration::MAX) <= TOTAL);
        let over = Deadline(Instant::now());
        assert_eq!(over.at_most(Duration::from_secs(1)), Duration::ZERO);
    }
}
