//! The share of the memory tier for pinned objects: entries that no other entry evicts. If the share is full,
//! the pin that was unused for the longest time gives way, if that is an hour or more; otherwise the new entry
//! is an ordinary one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::cache::entry::Entry;
use crate::cache::memory::budget::{Budget, Held};
use crate::cache::request::CacheRequest;

/// A pin that is unused for this number of seconds gives way to a new one.
const GIVES_WAY: u64 = 3600;
/// A pin that is unused for this number of seconds is not refreshed any more.
const REFRESHED: u64 = 24 * 3600;
/// Between two attempts to refresh an object, seconds.
const BETWEEN_ATTEMPTS: u64 = 10;
/// An object that is fresh for less is not pinned: it would be asked for all the time.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(2);

/// The pins of a memory tier.
#[derive(Debug)]
pub struct Pins {
    /// Bytes that pinned entries may hold.
    budget: Arc<Budget>,
    /// The seconds that [`Pins::tick`] has counted.
    seconds: AtomicU64,
    all: Mutex<Vec<Weak<Pin>>>,
    /// Told of each new pin.
    added: Notify,
}

/// What keeps one entry in memory. It ends when it gives way, or when the entry is gone.
#[derive(Debug)]
pub struct Pin {
    /// Asks the store for the object again.
    pub request: Arc<CacheRequest>,
    pins: Arc<Pins>,
    /// Its part of the share, until it ends.
    held: Mutex<Option<Held>>,
    refresh_at: SystemTime,
    last_used: AtomicU64,
    tried: AtomicU64,
}

impl Pins {
    /// Pins for at most `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            budget: Budget::new(limit),
            // So that an attempt at 0 was long ago.
            seconds: AtomicU64::new(BETWEEN_ATTEMPTS),
            all: Mutex::default(),
            added: Notify::new(),
        })
    }

    /// Pins an entry of this weight, in place of `before`, if there is room in the share.
    pub(super) fn pin(
        self: &Arc<Self>,
        entry: &Entry,
        weight: u64,
        before: Option<&Pin>,
    ) -> Option<Arc<Pin>> {
        let request = entry.pin.as_ref().filter(|_| self.limit() > 0)?;
        let lifetime = entry.freshness.fresh_until.duration_since(entry.requested_at).ok()?;
        if lifetime < SHORTEST_LIFETIME {
            return None;
        }
        let last_used = before.map_or_else(|| self.now(), |pin| pin.last_used.load(RELAXED));
        if let Some(before) = before {
            before.end();
        }
        let held = self.budget.take(weight).or_else(|| {
            self.make_room(weight);
            self.budget.take(weight)
        })?;
        let early = (lifetime / 10).max(SHORTEST_LIFETIME).min(lifetime / 2);
        let pin = Arc::new(Pin {
            request: Arc::clone(request),
            pins: Arc::clone(self),
            held: Mutex::new(Some(held)),
            refresh_at: entry.freshness.fresh_until.checked_sub(early)?,
            last_used: AtomicU64::new(last_used),
            tried: AtomicU64::new(0),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|pin| pin.strong_count() > 0);
        }
        all.push(Arc::downgrade(&pin));
        self.added.notify_one();
        Some(pin)
    }

    /// Waits until there is a pin.
    pub async fn any(&self) {
        while self.active().is_empty() {
            self.added.notified().await;
        }
    }

    /// Counts a second. Returns the pins whose objects are to be refreshed, the one that was used last
    /// first.
    #[must_use]
    pub fn tick(&self, now: SystemTime) -> Vec<Arc<Pin>> {
        let seconds = self.seconds.fetch_add(1, RELAXED) + 1;
        let is_due = |pin: &Arc<Pin>| {
            let idle = seconds.saturating_sub(pin.last_used.load(RELAXED));
            let since = seconds.saturating_sub(pin.tried.load(RELAXED));
            pin.is_active()
                && pin.refresh_at <= now
                && idle < REFRESHED
                && since >= BETWEEN_ATTEMPTS
        };
        let mut due = self.active();
        due.retain(is_due);
        due.sort_by_key(|pin| std::cmp::Reverse(pin.last_used.load(RELAXED)));
        due
    }

    /// Bytes of pinned entries.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.budget.held()
    }

    /// Bytes that pinned entries may hold.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.budget.limit()
    }

    #[cfg(test)]
    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, RELAXED);
    }

    fn now(&self) -> u64 {
        self.seconds.load(RELAXED)
    }

    /// Ends pins that were not used for long, until this number of bytes is free.
    fn make_room(&self, bytes: u64) {
        let now = self.now();
        let mut idle = self.active();
        idle.retain(|pin| now.saturating_sub(pin.last_used.load(RELAXED)) >= GIVES_WAY);
        idle.sort_by_key(|pin| pin.last_used.load(RELAXED));
        for pin in idle {
            if self.held().saturating_add(bytes) <= self.limit() {
                return;
            }
            pin.end();
        }
    }

    fn active(&self) -> Vec<Arc<Pin>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pin| pin.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).filter(|pin| pin.is_active()).collect()
    }
}

const RELAXED: Ordering = Ordering::Relaxed;

impl Pin {
    /// Whether the entry is pinned still.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.part().is_some()
    }

    /// Notes that an attempt to refresh the object begins.
    pub fn note_attempt(&self) {
        self.tried.store(self.pins.now(), RELAXED);
    }

    /// Notes that a client has requested the entry.
    pub(super) fn note_use(&self) {
        let now = self.pins.now();
        // Many read it at once: seldom a write.
        if self.last_used.load(RELAXED) != now {
            self.last_used.store(now, RELAXED);
        }
    }

    fn end(&self) {
        *self.part() = None;
    }

    fn part(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
