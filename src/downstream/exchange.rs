//! What a request and its connection tell each other, which Pingora keeps apart.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a request tells its connection: that an answer is under way, and until when the store's must
/// have begun. Pingora has one read timeout for the first byte and for every later one, and does not
/// say between which bytes a request lies.
#[derive(Debug)]
pub struct Exchange {
    base: Instant,
    responding: AtomicBool,
    /// Milliseconds since `base`; 0 while no answer of a store is waited for.
    deadline: AtomicU64,
    expired: AtomicBool,
    immediate: AtomicBool,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            responding: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
            expired: AtomicBool::new(false),
            immediate: AtomicBool::new(false),
        }
    }

    /// The head of a request was read; what is written from now on is its answer.
    pub fn start_response(&self) {
        self.expired.store(false, Ordering::Relaxed);
        self.immediate.store(false, Ordering::Relaxed);
        self.responding.store(true, Ordering::Relaxed);
    }

    /// The answer is complete, or given up.
    pub fn finish_response(&self) {
        self.clear_deadline();
        self.responding.store(false, Ordering::Relaxed);
    }

    /// From now on the store has this long for the head of its answer.
    pub fn set_deadline(&self, patience: Duration) {
        let at = (self.base.elapsed() + patience).as_millis();
        self.expired.store(false, Ordering::Relaxed);
        self.deadline.store(u64::try_from(at).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// The store's answer has begun.
    pub fn clear_deadline(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// The store's answer did not come in time.
    pub(super) fn expire_deadline(&self) {
        self.clear_deadline();
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Whether the last answer waited for did not come in time.
    #[must_use]
    pub fn deadline_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    /// What is written of this answer leaves at once: the rest of it is still on its way here, and
    /// nobody polls the connection meanwhile.
    pub fn flush_immediately(&self) {
        self.immediate.store(true, Ordering::Relaxed);
    }

    pub(super) fn flushes_immediately(&self) -> bool {
        self.immediate.load(Ordering::Relaxed)
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
