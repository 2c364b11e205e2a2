//! The last success and the last failure of a store: shows operators which profile works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::response::refusal::Refusal;

/// The last success and the last failure of a store.
#[derive(Debug, Default)]
pub struct LastOutcome {
    /// Microseconds since the Unix epoch; 0 for never.
    success: AtomicU64,
    failure: Mutex<Option<StoreFailure>>,
}

/// What a request has shown of its store. What the client did is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerdict {
    /// The store answered, perhaps that there is no such object.
    Answered,
    /// The store failed, or rejected the access key: the cause.
    Failed(&'static str),
    /// Nothing: the client left before the answer.
    Unknown,
}

impl StoreVerdict {
    /// The verdict of a refusal.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Self {
        if refusal.is_fault() { Self::Failed(refusal.cause()) } else { Self::Answered }
    }
}

/// A failure of a store, or of the access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFailure {
    pub at: SystemTime,
    /// As in the log.
    pub cause: &'static str,
    /// The store's own code, such as `InvalidAccessKeyId`.
    pub code: Option<String>,
}

impl LastOutcome {
    /// Records a verdict of this time, with the store's error code.
    pub fn note(&self, verdict: StoreVerdict, code: Option<&str>, at: SystemTime) {
        match verdict {
            StoreVerdict::Answered => self.succeeded(at),
            StoreVerdict::Failed(cause) => {
                self.failed(StoreFailure { at, cause, code: code.map(str::to_owned) });
            }
            StoreVerdict::Unknown => {}
        }
    }

    /// Records that the store answered; 404 is an answer too.
    fn succeeded(&self, at: SystemTime) {
        let micros = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.success.fetch_max(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Records a failure of the store.
    fn failed(&self, failure: StoreFailure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// The time of the last answer.
    #[must_use]
    pub fn last_success(&self) -> Option<SystemTime> {
        match self.success.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(UNIX_EPOCH + Duration::from_micros(micros)),
        }
    }

    /// The last failure.
    #[must_use]
    pub fn last_failure(&self) -> Option<StoreFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_success_and_the_last_failure_are_known() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let seen = LastOutcome::default();
        assert_eq!((seen.last_success(), seen.last_failure()), (None, None));
        seen.succeeded(at(10));
        seen.succeeded(at(9));
        let failure = |at| StoreFailure { at, cause: "upstream_forbidden", code: None };
        seen.failed(failure(at(3)));
        seen.failed(failure(at(4)));
        assert_eq!(seen.last_success(), Some(at(10)));
        assert_eq!(seen.last_failure(), Some(failure(at(4))));
    }
}
