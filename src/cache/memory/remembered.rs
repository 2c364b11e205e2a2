//! The keys of evicted entries. An entry that is inserted again while its key is remembered was evicted too
//! early: it counts as used. Their number follows from the weights of the entries themselves, so that small
//! objects have as long a memory as large ones.

use std::collections::{HashMap, VecDeque};

/// Hashes of the keys of the entries that were evicted last.
#[derive(Debug)]
pub(super) struct Remembered {
    /// The hash of each, and the weight of its entry, the oldest first.
    order: VecDeque<(u64, u64)>,
    /// The place of each in the order, counted from the first one ever.
    places: HashMap<u64, u64>,
    /// How many were forgotten, which is the place of the oldest.
    forgotten: u64,
    weight: u64,
    limit: u64,
}

impl Remembered {
    /// Remembers entries with a weight of `limit` bytes together.
    pub(super) fn new(limit: u64) -> Self {
        let (order, places) = (VecDeque::new(), HashMap::new());
        Self { order, places, forgotten: 0, weight: 0, limit }
    }

    /// Adds an evicted entry, and forgets the oldest ones beyond the limit.
    pub(super) fn add(&mut self, key: u64, weight: u64) {
        self.places.insert(key, self.forgotten + self.order.len() as u64);
        self.order.push_back((key, weight));
        self.weight += weight;
        while self.weight > self.limit
            && let Some((key, weight)) = self.order.pop_front()
        {
            self.weight -= weight;
            // It may have been evicted again since.
            if self.places.get(&key) == Some(&self.forgotten) {
                self.places.remove(&key);
            }
            self.forgotten += 1;
        }
    }

    /// Whether an entry with this key was evicted lately; it is not remembered any more.
    pub(super) fn take(&mut self, key: u64) -> bool {
        self.places.remove(&key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_remembered_as_weigh_the_limit() {
        let mut remembered = Remembered::new(100);
        for key in 0..10 {
            remembered.add(key, 30);
        }
        let left: Vec<u64> = (0..10).filter(|key| remembered.take(*key)).collect();
        assert_eq!(left, [7, 8, 9]);
        assert!(!remembered.take(9), "once");
        remembered.add(10, 101);
        assert!(!remembered.take(10), "heavier than the limit");
        assert_eq!((remembered.order.len(), remembered.places.len(), remembered.weight), (0, 0, 0));
    }

    #[test]
    fn the_last_eviction_of_a_key_counts() {
        let mut remembered = Remembered::new(100);
        for key in [1, 2, 1, 3] {
            remembered.add(key, 30);
        }
        assert!(remembered.take(1), "its first eviction is forgotten, its second is not");
        assert!(remembered.take(2) && remembered.take(3));
    }
}
