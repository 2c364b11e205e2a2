//! The purges that wait for a sweep of the memory. One sweep runs at a time and removes what all purges
//! cover that have come before it. What a purge covers is not served while it waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cache::purge::pending::Purge;

/// A purge does not have its client wait for the next sweep if the last one took longer: the client's next
/// purges share that sweep.
const SLOW: Duration = Duration::from_millis(5);

/// The purges that wait for the next sweep.
#[derive(Debug, Default)]
pub(in crate::cache) struct Sweeps(Mutex<SweepQueue>);

#[derive(Debug, Default)]
struct SweepQueue {
    waiting: Vec<(Purge, oneshot::Sender<Swept>)>,
    /// Whether a task sweeps.
    is_running: bool,
    /// The time of the last sweep.
    took: Duration,
}

/// When a purge is swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum SweepTurn {
    /// The caller has to sweep.
    Now,
    /// After the sweep in progress, which is short.
    Soon,
    /// After the sweep in progress and a pause.
    Deferred,
}

/// What a sweep has removed of what one purge covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cache) struct Swept {
    pub memory: u64,
    pub blocks: u64,
}

impl Sweeps {
    /// Adds a purge. Returns the receiver of the result, and when the sweep comes.
    pub(in crate::cache) fn add(&self, purge: Purge) -> (oneshot::Receiver<Swept>, SweepTurn) {
        let (sender, swept) = oneshot::channel();
        let mut queue = self.lock();
        queue.waiting.push((purge, sender));
        let turn = match std::mem::replace(&mut queue.is_running, true) {
            false => SweepTurn::Now,
            true if queue.took < SLOW => SweepTurn::Soon,
            true => SweepTurn::Deferred,
        };
        (swept, turn)
    }

    /// A sweep took this time.
    pub(in crate::cache) fn ended(&self, took: Duration) {
        self.lock().took = took;
    }

    /// The purges that wait; without any, the sweeps have ended.
    pub(in crate::cache) fn take(&self) -> Option<Vec<(Purge, oneshot::Sender<Swept>)>> {
        let mut queue = self.lock();
        queue.is_running = !queue.waiting.is_empty();
        queue.is_running.then(|| std::mem::take(&mut queue.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, SweepQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::cache::purge::pending::PurgeScope;

    /// Each purge of a prefix looked at all entries.
    #[test]
    fn purges_that_come_during_a_sweep_share_the_next_one() {
        let sweeps = Sweeps::default();
        let purge = Purge { key: b"a/".to_vec(), scope: PurgeScope::Prefix, at: UNIX_EPOCH };
        let turn = || sweeps.add(purge.clone()).1;
        let purges = || sweeps.take().map(|purges| purges.len());
        assert_eq!(turn(), SweepTurn::Now);
        assert_eq!(purges(), Some(1));
        assert!((0..500).all(|_| turn() == SweepTurn::Soon), "a sweep is in progress");
        sweeps.ended(SLOW);
        assert!((0..500).all(|_| turn() == SweepTurn::Deferred), "sweeps are slow");
        assert_eq!((purges(), purges()), (Some(1000), None));
        assert_eq!(turn(), SweepTurn::Now, "no sweep is in progress");
    }
}
