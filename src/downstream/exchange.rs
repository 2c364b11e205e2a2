//! State that a request shares with its connection. Pingora gives the hooks of a request no access to
//! the reads and writes of its connection, nor the other way round.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::downstream::transport::Transport;

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
    /// Milliseconds that the store may be silent during a body; 0 for no limit of this kind.
    patience: AtomicU64,
    /// When the last bytes were written, milliseconds since `base`.
    written: AtomicU64,
    immediate: AtomicBool,
    permit: AtomicBool,
    /// What was decided about the request before Pingora read it.
    admitted: Mutex<Option<Box<dyn Any + Send>>>,
    transport: Transport,
}

impl Exchange {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            base: Instant::now(),
            responding: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
            expired: AtomicBool::new(false),
            patience: AtomicU64::new(0),
            written: AtomicU64::new(0),
            immediate: AtomicBool::new(false),
            permit: AtomicBool::new(false),
            admitted: Mutex::default(),
            transport,
        }
    }

    /// How the client of this connection is connected.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The request head is complete: bytes written from now on are its response.
    pub fn start_response(&self) {
        self.expired.store(false, Ordering::Relaxed);
        self.immediate.store(false, Ordering::Relaxed);
        self.patience.store(0, Ordering::Relaxed);
        self.responding.store(true, Ordering::Relaxed);
    }

    /// The response is complete or was aborted.
    pub fn finish_response(&self) {
        self.clear_deadline();
        self.patience.store(0, Ordering::Relaxed);
        self.responding.store(false, Ordering::Relaxed);
    }

    /// Starts the time in which the head of the store's response must arrive.
    pub fn set_deadline(&self, timeout: Duration) {
        let at = (self.base.elapsed() + timeout).as_millis();
        self.expired.store(false, Ordering::Relaxed);
        self.deadline.store(u64::try_from(at).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    /// From now on the deadline is this long after the last bytes that were written to the client: the
    /// store may not be silent for longer in the middle of a body. A slow client does not count.
    pub fn limit_silence(&self, patience: Duration) {
        self.note_write();
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.patience.store(patience, Ordering::Relaxed);
    }

    /// Lifts the limit of [`Exchange::limit_silence`].
    pub fn allow_silence(&self) {
        self.patience.store(0, Ordering::Relaxed);
    }

    /// Bytes were written to the client.
    pub(super) fn note_write(&self) {
        let at = u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.written.store(at, Ordering::Relaxed);
    }

    /// When bytes were written last, as far as it was noted.
    pub(super) fn written_at(&self) -> Option<Instant> {
        self.base.checked_add(Duration::from_millis(self.written.load(Ordering::Relaxed)))
    }

    /// Whether the store's silence is limited.
    pub(super) fn limits_silence(&self) -> bool {
        self.patience.load(Ordering::Relaxed) > 0
    }

    /// The head of the store's response has arrived, or is no longer awaited.
    pub fn clear_deadline(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Records that the deadline has passed.
    pub(super) fn expire_deadline(&self) {
        self.clear_deadline();
        self.allow_silence();
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Whether the last deadline passed: that of the store's response, or of its next bytes.
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

    /// The head of the next request has arrived: the answer before it is out, with its last bytes, and holds no permit.
    pub(super) fn next_request(&self) {
        self.permit.store(false, Ordering::Relaxed);
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
        let at = match self.deadline.load(Ordering::Relaxed) {
            0 => match self.patience.load(Ordering::Relaxed) {
                0 => return None,
                patience => self.written.load(Ordering::Relaxed).saturating_add(patience),
            },
            at => at,
        };
        self.base.checked_add(Duration::from_millis(at))
    }
}
