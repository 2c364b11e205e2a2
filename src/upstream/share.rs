//! The share of a store's permits that one client can hold, so that one client does not take the store from
//! all others. It holds for requests that bypass the cache: a fetch of the cache serves many clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits of each client that holds some or waits for one.
#[derive(Debug)]
pub struct ClientShares {
    limit: usize,
    clients: Arc<Clients>,
}

type Clients = Mutex<HashMap<Box<[u8]>, Arc<Semaphore>>>;

impl ClientShares {
    /// Each client may hold `percent` of `limit` permits, at least 1. 100 is no limit.
    #[must_use]
    pub fn new(limit: usize, percent: u8) -> Self {
        let share = match percent {
            0..100 => (limit.saturating_mul(usize::from(percent)) / 100).max(1),
            // Requests then meet the limit of all clients alone.
            _ => Semaphore::MAX_PERMITS,
        };
        Self { limit: share, clients: Arc::default() }
    }

    /// Waits until the client holds less than its share, at most for `timeout`; `None` after that.
    /// `client` is the user, or else the address.
    pub async fn acquire(&self, client: &[u8], timeout: Duration) -> Option<SharePermit> {
        let semaphore = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let found = clients.entry(client.into());
            Arc::clone(found.or_insert_with(|| Arc::new(Semaphore::new(self.limit))))
        };
        let mut permit = SharePermit {
            permit: None,
            semaphore: Some(Arc::clone(&semaphore)),
            client: client.into(),
            clients: Arc::clone(&self.clients),
        };
        permit.permit = tokio::time::timeout(timeout, semaphore.acquire_owned()).await.ok()?.ok();
        permit.permit.is_some().then_some(permit)
    }
}

/// One permit of a client's share, until it is dropped.
#[derive(Debug)]
pub struct SharePermit {
    permit: Option<OwnedSemaphorePermit>,
    semaphore: Option<Arc<Semaphore>>,
    client: Box<[u8]>,
    clients: Arc<Clients>,
}

impl Drop for SharePermit {
    fn drop(&mut self) {
        // Under the lock, so that a client that comes back finds the same semaphore or none.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.permit.take());
        drop(self.semaphore.take());
        if clients.get(&self.client).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_client_holds_its_share_and_leaves_the_rest_to_others() {
        let shares = ClientShares::new(8, 50);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(shares.acquire(b"greedy", SHORT).await.expect("a permit"));
        }
        assert!(shares.acquire(b"greedy", SHORT).await.is_none());
        assert!(shares.acquire(b"modest", SHORT).await.is_some());
        held.pop();
        assert!(shares.acquire(b"greedy", SHORT).await.is_some());
        drop(held);
        assert!(shares.clients.lock().expect("a lock").is_empty(), "a client without permits");
    }

    #[tokio::test]
    async fn the_least_share_is_one_permit() {
        let shares = ClientShares::new(1, 0);
        let held = shares.acquire(b"a", SHORT).await;
        assert!(held.is_some() && shares.acquire(b"a", SHORT).await.is_none());
    }
}
