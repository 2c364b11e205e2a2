//! The limit of the memory that bodies take: stored bodies, arriving bodies, and bodies that slow
//! clients still read after their eviction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limited number of bytes.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    held: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicU64::new(0) })
    }

    /// Takes this many bytes until the returned value is dropped; `None` if there are not enough.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let taken = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= self.limit)
        });
        taken.is_ok().then(|| Held { budget: Arc::clone(self), bytes })
    }

    /// Bytes taken.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    /// The limit, bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Held {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is more than `bytes`. What somebody else holds, too, stays as it is.
    #[must_use]
    pub fn shrunk(held: Arc<Self>, bytes: u64) -> Arc<Self> {
        match Arc::try_unwrap(held) {
            Ok(mut own) => {
                let more = own.bytes.saturating_sub(bytes);
                own.bytes -= more;
                own.budget.held.fetch_sub(more, Ordering::AcqRel);
                Arc::new(own)
            }
            Err(shared) => shared,
        }
    }

    /// Whether they are bytes of this budget.
    #[must_use]
    pub fn is_of(&self, budget: &Arc<Budget>) -> bool {
        Arc::ptr_eq(&self.budget, budget)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_what_is_not_there_is_refused() {
        let budget = Budget::new(100);
        let first = budget.take(60).expect("there is room");
        assert!(budget.take(41).is_none());
        let second = budget.take(40).expect("there is room");
        assert_eq!(budget.held(), 100);
        drop(first);
        assert_eq!(budget.held(), 40);
        let second = Held::shrunk(Arc::new(second), 15);
        assert_eq!((second.bytes(), budget.held()), (15, 15));
        let other = Arc::clone(&second);
        assert_eq!(Held::shrunk(second, 1).bytes(), 15, "the other one needs them");
        assert_eq!(Held::shrunk(other, 50).bytes(), 15);
        assert_eq!(budget.held(), 0);
        assert!(budget.take(u64::MAX).is_none());
    }
}
