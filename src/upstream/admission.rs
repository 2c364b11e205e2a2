//! The limit of requests in progress to one store. Large transfers get three in four of the permits,
//! so that tiles find room.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::UpstreamConfig;

/// The kind of request that waits for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A whole object, as tiles are, or a head.
    Whole,
    /// A range of an object. Small objects are not requested in ranges.
    Bulk,
}

/// How long a request waits for a permit: longer once the response to the client has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueueTimeout {
    /// The response has not begun; a refusal can be sent.
    #[default]
    Short,
    /// The response has begun; without a permit it would be truncated.
    Long,
}

/// The permits of one store.
#[derive(Debug)]
pub struct Admission {
    all: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    limit: usize,
    queue_timeout: Duration,
    long: Duration,
}

/// A permit for one request in progress. It is free again when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _one_of_all: OwnedSemaphorePermit,
    of_bulk: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Counts it among the large transfers from now on, if there is room among them.
    pub fn count_as_bulk(&mut self, admission: &Admission) {
        if self.of_bulk.is_none() {
            self.of_bulk = Arc::clone(&admission.bulk).try_acquire_owned().ok();
        }
    }
}

impl Admission {
    /// `limit` permits. Further requests wait for `queue_timeout`, or for `long` if their response has
    /// begun.
    #[must_use]
    pub fn new(limit: usize, queue_timeout: Duration, long: Duration) -> Self {
        // One permit in four is for tiles only.
        let bulk = (limit - limit / 4).max(1);
        Self {
            all: Arc::new(Semaphore::new(limit)),
            bulk: Arc::new(Semaphore::new(bulk)),
            limit,
            queue_timeout,
            long,
        }
    }

    /// The limit of this configuration.
    #[must_use]
    pub fn of(config: &UpstreamConfig) -> Self {
        Self::new(config.max_in_flight, config.queue_timeout, config.total_timeout)
    }

    /// Waits for a permit; `None` when the timeout passes first.
    pub async fn acquire(&self, priority: Priority, timeout: QueueTimeout) -> Option<Permit> {
        let wait = async {
            let of_bulk = match priority {
                Priority::Whole => None,
                Priority::Bulk => Some(Arc::clone(&self.bulk).acquire_owned().await.ok()?),
            };
            let one_of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Permit { _one_of_all: one_of_all, of_bulk })
        };
        let timeout = match timeout {
            QueueTimeout::Short => self.queue_timeout,
            QueueTimeout::Long => self.long,
        };
        tokio::time::timeout(timeout, wait).await.ok().flatten()
    }

    /// Requests in progress.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.limit.saturating_sub(self.all.available_permits())
    }

    /// The maximum number of requests in progress.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limit: usize) -> Admission {
        Admission::new(limit, Duration::from_millis(1), Duration::from_secs(10))
    }

    #[tokio::test]
    async fn big_transfers_leave_room_for_tiles() {
        let admission = admission(8);
        let mut slots = Vec::new();
        while let Some(slot) = admission.acquire(Priority::Bulk, QueueTimeout::Short).await {
            slots.push(slot);
        }
        assert_eq!((slots.len(), admission.in_flight()), (6, 6));
        while let Some(slot) = admission.acquire(Priority::Whole, QueueTimeout::Short).await {
            slots.push(slot);
        }
        assert_eq!((slots.len(), admission.in_flight()), (8, 8));
        slots.clear();
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.acquire(Priority::Bulk, QueueTimeout::Short).await.is_some());
    }

    #[tokio::test]
    async fn a_whole_object_that_proves_large_counts_as_one() {
        let admission = admission(4);
        let mut large = Vec::new();
        for _ in 0..3 {
            let mut permit =
                admission.acquire(Priority::Whole, QueueTimeout::Short).await.expect("a permit");
            permit.count_as_bulk(&admission);
            large.push(permit);
        }
        assert!(admission.acquire(Priority::Bulk, QueueTimeout::Short).await.is_none());
        assert!(admission.acquire(Priority::Whole, QueueTimeout::Short).await.is_some());
    }

    #[tokio::test]
    async fn an_answer_that_has_begun_waits_for_its_permit() {
        let admission = admission(1);
        let held = admission.acquire(Priority::Whole, QueueTimeout::Short).await;
        assert!(held.is_some());
        assert!(admission.acquire(Priority::Whole, QueueTimeout::Short).await.is_none());
        let (slot, ()) =
            tokio::join!(admission.acquire(Priority::Bulk, QueueTimeout::Long), async {
                tokio::task::yield_now().await;
                drop(held);
            });
        assert!(slot.is_some());
    }

    #[tokio::test]
    async fn the_least_limit_lets_parts_through() {
        assert!(admission(1).acquire(Priority::Bulk, QueueTimeout::Short).await.is_some());
    }
}
