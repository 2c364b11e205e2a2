//! Requests by how they were answered.

use crate::metrics::counter::Counter;
use crate::protocol::cache_status::CacheResult;

/// Statuses that are told apart: those the gateway answers with, and those stores do.
const STATUSES: [u16; 23] = [
    200, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 408, 409, 412, 415, 416, 422, 429, 431,
    500, 502, 503, 504,
];
/// The label of an answer that there was not: the client or the store had left before.
const NONE: &str = "none";
const OTHER: &str = "other";

/// Counters by status.
#[derive(Debug, Default)]
pub struct ByStatus([Counter; STATUSES.len() + 2]);

impl ByStatus {
    /// Counts an answer; `None` where there was none.
    pub fn count(&self, status: Option<u16>) {
        let place = match status.map(|status| STATUSES.binary_search(&status)) {
            Some(Ok(place)) => place,
            Some(Err(_)) => STATUSES.len(),
            None => STATUSES.len() + 1,
        };
        if let Some(counter) = self.0.get(place) {
            counter.count();
        }
    }

    /// The labels that were counted, with their numbers, and 200 in any case.
    pub fn numbers(&self) -> impl Iterator<Item = (String, u64)> {
        let labels = STATUSES.iter().map(ToString::to_string);
        let labels = labels.chain([OTHER.to_owned(), NONE.to_owned()]);
        let numbers = labels.zip(self.0.iter().map(Counter::get)).enumerate();
        numbers
            .filter(|(place, (_, number))| *place == 0 || *number > 0)
            .map(|(_, labelled)| labelled)
    }
}

/// Requests for objects of one profile, by what the cache did and by status.
#[derive(Debug, Default)]
pub struct Objects([ByStatus; CacheResult::ALL.len()]);

impl Objects {
    /// Counts a request.
    pub fn count(&self, cache: CacheResult, status: Option<u16>) {
        // The order of the variants is that of `ALL`.
        if let Some(statuses) = self.0.get(cache as usize) {
            statuses.count(status);
        }
    }

    /// What was counted, by label of the cache's part.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, &ByStatus)> {
        CacheResult::ALL.iter().map(|cache| cache.label()).zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_by_number_and_strange_ones_together() {
        let statuses = ByStatus::default();
        for status in [Some(200), Some(299), Some(200), Some(0), Some(504), None] {
            statuses.count(status);
        }
        let counted: Vec<_> = statuses.numbers().collect();
        let counted: Vec<_> = counted.iter().map(|(label, n)| (label.as_str(), *n)).collect();
        assert_eq!(counted, [("200", 2), ("504", 1), ("other", 2), ("none", 1)]);
        assert!(STATUSES.is_sorted());
    }

    #[test]
    fn requests_for_objects_are_counted_by_both() {
        let objects = Objects::default();
        objects.count(CacheResult::Pass, Some(206));
        objects.count(CacheResult::Hit, None);
        let counted = objects.numbers().flat_map(|(cache, statuses)| {
            let some = statuses.numbers().filter(|(_, number)| *number > 0);
            some.map(move |(status, number)| format!("{cache} {status} {number}"))
        });
        assert_eq!(counted.collect::<Vec<_>>(), ["hit none 1", "pass 206 1"]);
    }
}
