//! Whether a store fails at the moment. While it does, a stale object is served at once (RFC 5861,
//! section 4), and one request at a time asks the store again in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::response::refusal::Refusal;

/// The least time between two requests that ask a failing store again: a store that refuses
/// connections fails within a millisecond.
const BETWEEN_PROBES: Duration = Duration::from_secs(1);

/// The outage of one store: from a failure until its next answer.
#[derive(Debug)]
pub struct Outage {
    /// Read by every request that is answered, so that the lock of `cause` is not taken.
    is_on: AtomicBool,
    cause: watch::Sender<Option<Refusal>>,
    probe: Arc<Semaphore>,
    last_probe: Mutex<Option<Instant>>,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            cause: watch::Sender::new(None),
            probe: Arc::new(Semaphore::new(1)),
            last_probe: Mutex::default(),
        }
    }
}

impl Outage {
    /// The store has failed in this way, or has been silent for too long.
    pub fn begin(&self, cause: Refusal) {
        self.cause.send_if_modified(|current| {
            let begins = current.is_none();
            *current = Some(cause);
            begins
        });
        self.is_on.store(true, Ordering::Release);
    }

    /// The store has answered.
    pub fn end(&self) {
        if self.is_on.load(Ordering::Acquire) {
            self.is_on.store(false, Ordering::Release);
            self.cause.send_replace(None);
        }
    }

    /// The last failure, as long as no answer has followed it.
    #[must_use]
    pub fn cause(&self) -> Option<Refusal> {
        if self.is_on.load(Ordering::Acquire) { self.cause.borrow().clone() } else { None }
    }

    /// Waits for a failure.
    pub async fn begun(&self) -> Refusal {
        let mut cause = self.cause.subscribe();
        // The sender lives as long as `self`.
        match cause.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(refusal)) => refusal.clone(),
            Ok(None) | Err(_) => Refusal::UpstreamTimeout,
        }
    }

    /// Waits for a failure. A store that is silent for this long has failed: that begins an outage.
    pub async fn begun_within(&self, patience: Duration) -> Refusal {
        match timeout(patience, self.begun()).await {
            Ok(refusal) => refusal,
            Err(_late) => {
                self.begin(Refusal::UpstreamTimeout);
                Refusal::UpstreamTimeout
            }
        }
    }

    /// The right to ask the failing store again, for as long as the request takes: one at a time, and
    /// one a second.
    #[must_use]
    pub fn probe(&self, now: Instant) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.probe).try_acquire_owned().ok()?;
        let mut last = self.last_probe.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= BETWEEN_PROBES);
        is_due.then(|| {
            *last = Some(now);
            permit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_the_next_answer() {
        let outage = Outage::default();
        assert_eq!(outage.cause(), None);
        outage.end();
        outage.begin(Refusal::UpstreamTimeout);
        outage.begin(Refusal::UpstreamReset);
        assert_eq!(outage.cause(), Some(Refusal::UpstreamReset));
        outage.end();
        assert_eq!(outage.cause(), None);
    }

    #[tokio::test]
    async fn a_request_that_waits_is_woken_when_an_outage_begins() {
        let outage = Arc::new(Outage::default());
        let waiting = Arc::clone(&outage);
        let waiting = tokio::spawn(async move { waiting.begun().await });
        tokio::task::yield_now().await;
        outage.begin(Refusal::UpstreamUnreachable);
        assert_eq!(waiting.await.unwrap(), Refusal::UpstreamUnreachable);
        assert_eq!(outage.begun().await, Refusal::UpstreamUnreachable, "at once");
    }

    #[test]
    fn a_failing_store_is_asked_by_one_request_at_a_time_and_once_a_second() {
        let (outage, start) = (Outage::default(), Instant::now());
        let first = outage.probe(start);
        assert!(first.is_some());
        assert!(outage.probe(start + Duration::from_secs(9)).is_none(), "one is in flight");
        drop(first);
        assert!(outage.probe(start + Duration::from_millis(999)).is_none(), "too soon");
        assert!(outage.probe(start + Duration::from_secs(1)).is_some());
    }
}
