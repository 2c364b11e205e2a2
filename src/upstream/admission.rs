//! How much a store is asked at once: so many requests and no more, of which big transfers get a part
//! alone, so that they leave room for tiles.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::UpstreamConfig;

/// What kind of request asks for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A whole object, as tiles are, or a head.
    Whole,
    /// A part of an object: nobody asks so for small ones.
    Bulk,
}

/// Whether somebody can still be told to come again later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueueTimeout {
    /// No answer has begun.
    #[default]
    Short,
    /// An answer has begun, which would be cut.
    Long,
}

/// The requests to one store that are under way.
#[derive(Debug)]
pub struct Admission {
    all: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    limit: usize,
    queue_timeout: Duration,
    long: Duration,
}

/// A place among the requests under way, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _of_bulk: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Room for `limit` requests; others wait for `queue_timeout`, and where their answer has begun for
    /// `long`.
    #[must_use]
    pub fn new(limit: usize, queue_timeout: Duration, long: Duration) -> Self {
        // One in four is for tiles alone.
        let bulk = (limit - limit / 4).max(1);
        Self {
            all: Arc::new(Semaphore::new(limit)),
            bulk: Arc::new(Semaphore::new(bulk)),
            limit,
            queue_timeout,
            long,
        }
    }

    /// As configured.
    #[must_use]
    pub fn of(config: &UpstreamConfig) -> Self {
        Self::new(config.max_in_flight, config.queue_timeout, config.total_timeout)
    }

    /// Waits for its turn; `None` when that does not come in time.
    pub async fn slot(&self, kind: Priority, patience: QueueTimeout) -> Option<Permit> {
        let wait = async {
            let of_bulk = match kind {
                Priority::Whole => None,
                Priority::Bulk => Some(Arc::clone(&self.bulk).acquire_owned().await.ok()?),
            };
            let place = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Permit { _place: place, _of_bulk: of_bulk })
        };
        let patience = match patience {
            QueueTimeout::Short => self.queue_timeout,
            QueueTimeout::Long => self.long,
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.limit.saturating_sub(self.all.available_permits())
    }

    /// How many there may be.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(limit: usize) -> Admission {
        Admission::new(limit, Duration::from_millis(1), Duration::from_secs(10))
    }

    #[tokio::test]
    async fn big_transfers_leave_room_for_tiles() {
        let load = load(8);
        let mut slots = Vec::new();
        while let Some(slot) = load.slot(Priority::Bulk, QueueTimeout::Short).await {
            slots.push(slot);
        }
        assert_eq!((slots.len(), load.in_flight()), (6, 6));
        while let Some(slot) = load.slot(Priority::Whole, QueueTimeout::Short).await {
            slots.push(slot);
        }
        assert_eq!((slots.len(), load.in_flight()), (8, 8));
        slots.clear();
        assert_eq!(load.in_flight(), 0);
        assert!(load.slot(Priority::Bulk, QueueTimeout::Short).await.is_some());
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_waits_for_its_turn() {
        let load = load(1);
        let held = load.slot(Priority::Whole, QueueTimeout::Short).await;
        assert!(held.is_some());
        assert!(load.slot(Priority::Whole, QueueTimeout::Short).await.is_none());
        let (slot, ()) = tokio::join!(load.slot(Priority::Bulk, QueueTimeout::Long), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert!(slot.is_some());
    }

    #[tokio::test]
    async fn the_least_limit_lets_parts_through() {
        assert!(load(1).slot(Priority::Bulk, QueueTimeout::Short).await.is_some());
    }
}
