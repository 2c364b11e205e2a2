//! How the cached objects of a store are revalidated, learned from its answers: Ceph RGW's 304 carries
//! neither `ETag` nor `Last-Modified`, so it does not show that the metadata has changed.

use std::sync::atomic::{AtomicU8, Ordering};

/// The request that revalidates an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevalidateBy {
    /// A conditional GET. If its 304 does not name the version, a HEAD follows.
    ConditionThenHead,
    /// HEAD alone, which names version and metadata: one request for an object that has not changed.
    Head,
    /// A conditional GET alone: the store refuses HEAD.
    Condition,
}

/// What is known of one store. It begins with [`RevalidateBy::ConditionThenHead`].
#[derive(Debug, Default)]
pub struct LearnedRevalidation(AtomicU8);

impl LearnedRevalidation {
    /// The request to begin with.
    #[must_use]
    pub fn method(&self) -> RevalidateBy {
        match self.0.load(Ordering::Relaxed) {
            0 => RevalidateBy::ConditionThenHead,
            1 => RevalidateBy::Head,
            _ => RevalidateBy::Condition,
        }
    }

    /// Notes how this store is revalidated from now on.
    pub fn learn(&self, method: RevalidateBy) {
        let number = match method {
            RevalidateBy::ConditionThenHead => 0,
            RevalidateBy::Head => 1,
            RevalidateBy::Condition => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_revalidated_as_was_learned_last() {
        let learned = LearnedRevalidation::default();
        assert_eq!(learned.method(), RevalidateBy::ConditionThenHead);
        for method in [RevalidateBy::Head, RevalidateBy::Condition, RevalidateBy::ConditionThenHead]
        {
            learned.learn(method);
            assert_eq!(learned.method(), method);
        }
    }
}
