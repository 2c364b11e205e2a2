//! Counters of requests by status and cache result.

use prometheus_client::metrics::counter::Counter;

use crate::protocol::cache_status::CacheResult;

/// Statuses with a label of their own: those of the gateway and of stores.
const STATUSES: [(u16, &str); 24] = [
    (200, "200"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (412, "412"),
    (415, "415"),
    (416, "416"),
    (422, "422"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];
/// The label of requests without a response: the client or the store closed the connection before.
const NONE: &str = "none";
const OTHER: &str = "other";

/// Counters by status.
#[derive(Debug, Default)]
pub struct StatusCounters([Counter; STATUSES.len() + 2]);

impl StatusCounters {
    /// Counts a response; `None` for a request without one.
    pub fn count(&self, status: Option<u16>) {
        let place = status.map(|status| STATUSES.binary_search_by_key(&status, |known| known.0));
        let index = match place {
            Some(Ok(index)) => index,
            Some(Err(_)) => STATUSES.len(),
            None => STATUSES.len() + 1,
        };
        if let Some(counter) = self.0.get(index) {
            counter.inc();
        }
    }

    /// The counters above zero by label, and that of 200 in any case.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let labels = STATUSES.iter().map(|(_, label)| *label).chain([OTHER, NONE]);
        let counters = labels.zip(&self.0).enumerate();
        counters
            .filter(|(index, (_, counter))| *index == 0 || counter.get() > 0)
            .map(|(_, labelled)| labelled)
    }
}

/// Requests for objects of one profile, by cache result and status.
#[derive(Debug, Default)]
pub struct ObjectRequests([StatusCounters; CacheResult::ALL.len()]);

impl ObjectRequests {
    /// Counts a request.
    pub fn count(&self, cache: CacheResult, status: Option<u16>) {
        // The order of the variants is that of `ALL`.
        if let Some(statuses) = self.0.get(cache as usize) {
            statuses.count(status);
        }
    }

    /// The counters by label of the cache result.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, &StatusCounters)> {
        CacheResult::ALL.iter().map(|cache| cache.label()).zip(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_by_number_and_unknown_ones_together() {
        let statuses = StatusCounters::default();
        for status in [Some(200), Some(299), Some(200), Some(0), Some(504), None] {
            statuses.count(status);
        }
        let counted: Vec<_> = statuses.counters().map(|(label, n)| (label, n.get())).collect();
        assert_eq!(counted, [("200", 2), ("504", 1), ("other", 2), ("none", 1)]);
        assert!(STATUSES.is_sorted());
        assert!(STATUSES.iter().all(|(status, label)| status.to_string() == *label));
    }

    #[test]
    fn requests_for_objects_are_counted_by_both() {
        let objects = ObjectRequests::default();
        objects.count(CacheResult::Pass, Some(206));
        objects.count(CacheResult::Hit, None);
        let counted = objects.counters().flat_map(|(cache, statuses)| {
            let some = statuses.counters().filter(|(_, counter)| counter.get() > 0);
            some.map(move |(status, counter)| format!("{cache} {status} {}", counter.get()))
        });
        assert_eq!(counted.collect::<Vec<_>>(), ["hit none 1", "pass 206 1"]);
    }
}
