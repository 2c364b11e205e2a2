//! What the answer of a gateway means for a warm-up.

use std::collections::VecDeque;
use std::io;

use crate::warm::connection::GatewayAnswer;

/// The answers that are looked back on.
const WINDOW: usize = 50;
/// Failures among them that end the run: a store that fails must not be asked on.
const MOST_FAILURES: usize = 5;

/// The meaning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The store was asked.
    Fetched,
    Cached,
    Missing,
    /// No later run would fare better: a 4xx.
    Refused,
    /// The gateway or the store fails, or has reached a limit.
    Failed,
}

impl Verdict {
    pub(super) fn of(answer: &io::Result<GatewayAnswer>) -> Self {
        let Ok(answer) = answer else { return Self::Failed };
        match answer.status {
            200 | 304 if answer.is_hit => Self::Cached,
            200 | 304 => Self::Fetched,
            404 | 410 => Self::Missing,
            429 => Self::Failed,
            400..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// The failures among the last answers.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<bool>);

impl Failures {
    /// Remembers an answer. Returns whether the run has to end.
    pub(super) fn note(&mut self, is_failure: bool) -> bool {
        self.0.push_back(is_failure);
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
        self.0.iter().filter(|failed| **failed).count() >= MOST_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        for (status, is_hit, verdict) in [
            (200, true, Verdict::Cached),
            (200, false, Verdict::Fetched),
            (404, true, Verdict::Missing),
            (415, false, Verdict::Refused),
            (422, false, Verdict::Refused),
            (429, false, Verdict::Failed),
            (500, false, Verdict::Failed),
            (502, true, Verdict::Failed),
            (302, false, Verdict::Failed),
        ] {
            let answer = GatewayAnswer { status, is_hit, length: 0, body: Vec::new() };
            assert_eq!(Verdict::of(&Ok(answer)), verdict, "{status}");
        }
        assert_eq!(Verdict::of(&Err(io::ErrorKind::TimedOut.into())), Verdict::Failed);
    }

    #[test]
    fn a_run_ends_when_many_of_the_last_answers_are_failures() {
        let mut failures = Failures::default();
        for _ in 0..20 {
            // One in twenty: the run goes on.
            assert!((0..19).all(|_| !failures.note(false)));
            assert!(!failures.note(true));
        }
        let mut failures = Failures::default();
        let ended = (1..).find(|_| failures.note(true));
        assert_eq!(ended, Some(MOST_FAILURES));
    }
}
