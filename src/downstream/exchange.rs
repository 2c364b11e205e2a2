//! State that a request shares with its connection. Pingora gives the hooks of a request no access to
//! the reads and writes of its connection, nor the other way round.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// State of the current request, set by the gateway's hooks and read by the connection: whether a
/// response is in progress, and the deadline for the store's response.
///
/// Pingora has only one read timeout, for the first byte and for every later one, and does not report
/// where one request ends and the next begins.
#[derive(Debug)]
pub struct Exchange {
    base: Instant,
    responding: AtomicBool,
    /// Milliseconds since `base`; 0 when no response of a store is awaited.
    deadline: AtomicU64,
    expired: AtomicBool,
    immediate: AtomicBool,
    permit: AtomicBool,
    /// What was decided about the request before Pingora read it.
    admitted: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            responding: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
            expired: AtomicBool::new(false),
            immediate: AtomicBool::new(false),
            permit: AtomicBool::new(false),
            admitted: Mutex::default(),
        }
    }

    /// The request head is complete: bytes written from now on are its response.
    pub fn start_response(&self) {
        self.expired.store(false, Ordering::Relaxed);
        self.immediate.store(false, Ordering::Relaxed);
        self.permit.store(false, Ordering::Relaxed);
        self.responding.store(true, Ordering::Relaxed);
    }

    /// The response is complete or was aborted.
    pub fn finish_response(&self) {
        self.clear_deadline();
        self.responding.store(false, Ordering::Relaxed);
    }

    /// Starts the time in which the head of the store's response must arrive.
    pub fn set_deadline(&self, timeout: Duration) {
        let at = (self.base.elapsed() + timeout).as_millis();
        self.expired.store(false, Ordering::Relaxed);
        self.deadline.store(u64::try_from(at).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// The head of the store's response has arrived, or is no longer awaited.
    pub fn clear_deadline(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Records that the deadline has passed.
    pub(super) fn expire_deadline(&self) {
        self.clear_deadline();
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Whether the last deadline passed before the store's response started.
    #[must_use]
    pub fn deadline_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// Disables write buffering for this response: the rest of its body is still arriving, and the
    /// connection is not polled in between, so that the flush delay would not run.
    pub fn flush_immediately(&self) {
        self.immediate.store(true, Ordering::Relaxed);
    }

    pub(super) fn flushes_immediately(&self) -> bool {
        self.immediate.load(Ordering::Relaxed)
    }

    /// The answer may hold a permit of a store: the client must read at the minimum rate.
    pub fn hold_permit(&self) {
        self.permit.store(true, Ordering::Relaxed);
    }

    /// Leaves what was decided about the next request for the hooks of that request.
    pub fn hand_over<T: Any + Send>(&self, admitted: T) {
        let mut slot = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Box::new(admitted));
    }

    /// Takes what [`Exchange::hand_over`] has left.
    #[must_use]
    pub fn take_admitted<T: Any + Send>(&self) -> Option<Box<T>> {
        let mut slot = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()?.downcast().ok()
    }

    pub(super) fn holds_permit(&self) -> bool {
        self.permit.load(Ordering::Relaxed)
    }

    pub(super) fn is_responding(&self) -> bool {
        self.responding.load(Ordering::Relaxed)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            0 => None,
            at => self.base.checked_add(Duration::from_millis(at)),
        }
    }
}
